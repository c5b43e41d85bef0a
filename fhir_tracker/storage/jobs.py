"""Jobs: work to be done later, leased to one worker at a time under a fencing token.

A worker that comes back after its lease went to another holds an old token, and nothing it says counts any more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Text,
    and_,
    case,
    delete,
    func,
    literal_column,
    or_,
    select,
    true,
    type_coerce,
    update,
)
from sqlalchemy.exc import IntegrityError

from fhir_tracker.storage import many
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.records import from_row
from fhir_tracker.storage.running_tables import job
from fhir_tracker.storage.types import microseconds

SKEW = timedelta(minutes=2)
"""How far the clocks of two processes may differ."""
# Written out, not bound: a database uses a partial index only for a condition that it can see when it plans.
WAITING: ColumnElement[bool] = job.c.state == literal_column("'waiting'")
LOST = "its worker was lost each time"
RUNNING: ColumnElement[bool] = job.c.state == literal_column("'running'")


@dataclass(frozen=True, kw_only=True)
class Lease:
    """One job in hand until `until`; `attempts` counts this one. A `payload` of None cannot be read."""

    id: int
    kind: str
    key: str
    payload: Mapping[str, Any] | None
    token: int
    attempts: int
    until: datetime


@dataclass(frozen=True, kw_only=True)
class JobState:
    """What a page shows of a kind of job: how many wait, run and died, and since when the oldest is due."""

    kind: str
    waiting: int
    running: int
    dead: int
    oldest_due: datetime | None


@dataclass(frozen=True, kw_only=True)
class DeadJob:
    """A job that failed for good, with the last reason."""

    id: int
    kind: str
    key: str
    attempts: int
    last_error: str | None
    finished_at: datetime | None


def enqueue(tx: Tx, kind: str, key: str, payload: Mapping[str, Any], run_at: datetime) -> bool:
    """Ask for a job; False when one of that kind and key already waits, which then runs at the sooner time."""
    row = {
        "kind": kind,
        "key": key,
        "payload": payload,
        "run_at": run_at,
        "state": "waiting",
        "token": 0,
        "attempts": 0,
    }
    new = tx.insert(job).values(row | {"id": tx.keys.take()})
    if tx.changed(new.on_conflict_do_nothing(index_elements=["kind", "key"], index_where=WAITING)) == 1:
        return True
    waits = and_(job.c.kind == kind, job.c.key == key, WAITING, job.c.run_at > run_at)
    tx.execute(update(job).where(waits).values(run_at=run_at))
    return False


def claim(tx: Tx, kinds: Sequence[str], now: datetime, lease: timedelta) -> Lease | None:
    """The job of `kinds` that is due longest, or whose worker let its lease run out; None when there is none.

    A lease that ends later than any taken now was taken by a clock that has been turned back since: it counts no more.
    """
    is_due = and_(WAITING, job.c.run_at <= now)
    is_stuck = and_(RUNNING, _is_over(now, lease))
    chosen = select(job).where(job.c.kind.in_(kinds), or_(is_due, is_stuck))
    row = tx.first(chosen.order_by(job.c.run_at, job.c.id).limit(1).with_for_update(skip_locked=True))
    if row is None:
        return None
    taken = {"state": "running", "token": row["token"] + 1, "attempts": row["attempts"] + 1, "lease_until": now + lease}
    tx.execute(update(job).where(job.c.id == row["id"]).values(**taken))
    named = {name: row[name] for name in ("id", "kind", "key", "payload")}
    return Lease(**named, token=row["token"] + 1, attempts=row["attempts"] + 1, until=now + lease)


def claim_many(
    tx: Tx, kinds: Sequence[str], now: datetime, lease: timedelta, limit: int, most_attempts: int
) -> list[Lease]:
    """Up to `limit` jobs as by `claim`, with two statements for all of them.

    What was begun `most_attempts` times and never answered for dies first, so that it keeps no place from what waits
    behind. A payload that cannot be read is None.
    """
    is_lost = and_(RUNNING, job.c.kind.in_(kinds), _is_over(now, lease), job.c.attempts >= most_attempts)
    died = {"state": "dead", "finished_at": now, "lease_until": None, "last_error": LOST}
    tx.execute(update(job).where(is_lost).values(died))
    is_due = or_(and_(WAITING, job.c.run_at <= now), and_(RUNNING, _is_over(now, lease)))
    columns = [job.c[name] for name in ("id", "kind", "key", "token", "attempts")]
    chosen = select(*columns, type_coerce(job.c.payload, Text).label("told")).where(job.c.kind.in_(kinds), is_due)
    rows = tx.rows(chosen.order_by(job.c.run_at, job.c.id).limit(limit).with_for_update(skip_locked=True))
    taken = {"state": "running", "token": job.c.token + 1, "attempts": job.c.attempts + 1, "lease_until": now + lease}
    if rows:
        tx.execute(update(job).where(job.c.id.in_([row["id"] for row in rows])).values(taken))
    return [
        Lease(
            id=row["id"],
            kind=row["kind"],
            key=row["key"],
            payload=_payload(row["told"]),
            token=row["token"] + 1,
            attempts=row["attempts"] + 1,
            until=now + lease,
        )
        for row in rows
    ]


def complete_many(tx: Tx, held: Sequence[Lease], at: datetime) -> set[int]:
    """As `complete` for many; the ids of those whose lease was still held."""
    rows = [(one.id, one.token, "done", microseconds(at)) for one in held]
    known_by, set_ = ("id", "token"), ("state", "finished_at")
    return many.change(tx, job, known_by, set_, rows, emptied=("lease_until",), only="state = 'running'")


def enqueue_many(tx: Tx, kind: str, keys: Sequence[str], payload: Mapping[str, Any], run_at: datetime) -> int:
    """Ask for many jobs of one kind; how many did not wait already."""
    columns = ("id", "kind", "key", "payload", "run_at", "state", "token", "attempts")
    told, at = json.dumps(dict(payload), ensure_ascii=False), microseconds(run_at)
    rows = [(tx.keys.take(), kind, key, told, at, "waiting", 0, 0) for key in keys]
    return len(many.add_new(tx, job, columns, rows, ("kind", "key"), "id", where="state = 'waiting'"))


def dead(tx: Tx, limit: int = 100) -> list[DeadJob]:
    """What failed for good, the latest first."""
    names = ("id", "kind", "key", "attempts", "last_error", "finished_at")
    chosen = select(*(job.c[name] for name in names)).where(job.c.state == "dead")
    newest = chosen.order_by(job.c.finished_at.desc(), job.c.id.desc()).limit(limit)
    return [from_row(DeadJob, row) for row in tx.rows(newest)]


def revive(tx: Tx, now: datetime, ids: Sequence[int] | None = None) -> int:
    """Let dead jobs (these, or all) be tried again from the start; one that waits again already is done. How many wait."""
    chosen = and_(job.c.state == "dead", true() if ids is None else job.c.id.in_(ids))
    again = 0
    for row in tx.rows(select(job.c.id, job.c.kind, job.c.key).where(chosen).order_by(job.c.id).with_for_update()):
        is_it = job.c.id == row["id"]
        waits = _let_wait(tx, is_it, row["kind"], row["key"], {"run_at": now, "attempts": 0})
        if not waits:
            tx.execute(update(job).where(is_it).values(state="done"))
        again += bool(waits)
    return again


def complete(tx: Tx, held: Lease, at: datetime) -> bool:
    """The job is done; False when the lease went to another worker, and then what was done must be rolled back."""
    return tx.changed(update(job).where(_holds(held)).values(state="done", finished_at=at, lease_until=None)) == 1


def renew(tx: Tx, held: Lease, until: datetime) -> bool:
    """Keep the job until `until`; False when the lease was lost."""
    return tx.changed(update(job).where(_holds(held)).values(lease_until=until)) == 1


def revoke(tx: Tx, kind: str, at: datetime) -> bool:
    """End what is in hand of a kind: its lease counts no more; False when there is none."""
    running = and_(job.c.kind == kind, RUNNING)
    return tx.changed(update(job).where(running).values(state="done", finished_at=at, lease_until=None)) > 0


def fail(tx: Tx, held: Lease, error: str, retry_at: datetime | None, at: datetime) -> bool:
    """The job failed: try again at `retry_at`, or never (None: it is dead and stays to be seen). False: lease lost.

    When the same job was asked for again meanwhile, that one waits already and this one ends.
    """
    told = {"last_error": error, "lease_until": None}
    if retry_at is not None:
        waits = _let_wait(tx, _holds(held), held.kind, held.key, told | {"run_at": retry_at})
        if waits is not None:
            return waits == 1
    state = "dead" if retry_at is None else "done"
    return tx.changed(update(job).where(_holds(held)).values(told | {"state": state, "finished_at": at})) == 1


def _let_wait(tx: Tx, which: ColumnElement[bool], kind: str, key: str, values: Mapping[str, Any]) -> int | None:
    """Let a job wait again; how many do, None when the same job waits already, asked for by somebody at this moment perhaps."""
    if tx.first(select(job.c.id).where(job.c.kind == kind, job.c.key == key, WAITING)):
        return None
    try:
        with tx.connection.begin_nested():
            return tx.changed(update(job).where(which).values({**values, "state": "waiting"}))
    except IntegrityError:
        return None


def next_run_at(tx: Tx, kinds: Sequence[str]) -> datetime | None:
    """When the next waiting job of `kinds` is due, or None."""
    found = tx.value(select(func.min(job.c.run_at)).where(job.c.kind.in_(kinds), WAITING))
    return found if isinstance(found, datetime) else None


def states(tx: Tx) -> list[JobState]:
    """How the jobs stand, by kind."""

    def count(state: str) -> ColumnElement[int]:
        return func.count(case((job.c.state == state, 1))).label(state)

    oldest = func.min(case((WAITING, job.c.run_at)), type_=job.c.run_at.type).label("oldest_due")
    chosen = select(job.c.kind, count("waiting"), count("running"), count("dead"), oldest)
    return [JobState(**row) for row in tx.rows(chosen.group_by(job.c.kind).order_by(job.c.kind))]


def forget_done(tx: Tx, before: datetime) -> int:
    """Delete jobs that ended well before `before`; how many."""
    return tx.changed(delete(job).where(job.c.state == "done", job.c.finished_at < before))


def _is_over(now: datetime, lease: timedelta) -> ColumnElement[bool]:
    return or_(job.c.lease_until < now, job.c.lease_until > now + lease + SKEW)


def _payload(told: str) -> Mapping[str, Any] | None:
    try:
        found = json.loads(told or "{}")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _holds(held: Lease) -> ColumnElement[bool]:
    return and_(job.c.id == held.id, job.c.token == held.token, RUNNING)
