"""What it costs to ask twenty rules about one item: against one compiled FHIRPath predicate on one resource."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import fhirpathpy
from fhirpathpy.models import models

from fhir_tracker.model.facts import Facts
from fhir_tracker.rules.conditions import judge
from fhir_tracker.rules.engine import evaluate, look
from fhir_tracker.rules.quick import compiled, concerning
from tests.benchmarks.table import row
from tests.rules.samples import MONDAY, attempt, event, facts, hours, item, moved, program, visit

ITEMS: Final = 100
ROUNDS: Final = 40
Seen = tuple[Facts, dict[str, Any]]
NOW: Final = MONDAY + timedelta(days=1)
RULES: Final = """
  - {id: r01, when: {all: [{task: first-call}, {overdue_by: 0 hours}]}, do: {escalate: late}}
  - {id: r02, when: {all: [{task: first-call}, {overdue_by: 1 business day}]}, do: {set_priority: urgent}}
  - {id: r03, when: {all: [{task: visit}, {overdue_by: 0 hours}]}, do: {escalate: late}}
  - {id: r04, when: {all: [{task: rebook}, {overdue_by: 4 business hours}]}, do: {notify: rn}}
  - {id: r05, when: {due_within: 4 business hours}, do: {notify: rn}}
  - {id: r06, when: {unassigned_for: 1 business day}, do: {raise_flag: unowned}}
  - {id: r07, when: {all: [{priority: [urgent, stat]}, {unassigned_for: 1 business hour}]}, do: {notify: provider}}
  - {id: r08, when: {in_status_for: {status: calling, for: 2 business days}}, do: {return_to_queue: true}}
  - {id: r09, when: {all: [{task: first-call}, {outreach_failed: {attempts: 3, over: 2 days, channels: 2}}]}, do: {raise_flag: x}}
  - {id: r10, subject: task, when: {all: [{task: visit}, {appointment_missed: {service: visit, grace: 1 day}}]}, do: {create_task: rebook}}
  - {id: r11, subject: task, when: {all: [{task: visit}, {document_missing: note}]}, do: {raise_flag: no-note}}
  - {id: r12, subject: task, when: {flag: high-risk}, do: {set_priority: urgent}}
  - {id: r13, subject: task, when: {all: [{flag: unreachable}, {outreach_reached: true}]}, do: {clear_flag: unreachable}}
  - {id: r14, when: {all: [{stage: enrolled}, {task: touch}, {overdue_by: 2 days}]}, do: {escalate: late}}
  - {id: r15, when: {untouched_for: 3 business days}, do: {return_to_queue: true}}
  - {id: r16, when: {handed_over: {times: 3, within: 7 days}}, do: {notify: clinic-admin}}
  - {id: r17, when: {hold: {for: 5 business days}}, do: {notify: rn}}
  - {id: r18, subject: task, when: {all: [{task: visit}, {in_hospital: true}]}, do: {notify: rn}}
  - {id: r19, subject: task, when: {exception: [deceased, withdrawn]}, do: {notify: rn}}
  - {id: r20, when: {owner: [away, inactive]}, do: {notify: clinic-admin}}
"""
TASK: Final[dict[str, Any]] = {
    "resourceType": "Task",
    "id": "synthetic",
    "status": "in-progress",
    "intent": "order",
    "priority": "routine",
    "for": {"reference": "Patient/synthetic"},
    "owner": {"reference": "Practitioner/a"},
    "restriction": {"period": {"end": "2026-03-12T09:00:00Z"}},
    "code": {"coding": [{"system": "urn:x", "code": "first-call"}]},
}
TASK_TEXT: Final = json.dumps(TASK)
PATH: Final = "Task.where(status = 'in-progress' and code.coding.where(code = 'first-call').exists()).exists()"


def situation(number: int) -> Facts:
    """One task of 100, owned and called about twice, that nothing is wrong with; no two are due at the same time."""
    due = MONDAY + timedelta(days=3, minutes=number)
    events = (
        visit("a", "booked", MONDAY + timedelta(days=5)),
        attempt("c1", MONDAY + hours(2)),
        attempt("c2", MONDAY + hours(4), channel="sms"),
        event("Encounter/e", "finished", MONDAY - timedelta(days=4), end=MONDAY, codes=("x|IMP",)),
        event("Observation/o", "final", MONDAY, codes=("|x",)),
    )
    called = MONDAY + timedelta(hours=2, minutes=number % 60)
    log = (moved(None, "to-call", MONDAY), moved("to-call", "calling", called))
    work = item(due_at=due, owner="Practitioner/a", assigned_since=MONDAY, status="calling", status_since=called)
    return facts(work, events=events, log=log)


def fresh() -> list[Seen]:
    """Some of them with nothing remembered from an earlier round, each with its own Task as one reads it from a store."""
    return [(situation(number), json.loads(TASK_TEXT)) for number in range(ITEMS)]


def best_cpu(**sides: Callable[[list[Seen]], object]) -> dict[str, float]:
    """Microseconds of processor time for one item on each side, the best of many short rounds in turns: nothing waits."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, work in sides.items():
            some = fresh()
            begun = time.process_time()
            work(some)
            times[name].append(time.process_time() - begun)
    return {name: min(found) / ITEMS * 1e6 for name, found in times.items()}


def test_twenty_rules_on_one_item_against_one_fhirpath_predicate() -> None:
    demo = program(RULES)
    assert len(demo.rules) == 20
    path = fhirpathpy.compile(PATH, models["r4"])
    assert path(TASK, None) == [True]
    found = best_cpu(
        path=lambda some: [path(task, None) for _, task in some],
        rules=lambda some: [one.quick(known, NOW) for known, _ in some for one in concerning(demo, known.item)],
        whole=lambda some: [look(demo, known, NOW) for known, _ in some],
        told=lambda some: [evaluate(demo, known, NOW) for known, _ in some],
    )
    row("one compiled FHIRPath predicate (fhirpathpy) on one Task", found["path"], "us")
    row("20 rules on one item, asked as a sweep asks them", found["rules"], "us")
    row("  in hundredths of that predicate (goal: 10)", 100 * found["rules"] / found["path"], "")
    row("the whole look of a sweep at one item (rules, closing, work)", found["whole"], "us")
    row("20 rules with every explanation", found["told"], "us")


def test_what_the_sweep_asks_and_what_is_explained_agree() -> None:
    demo = program(RULES)
    for number in range(0, ITEMS, 10):
        known = situation(number)
        asked = concerning(demo, known.item)
        for one in compiled(demo, "task"):
            answer = one.quick(known, NOW)
            assert one in asked or answer == (False, None)
            assert answer is None or answer[0] == judge(demo, known, one.rule.when, NOW)[0].holds
