"""The scale-out mode: Celery carries hints that something may be due, from one beat to any number of workers.

`fhir-tracker worker` starts a worker with a beat when FHIR_TRACKER_REDIS_URL is set; so do `celery --app api.queue:app
worker` and `... beat`. A hint holds no work and nothing about a patient: jobs and due items are rows in the database, so a
lost broker loses time and nothing else, and a hint that comes twice finds nothing left to do. Of several beats one gives
hints at a time.
"""

from __future__ import annotations

import logging
import os
from datetime import timedelta
from functools import lru_cache
from typing import Any

from celery import Celery
from celery.beat import EmbeddedService, Scheduler

from api.chores import me
from api.stores import sealing, with_secret_key
from api.worker import DUTIES, Duty, Turn, limits, run_rules
from fhir_tracker import clock, sweep
from fhir_tracker.config import Settings, load_settings
from fhir_tracker.errors import TrackerError, UsageError
from fhir_tracker.storage import leaders, work_items
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.work_items import Span

log = logging.getLogger(__name__)

BEAT = "beat"
BEAT_LEASE = timedelta(seconds=15)
LEAST = 100
"""Items that a message is about at least, when there are so many."""
MOST_SPANS = 40
SWEEP = "sweep"


class OneBeat(Scheduler):  # type: ignore[misc]  # Celery has no types
    """A beat that gives hints only while it leads; another takes over when it is silent. It keeps nothing in files."""

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Give the hints that are due, and say in how many seconds to ask again."""
        if not _leads():
            return 1.0
        return float(super().tick(*args, **kwargs))

    def close(self) -> None:
        """Leave the place to another at once."""
        try:
            with _database().begin() as tx:
                leaders.resign(tx, BEAT, me())
        except TrackerError:
            log.warning("the beat could not give up its place: another takes it when its lease is over")
        super().close()


def _leads() -> bool:
    try:
        with _database().begin() as tx:
            return leaders.lead(tx, BEAT, me(), clock.now(), BEAT_LEASE)
    except TrackerError:
        log.warning("the database cannot be asked which beat leads")
        return False


def dispatch(made: Celery, database: Database, settings: Settings) -> sweep.SweepReport:
    """Hand what is due to the workers, a message for each stretch of it; a single stretch is swept here and now."""
    now, size = clock.now(), max(LEAST, settings.sweep_batch)
    with database.read() as tx:
        spans = work_items.due_spans(tx, now, size, MOST_SPANS * size)
    if len(spans) > 1 and spans[-1].items < LEAST:
        last = spans.pop()
        spans[-1] = Span(first=spans[-1].first, last=last.last, items=spans[-1].items + last.items)
    if len(spans) < 2:
        return sweep.settle(database, now, limits(settings))
    for span in spans:
        made.send_task(
            SWEEP, args=[*span.first, *span.last], expires=max(60.0, settings.sweep_interval.total_seconds())
        )
    return sweep.SweepReport()


def sweep_span(first_at: int, first_k: int, last_at: int, last_k: int) -> None:
    """Sweep one stretch of what is due."""
    span = Span(first=(first_at, first_k), last=(last_at, last_k))
    sweep.settle(_database(), clock.now(), limits(_settings()), span=span)


def celery_app(settings: Settings) -> Celery:
    """The Celery application with a hint for each duty; raises UsageError without a broker."""
    if not settings.redis_url:
        raise UsageError("The scale-out mode needs FHIR_TRACKER_REDIS_URL, such as redis://127.0.0.1:6379/0.")
    made = Celery("fhir-tracker", broker=settings.redis_url)
    made.conf.update(
        task_ignore_result=True,
        # Threads share one pool of database connections; a hint is given to whoever is free.
        worker_pool="threads",
        worker_concurrency=len(DUTIES) + 2,
        worker_prefetch_multiplier=1,
        broker_connection_retry_on_startup=True,
        worker_hijack_root_logger=False,
        # Our own log writes to standard error: what Celery makes a log of must not end there again.
        worker_redirect_stdouts=False,
        beat_scheduler=OneBeat,
        beat_schedule={
            # A hint that waited longer than its period says nothing that the next one does not.
            one.name: {
                "task": one.name,
                "schedule": one.every(settings),
                "options": {"expires": one.every(settings).total_seconds()},
            }
            for one in DUTIES
        },
        beat_max_loop_interval=1,
    )
    for one in DUTIES:
        made.task(name=one.name)(_hinted(made, one))
    made.task(name=SWEEP)(sweep_span)
    return made


def _hinted(made: Celery, duty: Duty) -> Any:
    def run() -> None:
        if duty.name == "rules":
            database, settings = _database(), _settings()
            run_rules(database, settings, clock.now(), sweeper=lambda: dispatch(made, database, settings))
        else:
            duty.run(Turn(database=_database(), settings=_settings()))

    return run


def run_worker(log_level: str, *, beat: bool) -> int:
    """A worker (with a beat) until a signal, which lets what is in progress finish; 0."""
    beating = EmbeddedService(app, max_interval=1, thread=True, scheduler_cls=OneBeat) if beat else None
    worker = app.Worker(loglevel=log_level, without_gossip=True, without_mingle=True, quiet=True)
    if beating is not None:
        beating.start()
    try:
        worker.start()
    finally:
        if beating is not None:
            beating.stop()
    return int(worker.exitcode or 0)


@lru_cache(maxsize=1)
def _settings() -> Settings:
    return with_secret_key(load_settings(os.environ))


@lru_cache(maxsize=1)
def _database() -> Database:
    return sealing(Database.open(_settings().database), _settings())


app = celery_app(load_settings(os.environ))
