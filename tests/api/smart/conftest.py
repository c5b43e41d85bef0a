"""A tracker and a simulated EHR that know each other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from api.demo.simulator.simulator import Simulator
from fhir_tracker import clock
from fhir_tracker.storage.database import Database
from tests.support.launching import Launchpad, launchpad
from tests.support.simulated_ehr import simulated_ehr


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """A simulated EHR without faults."""
    with simulated_ehr() as found:
        yield found.simulator


@pytest.fixture
def pad(database: Database, simulator: Simulator) -> Launchpad:
    """A tracker with one EHR, and a nurse who may come in."""
    made = launchpad(database, simulator, clock.now())
    made.person()
    return made
