"""A plan's CarePlan as a work item and as the facts rules need.

https://hl7.org/fhir/R4/careplan.html
"""

from __future__ import annotations

from datetime import datetime

from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import extension_value, moment_at, objects_at, text_at
from fhir_tracker.model.activity import activities_of
from fhir_tracker.model.facts import PlanFacts
from fhir_tracker.model.places import place_of
from fhir_tracker.model.program import Program
from fhir_tracker.model.subject import patient_of
from fhir_tracker.model.vocabulary import GOAL_SYSTEM, PLAN_ANCHOR, PLAN_STAGE, PLAN_TRIGGER
from fhir_tracker.model.work import ClockState, WorkItem

_CLOCKS: dict[str, ClockState] = {"draft": "running", "active": "running", "on-hold": "paused"}


def plan_item(resource: Resource, program: Program, *, created_at: datetime) -> WorkItem:
    """The work item of an enrolment: its status is the plan's stage."""
    status = text_at(resource, "status") or "draft"
    started = moment_at(resource, "created") or created_at
    return WorkItem(
        ref=f"CarePlan/{resource['id']}",
        kind="plan",
        title=text_at(resource, "title") or program.title,
        patient=patient_of(resource),
        plan=f"CarePlan/{resource['id']}",
        program=program.code,
        program_version=program.version,
        status=stage_of(resource, program),
        fhir_status=status,
        clock=_CLOCKS.get(status, "stopped"),
        open=status in _CLOCKS,
        owner=text_at(resource, "author", "reference"),
        created_at=started,
        status_since=started,
        site=place_of(resource),
    ).fitted()


def stage_of(resource: Resource, program: Program) -> str:
    """The plan's stage: its own extension, unless the plan has since got a status that belongs to another stage."""
    named = extension_value(resource, PLAN_STAGE, "valueCode")
    status = text_at(resource, "status")
    fitting = next((stage.code for stage in program.stages if stage.fhir == status), None)
    is_left = any(stage.code == named and stage.fhir != status for stage in program.stages)
    if isinstance(named, str) and not (is_left and fitting):
        return named
    return fitting or status or ""


def plan_facts(resource: Resource, item: WorkItem) -> PlanFacts:
    """What rules know of the plan: its stage and its anchors (`enrolment` always)."""
    anchors = {"enrolment": item.created_at}
    for extension in objects_at(resource, "extension"):
        if extension.get("url") != PLAN_ANCHOR:
            continue
        parts = {text_at(one, "url"): one for one in objects_at(extension, "extension")}
        name, when = text_at(parts.get("name"), "valueCode"), moment_at(parts.get("at"), "valueDateTime")
        if name and when:
            anchors[name] = when
    trigger = extension_value(resource, PLAN_TRIGGER, "valueString")
    return PlanFacts(
        ref=item.ref,
        stage=item.status,
        status=item.fhir_status,
        started=item.created_at,
        anchors=anchors,
        site=item.site,
        goals=goals_of(resource),
        activities=activities_of(resource),
        trigger=trigger if isinstance(trigger, str) else "",
        is_enrolment=trigger is not None,
        has_team=bool(objects_at(resource, "careTeam")),
    )


def goals_of(resource: Resource) -> dict[str, str]:
    """The code of each of the program's goals, and the Goal that the CarePlan names for it."""
    found = {}
    for one in objects_at(resource, "goal"):
        code, ref = text_at(one, "identifier", "value"), text_at(one, "reference")
        if code and ref and text_at(one, "identifier", "system") == GOAL_SYSTEM:
            found[code] = ref
    return found


def anchor_extension(name: str, moment: str) -> Resource:
    """The extension that keeps an anchor; `moment` a FHIR dateTime."""
    parts = [{"url": "name", "valueCode": name}, {"url": "at", "valueDateTime": moment}]
    return {"url": PLAN_ANCHOR, "extension": parts}
