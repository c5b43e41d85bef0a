"""Facts under which every test of a rule of a shipped program holds: for the test that each of its rules can fire."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import cast

from fhir_tracker.model.event import event_of
from fhir_tracker.model.facts import Facts, PlanFacts
from fhir_tracker.model.program import Condition, Match, Program, Rule, TaskTemplate
from fhir_tracker.model.vocabulary import FLAG_SYSTEM
from fhir_tracker.model.work import Event, WorkItem
from fhir_tracker.rules.due import due_at
from fhir_tracker.rules.predicate import number, words
from tests.rules.samples import MONDAY, PATIENT, attempt, event, hours

DAY = timedelta(days=1)
LATER = MONDAY + 400 * DAY
UCUM = "http://unitsofmeasure.org"


def work(demo: Program, template: TaskTemplate, status: str = "") -> WorkItem:
    """One piece of work of a template, made on Monday morning."""
    code = status or template.initial
    known = demo.status(code)
    assert known is not None
    plan_anchors = {"enrolment": MONDAY, "discharge": MONDAY}
    return WorkItem(
        ref="Task/t1", kind="task", title=template.title, patient=PATIENT, plan="CarePlan/p1", program=demo.code,
        code=template.code, status=code, fhir_status=known.fhir, clock=known.clock, open=known.clock != "stopped",
        role=template.role, due_at=due_at(demo, template, plan_anchors, MONDAY), priority=template.priority,
        created_at=MONDAY, status_since=MONDAY,
    )  # fmt: skip


def begun(demo: Program) -> str:
    """The first stage in which a plan is worked: no candidate's."""
    return next(one.code for one in demo.stages if one.fhir == "active")


def facts_of(demo: Program, item: WorkItem, events: Iterable[Event] = (), stage: str = "") -> Facts:
    """The item in a plan that began on Monday morning, in its first stage if none is named."""
    anchor = demo.eligible.anchor if demo.eligible else "enrolment"
    anchors = {"enrolment": MONDAY, "discharge": MONDAY, anchor: MONDAY}
    where = stage or begun(demo)
    plan = PlanFacts(ref="CarePlan/p1", stage=where, status="active", started=MONDAY, anchors=anchors)
    return Facts(item=item, plan=plan, events=tuple(events))


def satisfying(demo: Program, rule: Rule) -> tuple[Facts, datetime]:
    """Facts and a moment at which every test of the rule holds."""
    wanted = {leaf.name: leaf for leaf in positive(rule.when)}
    first = demo.tasks[0]
    if "task" in wanted:
        first = demo.task(words(wanted["task"].args, "codes")[0]) or first
    elif negative := {
        code for leaf in _negative(rule.when) if leaf.name == "task" for code in words(leaf.args, "codes")
    }:
        first = next(one for one in demo.tasks if one.code not in negative)
    item = work(demo, first)
    stage = words(wanted["stage"].args, "codes")[0] if "stage" in wanted else begun(demo)
    if rule.subject == "plan":
        item = replace(item, ref="CarePlan/p1", kind="plan", status=stage, code="", role=None, due_at=None)
    if "in_status_for" in wanted and wanted["in_status_for"].args["status"]:
        status = demo.status(words(wanted["in_status_for"].args, "status")[0])
        assert status is not None
        item = replace(item, status=status.code, clock=status.clock, fhir_status=status.fhir)
    events = [one for leaf in positive(rule.when) for one in _events_for(demo, leaf, item)]
    now = LATER
    if "due_within" in wanted:
        assert item.due_at is not None
        now = item.due_at - timedelta(seconds=1)
    return facts_of(demo, item, events, stage), now


def positive(condition: Condition) -> Iterator[Condition]:
    """The single tests that have to hold, or of which one has to."""
    if condition.op == "not":
        return
    if not condition.children:
        yield condition
    enough = condition.children[:1] if condition.op == "any" else condition.children
    for child in enough:
        yield from positive(child)


def _negative(condition: Condition) -> Iterator[Condition]:
    for child in condition.children:
        if condition.op == "not":
            yield from positive(child)
        else:
            yield from _negative(child)


def _events_for(demo: Program, leaf: Condition, item: WorkItem) -> list[Event]:
    if leaf.name in ("flag", "exception", "patient"):
        codes = words(leaf.args, "states" if leaf.name == "patient" else "codes")
        return [
            event("Flag/f", "active", MONDAY, codes=(codes[0] if leaf.name == "flag" else f"{FLAG_SYSTEM}|{codes[0]}",))
        ]
    if leaf.name == "authorization":
        code = f"{FLAG_SYSTEM}|prior-auth-{words(leaf.args, 'is')[0]}"
        return [event("Flag/a", "active", MONDAY, codes=(code,))]
    if leaf.name == "outreach_failed":
        channels = ("phone", "sms", "portal", "email")
        return [attempt(f"c{n}", MONDAY + n * DAY, channel=channels[n % 4], about=item.ref) for n in range(9)]
    if leaf.name == "outreach_reached":
        return [attempt("r", MONDAY, "reached", about=item.ref)]
    if leaf.name == "appointment_missed":
        return [event("Appointment/m", "noshow", MONDAY, codes=words(leaf.args, "codes")[:1])]
    if leaf.name == "seen":
        match = cast(Match, leaf.args["match"])
        return [_seen(match, f"s{n}", LATER - (n + 1) * hours(1)) for n in range(number(leaf.args, "times"))]
    if leaf.name == "observation":
        return [reading(cast(Match, leaf.args["match"]))]
    if leaf.name == "score":
        return [_filled(demo, leaf)]
    document = demo.document(str(leaf.args.get("document", "")))
    if document is None or not document.after.startswith("appointment."):
        return []
    service = demo.services.get(document.service or "", (document.service or "",))
    return [event("Appointment/d", "fulfilled", MONDAY, codes=service[:1])]


def _seen(match: Match, name: str, at: datetime) -> Event:
    status = match.status[0] if match.status else "final" if match.type == "Observation" else "current"
    return event(f"{match.type}/{name}", status, at, codes=match.codes[:1])


def reading(match: Match) -> Event:
    """An Observation of the day before that fits the test on its value."""
    test = match.value
    assert test is not None
    value = _value(match)
    body = {
        "resourceType": "Observation",
        "id": f"o-{match.codes[0][-6:]}-{len(test.component)}",
        "status": "final",
        "code": _concept(match.codes[0]),
        "subject": {"reference": f"Patient/{PATIENT}"},
        "effectiveDateTime": (LATER - DAY).isoformat(),
        **({"component": [{"code": _concept(test.component[0]), **value}]} if test.component else value),
    }
    found = event_of(body, seen_at=LATER - DAY)
    assert found is not None
    return found


def _filled(demo: Program, leaf: Condition) -> Event:
    """The form with every answer at its heaviest."""
    form = next(one for one in demo.forms if one.code == leaf.args["form"])
    body = {
        "resourceType": "QuestionnaireResponse",
        "id": "q",
        "status": "completed",
        "questionnaire": form.same_as[0],
        "subject": {"reference": f"Patient/{PATIENT}"},
        "authored": (LATER - DAY).isoformat(),
        "item": [
            {"linkId": one.code, "answer": [{"valueCoding": {"display": one.choices[-1].text}}]} for one in form.items
        ],
    }
    found = event_of(body, seen_at=LATER - DAY)
    assert found is not None
    return found


def _value(match: Match) -> dict[str, object]:
    test = match.value
    assert test is not None
    if test.codes:
        return {"valueCodeableConcept": _concept(test.codes[0])}
    _, bound = test.bounds[0]
    inside = bound.number + (1 if test.at_least or test.above else -1)
    return {"valueQuantity": {"value": float(inside), "unit": bound.unit, "system": UCUM, "code": bound.unit}}


def _concept(code: str) -> dict[str, object]:
    system, _, plain = code.rpartition("|")
    return {"coding": [{"system": system, "code": plain}]}
