"""A tracker and a simulated EHR that know each other."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.demo.simulator.keys import SigningKeys
from api.demo.simulator.simulator import Simulator
from fhir_tracker import clock
from fhir_tracker.storage.database import Database
from tests.support.launching import Launchpad, launchpad
from tests.support.simulated_ehr import simulated_ehr


@pytest.fixture
def one_file(prepared_file: Path, tmp_path: Path) -> str:
    """A database on SQLite only: modules whose subject is what goes over the wire take it as their `ready_url`."""
    path = tmp_path / "tracker.db"
    shutil.copyfile(prepared_file, path)
    return f"sqlite:///{path}"


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
