"""Seeded chance against the sync: what the EHR holds is here or in quarantine, in order, once, and no cursor runs ahead."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest
import respx

from fhir_tracker.storage.database import Database
from tests.subscriptions.chaos import Chaos

SEEDS = range(24)
STEPS = 9


def run(database: Database, seed: int) -> Chaos:
    chaos = Chaos(database, seed)
    with respx.mock(assert_all_called=False) as router:
        chaos.ehr.serve(router)
        try:
            chaos.play(STEPS)
            chaos.come_to_rest()
            chaos.check_order()
            chaos.check_equal()
        except AssertionError as error:
            error.add_note(f"seed {seed}: {chaos.kind}, {chaos.ehr.events} events, {chaos.kills} kills")
            raise
    return chaos


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_happens_everything_is_here_once_and_in_order(seed: int, prepared_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "tracker.db"
    shutil.copyfile(prepared_file, path)
    with closing(Database.open(f"sqlite:///{path}")) as database:
        run(database, seed)


@pytest.mark.fault("F1", "F21", "F23", "F25", "F27", "F30")
@pytest.mark.parametrize("seed", range(100, 106))
def test_the_same_holds_on_both_kinds_of_database(seed: int, database: Database) -> None:
    assert run(database, seed).ehr.events > STEPS
