"""The scale-out mode: Celery carries hints that something may be due, from one beat to any number of workers.

`celery --app api.queue:app worker` and `celery --app api.queue:app beat`, with FHIR_TRACKER_REDIS_URL and
FHIR_TRACKER_DATABASE set. A hint holds no work: jobs and due items are rows in the database, so a lost broker loses
time and nothing else, and a hint that comes twice finds nothing left to do.
"""

from __future__ import annotations

import os
from functools import lru_cache

from celery import Celery

from api.stores import with_secret_key
from api.worker import FOLLOW_INTERVAL, HINTS_INTERVAL, run_rules
from fhir_tracker import clock
from fhir_tracker.config import Settings, load_settings
from fhir_tracker.errors import UsageError
from fhir_tracker.storage.database import Database
from subscriptions import sync_due, sync_hints


def follow() -> None:
    """Follow each EHR whose next poll is due."""
    sync_due(_database(), _settings(), clock.now)


def hints() -> None:
    """Work off what EHRs told us."""
    sync_hints(_database(), _settings(), clock.now)


def rules() -> None:
    """Enrol, and run the rules on what is due."""
    run_rules(_database(), _settings(), clock.now())


def celery_app(settings: Settings) -> Celery:
    """The Celery application with its three periodic hints; raises UsageError without a broker."""
    if not settings.redis_url:
        raise UsageError("The scale-out mode needs FHIR_TRACKER_REDIS_URL, such as redis://127.0.0.1:6379/0.")
    made = Celery("fhir-tracker", broker=settings.redis_url)
    steps = {
        "follow": (follow, FOLLOW_INTERVAL),
        "hints": (hints, HINTS_INTERVAL),
        "rules": (rules, settings.sweep_interval),
    }
    made.conf.update(
        task_ignore_result=True,
        # Threads share one pool of database connections; a hint is given to whoever is free.
        worker_pool="threads",
        worker_concurrency=len(steps),
        worker_prefetch_multiplier=1,
        broker_connection_retry_on_startup=True,
        beat_schedule={
            # A hint that waited longer than its period says nothing that the next one does not.
            name: {"task": name, "schedule": period, "options": {"expires": period.total_seconds()}}
            for name, (_, period) in steps.items()
        },
        beat_max_loop_interval=1,
    )
    for name, (step, _) in steps.items():
        made.task(name=name)(step)
    return made


@lru_cache(maxsize=1)
def _settings() -> Settings:
    return with_secret_key(load_settings(os.environ))


@lru_cache(maxsize=1)
def _database() -> Database:
    return Database.open(_settings().database)


app = celery_app(load_settings(os.environ))
