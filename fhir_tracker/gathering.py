"""Gathering the facts of a batch of work items with a fixed number of queries, never one an item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from fhir_tracker import programs, records
from fhir_tracker.model.contact import Contact, contact_of
from fhir_tracker.model.facts import Facts, PlanFacts
from fhir_tracker.model.plan import plan_facts
from fhir_tracker.model.program import Program, TaskTemplate
from fhir_tracker.model.standing import PatientFacts, standing_of
from fhir_tracker.model.viewer import Viewer, worker_viewer
from fhir_tracker.model.work import Event, Transition, WorkItem
from fhir_tracker.rules.closing import FILED
from fhir_tracker.rules.conditions import asks
from fhir_tracker.storage import events, firings, patients, resources, staff, transitions, work_items
from fhir_tracker.storage.database import Tx

_READER = worker_viewer("gathering")
REACHING = ("Communication", "Consent", "Encounter", "Flag")
"""The types of events that tell where outreach stands."""
_PLACES = ("Encounter/", "Appointment/")


def gather(tx: Tx, viewer: Viewer, items: Sequence[WorkItem]) -> list[Facts]:
    """The facts of each item, in the same order."""
    refs = [item.ref for item in items]
    people = sorted({item.patient for item in items if item.patient})
    plans = _plans(tx, viewer, sorted({item.plan for item in items if item.plan}))
    logs = transitions.of_items(tx, viewer, sorted({*refs, *plans}))
    fired = firings.of_items(tx, viewer, refs)
    seen = events.of_patients(tx, viewer, people)
    tasks = work_items.of_plans(tx, viewer, sorted({item.plan for item in items if item.plan}))
    known = patients.find_many(tx, viewer, people)
    staffed = staff.people(tx, {item.owner for item in items if item.owner})
    contacts = contacts_of(tx, viewer, items)
    strangers = strangers_of(tx, seen)
    standing = standing_of_patients(tx, viewer, items)
    return [
        Facts(
            item=item,
            plan=_with_log(plans.get(item.plan or ""), logs),
            log=logs[item.ref],
            events=tuple(seen.get(item.patient or "", ())),
            fired=fired[item.ref],
            tasks=tuple(one for one in tasks.get(item.plan or "", ()) if one.ref != item.ref),
            people={item.owner: staffed[item.owner]} if item.owner in staffed else {},
            deceased=item.patient in known and known[item.patient].deceased,
            zone=known[item.patient].zone if item.patient in known else None,
            contact=contacts.get(item.patient or ""),
            strangers=strangers.get(item.patient or "", frozenset()),
            patient=standing.get(item.patient or ""),
        )
        for item in items
    ]


def gather_outreach(tx: Tx, viewer: Viewer, items: Sequence[WorkItem]) -> list[Facts]:
    """Only what tells where outreach stands, of the items whose program has a policy for them. Five queries."""
    return outreach_facts(tx, viewer, [item for item in items if item.kind == "task" and _is_outreach(tx, item)])


def outreach_facts(tx: Tx, viewer: Viewer, items: Sequence[WorkItem]) -> list[Facts]:
    """As `gather_outreach`, of each of these in the same order."""
    people = sorted({item.patient for item in items if item.patient})
    seen = events.of_patients(tx, viewer, people, REACHING) if people else {}
    known = patients.find_many(tx, viewer, people)
    contacts = contacts_of(tx, viewer, items) if people else {}
    holding = sorted({item.plan for item in items if item.plan and _can_be_held(tx, item)})
    plans = _plans(tx, viewer, holding) if holding else {}
    logs = transitions.of_items(tx, viewer, sorted(plans)) if plans else {}
    return [
        Facts(
            item=item,
            plan=_with_log(plans.get(item.plan or ""), logs),
            events=tuple(seen.get(item.patient or "", ())),
            deceased=item.patient in known and known[item.patient].deceased,
            zone=known[item.patient].zone if item.patient in known else None,
            contact=contacts.get(item.patient or ""),
        )
        for item in items
    ]


def strangers_of(tx: Tx, seen: Mapping[str, Sequence[Event]]) -> dict[str, frozenset[str]]:
    """Patient id -> Encounters and Appointments that filed things name and that are another patient's. One query."""
    named: dict[str, set[str]] = {}
    for patient, events_ in seen.items():
        own = {one.ref for one in events_}
        about = {ref for one in events_ if one.type in FILED for ref in one.about if ref.startswith(_PLACES)}
        if about - own:
            named[patient] = about - own
    owners = events.owners(tx, _READER, sorted(set().union(*named.values()))) if named else {}
    return {
        patient: frozenset(ref for ref in refs if owners.get(ref, patient) != patient)
        for patient, refs in named.items()
    }


def contacts_of(tx: Tx, viewer: Viewer, items: Sequence[WorkItem]) -> dict[str, Contact]:
    """Patient id -> how to reach them, for the items whose program has an outreach policy for them. One query."""
    reaching = {item.patient for item in items if item.patient and _is_outreach(tx, item)}
    stored = resources.find_many(tx, viewer, sorted(f"Patient/{one}" for one in reaching))
    known = [one for one in stored.values() if not one.deleted]
    return {one.id: contact_of(records.resource_of(one), as_of=one.updated_at) for one in known}


def standing_of_patients(tx: Tx, viewer: Viewer, items: Sequence[WorkItem]) -> dict[str, PatientFacts]:
    """Patient id -> what the record says of them, for the items whose program has a rule that asks for it. One query."""
    asking = {item.patient for item in items if item.patient and _asks_for_patients(tx, item)}
    stored = resources.find_many(tx, viewer, sorted(f"Patient/{one}" for one in asking)) if asking else {}
    known = [one for one in stored.values() if not one.deleted]
    return {one.id: standing_of(records.resource_of(one), as_of=one.updated_at) for one in known}


def _asks_for_patients(tx: Tx, item: WorkItem) -> bool:
    program = _program(tx, item) if item.open else None
    return program is not None and asks(program, "patient")


def _is_outreach(tx: Tx, item: WorkItem) -> bool:
    template = _template(tx, item) if item.open else None
    return template is not None and template.outreach is not None


def _can_be_held(tx: Tx, item: WorkItem) -> bool:
    """Whether the hold of its plan stops outreach."""
    program, template = _program(tx, item), _template(tx, item)
    own = template.pauses if template else None
    return "plan-hold" in ((program.pauses if program else ()) if own is None else own)


def _template(tx: Tx, item: WorkItem) -> TaskTemplate | None:
    program = _program(tx, item)
    return program.task(item.code) if program else None


def _program(tx: Tx, item: WorkItem) -> Program | None:
    """The item's program; None for none, and for one that this release cannot read."""
    return programs.load_readable(tx, item.program, item.program_version) if item.program else None


def _with_log(plan: PlanFacts | None, logs: Mapping[str, tuple[Transition, ...]]) -> PlanFacts | None:
    return replace(plan, log=logs[plan.ref]) if plan else None


def _plans(tx: Tx, viewer: Viewer, refs: Sequence[str]) -> dict[str, PlanFacts]:
    items = work_items.find_many(tx, viewer, refs)
    stored = resources.find_many(tx, viewer, list(items))
    return {ref: plan_facts(records.resource_of(one), items[ref]) for ref, one in stored.items() if not one.deleted}
