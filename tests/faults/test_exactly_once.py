"""Every level of every escalation happens once: two threads, two processes, replays and clocks that disagree."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta

import pytest

from fhir_tracker import sweep
from fhir_tracker.brake import Limit
from fhir_tracker.errors import Busy
from fhir_tracker.storage.database import Database
from tests.support.clinic import Clinic
from tests.support.crowd import LATE, check_once, discharge_many, finish, start_worker

OFF = Limit(share=0, floor=0)
HOUR = timedelta(hours=1)


def test_two_threads_over_two_hundred_items_fire_each_level_once(database: Database) -> None:
    clinic = Clinic(database)
    patients = discharge_many(clinic, 200)
    clinic.enrol(LATE)

    def work(batch: int, at: datetime) -> None:
        with suppress(Busy):
            sweep.settle(database, at, sweep.Limits(batch=batch, brake=OFF), rounds=40)

    for hours in (0, 4):
        at = LATE + hours * HOUR
        with ThreadPoolExecutor(2) as pool:
            works = [pool.submit(work, 17, at), pool.submit(work, 23, at + timedelta(minutes=5))]
        for one in works:
            one.result()
        clinic.sweep(at + timedelta(minutes=10))
    clinic.sweep(LATE + 4 * HOUR + HOUR / 2)
    check_once(clinic, patients, {1: ["in-app"], 2: ["in-app", "email"]})


@pytest.mark.fault("F15")
def test_two_processes_fire_each_level_once(database: Database, ready_url: str) -> None:
    clinic = Clinic(database)
    patients = discharge_many(clinic, 60)
    workers = [start_worker(ready_url, LATE + n * timedelta(minutes=1)) for n in range(2)]
    for one in workers:
        finish(one)
    clinic.sweep(LATE + HOUR)
    check_once(clinic, patients, {1: ["in-app"]})


@pytest.mark.fault("F20")
def test_replays_with_a_clock_that_jumps_fire_each_level_once(database: Database) -> None:
    clinic = Clinic(database)
    patients = discharge_many(clinic, 10)
    clinic.enrol(LATE)
    for hours in (0, 2, -2, 2, 0, -2, 0, 2, -2, 2):
        clinic.sweep(LATE + hours * HOUR)
    check_once(clinic, patients, {1: ["in-app"]})
