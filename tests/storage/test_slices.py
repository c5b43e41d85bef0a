"""Long lists of ids at the borders of what one statement is given: none, one, a slice less one, a slice, one more, two and one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from fhir_tracker.model.patient import PatientSummary
from fhir_tracker.model.staff import Person
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.model.work import Event, Firing, FiringKey, Transition
from fhir_tracker.storage import (
    absences,
    caseloads,
    enrolments,
    events,
    firings,
    jobs,
    outbox,
    patients,
    poisoned,
    resources,
    rosters,
    staff,
    transitions,
    work_items,
)
from fhir_tracker.storage.absences import Absence
from fhir_tracker.storage.caseloads import Waiting
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.enrolments import Enrolment
from fhir_tracker.storage.foresight import Foresight
from fhir_tracker.storage.outbox import Changed
from fhir_tracker.storage.poisoned import Poisoned
from fhir_tracker.storage.slices import SIZE, slices
from fhir_tracker.storage.staff import RoleRow
from tests.storage.samples import NOW, VIEWER, item, put

WORKER = worker_viewer("sweep")
BORDERS = (0, 1, SIZE - 1, SIZE, SIZE + 1, 2 * SIZE + 1)
MOST = max(BORDERS)
NAMES = tuple(f"n{number:04d}" for number in range(MOST))
THERE = tuple(NAMES[at] for at in (0, 1, 2, SIZE - 2, SIZE - 1, SIZE, SIZE + 1, 2 * SIZE - 1, 2 * SIZE))
"""Those that there is anything of: on both sides of each border."""
HOUR = timedelta(hours=1)


@pytest.mark.parametrize("size", [1, 2, 3, 7, SIZE])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 6, 7, 8, SIZE - 1, SIZE, SIZE + 1, 3 * SIZE])
def test_slices_give_every_value_once_and_in_order(count: int, size: int) -> None:
    given = list(slices(range(count), size))
    assert [value for some in given for value in some] == list(range(count))
    assert all(len(some) == size for some in given[:-1])
    assert all(0 < len(some) <= size for some in given)


@pytest.mark.parametrize("size", [0, -1])
def test_slices_without_a_size_are_refused_or_empty_but_never_endless(size: int) -> None:
    if size == 0:
        with pytest.raises(ValueError, match="zero"):
            list(slices("abc", size))
    else:
        assert list(slices("abc", size)) == []


def test_a_slice_of_a_list_is_a_list_and_of_a_tuple_a_tuple() -> None:
    assert list(slices([1, 2, 3], 2)) == [[1, 2], [3]]
    assert list(slices((1, 2, 3), 2)) == [(1, 2), (3,)]


@dataclass(frozen=True, kw_only=True)
class Kept:
    """How one store is filled with THERE, and how it is asked for some names: those that the answer is about."""

    fill: Callable[[Tx], None]
    ask: Callable[[Tx, Sequence[str]], set[str]]


def each(write: Callable[[Tx, str], Any]) -> Callable[[Tx], None]:
    """Writes one row for each name."""

    def fill(tx: Tx) -> None:
        for name in THERE:
            write(tx, name)

    return fill


def task(name: str) -> str:
    return f"Task/{name}"


def bare(refs: Any) -> set[str]:
    return {ref.partition("/")[2] for ref in refs}


def a_work_item(tx: Tx, name: str) -> None:
    made = item(task(name), patient=name, plan=f"CarePlan/{name}", owner=f"Practitioner/{name}", program="tcm")
    work_items.add(tx, made)


def a_plan(tx: Tx, name: str) -> None:
    work_items.add(tx, item(f"CarePlan/{name}", kind="plan", patient=name, program="tcm"))


def an_event(tx: Tx, name: str) -> None:
    seen = Event(ref=f"Encounter/{name}", type="Encounter", status="finished", patient=name, seen_at=NOW)
    events.add(tx, seen)


def a_changed(tx: Tx, name: str) -> None:
    told = Changed(connection="ehr", type="Task", local_id=name, patient=name, made_here=False, version=1)
    remote = {"remote_id": f"r-{name}", "remote_version": "1", "remote_hash": "x"}
    outbox.put(tx, Changed(**(vars(told) | remote)), NOW)


def a_firing(tx: Tx, name: str) -> None:
    key = FiringKey(item=task(name), rule="late", cycle="0", level=1)
    firings.fire(tx, Firing(key=key, fired_at=NOW, kind="escalate", program="tcm"), name)


def a_transition(tx: Tx, name: str) -> None:
    made = Transition(
        item=task(name),
        what="owner",
        before="Practitioner/x",
        after=None,
        recorded_at=NOW,
        effective_at=NOW,
        who="staff",
    )
    transitions.add(tx, made, name)


def a_mirrored_patient(tx: Tx, name: str) -> None:
    put(tx, {"resourceType": "Patient", "id": name}, connection="ehr", remote_id=f"r-{name}", remote_version="1")


def a_poisoned(tx: Tx, name: str) -> None:
    row = Poisoned(ref=task(name), program="tcm", reason="odd", times=1, since=NOW, until=NOW + HOUR)
    poisoned.save(tx, row)


def drop_poisoned(tx: Tx, names: Sequence[str]) -> set[str]:
    """Which went."""
    before = {one.ref for one in poisoned.all(tx)}
    poisoned.drop(tx, [task(name) for name in names])
    return bare(before - {one.ref for one in poisoned.all(tx)})


def foresee_items(tx: Tx, names: Sequence[str]) -> set[str]:
    tx.foresight = Foresight(in_step=lambda: None)
    found = work_items.foresee(tx, [task(name) for name in names])
    assert {one.ref for one in found} == set(tx.foresight.items)
    assert set(tx.foresight.about) == {task(name) for name in names}
    return bare(tx.foresight.items)


def foresee_events(tx: Tx, names: Sequence[str]) -> set[str]:
    tx.foresight = Foresight(in_step=lambda: None)
    events.foresee(tx, names, ["Encounter"])
    assert tx.foresight.knows(names, ["Encounter"])
    return {name for name, seen in tx.foresight.events.items() if len(seen) == 1}


def foresee_resources(tx: Tx, names: Sequence[str]) -> set[str]:
    resources.foresee(tx, VIEWER, [f"Patient/{name}" for name in names])
    return {id_ for (_, id_), (_, stored) in tx.foreseen.items() if stored is not None and stored.id == id_}


def save_items(tx: Tx, names: Sequence[str]) -> set[str]:
    changed = [item(task(name), patient=name, title="changed", program="tcm") for name in names]
    work_items.save_many(tx, changed)
    return {one.patient or "" for _, one in work_items.scan(tx, VIEWER, limit=MOST) if one.title == "changed"}


def wake_patients(tx: Tx, names: Sequence[str]) -> set[str]:
    work_items.all_due_now(tx, names, NOW)
    return woken(tx)


def wake_owners(tx: Tx, names: Sequence[str]) -> set[str]:
    work_items.wake_owned(tx, [f"Practitioner/{name}" for name in names], NOW)
    return woken(tx)


def woken(tx: Tx) -> set[str]:
    return {one.patient or "" for _, one in work_items.scan(tx, VIEWER, limit=MOST) if one.next_action_at == NOW}


def wait_no_more(tx: Tx, names: Sequence[str]) -> set[str]:
    caseloads.wait_no_more(tx, [task(name) for name in names])
    left = {one.item for one in caseloads.waiting(tx, "nurse", MOST)}
    return set(THERE) - bare(left)


def join_roster(tx: Tx, names: Sequence[str]) -> set[str]:
    rosters.add(tx, "ehr", "Observation", names, NOW)
    rosters.add(tx, "ehr", "Observation", names, NOW + HOUR)
    found = rosters.due(tx, "ehr", "Observation", NOW, MOST + 1)
    assert len(found) == len(set(names))
    return {member.patient for member, _ in found}


def ask_for_jobs(tx: Tx, names: Sequence[str]) -> set[str]:
    assert jobs.enqueue_many(tx, "look", names, {}, NOW) == len(set(names))
    assert jobs.enqueue_many(tx, "look", names, {}, NOW) == 0
    taken = jobs.claim_many(tx, ["look"], NOW, HOUR, MOST + 1, 3)
    assert len(taken) == len(set(names))
    ended = jobs.complete_many(tx, taken, NOW)
    assert ended == {one.id for one in taken}
    return {one.key for one in taken}


def reserve(tx: Tx, names: Sequence[str]) -> set[str]:
    wanted = [Enrolment(program="tcm", patient=name, trigger="e", plan=f"CarePlan/{name}", at=NOW) for name in names]
    assert bare(enrolments.reserve_many(tx, wanted)) == set(names)
    assert enrolments.reserve_many(tx, wanted) == set()
    return {one.patient for one in enrolments.of_patients(tx, VIEWER, sorted(set(names)))}


def settle(tx: Tx, names: Sequence[str]) -> set[str]:
    work_items.all_due_now(tx, THERE, NOW)
    claim = work_items.claim_due(tx, NOW, MOST, HOUR)
    assert len(claim.items) == len(THERE)
    return bare(work_items.settle_many(tx, [(task(name), claim.token, NOW + HOUR) for name in names]))


def spans_of(tx: Tx, names: Sequence[str]) -> set[str]:
    work_items.all_due_now(tx, names, NOW)
    spans = work_items.due_spans(tx, NOW, 2, MOST)
    assert sum(span.items for span in spans) == len({*names} & {*THERE})
    found: set[str] = set()
    for span in spans:
        claim = work_items.claim_due(tx, NOW, 2, HOUR, span)
        assert len(claim.items) == span.items
        found |= {one.patient or "" for one in claim.items}
    return found


ADDED = {
    "enrolments that are reserved": Kept(fill=lambda tx: None, ask=reserve),
    "a roster": Kept(fill=lambda tx: None, ask=join_roster),
    "jobs": Kept(fill=lambda tx: None, ask=ask_for_jobs),
}
"""What adds every name that it is asked for."""
KEPT = ADDED | {
    "resources": Kept(
        fill=each(a_mirrored_patient),
        ask=lambda tx, names: bare(resources.find_many(tx, VIEWER, [f"Patient/{name}" for name in names])),
    ),
    "resources that are foreseen": Kept(fill=each(a_mirrored_patient), ask=foresee_resources),
    "resources of an EHR": Kept(
        fill=each(a_mirrored_patient),
        ask=lambda tx, names: {
            known.id for known in resources.known(tx, "ehr", "Patient", [f"r-{name}" for name in names]).values()
        },
    ),
    "the outbox by what is here": Kept(
        fill=each(a_changed), ask=lambda tx, names: bare(outbox.of_local(tx, "ehr", [task(name) for name in names]))
    ),
    "the outbox by what is there": Kept(
        fill=each(a_changed),
        ask=lambda tx, names: {
            one.local_id for one in outbox.of_remote(tx, "ehr", "Task", [f"r-{name}" for name in names]).values()
        },
    ),
    "work items": Kept(
        fill=each(a_work_item),
        ask=lambda tx, names: bare(work_items.find_many(tx, VIEWER, [task(name) for name in names])),
    ),
    "work items that are foreseen": Kept(fill=each(a_work_item), ask=foresee_items),
    "work items that are saved": Kept(fill=each(a_work_item), ask=save_items),
    "work items that are settled": Kept(fill=each(a_work_item), ask=settle),
    "work items in spans": Kept(fill=each(a_work_item), ask=spans_of),
    "work of patients who are woken": Kept(fill=each(a_work_item), ask=wake_patients),
    "work of owners that is woken": Kept(fill=each(a_work_item), ask=wake_owners),
    "work of plans": Kept(
        fill=each(a_work_item),
        ask=lambda tx, names: {
            one.patient or ""
            for some in work_items.of_plans(tx, VIEWER, [f"CarePlan/{name}" for name in names]).values()
            for one in some
        },
    ),
    "plans of a program": Kept(
        fill=each(a_plan), ask=lambda tx, names: set(work_items.plans_of(tx, VIEWER, "tcm", names))
    ),
    "work of owners": Kept(
        fill=each(a_work_item),
        ask=lambda tx, names: bare(
            ref
            for ref, count in caseloads.open_counts(tx, VIEWER, [f"Practitioner/{name}" for name in names]).items()
            if count == 1
        ),
    ),
    "work that was given back": Kept(
        fill=each(a_transition),
        ask=lambda tx, names: bare(caseloads.given_back(tx, VIEWER, [task(name) for name in names], "sweep")),
    ),
    "work that waits for an owner": Kept(
        fill=each(
            lambda tx, name: caseloads.want_owner(tx, Waiting(item=task(name), role="nurse", since=NOW, reason="none"))
        ),
        ask=wait_no_more,
    ),
    "transitions": Kept(
        fill=each(a_transition),
        ask=lambda tx, names: bare(
            ref for ref, made in transitions.of_items(tx, VIEWER, [task(name) for name in names]).items() if made
        ),
    ),
    "firings": Kept(
        fill=each(a_firing),
        ask=lambda tx, names: bare(
            ref for ref, made in firings.of_items(tx, VIEWER, [task(name) for name in names]).items() if made
        ),
    ),
    "events": Kept(
        fill=each(an_event),
        ask=lambda tx, names: {name for name, seen in events.of_patients(tx, VIEWER, names).items() if len(seen) == 1},
    ),
    "events by whose they are": Kept(
        fill=each(an_event),
        ask=lambda tx, names: set(events.owners(tx, VIEWER, [f"Encounter/{name}" for name in names]).values()),
    ),
    "events that are foreseen": Kept(fill=each(an_event), ask=foresee_events),
    "patients": Kept(
        fill=each(lambda tx, name: patients.add(tx, PatientSummary(patient=name, name=f"Synthetic {name}"))),
        ask=lambda tx, names: set(patients.find_many(tx, VIEWER, names)),
    ),
    "absences": Kept(
        fill=each(
            lambda tx, name: absences.save(
                tx, Absence(connection="ehr", type="Task", remote_id=name, misses=1, gone=0, last_at=NOW)
            )
        ),
        ask=lambda tx, names: set(absences.find(tx, "ehr", "Task", names)),
    ),
    "enrolments": Kept(
        fill=each(lambda tx, name: enrolments.reserve(tx, "tcm", name, "", NOW)),
        ask=lambda tx, names: {one.patient for one in enrolments.of_patients(tx, VIEWER, names)},
    ),
    "poisoned items": Kept(fill=each(a_poisoned), ask=drop_poisoned),
    "people": Kept(
        fill=each(lambda tx, name: staff.save_person(tx, Person(ref=f"Practitioner/{name}", name=name))),
        ask=lambda tx, names: {
            one.name for one in staff.people(tx, [f"Practitioner/{name}" for name in names]).values()
        },
    ),
    "people behind their roles": Kept(
        fill=each(
            lambda tx, name: staff.save_role(
                tx,
                RoleRow(
                    source=f"PractitionerRole/{name}", person=f"Practitioner/{name}", roles=("nurse",), active=True
                ),
            )
        ),
        ask=lambda tx, names: bare(
            one.ref for one in staff.people(tx, [f"PractitionerRole/{name}" for name in names]).values()
        ),
    ),
}


class Back(Exception):
    """Undoes what was asked, so that the next border meets the same rows."""


ODD = ("Robert'); --", "%", "_", "ü", "", "x" * 5000, "n0000/n0001", "Patient", "N0000")
"""Names of nothing."""


def asked(database: Database, kept: Kept, wanted: Sequence[str]) -> set[str]:
    """The answer, of which nothing stays."""
    try:
        with database.begin() as tx:
            found = kept.ask(tx, wanted)
            raise Back
    except Back:
        return found


@pytest.mark.parametrize("name", KEPT)
def test_a_long_list_of_ids_is_answered_for_whole_at_the_borders_of_a_slice(database: Database, name: str) -> None:
    kept, all_are_new = KEPT[name], name in ADDED
    with database.begin() as tx:
        kept.fill(tx)
    for count in BORDERS:
        for wanted in (NAMES[:count], NAMES[MOST - count :]):
            expected = set(wanted) if all_are_new else set(wanted) & set(THERE)
            assert asked(database, kept, wanted) == expected, f"{count} ids"
    if not all_are_new:
        assert asked(database, kept, [*ODD, *reversed(THERE), *(f"{one}-" for one in NAMES)]) == set(THERE)
        assert asked(database, kept, ODD) == set()
