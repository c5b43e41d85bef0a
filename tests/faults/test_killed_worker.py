"""A worker that is killed at any point loses nothing and does nothing twice."""

from __future__ import annotations

import random
import time
from datetime import timedelta

import pytest

from fhir_tracker.storage.database import Database
from tests.support.clinic import Clinic
from tests.support.crowd import LATE, check_once, discharge_many, finish, start_worker

PATIENTS = 60
KILLS = 6
AFTER_LEASE = timedelta(minutes=3)


@pytest.mark.fault("F13")
@pytest.mark.parametrize("seed", [1, 2])
def test_a_worker_killed_again_and_again_leaves_everything_done_once(
    database: Database, ready_url: str, seed: int
) -> None:
    clinic = Clinic(database)
    patients = discharge_many(clinic, PATIENTS)
    rng = random.Random(seed)
    at = LATE
    for _ in range(KILLS):
        worker = start_worker(ready_url, at)
        time.sleep(rng.uniform(0.05, 1.2))
        worker.kill()
        worker.communicate()
        at += AFTER_LEASE
    finish(start_worker(ready_url, at))
    clinic.sweep(at + AFTER_LEASE)
    check_once(clinic, patients, {1: ["in-app"]})
