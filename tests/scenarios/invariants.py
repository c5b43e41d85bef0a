"""What must be true after every story, whatever happened in it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict

from fhir_tracker import explain, gathering, programs, rebuilding, records
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.reading import objects_at, text_at
from fhir_tracker.model.program import CANONICAL
from fhir_tracker.model.work import WorkItem
from fhir_tracker.rules.engine import evaluate
from fhir_tracker.storage import events, resources
from tests.scenarios.practice import Practice
from tests.support.clinic import SYSTEM

OWN = ("Task", "CarePlan", "Communication", "Flag", "Provenance", "PlanDefinition", "ActivityDefinition", "CodeSystem")


def hold(practice: Practice) -> None:
    """Check every invariant on everything the practice has."""
    items = practice.all_items()
    nothing_sleeps_that_could_wake(practice, items)
    each_level_fired_once(practice, items)
    rows_chain(practice, items)
    plans_name_their_tasks(practice, items)
    own_resources_are_valid(practice)
    every_item_is_explained(practice, items)
    a_rebuild_changes_nothing(practice)


def nothing_sleeps_that_could_wake(practice: Practice, items: list[WorkItem]) -> None:
    """Nothing is left to do now, and open ruled work is looked at as soon as time alone could change an answer."""
    with practice.database.read() as tx:
        for facts in gathering.gather(tx, SYSTEM, items):
            item = facts.item
            if not item.open:
                assert item.next_action_at is None, item
            if not item.open or not item.program:
                continue
            program = programs.load(tx, item.program, item.program_version)
            assert program is not None
            found = evaluate(program, facts, practice.now)
            assert found.effects == (), (item.title, found.effects)
            if found.next_at is not None:
                assert item.next_action_at is not None, item
                assert practice.now < item.next_action_at <= found.next_at, item


def each_level_fired_once(practice: Practice, items: list[WorkItem]) -> None:
    """One firing and one escalation Task for each item, rule, cycle and level; levels of a case climb one by one."""
    seen: Counter[tuple[object, ...]] = Counter()
    for item in items:
        cases: dict[tuple[str, str], list[int]] = defaultdict(list)
        for one in sorted(practice.firings(item.ref), key=lambda each: (each.fired_at, each.key.level)):
            if one.kind == "escalate":
                cases[one.key.rule, one.key.cycle].append(one.key.level)
        for case, levels in cases.items():
            assert levels == list(range(1, len(levels) + 1)), (item.title, case, levels)
        if item.kind == "escalation":
            inputs = objects_at(practice.resource(item.ref), "input")
            seen[(item.focus, *(str(one.get("valuePositiveInt") or one.get("valueString")) for one in inputs))] += 1
    assert [key for key, times in seen.items() if times > 1] == []


def rows_chain(practice: Practice, items: list[WorkItem]) -> None:
    """The transition rows tell the whole way: each begins where the one before ended, the last ends where it is now."""
    for item in items:
        last: dict[str, str | None] = {}
        for row in practice.log(item.ref):
            if row.what in ("escalation", "note"):
                continue
            assert row.before == last.get(row.what, row.before), (item.title, row)
            last[row.what] = row.after
        assert last["stage" if item.kind == "plan" else "status"] == item.status, item
        assert last.get("owner") == item.owner, item


def plans_name_their_tasks(practice: Practice, items: list[WorkItem]) -> None:
    """`CarePlan.activity` lists every task of the plan, and nothing else."""
    for plan in (one for one in items if one.kind == "plan"):
        listed = [text_at(one, "reference", "reference") for one in objects_at(practice.resource(plan.ref), "activity")]
        tasks = [one.ref for one in items if one.plan == plan.ref and one.kind == "task"]
        assert sorted(str(one) for one in listed) == sorted(tasks)


def own_resources_are_valid(practice: Practice) -> None:
    """What the tracker wrote is R4 without a remark."""
    for resource in practice.stored(*OWN):
        if resource.get("meta", {}).get("source", CANONICAL) == CANONICAL:
            assert check(resource) == (), (resource["resourceType"], check(resource))


def every_item_is_explained(practice: Practice, items: list[WorkItem]) -> None:
    """`rules explain` answers for everything, in words and as JSON."""
    with practice.database.read() as tx:
        for item in items:
            found = explain.explain(tx, SYSTEM, item.ref, practice.now)
            assert json.loads(json.dumps(found.as_json()))["item"]
            assert len(found.as_lines()) >= 3


def a_rebuild_changes_nothing(practice: Practice) -> None:
    """Dropping the read models and building them again from the store gives the same rows."""
    before = _read_models(practice)
    rebuilding.rebuild_all(practice.database, practice.now)
    after = _read_models(practice)
    for name, rows in before.items():
        assert after[name] == rows, name


def _read_models(practice: Practice) -> dict[str, object]:
    people = sorted({one.patient for one in practice.all_items() if one.patient})
    with practice.database.read() as tx:
        seen = events.of_patients(tx, SYSTEM, people)
        stored = resources.scan(tx, SYSTEM, ("Patient",), limit=1000)
    return {
        "items": {one.ref: one for one in practice.all_items()},
        "events": {who: sorted(found, key=lambda one: one.ref) for who, found in seen.items()},
        "patients": [records.resource_of(one) for one in stored],
    }
