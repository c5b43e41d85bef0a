"""The worker: one round end to end, two loops that start and stop, and two workers on one database."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta

from sqlalchemy import text, update

from api import worker
from api.worker import Worker, run_once, run_rules, run_worker
from fhir_tracker import clock, connections
from fhir_tracker.config import Settings
from fhir_tracker.storage import connections as rows
from fhir_tracker.storage import cursors
from fhir_tracker.storage import settings as states
from fhir_tracker.storage.cursors import Cursor
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.running_tables import program
from tests.support.clinic import MONDAY, RING, Clinic, encounter

DAY = timedelta(days=1)
LATE = MONDAY + 2 * DAY


def discharged(clinic: Clinic, number: int, at: datetime) -> list[str]:
    names = [f"p{n}" for n in range(number)]
    for name in names:
        clinic.patient(name)
        clinic.put(encounter(name, at, id_=f"stay-{name}"), at)
    return names


def test_one_round_enrols_and_escalates_what_is_late(database: Database, settings: Settings) -> None:
    clinic = Clinic(database)
    discharged(clinic, 3, MONDAY)
    report = run_once(database, settings, lambda: LATE)
    assert (report.enrolled, report.swept.escalated) == (3, 3)
    assert report.changes > 0
    again = run_once(database, settings, lambda: LATE)
    assert (again.enrolled, again.swept.applied) == (0, 0)
    with database.read() as tx:
        assert states.get(tx, worker.HEARTBEAT) == LATE.isoformat()


def test_the_settings_bound_the_sweep(settings: Settings) -> None:
    limits = worker.limits(settings)
    assert (limits.batch, limits.brake.share) == (settings.sweep_batch, 0)


def test_a_program_that_cannot_be_read_stops_neither_enrolment_nor_sweep(
    database: Database, settings: Settings
) -> None:
    clinic = Clinic(database)
    clinic.publish(RING.replace("program: ring", "program: broken"), MONDAY)
    discharged(clinic, 2, MONDAY)
    with database.begin() as tx:
        tx.execute(text(f"DROP TRIGGER program_stays{' ON program' if tx.dialect == 'postgresql' else ''}"))
        tx.execute(update(program).where(program.c.code == "broken").values(source="program: [", version=7))
    report = run_rules(database, settings, LATE)
    assert (report.enrolled, report.swept.escalated) == (2, 2)


def test_the_loops_work_by_themselves_and_stop_when_asked(database: Database, settings: Settings) -> None:
    now = clock.now()
    clinic = Clinic(database, at=now)
    started = Worker(database, settings).start()
    try:
        discharged(clinic, 1, now - 2 * DAY)
        wait_for(lambda: bool(clinic.escalations("p0")))
    finally:
        started.stop(60)
    assert not any(thread.name in ("follow", "rules") and thread.is_alive() for thread in threading.enumerate())


def test_two_workers_on_one_database_do_everything_once(database: Database, settings: Settings) -> None:
    now = clock.now()
    clinic = Clinic(database, at=now)
    workers = [Worker(database, settings).start() for _ in range(2)]
    try:
        names = discharged(clinic, 6, now - 2 * DAY)
        wait_for(lambda: all(clinic.escalations(name) for name in names))
    finally:
        for one in workers:
            one.stop()
    for name in names:
        assert len([item for item in clinic.items(name) if item.kind == "plan"]) == 1
        assert len(clinic.escalations(name)) == 1


def test_a_worker_process_with_once_does_one_round(database: Database, settings: Settings) -> None:
    now = clock.now()
    clinic = Clinic(database, at=now)
    discharged(clinic, 1, now - 2 * DAY)
    assert run_worker(database, settings, once=True, stop=threading.Event()) == 0
    assert len(clinic.escalations("p0")) == 1


def test_a_worker_process_runs_until_it_is_told_to_stop(database: Database, settings: Settings) -> None:
    stop, ended = threading.Event(), list[int]()
    running = threading.Thread(target=lambda: ended.append(run_worker(database, settings, once=False, stop=stop)))
    running.start()
    stop.set()
    running.join(120)
    assert ended == [0]


def wait_for(holds: object, seconds: float = 120.0) -> None:
    assert callable(holds)
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.1)


def test_nobody_is_enrolled_from_half_a_first_load(database: Database, settings: Settings) -> None:
    clinic = Clinic(database)
    discharged(clinic, 2, MONDAY)
    with database.begin() as tx:
        connections.add(tx, "north", "http://127.0.0.1:9/fhir", now=MONDAY)
        cursors.save(tx, Cursor(connection="north", type="Encounter", updated_at=MONDAY))
    assert run_rules(database, settings, MONDAY + timedelta(seconds=90)).enrolled == 0
    with database.begin() as tx:
        rows.note_success(tx, "north", MONDAY + timedelta(seconds=100))
    assert run_rules(database, settings, MONDAY + timedelta(seconds=101)).enrolled == 2


def test_a_first_load_that_stopped_is_not_waited_for(database: Database, settings: Settings) -> None:
    clinic = Clinic(database)
    discharged(clinic, 1, MONDAY)
    with database.begin() as tx:
        connections.add(tx, "north", "http://127.0.0.1:9/fhir", now=MONDAY)
        cursors.save(tx, Cursor(connection="north", type="Encounter", updated_at=MONDAY))
    assert run_rules(database, settings, MONDAY + timedelta(minutes=3)).enrolled == 1
