"""Rosters: whom an EHR is asked about one by one, and when each is due again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, case, delete, exists, func, select, update

from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.records import from_row, to_row
from fhir_tracker.storage.roster_tables import roster
from fhir_tracker.storage.tables import resource
from fhir_tracker.storage.work_tables import work_item


@dataclass(frozen=True, kw_only=True)
class Member:
    """One whom is asked about; `patient` is the id at the EHR, `watermark` how far it was read there.

    `misses` counts how often in a row it could not be read; `done_at` is when it last could, by our clock.
    """

    connection: str
    type: str
    patient: str
    due_at: datetime
    done_at: datetime | None = None
    watermark: datetime | None = None
    misses: int = 0


def add(tx: Tx, connection: str, type_: str, patients: Iterable[str], due_at: datetime) -> None:
    """Put those on the roster who are not on it; they are due at `due_at`."""
    members = (Member(connection=connection, type=type_, patient=one, due_at=due_at) for one in sorted(set(patients)))
    if rows := [to_row(one) for one in members]:
        tx.execute(tx.insert(roster).on_conflict_do_nothing(), rows)


def missing(tx: Tx, connection: str, type_: str, subject: str) -> list[str]:
    """The remote ids of what is held of `subject` (Patient, Practitioner or Location) and not on the roster."""
    on_it = exists().where(
        roster.c.connection == connection, roster.c.type == type_, roster.c.patient == resource.c.remote_id
    )
    chosen = select(resource.c.remote_id).where(
        resource.c.connection == connection, resource.c.type == subject, ~resource.c.deleted, ~on_it
    )
    return sorted(row["remote_id"] for row in tx.rows(chosen) if row["remote_id"])


def leave(tx: Tx, connection: str, type_: str, subject: str) -> None:
    """Take those off the roster whom the EHR has deleted."""
    gone = select(resource.c.remote_id).where(
        resource.c.connection == connection, resource.c.type == subject, resource.c.deleted
    )
    tx.execute(
        delete(roster).where(roster.c.connection == connection, roster.c.type == type_, roster.c.patient.in_(gone))
    )


def due(tx: Tx, connection: str, type_: str, now: datetime, limit: int) -> list[tuple[Member, bool]]:
    """Up to `limit` who are due, each with whether there is open work; those with open work first, then the longest due."""
    is_theirs = and_(
        resource.c.connection == connection, resource.c.type == "Patient", resource.c.remote_id == roster.c.patient
    )
    works = exists().where(work_item.c.patient == resource.c.id, work_item.c.open, is_theirs)
    busy = case((works, 1), else_=0).label("busy")
    chosen = select(roster, busy).where(
        roster.c.connection == connection, roster.c.type == type_, roster.c.due_at <= now
    )
    rows = tx.rows(chosen.order_by(busy.desc(), roster.c.due_at, roster.c.patient).limit(limit))
    return [(from_row(Member, row), bool(row["busy"])) for row in rows]


def save(tx: Tx, member: Member) -> None:
    """Write one, in the transaction of what was read of it."""
    row = to_row(member)
    keys = ["connection", "type", "patient"]
    tx.execute(tx.insert(roster).values(row).on_conflict_do_update(index_elements=keys, set_=row))


def all_due(tx: Tx, connection: str, type_: str, now: datetime) -> None:
    """Let everyone be read again."""
    mine = (roster.c.connection == connection, roster.c.type == type_)
    tx.execute(update(roster).where(*mine).values(due_at=now))


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a roster stands: members, those due, those that failed last time, and when the longest unread was read.

    `untried` are those of the never read for whom no try has failed.
    """

    members: int
    due: int
    failing: int
    never: int
    untried: int
    oldest: datetime | None


def standing(tx: Tx, connection: str, type_: str, now: datetime) -> Standing:
    """For showing."""
    counts = {
        "members": func.count(),
        "due": func.count(case((roster.c.due_at <= now, 1))),
        "failing": func.count(case((roster.c.misses > 0, 1))),
        "never": func.count(case((roster.c.done_at.is_(None), 1))),
        "untried": func.count(case((and_(roster.c.done_at.is_(None), roster.c.misses == 0), 1))),
        "oldest": func.min(roster.c.done_at, type_=roster.c.done_at.type),
    }
    chosen = select(*(one.label(name) for name, one in counts.items()))
    row = tx.first(chosen.where(roster.c.connection == connection, roster.c.type == type_))
    return Standing(**row) if row else Standing(members=0, due=0, failing=0, never=0, untried=0, oldest=None)


def was_read_since(tx: Tx, connection: str, types: Iterable[str], patient: str, moment: datetime) -> bool:
    """Whether something of `types` was read of a patient (an id at the EHR) since `moment`."""
    theirs = and_(roster.c.connection == connection, roster.c.type.in_(sorted(types)), roster.c.patient == patient)
    return tx.first(select(roster.c.type).where(theirs, roster.c.done_at >= moment).limit(1)) is not None


def forget(tx: Tx, connection: str) -> None:
    """Drop the rosters of a connection."""
    tx.execute(delete(roster).where(roster.c.connection == connection))


def held(tx: Tx, connection: str, type_: str, patient: str) -> dict[str, str]:
    """Remote id -> body of everything of `type_` held from the EHR about a patient (a local id), without deleted ones."""
    chosen = select(resource.c.remote_id, resource.c.body).where(
        resource.c.patient == patient,
        resource.c.type == type_,
        resource.c.connection == connection,
        ~resource.c.deleted,
    )
    return {row["remote_id"]: row["body"] for row in tx.rows(chosen) if row["remote_id"]}
