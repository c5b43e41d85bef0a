"""Every measure, asked later as of a moment, says what it said at that moment, whatever happened since."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from fhir_tracker.measures.definitions import MEASURES
from fhir_tracker.measures.figures import all_reports
from fhir_tracker.measures.report import Asked, Row
from fhir_tracker.model.sight import EVERYTHING
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage import rollups
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.measure_tables import figure_hour
from fhir_tracker.storage.rollups import Zones
from tests.support.clinic import MONDAY, SYSTEM, Clinic
from tests.support.lives import Life

LOCKED = Viewer(who="Patient/ann", name="One patient", patient="ann", sight=EVERYTHING)
Figures = dict[str, tuple[Row, ...]]


def figures(clinic: Clinic, asked: Asked) -> Figures:
    with clinic.database.read() as tx:
        return {one.measure.name: one.rows for one in all_reports(tx, asked)}


def live(now: datetime, viewer: Viewer = SYSTEM) -> Asked:
    """What a page asks at `now`: the present, and all that happened until now."""
    end = now + timedelta(microseconds=1)
    return Asked(
        viewer=viewer, now=now, start=MONDAY - timedelta(days=9), end=end, zones=Zones(usual="America/New_York")
    )


def lived(clinic: Clinic, seed: int, steps: int) -> tuple[Life, dict[datetime, tuple[Figures, Figures]]]:
    life, told = Life(clinic, seed), dict[datetime, tuple[Figures, Figures]]()
    for number in range(steps):
        life.go_on()
        if number % 7 == 0:
            told[life.now] = (figures(clinic, live(life.now)), figures(clinic, live(life.now, LOCKED)))
    return life, told


def agree(clinic: Clinic, life: Life, told: dict[datetime, tuple[Figures, Figures]]) -> None:
    for then, (everybody, locked) in told.items():
        for viewer, before in ((SYSTEM, everybody), (LOCKED, locked)):
            later = replace(live(then, viewer), now=life.now, as_of=then)
            after = figures(clinic, later)
            for name in MEASURES:
                assert after[name] == before[name], (name, then, viewer.name)


@pytest.mark.parametrize("seed", range(2))
def test_a_measure_as_of_a_moment_says_what_it_said_then(database: Database, seed: int) -> None:
    clinic = Clinic(database)
    life, told = lived(clinic, seed, 42)
    agree(clinic, life, told)
    rollups.fold(database, life.now + timedelta(hours=3))
    agree(clinic, life, told)


@contextmanager
def a_clinic(prepared: Path) -> Iterator[Clinic]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "tracker.db"
        shutil.copyfile(prepared, path)
        database = Database.open(f"sqlite:///{path}")
        try:
            yield Clinic(database)
        finally:
            database.close()


@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(seed=st.integers(min_value=100, max_value=1_000_000), steps=st.integers(min_value=10, max_value=30))
def test_so_it_is_for_any_history(prepared_file: Path, seed: int, steps: int) -> None:
    with a_clinic(prepared_file) as clinic:
        agree(clinic, *lived(clinic, seed, steps))


@pytest.mark.parametrize("seed", range(2))
def test_sums_that_were_folded_are_those_that_are_counted(database: Database, seed: int) -> None:
    clinic = Clinic(database)
    life = Life(clinic, seed + 50)
    for _ in range(50):
        life.go_on()
    counted = figures(clinic, live(life.now))
    rollups.fold(database, life.now + timedelta(days=1))
    assert figures(clinic, live(life.now)) == counted
    assert sum(len(rows) > 0 for rows in counted.values()) > len(MEASURES) / 2
    with database.begin() as tx:
        kept = tx.rows(select(figure_hour).order_by(*figure_hour.c))
        assert kept
        rollups.rebuild(tx)
        assert tx.rows(select(figure_hour).order_by(*figure_hour.c)) == kept
    assert figures(clinic, live(life.now)) == counted
