"""The chores of the product itself: jobs that one leading process asks for in time, and that any worker does."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from fhir_tracker import rule_watch
from fhir_tracker.config import Settings
from fhir_tracker.job_running import Handler
from fhir_tracker.storage import jobs, leaders, seen_jti, tokens
from fhir_tracker.storage import settings as states
from fhir_tracker.storage.database import Database

SCHEDULER = "scheduler"
LEASE = timedelta(minutes=1)
KEEP_DONE = timedelta(hours=1)
_EVERY: Mapping[str, timedelta] = {"watch-rules": timedelta(minutes=1), "forget-done-jobs": timedelta(minutes=10)}


def me() -> str:
    """What this process calls itself where only one leads."""
    return f"{socket.gethostname()}:{os.getpid()}"


def schedule(database: Database, settings: Settings, now: datetime, *, who: str | None = None) -> list[str]:
    """Ask for the chores whose time has come, when this process leads; the kinds asked for."""
    asked = []
    with database.begin() as tx:
        if not leaders.lead(tx, SCHEDULER, who or me(), now, LEASE):
            return []
        for kind, period in _EVERY.items():
            last = states.get(tx, f"chore:{kind}")
            at = datetime.fromisoformat(last) if last else None
            if at is not None and at <= now < at + period:
                continue
            payload = {"period": settings.rule_period.total_seconds()} if kind == "watch-rules" else {}
            jobs.enqueue(tx, kind, "", payload, now)
            states.put(tx, f"chore:{kind}", now.isoformat())
            asked.append(kind)
    return asked


def _watch_rules(database: Database, payload: Mapping[str, Any], now: datetime) -> None:
    with database.begin() as tx:
        rule_watch.watch(tx, now, timedelta(seconds=float(payload["period"])))


def _forget_done(database: Database, payload: Mapping[str, Any], now: datetime) -> None:
    with database.begin() as tx:
        jobs.forget_done(tx, now - KEEP_DONE)
        tokens.forget(tx, now)
        seen_jti.forget(tx, now)


JOBS: Mapping[str, Handler] = {"watch-rules": _watch_rules, "forget-done-jobs": _forget_done}
"""What does each kind of job."""
