"""The operations of this API as OperationDefinitions: the official ones it carries out, and its own.

https://hl7.org/fhir/R4/operationdefinition.html
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.model.program import CANONICAL

OFFICIAL = "http://hl7.org/fhir/OperationDefinition"
APPLY_PLAN = f"{OFFICIAL}/PlanDefinition-apply"
APPLY_ACTIVITY = f"{OFFICIAL}/ActivityDefinition-apply"
VALIDATE = f"{OFFICIAL}/Resource-validate"
EVALUATE = f"{OFFICIAL}/Measure-evaluate-measure"
OUTREACH = f"{CANONICAL}/OperationDefinition/Task-outreach"
EVIDENCE = f"{CANONICAL}/OperationDefinition/Patient-evidence"
BREAK_GLASS = f"{CANONICAL}/OperationDefinition/Patient-break-glass"
MOVE = f"{CANONICAL}/OperationDefinition/Task-move"
TASK_OPTIONS = f"{CANONICAL}/OperationDefinition/Task-options"
PLAN_OPTIONS = f"{CANONICAL}/OperationDefinition/CarePlan-options"
UNDO_TASK = f"{CANONICAL}/OperationDefinition/Task-undo"
UNDO_PLAN = f"{CANONICAL}/OperationDefinition/CarePlan-undo"
INSTANTIATE = f"{CANONICAL}/OperationDefinition/PlanDefinition-instantiate"


@dataclass(frozen=True)
class _In:
    """One input parameter; `most` is `1` or `*`."""

    name: str
    type: str
    least: int
    most: str
    means: str


_SITUATION = (
    _In("encounter", "string", 0, "1", "The encounter, as Encounter/id."),
    _In("practitioner", "string", 0, "1", "Who applies it, as Practitioner/id or PractitionerRole/id."),
    _In("organization", "string", 0, "1", "For which organization, as Organization/id."),
    _In("userType", "CodeableConcept", 0, "1", "The kind of user; expressions see it as %userType."),
    _In("userLanguage", "CodeableConcept", 0, "1", "The user's language; expressions see it as %userLanguage."),
    _In("userTaskContext", "CodeableConcept", 0, "1", "What the user is doing; %userTaskContext."),
    _In("setting", "CodeableConcept", 0, "1", "Where it happens; %setting."),
    _In("settingContext", "CodeableConcept", 0, "1", "More of where it happens; %settingContext."),
)
_SUBJECT = _In("subject", "string", 1, "*", "For whom, as Type/id; several give a Bundle with a result each.")


def own_operations() -> Iterable[Resource]:
    """The OperationDefinitions, each with its id."""
    plan = _In("planDefinition", "PlanDefinition", 0, "1", "The definition, where the address names none.")
    url = _In("url", "uri", 0, "1", "The canonical of a definition that is here, where the address names none.")
    activity = _In("activityDefinition", "ActivityDefinition", 0, "1", "The definition, where the address names none.")
    key = _In("key", "string", 1, "1", "The caller's own name for this plan: asked again, the same plan is answered.")
    one = _In("subject", "string", 1, "1", "For whom, as Type/id.")
    resource = _In("resource", "Resource", 0, "1", "The resource to validate; the stored one where it is left out.")
    mode = _In("mode", "code", 0, "1", "create, update, delete or profile.")
    profile = _In("profile", "uri", 0, "1", "The profile to check against.")
    yield _operation(APPLY_PLAN, "PlanDefinition", "apply", (plan, url, _SUBJECT, *_SITUATION), "CarePlan")
    yield _operation(APPLY_ACTIVITY, "ActivityDefinition", "apply", (activity, url, _SUBJECT, *_SITUATION), "Any")
    yield _operation(VALIDATE, "Resource", "validate", (resource, mode, profile), "OperationOutcome")
    yield _operation(EVALUATE, "Measure", "evaluate-measure", _MEASURING, "MeasureReport")
    yield _operation(INSTANTIATE, "PlanDefinition", "instantiate", (key, one, *_SITUATION), "CarePlan", writes=True)
    yield _operation(MOVE, "Task", "move", _MOVING, "Parameters", writes=True) | {"type": True, "instance": False}
    for canonical, type_ in ((TASK_OPTIONS, "Task"), (PLAN_OPTIONS, "CarePlan")):
        yield _operation(canonical, type_, "options", (), "Parameters") | {"type": False}
    yield _operation(UNDO_TASK, "Task", "undo", (), "Task", writes=True)
    yield _operation(UNDO_PLAN, "CarePlan", "undo", (), "CarePlan", writes=True)
    yield _operation(OUTREACH, "Task", "outreach", (), "Parameters") | {"type": False}
    yield _operation(BREAK_GLASS, "Patient", "break-glass", _BREAKING, "Parameters", writes=True)
    yield _operation(EVIDENCE, "Patient", "evidence", _BILLING, "Parameters") | {"type": False}


_BREAKING = (
    _In("reason", "string", 1, "1", "Why the record is needed: it is kept, and the administrators are told."),
    _In("close", "boolean", 0, "1", "Instead: shut it again before it ends by itself."),
)
_BILLING = (
    _In("program", "code", 1, "1", "The program's code, such as ccm or tcm."),
    _In("month", "date", 0, "1", "The calendar month, such as 2026-10; the present one where it is left out."),
)
_MEASURING = (
    _In("periodStart", "date", 0, "1", "The period's start; 30 days before its end where it is left out."),
    _In("periodEnd", "date", 0, "1", "The period's end, a day to its end; now where it is left out."),
    _In("measure", "string", 0, "1", "The Measure's url, Measure/id or id, where the address names none."),
    _In("reportType", "code", 0, "1", "population or summary; subject or individual for one patient."),
    _In("subject", "string", 0, "1", "The one patient it is about, as Patient/id."),
    _In("program", "code", 0, "1", "Of one program only."),
    _In("asOf", "dateTime", 0, "1", "What was known then; now where it is left out."),
    _In("store", "boolean", 0, "1", "Keep the MeasureReport (POST)."),
)


_MOVING = (
    _In(
        "task", "Reference", 1, "*", "What to move, as Task/id, or Task/id/_history/version to be sure of its version."
    ),
    _In("to", "code", 0, "1", "The status to move to, of the program or, outside programs, of FHIR."),
    _In("owner", "Reference", 0, "1", "Instead: who is to have it; the text nobody gives it back to its queue."),
    _In("role", "code", 0, "1", "Instead: the role whose queue it goes to."),
    _In("priority", "code", 0, "1", "Instead: its priority."),
    _In("reason", "string", 0, "1", "Why, in words."),
    _In("reasonCode", "code", 0, "1", "Why, as one of the program's coded reasons."),
    _In("note", "string", 0, "1", "A note for each."),
    _In("holdUntil", "dateTime", 0, "1", "When the hold ends."),
    _In("holdEvent", "code", 0, "1", "The event that ends it sooner."),
    _In("due", "dateTime", 0, "1", "The new due time."),
    _In("outcome", "code", 0, "1", "The outcome of an attempt to reach the patient."),
    _In("channel", "code", 0, "1", "Its channel."),
    _In("document", "Reference", 0, "1", "The document that came out of it."),
    _In("output", "string", 0, "1", "What came out of it."),
    _In("field", "Element", 0, "*", "Another element of the Task: the parts path and value."),
)


def _operation(
    url: str, type_: str, code: str, inputs: tuple[_In, ...], answer: str, *, writes: bool = False
) -> Resource:
    return {
        "resourceType": "OperationDefinition",
        "id": url.rpartition("/")[2],
        "url": url,
        "name": f"{type_}{code.title().replace('-', '')}",
        "title": f"{type_} ${code}",
        "status": "active",
        "kind": "operation",
        "publisher": "fhir-tracker",
        "description": f"What ${code} of this server takes and answers.",
        "affectsState": writes,
        "code": code,
        "resource": [type_],
        "system": False,
        "type": not writes,
        "instance": True,
        "parameter": [*(_parameter(one) for one in inputs), _answer(answer)],
    }


def _parameter(one: _In) -> Resource:
    return {
        "name": one.name,
        "use": "in",
        "min": one.least,
        "max": one.most,
        "documentation": one.means,
        "type": one.type,
    }


def _answer(type_: str) -> Resource:
    return {"name": "return", "use": "out", "min": 1, "max": "1", "type": type_}
