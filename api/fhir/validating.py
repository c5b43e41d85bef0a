"""$validate: what would be wrong with a resource here, by R4, by a profile, and as a create, update or delete.

https://hl7.org/fhir/R4/resource-operation-validate.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from api.fhir import writing
from api.fhir.exchange import AuditNote, FhirRequest, FhirResponse
from api.fhir.fields import shown_to_patch
from api.fhir.linking import resolved
from api.fhir.negotiation import check_content_type
from api.fhir.reading import find_present
from api.outcomes import outcome
from fhir_tracker import records, writes
from fhir_tracker.errors import Category, Incorrect, Issue, TrackerError
from fhir_tracker.fhir.body import read_json
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.profiles.conformance import check_profile
from fhir_tracker.fhir.profiles.tables import Profile, find_profile, profiles
from fhir_tracker.fhir.references import rewrite_references
from fhir_tracker.storage.database import Tx

MODES = ("create", "update", "delete", "profile")
SEVERITIES = ("fatal", "error", "warning", "information")
_R4 = "http://hl7.org/fhir/StructureDefinition/"
_BAD = ("error", "fatal")
_NOT_OURS_TO_SAY = frozenset({Category.BUSY, Category.UNAVAILABLE, Category.FAULT})


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What to validate: a resource, or with None the one that is stored, in a mode or "", against a profile's URL or ""."""

    resource: Resource | None
    mode: str
    profile: str


class _Undone(Exception):
    """Ends a rehearsed write, so that nothing of it stays."""


def validate(request: FhirRequest) -> FhirResponse:
    """200 with an OperationOutcome of all that was found; raises Incorrect for what cannot be validated at all.

    `mode` create, update and delete are rehearsed: carried out in a transaction that is then undone.
    """
    asked = _asked(request)
    with request.context.database.read() as tx:
        found, patient = _found(request, tx, asked)
    if asked.mode in ("create", "update", "delete") and not any(one.severity in _BAD for one in found):
        found += _rehearsed(request, asked)
    return _answer(request, asked, found, patient)


def validate_here(request: FhirRequest, tx: Tx) -> FhirResponse:
    """As an entry of a Bundle: the same without the modes that rehearse a write."""
    asked = _asked(request)
    if asked.mode not in ("", "profile"):
        raise Incorrect("Within a Bundle $validate has no mode but profile.")
    return _answer(request, asked, *_found(request, tx, asked))


def _answer(request: FhirRequest, asked: Asked, found: list[Issue], patient: str | None) -> FhirResponse:
    ref = f"{request.type}/{request.id}".rstrip("/")
    note = AuditNote(action="validate", ref=ref, patient=patient, detail={"mode": asked.mode} if asked.mode else {})
    return FhirResponse(status=200, body=outcome(sorted(found, key=_rank)), note=note)


def _rank(issue: Issue) -> int:
    return SEVERITIES.index(issue.severity)


def _asked(request: FhirRequest) -> Asked:
    body = _body(request)
    inner = _parameters(body) if body is not None and body.get("resourceType") == "Parameters" else {}
    if request.type == "Parameters" and "resource" not in inner:
        inner = {}
    resource = inner.get("resource") if inner or _is_wrapper(request, body) else body
    mode = str(inner.get("mode") or next(iter(request.values("mode")), ""))
    asked = Asked(
        resource=_of_type(request, resource) if resource is not None else None,
        mode=mode,
        profile=str(inner.get("profile") or next(iter(request.values("profile")), "")),
    )
    _check_asked(request, asked)
    return asked


def _is_wrapper(request: FhirRequest, body: Resource | None) -> bool:
    return body is not None and body.get("resourceType") == "Parameters" and request.type != "Parameters"


def _body(request: FhirRequest) -> Resource | None:
    if request.resource is not None:
        return request.resource
    if request.method != "POST" or not request.body:
        return None
    check_content_type(request.header("content-type"))
    value = read_json(request.body, max_bytes=request.context.settings.body_limit)
    if not isinstance(value, dict):
        raise Incorrect("The body is not a JSON object: send a resource, or Parameters that hold one.")
    return value


def _parameters(body: Resource) -> dict[str, Json]:
    """The parameters by name: a resource, or the text of a code or address."""
    rows = body.get("parameter", [])
    if not isinstance(rows, list) or not all(isinstance(one, dict) for one in rows):
        raise Incorrect("Parameters.parameter is not an array of objects.", expression="Parameters.parameter")
    return dict(_values(rows))


def _values(rows: list[Resource]) -> Iterator[tuple[str, Json]]:
    for one in rows:
        name = one.get("name")
        if name == "resource":
            yield name, one.get("resource")
        elif name in ("mode", "profile"):
            value = next((one[key] for key in one if key.startswith("value")), None)
            if not isinstance(value, str):
                raise Incorrect(f"The parameter {name} has no text as its value.", expression="Parameters.parameter")
            yield name, value


def _of_type(request: FhirRequest, resource: Json) -> Resource:
    if not isinstance(resource, dict) or resource.get("resourceType") != request.type:
        raise Incorrect(f"What is to be validated at this address is a {request.type}.", expression="resourceType")
    return rewrite_references(resource, lambda text: writing.relative_form(text, f"{request.base}/"))


def _check_asked(request: FhirRequest, asked: Asked) -> None:
    if asked.mode and asked.mode not in MODES:
        raise Incorrect(f"The mode of $validate is one of {', '.join(MODES)}.")
    if asked.mode in ("update", "delete") and not request.id:
        raise Incorrect(f"The mode {asked.mode} is of one resource: send it to {request.type}/id/$validate.")
    if asked.mode == "profile" and not asked.profile:
        raise Incorrect("The mode profile needs the parameter profile.")
    if asked.resource is None and (not request.id or asked.mode == "create"):
        raise Incorrect("There is no resource to validate: send it as the body, or as the parameter resource.")
    if asked.profile and not _is_base(asked.profile, request.type) and find_profile(asked.profile) is None:
        known = ", ".join(f"{url}|{one.version}" for url, one in sorted(profiles().items()))
        message = f"The profile is not one that is known here: {known}."
        raise Incorrect(message, issues=(Issue(message=message, code="not-found"),))


def _is_base(profile: str, type_: str) -> bool:
    return profile in (f"{_R4}{type_}", f"{_R4}{type_}|4.0.1")


def _found(request: FhirRequest, tx: Tx, asked: Asked) -> tuple[list[Issue], str | None]:
    """What is wrong with the resource itself, and the patient of the one that is stored."""
    stored = find_present(request, tx) if request.id and (asked.resource is None or asked.mode == "delete") else None
    patient = stored.patient if stored else None
    if asked.mode == "delete":
        return [], patient
    resource = asked.resource
    if resource is None:
        resource = shown_to_patch(request.viewer, records.resource_of(stored)) if stored else {}
    found = list(check(resource, warnings=True))
    if asked.resource is not None and asked.mode == "update" and resource.get("id") != request.id:
        path = f"{request.type}.id"
        found.append(Issue(message="The id is not the id in the address.", code="invalid", expression=path))
    for profile in _profiles(resource, asked):
        if isinstance(profile, Issue):
            found.append(profile)
        else:
            known = {one.expression for one in found if one.severity in _BAD}
            found += [one for one in check_profile(resource, profile) if one.expression not in known]
    return found, patient


def _profiles(resource: Resource, asked: Asked) -> Iterator[Profile | Issue]:
    """The profile that was asked for, and those that the resource itself claims; an issue for one not known here."""
    wanted = find_profile(asked.profile)
    if wanted:
        yield wanted
    meta = resource.get("meta")
    claimed = meta.get("profile") if isinstance(meta, dict) else None
    for index, url in enumerate(claimed if isinstance(claimed, list) else ()):
        if not isinstance(url, str) or _is_base(url, str(resource.get("resourceType"))):
            continue
        profile = find_profile(url)
        if profile is None:
            message = "The resource claims a profile that is not known here; it was not checked against it."
            path = f"{resource.get('resourceType')}.meta.profile[{index}]"
            yield Issue(message=message, code="not-found", severity="warning", expression=path)
        elif profile != wanted:
            yield profile


def _rehearsed(request: FhirRequest, asked: Asked) -> list[Issue]:
    """What the write would be refused for; the transaction is undone either way."""
    try:
        with request.context.database.begin() as tx:
            _write(request, tx, asked)
            raise _Undone
    except _Undone:
        return []
    except TrackerError as error:
        if error.category in _NOT_OURS_TO_SAY:
            raise
        return [replace(one, severity="error") for one in error.issues]


def _write(request: FhirRequest, tx: Tx, asked: Asked) -> None:
    writing.check_writable(request)
    resource = asked.resource if asked.resource is not None else records.resource_of(find_present(request, tx))
    if asked.mode == "delete":
        is_kept = request.context.settings.referential_integrity
        writes.delete(tx, request.type, request.id, request.author(), only_unreferred=is_kept)
    elif asked.mode == "update":
        linked = resolved(request, tx, resource)
        writes.update(tx, request.type, request.id, linked, request.author())
    else:
        writes.create(tx, resolved(request, tx, resource), request.author())
