"""From a stored resource to the read models that rules and queues use, in the transaction of the change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import chain
from typing import cast

from fhir_tracker import held_back, programs
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import moment_at
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.event import EVENT_TYPES, event_of
from fhir_tracker.model.patient import PatientSummary, summary_of
from fhir_tracker.model.plan import plan_item
from fhir_tracker.model.program import Program
from fhir_tracker.model.spell import beginning, ended, measured
from fhir_tracker.model.subject import patient_of
from fhir_tracker.model.task import changes_between, next_cycle, task_item, with_history
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.model.work import Event, FiringState, Transition, WorkItem
from fhir_tracker.sites import within_site
from fhir_tracker.storage import (
    attempt_log,
    events,
    firings,
    glass,
    patients,
    resources,
    spells,
    transitions,
    work_items,
)
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.resources import Stored
from fhir_tracker.storage.slices import slices

_PROJECTOR = worker_viewer("projection")
WORK_TYPES = frozenset({"Task", "CarePlan"})
"""What can be a work item."""
_GATHERED = "gathered"
ATTEMPTED = frozenset({"completed", "not-done"})
ANSWERS: Mapping[str, FiringState] = {
    "accepted": "acknowledged",
    "in-progress": "taken-over",
    "rejected": "sent-back",
    "completed": "resolved",
    "cancelled": "resolved",
    "failed": "resolved",
    "entered-in-error": "resolved",
}
"""What an escalation Task's status says people answered."""


def project(
    tx: Tx, stored: Stored, resource: Resource, author: Author, why: Why | None = None, *, fresh: bool = False
) -> None:
    """Bring every read model in step with this version of the resource, and make dependent work due for a look.

    `fresh`: nothing was ever stored under this id, so that only what this transaction wrote before can know of it.
    """
    if stored.type == "Patient":
        _save_patient(tx, stored, summary_of(resource, stored.connection), fresh=fresh)
    if stored.type in EVENT_TYPES:
        _replace_event(tx, stored, event_of(resource, seen_at=stored.updated_at), author.at)
    item = item_of(tx, stored, resource)
    if item is not None:
        if stored.version == 1:
            _add_item(tx, item, author, why, fresh=fresh)
        else:
            _save_item(tx, item, author, why)
    elif stored.version > 1 and stored.type in WORK_TYPES:
        _drop_item(tx, stored.ref, author, why)


def withdraw(tx: Tx, stored: Stored, author: Author, why: Why | None = None) -> None:
    """Take a deleted resource out of the read models; its rows of history stay."""
    if stored.type == "Patient":
        patients.drop(tx, stored.id)
    if stored.type in EVENT_TYPES:
        _replace_event(tx, stored, None, author.at)
    if stored.type in WORK_TYPES:
        _drop_item(tx, stored.ref, author, why)


def item_of(tx: Tx, stored: Stored, resource: Resource) -> WorkItem | None:
    """The work item a Task or enrolled CarePlan gives by itself, without its history; None for everything else."""
    if stored.type == "Task":
        program = None if stored.connection else programs.of_resource(tx, resource)
        born = _born(tx, stored, resource, "authoredOn")
        found = task_item(resource, program, mirrored=stored.connection is not None, created_at=born)
        return _placed(tx, program, found) if program else found
    if stored.type == "CarePlan" and stored.connection is None:
        program = programs.of_resource(tx, resource)
        born = _born(tx, stored, resource, "created")
        return _placed(tx, program, plan_item(resource, program, created_at=born)) if program else None
    return None


def _placed(tx: Tx, program: Program, item: WorkItem) -> WorkItem:
    """The item at the place whose calendar counts, where its own is part of that."""
    site = within_site(tx, program.calendar, item.site)
    return item if site == item.site else item.having(site=site)


def _born(tx: Tx, stored: Stored, resource: Resource, told_in: str) -> datetime:
    """When the first version was written: what counts for a resource that does not tell its age itself."""
    if stored.version == 1 or moment_at(resource, told_in):
        return stored.updated_at
    first = resources.find_version(tx, _PROJECTOR, stored.type, stored.id, 1)
    return first.updated_at if first else stored.updated_at


def refresh(tx: Tx, item: WorkItem, *, at: datetime | None) -> WorkItem:
    """Save the item with what its rows know; `at` is when it is next looked at (None keeps closed work asleep)."""
    log = transitions.of_items(tx, _PROJECTOR, [item.ref])[item.ref]
    fired = firings.of_items(tx, _PROJECTOR, [item.ref])[item.ref]
    whole = _standing(tx, _awake(with_history(item, log, fired, _attempts(tx, item)), at), log)
    work_items.save(tx, whole)
    return whole


def _standing(tx: Tx, item: WorkItem, log: Sequence[Transition]) -> WorkItem:
    if item.stands_since is not None or item.kind == "outside":
        return item
    first = log[0].recorded_at if log else item.created_at
    return item.having(stands_since=spells.last_end(tx, item.ref) or first)


def _awake(item: WorkItem, at: datetime | None) -> WorkItem:
    due = at if item.open and item.program else None
    return item if item.next_action_at == due else item.having(next_action_at=due)


def refresh_ref(tx: Tx, ref: str, *, at: datetime | None) -> None:
    """As `refresh`, for the item behind a reference; nothing happens when there is none."""
    item = work_items.find(tx, _PROJECTOR, ref)
    if item is not None:
        refresh(tx, item, at=at)


def _add_item(tx: Tx, item: WorkItem, author: Author, why: Why | None, *, fresh: bool) -> None:
    """The item of a first version: it has no rows yet, and none but attempts that came before it can be about it."""
    tx.here.pop(("new patient", item.patient), None)
    log = changes_between(None, item, author, why)
    for row in log:
        transitions.add(tx, row, item.patient)
    tried = _attempts(tx, item) if not fresh or "Communication" in tx.types else ()
    after = _awake(with_history(item, log, (), tried), author.at)
    if item.kind != "outside":
        after = after.having(stands_since=author.at)
    if item.kind == "plan":
        spells.add(tx, beginning(after, author, why))
    work_items.add(tx, after)
    _tell_others(tx, after, ANSWERS.get(after.fhir_status, "open"), author.at, fresh=fresh)


def _save_item(tx: Tx, item: WorkItem, author: Author, why: Why | None) -> None:
    held = held_back.held(tx)
    if held is not None and item.kind != "escalation":
        held.saved.append((item, author, why))
        work_items.forget(tx, item)
        return
    before = work_items.find(tx, _PROJECTOR, item.ref) or _as_deleted(tx, item)
    after = refresh(tx, _note_changes(tx, before, item, author, why), at=author.at)
    _tell_others(tx, after, ANSWERS.get(after.fhir_status, "open"), author.at)


def _note_changes(tx: Tx, before: WorkItem | None, item: WorkItem, author: Author, why: Why | None) -> WorkItem:
    for row in changes_between(before, item, author, why):
        transitions.add(tx, row, item.patient)
    return item if item.kind == "outside" else item.having(stands_since=_stood(tx, before, item, author, why))


def _stood(tx: Tx, before: WorkItem | None, item: WorkItem, author: Author, why: Why | None) -> datetime:
    """Since when the item stands as it does for measures; what it was until now is written down as a spell."""
    if before is None:
        if item.kind == "plan":
            spells.add(tx, beginning(item, author, why))
        return author.at
    since = before.stands_since or spells.last_end(tx, item.ref) or before.created_at
    if measured(before) == measured(item):
        return since
    over = ended(before.having(stands_since=since), item, author, why)
    spells.add(tx, over)
    return over.until


def _drop_item(tx: Tx, ref: str, author: Author, why: Why | None) -> None:
    before = work_items.find(tx, _PROJECTOR, ref)
    if before is None:
        return
    after = _closed(before)
    for row in changes_between(before, after, author, why):
        transitions.add(tx, row, before.patient)
    if before.kind != "outside":
        spells.add(tx, ended(before, after, author, why))
    work_items.drop(tx, ref)
    _tell_others(tx, after, "resolved", author.at)


def _closed(item: WorkItem) -> WorkItem:
    return replace(item, status="deleted", fhir_status="entered-in-error", open=False, clock="stopped")


def _as_deleted(tx: Tx, item: WorkItem) -> WorkItem | None:
    """How work that was deleted and comes back stood: its rows go on from there, in a cycle of their own."""
    log = transitions.of_items(tx, _PROJECTOR, [item.ref])[item.ref]
    return replace(_closed(item), cycle=max(row.cycle for row in log)) if log else None


def _tell_others(tx: Tx, item: WorkItem, answer: FiringState, now: datetime, *, fresh: bool = False) -> None:
    """Let the plan of a task and the work an escalation is about know that it changed."""
    if item.kind == "escalation" and not fresh and (firing := firings.of_task(tx, _PROJECTOR, item.ref)):
        firings.set_state(tx, firing.key, answer)
    other = {"task": item.plan, "escalation": item.focus}.get(item.kind)
    if other:
        touch(tx, other, now)


def _save_patient(tx: Tx, stored: Stored, summary: PatientSummary, *, fresh: bool) -> None:
    if stored.version > 1:
        patients.save(tx, summary)
        set_flags(tx, summary.patient)
        _wake(tx, summary.patient, stored.updated_at)
        return
    if fresh:
        tx.here["new patient", summary.patient] = True
    flags = () if fresh and "Flag" not in tx.types else _active_flags(tx, summary.patient)
    patients.add(tx, replace(summary, flags=flags))


def _replace_event(tx: Tx, stored: Stored, event: Event | None, now: datetime) -> None:
    """Write or drop the event, and make the rules look again at whom it is about now and was about before."""
    before = events.find(tx, _PROJECTOR, stored.ref) if stored.version > 1 else None
    if event is not None and stored.version == 1:
        events.add(tx, event)
    elif event is not None:
        events.save(tx, event)
    elif before is not None:
        events.drop(tx, before.ref)
    seen = [one for one in (before, event) if one is not None]
    for patient in sorted({one.patient for one in seen}):
        if not _has_no_work(tx, patient):
            _wake(tx, patient, now)
        if stored.type == "Flag":
            set_flags(tx, patient)
    if stored.type == "Communication":
        about = {ref for one in seen for ref in one.about if ref.startswith("Task/")}
        items = work_items.find_many(tx, _PROJECTOR, about)
        _log_attempt(tx, stored, event, items, now)
        for item in items.values():
            if held_back.held(tx) is None:
                refresh(tx, item, at=now)
            else:
                touch(tx, item.ref, now)


def _log_attempt(tx: Tx, stored: Stored, event: Event | None, items: Mapping[str, WorkItem], now: datetime) -> None:
    """Write down the attempt that this version of a Communication tells of, and end what was known of it before."""
    told = event if event is not None and event.status in ATTEMPTED else None
    found = (items[ref] for ref in (told.about if told else ()) if ref in items)
    item = next((one for one in found if one.kind != "outside"), None)
    if stored.version > 1:
        attempt_log.end(tx, stored.ref, now)
    if told is not None and item is not None:
        attempt_log.add(tx, told, item, now)


def _has_no_work(tx: Tx, patient: str) -> bool:
    """Whether nobody can have work about a patient, who was made in this transaction as no work was since."""
    return ("new patient", patient) in tx.here


def set_flags(tx: Tx, patient: str) -> None:
    """Let the patient's summary name the flags that are active now."""
    patients.set_flags(tx, patient, _active_flags(tx, patient))


def _active_flags(tx: Tx, patient: str) -> tuple[str, ...]:
    """The codes that everybody may know who sees the patient: not those of a Flag that is restricted by itself."""
    active = {one.ref: one.codes[0].partition("|")[2] for one in _events(tx, patient, "Flag") if _is_told(one)}
    shut = glass.restricted_among(tx, active)
    return tuple(sorted({code for ref, code in active.items() if ref not in shut} - {""}))


def _is_told(flag: Event) -> bool:
    return flag.status == "active" and bool(flag.codes)


def _attempts(tx: Tx, item: WorkItem) -> list[Event]:
    if not item.patient or item.kind == "plan":
        return []
    found = _events(tx, item.patient, "Communication")
    return sorted((one for one in found if item.ref in one.about and one.status in ATTEMPTED), key=lambda one: one.at)


def _events(tx: Tx, patient: str, type_: str) -> Sequence[Event]:
    """A patient's events of one type, asked for once in a transaction until it writes one itself."""
    place = (type_, patient)
    if place in tx.here and type_ not in tx.types:
        return cast(Sequence[Event], tx.here[place])
    found = events.of_patients(tx, _PROJECTOR, [patient], [type_])[patient]
    tx.here[place] = found
    return found


def expect(tx: Tx, coming: Sequence[Resource]) -> None:
    """Ask once for what the read models of all these need, and gather whom `wake_gathered` then wakes at once."""
    tx.here.setdefault(_GATHERED, set())
    for resource_type, needed in (("Task", "Communication"), ("Patient", "Flag")):
        found = (patient_of(one) for one in coming if one["resourceType"] == resource_type)
        whose = sorted({patient for patient in found if patient})
        for some in slices(whose):
            seen = events.of_patients(tx, _PROJECTOR, some, [needed])
            tx.here |= {(needed, patient): told for patient, told in seen.items()}


def wake_gathered(tx: Tx, now: datetime) -> None:
    """Make the rules look again at everybody whom changes since `expect` were about."""
    whose = sorted(tx.here.pop(_GATHERED, ()))
    for some in slices(whose):
        work_items.all_due_now(tx, some, now)


def hold_back(tx: Tx) -> None:
    """From now on, items that are there already are written by `bring_in_step`, many with one statement.

    Until then nothing may read the items that are written. Patients are woken then, too.
    """
    tx.here.setdefault(_GATHERED, set())
    held_back.begin(tx)


def touch(tx: Tx, ref: str, now: datetime) -> None:
    """Let an item learn what its rows say, at once or with what is held back."""
    held = held_back.held(tx)
    if held is None:
        refresh_ref(tx, ref, at=now)
    else:
        held.touched.add(ref)
        if tx.foresight is not None:
            tx.foresight.forget([ref])


def catch_up(tx: Tx, now: datetime) -> None:
    """Write what was held back so far, for somebody who wants to read it, and go on holding back."""
    held = held_back.held(tx)
    if held is None or not (held.saved or held.touched):
        return
    depth, held.depth = held.depth, 1
    bring_in_step(tx, now)
    hold_back(tx)
    if begun := held_back.held(tx):
        begun.depth = depth


def bring_in_step(tx: Tx, now: datetime) -> None:
    """Write what was held back since `hold_back`, and make the rules look again at all of it at `now`."""
    held = held_back.end(tx)
    if held is None:
        return
    about = {item.plan for item, _, _ in held.saved if item.kind == "task" and item.plan}
    refs = {item.ref for item, _, _ in held.saved} | held.touched | about
    if tx.foresight is not None:
        tx.foresight.forget(list(refs))
        tx.foresight.pending.clear()
    items = work_items.find_many(tx, _PROJECTOR, refs)
    for item, author, why in held.saved:
        before = items.get(item.ref) or _as_deleted(tx, item)
        items[item.ref] = _note_changes(tx, before, item, author, why).having(cycle=next_cycle(before, item))
    _refresh_many(tx, [items[ref] for ref in sorted(items)], now)
    wake_gathered(tx, now)


def _refresh_many(tx: Tx, items: Sequence[WorkItem], now: datetime) -> None:
    for some in slices(items):
        refs = [item.ref for item in some]
        logs = transitions.of_items(tx, _PROJECTOR, refs)
        fired = firings.of_items(tx, _PROJECTOR, refs)
        whose = sorted({item.patient for item in some if item.patient and item.kind != "plan"})
        tried = _attempts_about(events.of_patients(tx, _PROJECTOR, whose, ["Communication"]))
        whole = [
            _standing(
                tx,
                with_history(one, logs[one.ref], fired[one.ref], () if one.kind == "plan" else tried.get(one.ref, ())),
                logs[one.ref],
            )
            for one in some
        ]
        work_items.save_many(tx, [_awake(one, now) for one in whole])


def _attempts_about(seen: Mapping[str, Sequence[Event]]) -> dict[str, list[Event]]:
    """Item -> the attempts about it, oldest first."""
    found: dict[str, list[Event]] = {}
    for one in sorted(chain.from_iterable(seen.values()), key=lambda one: one.at):
        for ref in one.about if one.status in ATTEMPTED else ():
            found.setdefault(ref, []).append(one)
    return found


def _wake(tx: Tx, patient: str, now: datetime) -> None:
    if tx.foresight is not None:
        tx.foresight.written.add(f"Patient/{patient}")
    if _GATHERED in tx.here:
        tx.here[_GATHERED].add(patient)
    else:
        work_items.due_now(tx, patient, now)
