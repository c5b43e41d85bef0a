"""$apply of PlanDefinition and ActivityDefinition, which stores nothing, and $instantiate, which does.

https://hl7.org/fhir/R4/plandefinition-operation-apply.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from uuid import NAMESPACE_URL, uuid5

from api.fhir import writing
from api.fhir.exchange import AuditNote, FhirRequest, FhirResponse
from api.fhir.negotiation import check_content_type
from api.fhir.policy import is_writable
from api.fhir.reading import find_present
from fhir_tracker import applying, records
from fhir_tracker.applying import Parameters
from fhir_tracker.errors import Incorrect, Issue, RuleBroken
from fhir_tracker.fhir.body import read_resource, write_json
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.reading import text_at
from fhir_tracker.fhir.references import ReferenceKind, parse_reference
from fhir_tracker.instantiation import instantiate as instantiated
from fhir_tracker.model.author import Author
from fhir_tracker.storage.database import Tx

MOST_SUBJECTS = 50
LONGEST_KEY = 255
_REFERENCES = ("subject", "encounter", "practitioner", "organization")
_OTHERS = ("userType", "userLanguage", "userTaskContext", "setting", "settingContext")
_INLINE = {"planDefinition": "PlanDefinition", "activityDefinition": "ActivityDefinition"}
_TEXTS = ("url", "key")
Apply = Callable[[Tx, Author, Resource, Parameters, str], Resource]


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """Every parameter of the request, in the order given."""

    values: tuple[tuple[str, Json], ...]

    def all(self, name: str) -> list[Json]:
        return [value for key, value in self.values if key == name]

    def one(self, name: str) -> Json:
        found = self.all(name)
        if len(found) > 1:
            raise Incorrect(f"The parameter {name} is given more than once.", expression="Parameters.parameter")
        return found[0] if found else None


def apply_plan(request: FhirRequest, tx: Tx) -> FhirResponse:
    """The CarePlan of one subject, or a Bundle with one for each of several."""
    return _applied(request, tx, "PlanDefinition", applying.plan_for)


def apply_activity(request: FhirRequest, tx: Tx) -> FhirResponse:
    """The request of one subject, or a Bundle with one for each of several."""
    return _applied(request, tx, "ActivityDefinition", applying.request_for)


def instantiate(request: FhirRequest, tx: Tx) -> FhirResponse:
    """201 with the CarePlan that was written, 200 with the one that this key made before."""
    asked = _asked(request)
    key = asked.one("key")
    if not isinstance(key, str) or not key.strip() or len(key) > LONGEST_KEY:
        raise Incorrect(
            f"$instantiate needs a key of 1 to {LONGEST_KEY} characters.", expression="Parameters.parameter"
        )
    definition = _definition(request, tx, asked, "PlanDefinition")
    parameters = _parameters(asked)
    if len(parameters.subjects) != 1:
        raise Incorrect("$instantiate is for one subject.", expression="Parameters.parameter")
    access = request.context.access
    stored, made = instantiated(
        tx, request.author(), definition, parameters, key, lambda type_: is_writable(type_, access)
    )
    return writing.written(request, stored, 201 if made else 200, "create" if made else "read")


def _applied(request: FhirRequest, tx: Tx, type_: str, apply: Apply) -> FhirResponse:
    asked = _asked(request)
    definition = _definition(request, tx, asked, type_)
    parameters = _parameters(asked)
    author = replace(request.author(), viewer=request.viewer, asked=None)
    made = [apply(tx, author, definition, parameters, subject) for subject in parameters.subjects]
    patients = [one.removeprefix("Patient/") for one in parameters.subjects if one.startswith("Patient/")]
    patient = patients[0] if len(made) == len(patients) == 1 else None
    note = AuditNote(action="apply", ref=f"{type_}/{request.id}".rstrip("/"), patient=patient)
    body = made[0] if len(made) == 1 else _bundle(parameters, made)
    return FhirResponse(status=200, body=write_json(body).encode(), note=note)


def _bundle(parameters: Parameters, made: list[Resource]) -> Resource:
    entries = [
        {"fullUrl": uuid5(NAMESPACE_URL, subject).urn, "resource": resource}
        for subject, resource in zip(parameters.subjects, made, strict=True)
    ]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def _definition(request: FhirRequest, tx: Tx, asked: _Asked, type_: str) -> Resource:
    """What the address names, else the parameters; raises RuleBroken for one that is itself not valid."""
    if request.id:
        return records.resource_of(find_present(replace(request, type=type_), tx))
    inline = next((value for name, kind in _INLINE.items() if kind == type_ and (value := asked.one(name))), None)
    url = asked.one("url")
    if isinstance(inline, dict) and inline.get("resourceType") == type_:
        return inline
    if isinstance(url, str):
        found = applying.find_definition(tx, request.viewer, url, (type_,))
        if found is None:
            raise RuleBroken(f"There is no {type_} with this url here.", expression="Parameters.parameter")
        return found
    raise Incorrect(
        f"Name the {type_}: by its id in the address, or by a parameter.", expression="Parameters.parameter"
    )


def _parameters(asked: _Asked) -> Parameters:
    subjects = tuple(dict.fromkeys(_reference(one, "subject") for one in asked.all("subject")))
    if not 0 < len(subjects) <= MOST_SUBJECTS:
        message = f"The parameter subject is needed, 1 to {MOST_SUBJECTS} times."
        raise Incorrect(message, expression="Parameters.parameter")
    named = {name: _reference(value, name) if (value := asked.one(name)) else None for name in _REFERENCES[1:]}
    others = {name: value for name in _OTHERS if (value := asked.one(name)) is not None}
    return Parameters(
        subjects=subjects,
        encounter=named["encounter"],
        practitioner=named["practitioner"],
        organization=named["organization"],
        others=others,
    )


def _reference(value: Json, name: str) -> str:
    text = text_at(value, "reference") if isinstance(value, dict) else value
    parsed = parse_reference(text) if isinstance(text, str) else None
    if not isinstance(text, str) or parsed is None or parsed.kind is not ReferenceKind.RELATIVE:
        raise Incorrect(f"The parameter {name} is a reference such as Patient/id.", expression="Parameters.parameter")
    return text


def _asked(request: FhirRequest) -> _Asked:
    values = list(_pairs(request))
    if request.method == "POST" and (request.resource is not None or request.body):
        values += _posted(request)
    return _Asked(values=tuple(values))


def _pairs(request: FhirRequest) -> Iterator[tuple[str, Json]]:
    for name, value in request.pairs:
        if name in (*_REFERENCES, *_TEXTS) and value:
            yield name, writing.relative_form(value, f"{request.base}/") if name in _REFERENCES else value


def _posted(request: FhirRequest) -> list[tuple[str, Json]]:
    body = request.resource
    if body is None:
        check_content_type(request.header("content-type"))
        body = read_resource(request.body, max_bytes=request.context.settings.body_limit)
    if body.get("resourceType") != "Parameters":
        raise Incorrect("The body is not Parameters.", expression="resourceType")
    issues = _faults(body)
    if issues:
        raise Incorrect(issues[0].message, issues=issues)
    return [_value(request, one) for one in body.get("parameter", [])]


def _faults(body: Resource) -> tuple[Issue, ...]:
    """What makes Parameters unusable; a definition within may break a rule of FHIR that applying it does not need."""
    return tuple(
        one
        for one in check(body)
        if one.code in ("structure", "required") or ".resource." not in (one.expression or "")
    )


def _value(request: FhirRequest, row: Resource) -> tuple[str, Json]:
    name = str(row["name"])
    if name in _INLINE:
        return name, row.get("resource")
    value = next((row[key] for key in row if key.startswith("value")), None)
    if name in _REFERENCES:
        text = value.get("reference") if isinstance(value, dict) else value
        return name, writing.relative_form(text, f"{request.base}/") if isinstance(text, str) else value
    if name not in (*_OTHERS, *_TEXTS):
        raise Incorrect("A parameter of this name is not known here.", expression="Parameters.parameter.name")
    return name, value
