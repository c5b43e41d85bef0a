"""The staff as read from Practitioner and PractitionerRole, and their absences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import delete, or_, select, update

from fhir_tracker.model.staff import Away, Person
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.records import from_row, to_row
from fhir_tracker.storage.slices import slices
from fhir_tracker.storage.staff_tables import staff_absence, staff_person, staff_role, staff_turn

_ROLE = "PractitionerRole/"


@dataclass(frozen=True, kw_only=True)
class RoleRow:
    """What one PractitionerRole (`source`) says: a person's roles, from `start` until `end`, where they are given."""

    source: str
    person: str
    roles: tuple[str, ...]
    active: bool
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Absence:
    """One absence as it was written down; `begun` says that the work was handed on already."""

    id: int
    person: str
    start: datetime
    end: datetime | None
    substitute: str | None
    keeps_work: bool
    begun: bool
    said_by: str
    said_at: datetime


def save_person(tx: Tx, one: Person) -> None:
    """Write what a Practitioner says now: name, whether active, and mail."""
    row = {"ref": one.ref, "name": one.name, "active": one.active, "mail": one.mail}
    tx.execute(tx.insert(staff_person).values(row).on_conflict_do_update(index_elements=["ref"], set_=row))


def save_role(tx: Tx, one: RoleRow) -> None:
    """Write what a PractitionerRole says now."""
    row = to_row(one)
    tx.execute(tx.insert(staff_role).values(row).on_conflict_do_update(index_elements=["source"], set_=row))


def role_row(tx: Tx, source: str) -> RoleRow | None:
    """What one PractitionerRole said last."""
    row = tx.first(select(staff_role).where(staff_role.c.source == source))
    return from_row(RoleRow, row) if row else None


def people(tx: Tx, refs: Iterable[str], now: datetime | None = None) -> dict[str, Person]:
    """Reference -> person with the roles that count at `now` (None: at any time), for those anything is known of.

    Behind a PractitionerRole is its person, not active where the role does not count.
    """
    wanted = set(refs)
    behind = _roles(tx, [ref for ref in wanted if ref.startswith(_ROLE)])
    named = sorted(wanted.difference(behind) | {one.person for one in behind.values()})
    found: dict[str, Person] = {}
    for some in slices(named):
        found |= _people(tx, some, now)
    for ref, one in behind.items():
        counts = one.active and _counts(one.start, one.end, now)
        person = found.get(one.person, Person(ref=one.person))
        found[ref] = person if counts else replace(person, active=False)
    return {ref: found[ref] for ref in wanted if ref in found}


def person_behind(tx: Tx, ref: str) -> str:
    """The person of a PractitionerRole that is known, else the reference itself."""
    found = role_row(tx, ref) if ref.startswith(_ROLE) else None
    return found.person if found else ref


def persons_behind(tx: Tx, refs: Iterable[str]) -> dict[str, str]:
    """Reference -> person, for the PractitionerRoles among them that are known."""
    return {ref: one.person for ref, one in _roles(tx, [ref for ref in refs if ref.startswith(_ROLE)]).items()}


def names_of(tx: Tx, person: str) -> list[str]:
    """The references by which work can be a person's: their own, and those of their PractitionerRoles."""
    rows = tx.rows(select(staff_role.c.source).where(staff_role.c.person == person).order_by(staff_role.c.source))
    return [person, *(row["source"] for row in rows)]


def _roles(tx: Tx, sources: Sequence[str]) -> dict[str, RoleRow]:
    found: dict[str, RoleRow] = {}
    for some in slices(sources):
        chosen = select(staff_role).where(staff_role.c.source.in_(some))
        found |= {row["source"]: from_row(RoleRow, row) for row in tx.rows(chosen)}
    return found


def everybody(tx: Tx, now: datetime) -> list[Person]:
    """All of the staff, by name."""
    refs = {row["ref"] for row in tx.rows(select(staff_person.c.ref))}
    refs |= {row["person"] for row in tx.rows(select(staff_role.c.person).distinct())}
    refs |= {row["person"] for row in tx.rows(select(staff_absence.c.person).distinct())}
    return sorted(people(tx, refs, now).values(), key=lambda one: (one.name, one.ref))


def members(tx: Tx, role: str, now: datetime) -> list[Person]:
    """Those of the staff who are active and have a role at `now`, by reference."""
    rows = tx.rows(select(staff_role).where(staff_role.c.active))
    having = {row["person"] for row in rows if role in row["roles"] and _counts(row["start"], row["end"], now)}
    found = people(tx, having, now)
    return [found[ref] for ref in sorted(found) if found[ref].active]


def _people(tx: Tx, refs: Sequence[str], now: datetime | None) -> dict[str, Person]:
    persons = {row["ref"]: row for row in tx.rows(select(staff_person).where(staff_person.c.ref.in_(refs)))}
    roles: dict[str, set[str]] = {}
    told: set[str] = set()
    for row in tx.rows(select(staff_role).where(staff_role.c.person.in_(refs))):
        told.add(row["person"])
        if row["active"] and _counts(row["start"], row["end"], now):
            roles.setdefault(row["person"], set()).update(row["roles"])
    away: dict[str, list[Away]] = {}
    chosen = select(staff_absence).where(staff_absence.c.person.in_(refs))
    for row in tx.rows(chosen.order_by(staff_absence.c.start, staff_absence.c.id)):
        named = {name: row[name] for name in ("start", "end", "substitute", "keeps_work")}
        one = Away(**named)
        away.setdefault(row["person"], []).append(one)
    return {
        ref: Person(
            ref=ref,
            name=persons[ref]["name"] if ref in persons else "",
            active=persons[ref]["active"] if ref in persons else True,
            roles=frozenset(roles.get(ref, ())),
            absences=tuple(away.get(ref, ())),
            mail=persons[ref]["mail"] if ref in persons else "",
        )
        for ref in refs
        if ref in persons or ref in told or ref in away
    }


def _counts(start: datetime | None, end: datetime | None, now: datetime | None) -> bool:
    if now is None:
        return True
    return (start is None or start <= now) and (end is None or now < end)


def add_absence(
    tx: Tx,
    person: str,
    *,
    start: datetime,
    end: datetime | None,
    substitute: str | None,
    keeps_work: bool,
    said_by: str,
    said_at: datetime,
) -> int:
    """Write an absence down; its id."""
    id_ = tx.keys.take()
    row = {"id": id_, "person": person, "start": start, "end": end, "substitute": substitute, "begun": False}
    row |= {"keeps_work": keeps_work, "said_by": said_by, "said_at": said_at}
    tx.execute(tx.insert(staff_absence).values(row))
    return id_


def absences(tx: Tx, *, since: datetime | None = None) -> list[Absence]:
    """All absences, or those that are not over at `since`, in order of their start."""
    chosen = select(staff_absence)
    if since is not None:
        chosen = chosen.where(or_(staff_absence.c.end.is_(None), staff_absence.c.end > since))
    return [from_row(Absence, row) for row in tx.rows(chosen.order_by(staff_absence.c.start, staff_absence.c.id))]


def end_absence(tx: Tx, id_: int, at: datetime) -> str | None:
    """Let an absence end at `at`, or before it began take it back; whose it was, None when none lasts longer."""
    lasts = or_(staff_absence.c.end.is_(None), staff_absence.c.end > at)
    is_it = (staff_absence.c.id == id_) & lasts
    row = tx.first(select(staff_absence).where(is_it).with_for_update())
    if row is None:
        return None
    if row["start"] >= at:
        tx.execute(delete(staff_absence).where(is_it))
    else:
        tx.execute(update(staff_absence).where(is_it).values(end=at))
    return str(row["person"])


def mark_begun(tx: Tx, id_: int) -> None:
    """The work of this absence was handed on."""
    tx.execute(update(staff_absence).where(staff_absence.c.id == id_).values(begun=True))


def turn(tx: Tx, role: str) -> str | None:
    """Who of a role was given work last in turn."""
    found = tx.value(select(staff_turn.c.person).where(staff_turn.c.role == role))
    return found if isinstance(found, str) else None


def take_turn(tx: Tx, role: str, person: str) -> None:
    """Remember who of a role was given work last."""
    row = {"role": role, "person": person}
    tx.execute(tx.insert(staff_turn).values(row).on_conflict_do_update(index_elements=["role"], set_=row))
