"""Fixtures of a tracker and a simulated EHR that know each other; the conftest of a folder names those it wants."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from api.demo.simulator.keys import SigningKeys
from api.demo.simulator.simulator import Simulator
from fhir_tracker import clock
from fhir_tracker.storage.database import Database
from tests.support.launching import Launchpad, launchpad
from tests.support.simulated_ehr import simulated_ehr


@pytest.fixture(scope="session")
def signing() -> SigningKeys:
    """Keys of EHRs, made once, for making them takes time."""
    return SigningKeys()


@pytest.fixture
def simulator(signing: SigningKeys) -> Iterator[Simulator]:
    """A simulated EHR without faults, at an address nobody has heard of."""
    with simulated_ehr() as found:
        found.simulator.keys = signing
        yield found.simulator


@pytest.fixture
def pad(database: Database, simulator: Simulator) -> Launchpad:
    """A tracker with one EHR, and a nurse who may come in."""
    made = launchpad(database, simulator, clock.now())
    made.person()
    return made
