"""Whose open work is how much, and what waits for an owner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, case, delete, exists, func, or_, select

from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.records import from_row, to_row
from fhir_tracker.storage.scope import row_scope
from fhir_tracker.storage.slices import SIZE
from fhir_tracker.storage.staff_tables import staff_person, staff_role, wants_owner
from fhir_tracker.storage.work_tables import transition, work_item

_OWN = ("task", "escalation")
"""The kinds of work that the tracker gives somebody."""


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """Work that waits for an owner of a role, and why nobody could have it."""

    item: str
    role: str
    since: datetime
    reason: str


def open_counts(tx: Tx, viewer: Viewer, refs: Sequence[str]) -> dict[str, int]:
    """Person -> how much open work is theirs, by themselves or by one of their PractitionerRoles; 0 included."""
    roles = tx.rows(select(staff_role.c.source, staff_role.c.person).where(staff_role.c.person.in_(refs)))
    whose = {ref: ref for ref in refs} | {row["source"]: row["person"] for row in roles}
    mine = (work_item.c.owner.in_(sorted(whose)), work_item.c.open, work_item.c.kind.in_(_OWN))
    chosen = select(work_item.c.owner, func.count().label("count")).where(*mine, row_scope(viewer, work_item))
    found = dict.fromkeys(refs, 0)
    for row in tx.rows(chosen.group_by(work_item.c.owner)):
        found[whose[row["owner"]]] += row["count"]
    return found


def open_work_of(tx: Tx, viewer: Viewer, person: str, limit: int = SIZE) -> list[str]:
    """The references of a person's open work here, oldest first; not what is an EHR's."""
    mine = (work_item.c.owner == person, work_item.c.open, work_item.c.kind.in_(_OWN))
    chosen = select(work_item.c.ref).where(*mine, row_scope(viewer, work_item)).order_by(work_item.c.k).limit(limit)
    return [row["ref"] for row in tx.rows(chosen)]


def owners_gone(tx: Tx, viewer: Viewer, now: datetime) -> list[str]:
    """Who has open work and is not active any more, or has lost every role there was of theirs; it costs what the staff is.

    A PractitionerRole that has work and counts no longer, or whose person is gone, is among them.
    """
    counts = and_(
        staff_role.c.active,
        or_(staff_role.c.start.is_(None), staff_role.c.start <= now),
        or_(staff_role.c.end.is_(None), staff_role.c.end > now),
    )
    left = select(staff_role.c.person.label("ref")).group_by(staff_role.c.person)
    left = left.having(func.max(case((counts, 1), else_=0)) == 0)
    inactive = select(staff_person.c.ref).where(~staff_person.c.active)
    lost = select(staff_role.c.source.label("ref")).where(or_(~counts, staff_role.c.person.in_(inactive)))
    gone = inactive.union(left, lost).subquery()
    mine = exists().where(
        work_item.c.owner == gone.c.ref, work_item.c.open, work_item.c.kind.in_(_OWN), row_scope(viewer, work_item)
    )
    return sorted(row["ref"] for row in tx.rows(select(gone.c.ref).where(mine)))


def given_back(tx: Tx, viewer: Viewer, items: Sequence[str], but_by: str) -> set[str]:
    """Those of `items` whose owner was last taken off by anybody but `but_by`: they are meant to be in the queue."""
    last = (
        select(func.max(transition.c.k).label("k"))
        .where(transition.c.item.in_(items), transition.c.what == "owner", row_scope(viewer, transition))
        .group_by(transition.c.item)
        .subquery()
    )
    chosen = select(transition.c.item).where(
        transition.c.k.in_(select(last.c.k)), transition.c.after.is_(None), transition.c.who != but_by
    )
    return {row["item"] for row in tx.rows(chosen)}


def want_owner(tx: Tx, one: Waiting) -> None:
    """Let work wait for an owner, or say anew why it does."""
    row = to_row(one)
    new = tx.insert(wants_owner).values(row)
    tx.execute(new.on_conflict_do_update(index_elements=["item"], set_={"role": one.role, "reason": one.reason}))


def waiting(tx: Tx, role: str, limit: int = SIZE) -> list[Waiting]:
    """What waits for an owner of a role, longest first."""
    chosen = select(wants_owner).where(wants_owner.c.role == role).order_by(wants_owner.c.since, wants_owner.c.item)
    return [from_row(Waiting, row) for row in tx.rows(chosen.limit(limit))]


def wait_no_more(tx: Tx, items: Sequence[str]) -> None:
    """These have an owner, or want none any more."""
    if items:
        tx.execute(delete(wants_owner).where(wants_owner.c.item.in_(items)))


def roles_waiting(tx: Tx) -> dict[str, tuple[int, str]]:
    """Role -> how much work waits for an owner of it, and one reason."""
    chosen = select(wants_owner.c.role, func.count().label("count"), func.min(wants_owner.c.reason).label("reason"))
    rows = tx.rows(chosen.group_by(wants_owner.c.role))
    return {row["role"]: (row["count"], row["reason"]) for row in rows}
