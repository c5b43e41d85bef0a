"""A clinic with one patient who was discharged on Monday."""

from __future__ import annotations

import pytest

from fhir_tracker.storage.database import Database
from tests.support.clinic import MONDAY, Clinic


@pytest.fixture
def clinic(database: Database) -> Clinic:
    clinic = Clinic(database)
    clinic.patient("ann")
    clinic.discharge("ann", MONDAY)
    return clinic
