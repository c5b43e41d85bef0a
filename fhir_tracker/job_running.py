"""Working off jobs, many at a time: each runs under its lease, is tried again with growing pauses, and dies with the reason."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fhir_tracker.guard import Failure, guarded
from fhir_tracker.storage import jobs
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.jobs import Lease

Handler = Callable[[Database, Mapping[str, Any], datetime], object]
"""Does one job at a moment; it may be called again for the same job, so that it has to be able to do it twice."""
LEASE = timedelta(minutes=5)
BATCH = 500
MOST_ATTEMPTS = 8
FIRST_PAUSE = timedelta(seconds=10)
LONGEST_PAUSE = timedelta(hours=1)
UNREADABLE = "its payload cannot be read"


@dataclass(frozen=True, kw_only=True)
class Worked:
    """What one turn did: jobs done, put off to be tried again, dead, and lost to another worker meanwhile."""

    done: int = 0
    put_off: int = 0
    dead: int = 0
    lost: int = 0

    @property
    def taken(self) -> int:
        return self.done + self.put_off + self.dead + self.lost


def work_off(
    database: Database,
    handlers: Mapping[str, Handler],
    now: Callable[[], datetime],
    *,
    limit: int = BATCH,
    chance: Callable[[], float] = random.random,
) -> Worked:
    """Do up to `limit` due jobs of the kinds that have a handler; a job that fails never stops the others."""
    with database.begin() as tx:
        held = jobs.claim_many(tx, sorted(handlers), now(), LEASE, limit, MOST_ATTEMPTS)
    if not held:
        return Worked()
    answers = [(one, _run(database, handlers[one.kind], one, now())) for one in held]
    with database.begin() as tx:
        done = jobs.complete_many(tx, [one for one, why in answers if why is None], now())
        put_off = dead = lost = 0
        for one, why in answers:
            if why is not None:
                retry_at = None if one.attempts >= MOST_ATTEMPTS else now() + pause(one.attempts, chance())
                is_held = jobs.fail(tx, one, why, retry_at, now())
                lost, put_off, dead = (
                    lost + (not is_held),
                    put_off + (is_held and retry_at is not None),
                    dead + (is_held and retry_at is None),
                )
    failed = put_off + dead + lost
    return Worked(done=len(done), put_off=put_off, dead=dead, lost=lost + len(held) - failed - len(done))


def pause(attempts: int, chance: float) -> timedelta:
    """How long to wait before the next try: anything up to a pause that doubles with each, up to a longest (full jitter)."""
    return min(FIRST_PAUSE * (1 << min(attempts - 1, 16)), LONGEST_PAUSE) * chance


def _run(database: Database, handler: Handler, held: Lease, now: datetime) -> str | None:
    """None when done, else why not."""
    payload = held.payload
    if payload is None:
        return UNREADABLE
    found = guarded(lambda: handler(database, payload, now), "a job", kind=held.kind)
    return found.reason if isinstance(found, Failure) else None
