"""A tracker that really listens, for a real browser, with its worker when a test wants one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, expect

from api.app import create_app
from api.context import Access, AppContext
from api.serve import address_of, listen
from api.worker import start_embedded
from fhir_tracker import clock
from fhir_tracker.config import load_settings
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.schema import prepare
from tests.peers.chromium.browser import person_at
from tests.support.clinic import Clinic

SETTINGS = {"HOME": "/nowhere", "FHIR_TRACKER_SWEEP_INTERVAL": "200ms"}
expect.set_options(timeout=60_000)


@dataclass(frozen=True, kw_only=True)
class Tracker:
    """A running server: its address and what is behind it."""

    address: str
    clinic: Clinic
    work: Callable[[], None]


@pytest.fixture
def now() -> datetime:
    """The moment the test began."""
    return clock.now()


@pytest.fixture
def tracker(tmp_path: Path, now: datetime) -> Iterator[Tracker]:
    """An open tracker on a SQLite file; call `work()` to start its worker."""
    with running(tmp_path, now) as found:
        yield found


@pytest.fixture(scope="module")
def browser_of_staff(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    """Who works at the EHR, in a browser that blocks the cookies of other sites."""
    with person_at(chromium, tmp_path_factory.mktemp("profile") / "p", "third-party") as context:
        yield context


@contextmanager
def running(
    folder: Path, now: datetime, access: Access = Access.OPEN, values: Mapping[str, str] | None = None
) -> Iterator[Tracker]:
    """Serve until the block ends, with further values of settings."""
    url = f"sqlite:///{folder / 'tracker.db'}"
    settings = load_settings({**SETTINGS, **(values or {})}, database=url)
    database = Database.open(url)
    prepare(database)
    listening = listen("127.0.0.1", 0)
    address = address_of("127.0.0.1", listening)
    context = AppContext(
        database=database, settings=settings, access=access, public_url=address, secret_key="k" * 40, started_at=now
    )
    config = uvicorn.Config(create_app(context), lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    with ExitStack() as undo:
        undo.callback(database.close)
        thread.start()
        undo.callback(thread.join, 60)
        undo.callback(setattr, server, "should_exit", True)

        def work() -> None:
            undo.callback(start_embedded(database, settings).stop)

        yield Tracker(address=address, clinic=Clinic(database, at=now - timedelta(days=30)), work=work)
