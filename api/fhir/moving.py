"""$options, $move and $undo of work: what may be done with it, the same step on many tasks, and one's last step taken back.

https://hl7.org/fhir/R4/operations.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from api.fhir import writing
from api.fhir.auditing import record
from api.fhir.exchange import AuditNote, FhirRequest, FhirResponse
from api.fhir.negotiation import check_content_type
from api.outcomes import outcome
from fhir_tracker import bulk_moves, moves_told, undo
from fhir_tracker.bulk_moves import Result, Step, Wanted
from fhir_tracker.errors import Incorrect, Issue
from fhir_tracker.fhir.body import read_json, read_resource, write_json
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.references import ReferenceKind, parse_reference
from fhir_tracker.model.moves import MoveRequest
from fhir_tracker.moves_told import Offer
from fhir_tracker.storage.database import Tx
from fhir_tracker.transitions import OpenTask

_STEPS = ("to", "owner", "role", "priority")
_FIELDS = {
    "reason": "reason",
    "reasonCode": "reason.code",
    "note": "note",
    "holdUntil": "hold.until",
    "holdEvent": "hold.event",
    "due": "due",
    "outcome": "outreach.outcome",
    "channel": "outreach.channel",
    "document": "document",
    "output": "output",
}
"""The parameters of $move that fill a field of the transition."""
NOBODY = "nobody"


def options_of_task(request: FhirRequest, tx: Tx) -> FhirResponse:
    """Parameters: each move that the caller may make with a Task now, what it needs and what it means."""
    offers, patient = moves_told.of_task(tx, request.viewer, f"Task/{request.id}", request.now)
    return _offered(f"Task/{request.id}", offers, patient)


def options_of_plan(request: FhirRequest, tx: Tx) -> FhirResponse:
    """As `options_of_task`, for a plan and its stages."""
    offers, patient = moves_told.of_plan(tx, request.viewer, f"CarePlan/{request.id}")
    return _offered(f"CarePlan/{request.id}", offers, patient)


def undo_task(request: FhirRequest, tx: Tx) -> FhirResponse:
    """200 with the Task as it was before what the caller did last; with `Prefer: return=OperationOutcome` each effect of
    that, undone or left.
    """
    return _undone(request, tx, "Task")


def undo_plan(request: FhirRequest, tx: Tx) -> FhirResponse:
    """200 with the CarePlan as it was before what the caller did last."""
    return _undone(request, tx, "CarePlan")


def move_here(request: FhirRequest, tx: Tx) -> FhirResponse:
    """As an entry of a Bundle: refused, for each task has a transaction of its own."""
    raise Incorrect("$move is not carried out within a Bundle: each of its tasks is a transaction of its own.")


def move(request: FhirRequest) -> FhirResponse:
    """200 with Parameters that say for each task whether it was done, skipped or failed, and why."""
    writing.check_writable(replace(request, type="Task"))
    asked = _asked(request)
    wanted = [_wanted(request, one) for one in asked.all("task")]
    if not wanted:
        raise Incorrect("Name at least one task.", expression="Parameters.parameter")

    def noted(tx: Tx, task: OpenTask) -> None:
        note = AuditNote(action="update", ref=task.item.ref, patient=task.item.patient, detail={"operation": "move"})
        record(tx, request, note, "success")

    step, database = _step(request, asked), request.context.database
    results = bulk_moves.each(database, wanted, step, request.author(), noted)
    body = {"resourceType": "Parameters", "parameter": [_result(one) for one in results]}
    return FhirResponse(status=200, body=write_json(body).encode(), note=AuditNote(action="move", ref="Task"))


def _undone(request: FhirRequest, tx: Tx, type_: str) -> FhirResponse:
    request = replace(request, type=type_)
    writing.check_writable(request)
    within = request.context.settings.undo_within
    match = writing.expected_version(request, tx) if request.header("if-match") else None
    undone = undo.undo(tx, f"{type_}/{request.id}", request.author(), within, if_match=match)
    return writing.written(request, undone.stored, 200, "update", undone.told)


def _offered(ref: str, offers: Sequence[Offer], patient: str | None) -> FhirResponse:
    body = {"resourceType": "Parameters", "parameter": [_offer(one) for one in offers]}
    body = body if offers else {"resourceType": "Parameters"}
    return FhirResponse(
        status=200, body=write_json(body).encode(), note=AuditNote(action="read", ref=ref, patient=patient)
    )


def _offer(one: Offer) -> Resource:
    parts: list[Resource] = [
        {"name": "to", "valueCode": one.to},
        {"name": "status", "valueCode": one.fhir},
        {"name": "title", "valueString": one.title},
    ]
    parts += [{"name": "means", "valueString": one.means}] if one.means else []
    parts += [{"name": "require", "valueString": name} for name in one.require]
    parts += [{"name": "missing", "valueString": text} for text in one.missing]
    for reason in one.reasons:
        coding = {"system": one.reason_system, "code": reason.code, "display": reason.title}
        told: list[Resource] = [{"name": "coding", "valueCoding": coding}]
        told += [{"name": "means", "valueString": reason.means}] if reason.means else []
        parts.append({"name": "reason", "part": told})
    return {"name": "move", "part": parts}


def _result(one: Result) -> Resource:
    parts: list[Resource] = [
        {"name": "task", "valueReference": {"reference": one.ref}},
        {"name": "outcome", "valueCode": one.outcome},
    ]
    parts += [{"name": "why", "valueString": one.why}] if one.why else []
    if one.issues:
        parts.append({"name": "details", "resource": read_json(outcome(list(one.issues)), max_bytes=1 << 30)})
    return {"name": "result", "part": parts}


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """The parameters of the body, in order: a text each, or the parts of a `field`."""

    values: tuple[tuple[str, str], ...]

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.values if key == name]

    def one(self, name: str) -> str | None:
        found = self.all(name)
        if len(found) > 1:
            raise Incorrect(f"The parameter {name} is given more than once.", expression="Parameters.parameter")
        return found[0] if found else None


def _step(request: FhirRequest, asked: _Asked) -> Step:
    """The one step asked for; raises Incorrect for none or several."""
    given = [name for name in _STEPS if asked.one(name) is not None]
    if len(given) != 1:
        raise Incorrect(f"Say one of {', '.join(_STEPS)}.", expression="Parameters.parameter")
    value, reason = asked.one(given[0]) or "", asked.one("reason")
    if given[0] == "owner":
        owner = None if value == NOBODY else writing.relative_form(value, f"{request.base}/")
        return bulk_moves.assigning(owner, reason)
    if given[0] == "role":
        return bulk_moves.giving(value, reason)
    if given[0] == "priority":
        return bulk_moves.ranking(value, reason)
    fields = {field: text for name, field in _FIELDS.items() if (text := asked.one(name)) is not None}
    for text in asked.all("field"):
        path, _, said = text.partition("=")
        fields[f"field.{path}"] = said
    return bulk_moves.moving(MoveRequest(to=value, fields=fields))


def _wanted(request: FhirRequest, text: str) -> Wanted:
    parsed = parse_reference(writing.relative_form(text, f"{request.base}/"))
    if parsed.kind is not ReferenceKind.RELATIVE or parsed.type != "Task":
        raise Incorrect("The parameter task is a reference such as Task/id.", expression="Parameters.parameter")
    version = int(parsed.version) if parsed.version.isdecimal() else None
    return Wanted(ref=f"Task/{parsed.id}", version=version)


def _asked(request: FhirRequest) -> _Asked:
    body = request.resource
    if body is None:
        check_content_type(request.header("content-type"))
        body = read_resource(request.body, max_bytes=request.context.settings.body_limit)
    if body.get("resourceType") != "Parameters":
        raise Incorrect("The body is not Parameters.", expression="resourceType")
    issues = tuple(one for one in check(body) if one.severity in ("error", "fatal"))
    if issues:
        raise Incorrect(issues[0].message, issues=issues)
    return _Asked(values=tuple(_values(body.get("parameter", []))))


def _values(rows: Iterable[Resource]) -> Iterator[tuple[str, str]]:
    for row in rows:
        name = str(row["name"])
        if name not in ("task", "field", *_STEPS, *_FIELDS):
            message = "A parameter of this name is not known here."
            raise Incorrect(
                message, issues=(Issue(message=message, code="invalid", expression="Parameters.parameter.name"),)
            )
        if name == "field":
            parts = {str(one.get("name")): _text(one) for one in row.get("part", [])}
            yield name, f"{parts.get('path', '')}={parts.get('value', '')}"
        else:
            yield name, _text(row)


def _text(row: Resource) -> str:
    value: Json = next((row[key] for key in row if key.startswith("value")), None)
    if isinstance(value, dict):
        value = value.get("reference", value.get("code"))
    return value if isinstance(value, str) else ""
