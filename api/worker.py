"""The worker: follows the EHRs and runs the rules, in threads of `serve` or as a process of its own.

A loop for each duty, so that a slow EHR never delays an escalation, nor the first load of one EHR the news of another.
Everything they do can be done again by another worker: claims and leases are rows with an end. The scale-out mode
(`api.queue`) gives the same duties to Celery.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from api.chores import JOBS, schedule
from fhir_tracker import (
    clock,
    connections,
    enrolment,
    job_running,
    program_integrity,
    programs,
    publishing,
    staffing,
    sweep,
)
from fhir_tracker.brake import Limit
from fhir_tracker.config import Settings
from fhir_tracker.errors import TrackerError
from fhir_tracker.storage import rollups
from fhir_tracker.storage import settings as states
from fhir_tracker.storage.database import Database
from subscriptions import deliver_due, sync_due, sync_hints, tend_sessions, write_back_due

log = logging.getLogger(__name__)

HEARTBEAT = "worker-heartbeat"
FOLLOW_INTERVAL = timedelta(seconds=1)
HINTS_INTERVAL = timedelta(seconds=2)
SCHEDULE_INTERVAL = timedelta(seconds=20)
SESSIONS_INTERVAL = timedelta(seconds=15)
ROUNDS = 50
GRACE_SECONDS = 25.0
"""How long the step in progress may take after a signal."""


@dataclass(frozen=True, kw_only=True)
class RulesReport:
    """What one run of the rules did."""

    changes: int
    enrolled: int
    swept: sweep.SweepReport


Sweeper = Callable[[], sweep.SweepReport]


def run_rules(
    database: Database,
    settings: Settings,
    now: datetime,
    *,
    stopping: Callable[[], bool] = bool,
    sweeper: Sweeper | None = None,
) -> RulesReport:
    """Enrol from what is new in the change log, sweep what is due, add up what measures read; a failing enrolment does
    not keep the sweep off. `sweeper` sweeps in another way than here and now.
    """
    read = enrolled = 0
    try:
        _follow_change_control(database, now)
        for _ in range(ROUNDS):
            one = _enrol_once(database, now)
            read, enrolled = read + one.changes, enrolled + one.enrolled
            if not one.more or stopping():
                break
    finally:
        swept = sweeper() if sweeper else sweep.settle(database, now, limits(settings, stopping))
    with database.begin() as tx:
        states.put(tx, HEARTBEAT, now.isoformat())
    rollups.fold(database, now)
    return RulesReport(changes=read, enrolled=enrolled, swept=swept)


def _follow_change_control(database: Database, now: datetime) -> None:
    """Let program versions take effect whose time has come, and look now and then whether a text was tampered with."""
    with database.read() as tx:
        due, looks = publishing.is_due(tx, now), program_integrity.is_due(tx, now)
    if due:
        with database.begin() as tx:
            publishing.activate_due(tx, now)
    if looks:
        with database.begin() as tx:
            program_integrity.watch(tx, now)


def limits(settings: Settings, stopping: Callable[[], bool] = bool) -> sweep.Limits:
    """How the settings bound a sweep."""
    return sweep.Limits(
        stopping=stopping,
        batch=settings.sweep_batch,
        brake=Limit(share=settings.mass_escalation_limit, floor=settings.mass_escalation_floor),
    )


def run_once(database: Database, settings: Settings, now: Callable[[], datetime]) -> RulesReport:
    """Follow every connection that is due, work off what they told us, then run the rules and write back, once."""
    sync_due(database, settings, now)
    sync_hints(database, settings, now)
    report = run_rules(database, settings, now())
    staffing.keep_owned(database, now(), settings.staff_roles)
    write_back_due(database, settings, now)
    deliver_due(database, settings, now)
    tend_sessions(database, settings, now)
    return report


def _enrol_once(database: Database, now: datetime) -> enrolment.Consumed:
    with database.read() as tx:
        active = [] if connections.first_load_under_way(tx, now) else programs.active_programs(tx)
    return enrolment.consume_all(database, active, now)


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What a duty is given: where it works, and what says that it is to end soon."""

    database: Database
    settings: Settings
    stopping: Callable[[], bool] = bool


@dataclass(frozen=True, kw_only=True)
class Duty:
    """One thing that workers do again and again, whether in a loop of their own or on a hint of Celery's."""

    name: str
    every: Callable[[Settings], timedelta]
    run: Callable[[Turn], object]


def _work_off(turn: Turn) -> None:
    while job_running.work_off(turn.database, JOBS, clock.now).taken == job_running.BATCH and not turn.stopping():
        pass


DUTIES = (
    Duty(
        name="follow",
        every=lambda _: FOLLOW_INTERVAL,
        run=lambda turn: sync_due(turn.database, turn.settings, clock.now),
    ),
    Duty(
        name="hints",
        every=lambda _: HINTS_INTERVAL,
        run=lambda turn: sync_hints(turn.database, turn.settings, clock.now),
    ),
    Duty(
        name="write-back",
        every=lambda _: FOLLOW_INTERVAL,
        run=lambda turn: write_back_due(turn.database, turn.settings, clock.now),
    ),
    Duty(
        name="rules",
        every=lambda settings: settings.sweep_interval,
        run=lambda turn: run_rules(turn.database, turn.settings, clock.now(), stopping=turn.stopping),
    ),
    Duty(
        name="staffing",
        every=lambda settings: settings.sweep_interval,
        run=lambda turn: staffing.keep_owned(turn.database, clock.now(), turn.settings.staff_roles),
    ),
    Duty(
        name="deliver",
        every=lambda _: HINTS_INTERVAL,
        run=lambda turn: deliver_due(turn.database, turn.settings, clock.now),
    ),
    Duty(
        name="sessions",
        every=lambda _: SESSIONS_INTERVAL,
        run=lambda turn: tend_sessions(turn.database, turn.settings, clock.now),
    ),
    Duty(name="jobs", every=lambda _: FOLLOW_INTERVAL, run=_work_off),
    Duty(
        name="schedule",
        every=lambda _: SCHEDULE_INTERVAL,
        run=lambda turn: schedule(turn.database, turn.settings, clock.now()),
    ),
)


class Worker:
    """The duties as threads; `stop` lets the step in progress finish."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._stopping = threading.Event()
        turn = Turn(database=database, settings=settings, stopping=self._stopping.is_set)
        self._threads = [self._loop(one.name, one.every(settings), partial(one.run, turn)) for one in DUTIES]

    def start(self) -> Worker:
        """Begin all loops."""
        for thread in self._threads:
            thread.start()
        return self

    def stop(self, seconds: float = GRACE_SECONDS) -> None:
        """Ask all loops to end and wait for them; a step that takes longer is left, and its transaction rolls back."""
        self._stopping.set()
        until = clock.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - clock.monotonic()))

    def _loop(self, name: str, interval: timedelta, step: Callable[[], object]) -> threading.Thread:
        return threading.Thread(target=self._run, args=(name, interval.total_seconds(), step), name=name, daemon=True)

    def _run(self, name: str, seconds: float, step: Callable[[], object]) -> None:
        while not self._stopping.is_set():
            try:
                step()
            except TrackerError as error:
                log.warning("worker step refused", extra={"fields": {"loop": name, "error": type(error).__name__}})
            except Exception:
                log.exception("worker step failed", extra={"fields": {"loop": name}})
            self._stopping.wait(seconds)


def start_embedded(database: Database, settings: Settings) -> Worker:
    """Start the worker inside this process; the caller stops it."""
    return Worker(database, settings).start()


def run_worker(database: Database, settings: Settings, *, once: bool, stop: threading.Event) -> int:
    """`fhir-tracker worker`: until `stop` is set, or one round with `once`; the exit code."""
    if once:
        run_once(database, settings, clock.now)
        return 0
    worker = Worker(database, settings).start()
    stop.wait()
    worker.stop()
    return 0
