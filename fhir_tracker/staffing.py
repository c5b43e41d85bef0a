"""Keeping work owned: it is given out where a program says so, and handed on when its owner is away or gone.

A named reader of the change log, so that the cost follows what changes: new and freed work asks for an owner; what nobody
can have waits, visibly, and is tried again. Every change of an owner is a transition with its reason.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from fhir_tracker import caseload, programs, provenance, records, staff, substitutes, task_resources, transitions
from fhir_tracker.errors import Busy, Unavailable, VersionConflict
from fhir_tracker.fhir.identity import local_id
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.program import Ownership
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.model.work import WorkItem
from fhir_tracker.storage import caseloads, changes, resources, settings, work_items
from fhir_tracker.storage import staff as rows
from fhir_tracker.storage.caseloads import Waiting
from fhir_tracker.storage.changes import Change
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.staff import Absence
from fhir_tracker.storage.transitions import of_items as transitions_of

STAFFING = worker_viewer("staffing")
"""Who gives work out and hands it on."""
CONSUMER = "staffing"
NO_OWNER = "no-owner"
_TOLD = "no-owner-roles"
BATCH = 500
ROUNDS = 20


@dataclass(frozen=True, kw_only=True)
class StaffingReport:
    """What one round did: changes read, work given to somebody, handed on, and what still waits for an owner."""

    changes: int = 0
    given: int = 0
    handed_on: int = 0
    waiting: int = 0


def keep_owned(database: Database, now: datetime, codes: Mapping[str, str] | None = None) -> StaffingReport:
    """One round: learn of the staff, hand on the work of those who are away or gone, give out what wants an owner."""
    read = handed = 0
    for _ in range(ROUNDS):
        with database.begin() as tx:
            found = _read(tx, now, codes)
        read += len(found)
        handed += _hand_on_given(database, [one.ref for one in found if one.type == "Task"], now)
        if len(found) < BATCH:
            break
    for absence in _beginning(database, now):
        handed += _begin(database, absence, now)
    with database.read() as tx:
        gone = caseloads.owners_gone(tx, STAFFING, now)
    for person in gone:
        handed += _hand_on(database, person, None, f"{person} is not active any more", now)
    given = _give_out(database, now)
    waiting = _tell_admin(database, Author(viewer=STAFFING, origin="rules", at=now))
    return StaffingReport(changes=read, given=given, handed_on=handed, waiting=waiting)


def _read(tx: Tx, now: datetime, codes: Mapping[str, str] | None) -> Sequence[Change]:
    """Take in the next changes: of the staff, and of work that now wants an owner; the place moves with them."""
    found = changes.read_since(tx, STAFFING, CONSUMER, BATCH)
    if not found:
        return ()
    people = {one.ref: one for one in found if one.type in staff.TYPES}
    present = resources.find_many(tx, STAFFING, list(people))
    for ref, one in people.items():
        stored = present.get(ref)
        if stored is None or stored.deleted:
            person = staff.forget(tx, one.type, one.id)
        else:
            person = staff.learn(tx, records.resource_of(stored), codes)
        if person is not None:
            work_items.wake_owned(tx, [ref, *rows.names_of(tx, person)], now)
    _ask_for_owners(tx, sorted({one.ref for one in found if one.type == "Task"}))
    changes.advance(tx, CONSUMER, found[-1])
    return found


def _ask_for_owners(tx: Tx, refs: Sequence[str]) -> None:
    items = work_items.find_many(tx, STAFFING, refs)
    wanting = [one for one in items.values() if one.kind == "task" and _policy(tx, one) is not None]
    back = caseloads.given_back(tx, STAFFING, [one.ref for one in wanting], STAFFING.who) if wanting else set()
    for one in wanting:
        if one.ref not in back:
            caseloads.want_owner(tx, Waiting(item=one.ref, role=one.role or "", since=one.created_at, reason="new"))
    caseloads.wait_no_more(tx, [ref for ref in refs if ref not in items or items[ref] not in wanting or ref in back])


def _policy(tx: Tx, item: WorkItem) -> Ownership | None:
    """How the item gets its owner; None when it has one, is closed, or waits in its queue on purpose."""
    if not item.open or item.owner or not item.role or not item.program or item.kind != "task":
        return None
    program = programs.load(tx, item.program, item.program_version)
    policy = program.ownership.of(item.role) if program else None
    return policy if policy is not None and policy.assign != "queue" else None


def _give_out(database: Database, now: datetime) -> int:
    """Try to find an owner for what waits for one, role by role until nobody of it can have more; each on its own."""
    with database.read() as tx:
        waiting = {role: caseloads.waiting(tx, role) for role in caseloads.roles_waiting(tx)}
    given = 0
    for of_role in waiting.values():
        for one in of_role:
            done = _try(database, one, now)
            given += done is True
            if done is False:
                break
    return given


def _try(database: Database, one: Waiting, now: datetime) -> bool | None:
    """True when it has an owner now, False when nobody of the role can have it, None when it wants none any more."""
    try:
        with database.begin() as tx:
            return _assign(tx, one, Author(viewer=STAFFING, origin="rules", at=now))
    except (Busy, Unavailable, VersionConflict):
        return None


def _assign(tx: Tx, one: Waiting, author: Author) -> bool | None:
    item = work_items.find(tx, STAFFING, one.item)
    policy = _policy(tx, item) if item is not None else None
    if item is None or policy is None:
        caseloads.wait_no_more(tx, [one.item])
        return None
    choice = caseload.choose(tx, item, policy, author.at)
    if choice.person is None:
        caseloads.want_owner(tx, Waiting(item=item.ref, role=item.role or "", since=one.since, reason=choice.reason))
        return False
    transitions.assign(tx, item.ref, choice.person, author, reason=f"assigned by itself: {choice.reason}")
    caseloads.wait_no_more(tx, [item.ref])
    return True


def _beginning(database: Database, now: datetime) -> list[Absence]:
    with database.read() as tx:
        return [one for one in rows.absences(tx, since=now) if one.start <= now and not one.begun]


def _hand_on_given(database: Database, refs: Sequence[str], now: datetime) -> int:
    """Hand on what a rule or worker, and no person, gave to somebody who is away by now; how many pieces."""
    with database.read() as tx:
        items = [one for one in work_items.find_many(tx, STAFFING, refs).values() if one.open and one.owner]
        people = rows.people(tx, {one.owner for one in items if one.owner}, now)
        away = {ref: one for ref, known in people.items() if (one := known.away(now)) and not one.keeps_work}
        given = [one for one in items if one.owner in away]
        logs = transitions_of(tx, STAFFING, [one.ref for one in given]) if given else {}
        stand_ins = {ref: substitutes.stand_in(tx, people[ref].ref, now) for ref in away}
    handed = 0
    for item in given:
        last = [row for row in logs[item.ref] if row.what == "owner"][-1:]
        if item.owner and last and last[0].who.startswith("Device/"):
            why = _away_words(people[item.owner].ref, away[item.owner].end)
            handed += _handed(database, item.ref, item.owner, stand_ins[item.owner], why, now)
    return handed


def _away_words(person: str, end: datetime | None) -> str:
    return f"{person} is away{f' until {end:%Y-%m-%d %H:%M} UTC' if end else ''}"


def _begin(database: Database, absence: Absence, now: datetime) -> int:
    """Hand on the work of somebody who is away from now on, then remember that it was."""
    handed = 0
    if not absence.keeps_work:
        with database.read() as tx:
            stand_in = substitutes.stand_in(tx, absence.person, now)
        handed = _hand_on(database, absence.person, stand_in, _away_words(absence.person, absence.end), now)
    with database.begin() as tx:
        rows.mark_begun(tx, absence.id)
    return handed


def _hand_on(database: Database, person: str, to: str | None, why: str, now: datetime) -> int:
    """Give all open work of a person to another, or back to its queues; how many pieces. Each in its own transaction."""
    with database.read() as tx:
        theirs = {
            name: caseloads.open_work_of(tx, STAFFING, name, limit=BATCH * 20) for name in rows.names_of(tx, person)
        }
    return sum(_handed(database, ref, name, to, why, now) for name, refs in theirs.items() for ref in refs)


def _handed(database: Database, ref: str, person: str, to: str | None, why: str, now: datetime) -> bool:
    author = Author(viewer=STAFFING, origin="rules", at=now)
    whom = f"; {to} stands in" if to else "; back to its queue"
    try:
        with database.begin() as tx:
            item = work_items.find(tx, STAFFING, ref)
            if item is None or not item.open or item.owner != person:
                return False
            transitions.assign(tx, ref, to, author, reason=f"{why}{whom}")
    except (Busy, Unavailable, VersionConflict):
        return False
    return True


def _tell_admin(database: Database, author: Author) -> int:
    """One Task for each role that has work and nobody for it, completed when there is somebody again; what waits in all."""
    with database.read() as tx:
        waiting = caseloads.roles_waiting(tx)
        if not waiting and not _told(tx):
            return 0
    with database.begin() as tx:
        waiting, told = caseloads.roles_waiting(tx), _told(tx)
        lacking = {role for role in waiting if not _anybody(tx, role, author.at)}
        for role in sorted(lacking - told):
            _open(tx, role, *waiting[role], author)
        for role in sorted(told - lacking):
            _complete(tx, f"Task/{task_id(role)}", author)
        if lacking != told:
            settings.put(tx, _TOLD, json.dumps(sorted(lacking)) if lacking else None)
    return sum(count for count, _ in waiting.values())


def _told(tx: Tx) -> set[str]:
    """The roles for which such a Task was opened and the matter lasts; one that a person closed is not opened again."""
    return set(json.loads(settings.get(tx, _TOLD) or "[]"))


def _anybody(tx: Tx, role: str, now: datetime) -> bool:
    return any(one.away(now) is None for one in rows.members(tx, role, now))


def task_id(role: str) -> str:
    """The id of the one Task that says there is nobody of a role."""
    return local_id(NO_OWNER, role, "Task")


def _open(tx: Tx, role: str, count: int, reason: str, author: Author) -> None:
    title = f"Nobody to give work to: {role}"
    words = (
        f"{count} pieces of work for {role} have no owner: {reason}. Add somebody to the role at the EHR "
        "(PractitionerRole), or end an absence; this closes by itself then."
    )
    _save(tx, task_resources.admin_task(task_id(role), NO_OWNER, title, words, author.at), author, words)


def _complete(tx: Tx, ref: str, author: Author) -> None:
    stored = resources.find(tx, STAFFING, *ref.split("/"))
    item = work_items.find(tx, STAFFING, ref)
    if stored is not None and item is not None and item.open:
        done = task_resources.with_status(records.resource_of(stored), None, "completed", author.at)
        _save(tx, done, author, "There is somebody of the role again, or no work waits for it.")


def _save(tx: Tx, task: Resource, author: Author, reason: str) -> None:
    stored = records.save(tx, task, author, why=Why(reason=reason))
    provenance.record(tx, [stored], author, Why(reason=reason))
