from __future__ import annotations

from collections.abc import Iterator

import pytest
import respx

from fhir_tracker.storage.database import Database
from tests.subscriptions.fake_ehr import FakeEhr
from tests.subscriptions.tracker import Tracker
from tests.support.known_ehr import pad, signing, simulator
from tests.support.receivers import hook, mailbox, smtp

__all__ = ["hook", "mailbox", "pad", "signing", "simulator", "smtp"]


@pytest.fixture
def ehr() -> Iterator[FakeEhr]:
    """An EHR in memory at BASE; nothing else can be reached over HTTP."""
    made = FakeEhr()
    with respx.mock(assert_all_called=False) as router:
        made.serve(router)
        yield made


@pytest.fixture
def tracker(database: Database, ehr: FakeEhr) -> Tracker:
    """A tracker with the connection `clinic` to it."""
    return Tracker(database, ehr)
