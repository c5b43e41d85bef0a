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
    yield _operation(INSTANTIATE, "PlanDefinition", "instantiate", (key, one, *_SITUATION), "CarePlan", writes=True)


def _operation(
    url: str, type_: str, code: str, inputs: tuple[_In, ...], answer: str, *, writes: bool = False
) -> Resource:
    return {
        "resourceType": "OperationDefinition",
        "id": url.rpartition("/")[2],
        "url": url,
        "name": f"{type_}{code.title()}",
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
