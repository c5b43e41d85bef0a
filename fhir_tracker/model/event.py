"""Resources as rules see them: one Event for each Appointment, Encounter, document, attempt, condition, plan, flag or
result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from fhir_tracker.fhir.codeable import codings, first_code, text_of
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.reading import (
    at,
    end_at,
    extension_value,
    moment_at,
    objects_at,
    references_at,
    text_at,
)
from fhir_tracker.model.answers import answers_of, as_text
from fhir_tracker.model.attempts import channel_of, contact_used, minutes_told, outcome_of
from fhir_tracker.model.authorizations import authorization_of
from fhir_tracker.model.subject import patient_of
from fhir_tracker.model.values import value_detail
from fhir_tracker.model.vocabulary import BY_HAND, FLAG_CAUSE, OUT_OF_HOURS
from fhir_tracker.model.work import Event


@dataclass(frozen=True, kw_only=True)
class _Shape:
    """Where one type keeps what an Event needs."""

    status: Callable[[Resource], str | None]
    codes: tuple[str, ...]
    start: tuple[tuple[str, ...], ...]
    end: tuple[tuple[str, ...], ...] = ()
    about: tuple[tuple[str, ...], ...] = ()


def _plain_status(resource: Resource) -> str | None:
    return text_at(resource, "status")


def _clinical_status(resource: Resource) -> str | None:
    refuted = first_code(resource.get("verificationStatus")) in {"refuted", "entered-in-error"}
    return "entered-in-error" if refuted else first_code(resource.get("clinicalStatus")) or "active"


_SHAPES: Mapping[str, _Shape] = {
    "AllergyIntolerance": _Shape(
        status=_clinical_status,
        codes=("code", "category"),
        start=(("onsetDateTime",), ("onsetPeriod", "start"), ("recordedDate",)),
        about=(("encounter",),),
    ),
    "Appointment": _Shape(
        status=_plain_status,
        codes=("serviceType", "appointmentType", "specialty", "serviceCategory"),
        start=(("start",),),
        end=(("end",),),
        about=(("basedOn",), ("reasonReference",)),
    ),
    "ChargeItem": _Shape(
        status=_plain_status,
        codes=("code",),
        start=(("occurrencePeriod", "start"), ("occurrenceDateTime",)),
        end=(("occurrencePeriod", "end"),),
        about=(("service",), ("supportingInformation",)),
    ),
    "CarePlan": _Shape(
        status=_plain_status,
        codes=("category",),
        start=(("period", "start"), ("created",)),
        end=(("period", "end"),),
        about=(("addresses",),),
    ),
    "ClaimResponse": _Shape(
        status=_plain_status,
        codes=("type", "subType"),
        start=(("created",), ("preAuthPeriod", "start")),
        about=(("request",),),
    ),
    "Communication": _Shape(
        status=_plain_status,
        codes=("category", "topic"),
        start=(("sent",), ("received",)),
        about=(("basedOn",), ("about",), ("partOf",)),
    ),
    "Condition": _Shape(
        status=_clinical_status,
        codes=("code", "category"),
        start=(("onsetDateTime",), ("onsetPeriod", "start"), ("recordedDate",)),
        end=(("abatementDateTime",), ("abatementPeriod", "end")),
        about=(("encounter",),),
    ),
    "Consent": _Shape(
        status=_plain_status,
        codes=("category", "scope"),
        start=(("provision", "period", "start"), ("dateTime",)),
        end=(("provision", "period", "end"),),
    ),
    "Coverage": _Shape(status=_plain_status, codes=("type",), start=(("period", "start"),), end=(("period", "end"),)),
    "DetectedIssue": _Shape(
        status=_plain_status,
        codes=("code",),
        start=(("identifiedDateTime",), ("identifiedPeriod", "start")),
        about=(("implicated",),),
    ),
    "DiagnosticReport": _Shape(
        status=_plain_status,
        codes=("code", "category"),
        start=(("effectiveDateTime",), ("effectivePeriod", "start"), ("issued",)),
        about=(("encounter",), ("basedOn",)),
    ),
    "DocumentReference": _Shape(
        status=_plain_status,
        codes=("type", "category"),
        start=(("date",), ("content", "attachment", "creation")),
        about=(("context", "encounter"), ("context", "related")),
    ),
    "Encounter": _Shape(
        status=_plain_status,
        codes=("class", "type", "serviceType"),
        start=(("period", "start"),),
        end=(("period", "end"),),
        about=(("appointment",),),
    ),
    "Flag": _Shape(
        status=_plain_status, codes=("code", "category"), start=(("period", "start"),), end=(("period", "end"),)
    ),
    "Immunization": _Shape(
        status=_plain_status,
        codes=("vaccineCode",),
        start=(("occurrenceDateTime",), ("recorded",)),
        about=(("encounter",),),
    ),
    "MedicationRequest": _Shape(
        status=_plain_status,
        codes=("medicationCodeableConcept", "category"),
        start=(("authoredOn",),),
        about=(("encounter",), ("basedOn",), ("reasonReference",)),
    ),
    "Observation": _Shape(
        status=_plain_status,
        codes=("code", "category"),
        start=(("effectiveDateTime",), ("effectivePeriod", "start"), ("effectiveInstant",), ("issued",)),
        about=(("encounter",), ("basedOn",)),
    ),
    "Procedure": _Shape(
        status=_plain_status,
        codes=("code", "category"),
        start=(("performedDateTime",), ("performedPeriod", "start")),
        end=(("performedPeriod", "end"),),
        about=(("encounter",), ("basedOn",)),
    ),
    "QuestionnaireResponse": _Shape(
        status=_plain_status, codes=(), start=(("authored",),), about=(("basedOn",), ("encounter",), ("questionnaire",))
    ),
    "ServiceRequest": _Shape(
        status=_plain_status, codes=("code", "category"), start=(("authoredOn",),), about=(("encounter",), ("basedOn",))
    ),
}

EVENT_TYPES = frozenset(_SHAPES)


def event_of(resource: Resource, *, seen_at: datetime) -> Event | None:
    """The Event of a resource, or None for types rules do not look at and for resources of no patient."""
    shape = _SHAPES.get(str(resource.get("resourceType")))
    patient = patient_of(resource)
    if shape is None or patient is None:
        return None
    return Event(
        ref=f"{resource['resourceType']}/{resource['id']}",
        type=resource["resourceType"],
        status=shape.status(resource) or "",
        patient=patient,
        codes=_codes(resource, shape.codes),
        start=_first(moment_at, resource, shape.start),
        end=_first(end_at, resource, shape.end),
        seen_at=seen_at,
        about=_about(resource, shape.about),
        detail=_detail(resource),
    )


def _codes(resource: Resource, elements: tuple[str, ...]) -> tuple[str, ...]:
    if resource["resourceType"] == "QuestionnaireResponse":
        form = (text_at(resource, "questionnaire") or "").partition("|")[0][:500]
        return (f"|{form}",) if form else ()
    pairs = [pair for element in elements if element in resource for pair in codings(resource[element])]
    return tuple(dict.fromkeys(f"{system}|{code}" for system, code in pairs))


def _first(
    read: Callable[..., datetime | None], resource: Resource, paths: tuple[tuple[str, ...], ...]
) -> datetime | None:
    for path in paths:
        if path[0] in resource and (found := read(_through_lists(resource, path[:-1]), path[-1])):
            return found
    return None


def _through_lists(value: Json, path: tuple[str, ...]) -> Json:
    for name in path:
        value = at(value, name)
        value = value[0] if isinstance(value, list) and value else value
    return value


def _about(resource: Resource, paths: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    given = [path for path in paths if path[0] in resource]
    return tuple(dict.fromkeys([text for path in given for text in references_at(resource, *path)]))


BY_RULES = "rules"
"""The detail `raised` of a Flag that a rule put up."""
_PLACED = frozenset({"Encounter", "Appointment", "ServiceRequest"})


def _detail(resource: Resource) -> dict[str, str]:
    found = {"title": _title(resource)}
    if "statusReason" in resource or "cancelationReason" in resource:
        found["reason"] = text_of(resource.get("statusReason")) or text_of(resource.get("cancelationReason"))
    if resource["resourceType"] in _PLACED and (location := _location(resource)):
        found["location"] = location
    if "description" in resource:
        found["description"] = text_at(resource, "description") or ""
    if resource["resourceType"] == "Communication":
        start, end = minutes_told(resource) or ("", "")
        found |= {
            "channel": channel_of(resource),
            "outcome": outcome_of(resource),
            "spent-from": start,
            "spent-until": end,
            "contact": contact_used(resource),
            "outside": text_at({"why": extension_value(resource, OUT_OF_HOURS, "valueString")}, "why") or "",
            "note": next((text for one in objects_at(resource, "note") if (text := text_at(one, "text"))), ""),
            "by": text_at(resource, "sender", "display") or text_at(resource, "sender", "reference") or "",
        }
    if resource["resourceType"] == "Flag" and extension_value(resource, FLAG_CAUSE, "valueString") not in (
        None,
        BY_HAND,
    ):
        found["raised"] = BY_RULES
    if resource["resourceType"] == "Observation":
        found |= value_detail(resource)
    if resource["resourceType"] == "ClaimResponse":
        found |= {"authorization": authorization_of(resource), "reason": text_at(resource, "disposition") or ""}
    if resource["resourceType"] == "QuestionnaireResponse":
        found |= {"form": text_at(resource, "questionnaire") or "", "answers": as_text(answers_of(resource))}
    if resource["resourceType"] == "Consent":
        denied = [one for one in _provisions(resource) if text_at(one, "type") == "deny"]
        found["denies"] = " ".join(dict.fromkeys(code for one in denied for _, code in codings(one.get("code"))))
        found["provision"] = "deny" if denied else ""
    if resource["resourceType"] == "ChargeItem":
        found["by"] = text_at(resource, "performer", 0, "actor", "reference") or ""
    return {name: text for name, text in found.items() if text}


def _provisions(resource: Resource) -> tuple[Resource, ...]:
    """The provision of a Consent and the first layer under it."""
    return tuple(objects_at(resource, "provision")) + tuple(objects_at(resource, "provision", "provision"))


def _location(resource: Resource) -> str:
    """The place of an Encounter, an Appointment or a ServiceRequest: the Location that it names."""
    holders = [(one, "location") for one in objects_at(resource, "location")]
    holders += [(one, "actor") for one in objects_at(resource, "participant")]
    refs = (ref for holder, name in [*holders, (resource, "locationReference")] for ref in references_at(holder, name))
    return next((ref for ref in refs if ref.startswith("Location/")), "")


def _title(resource: Resource) -> str:
    title = text_of(resource["code"]) if "code" in resource else ""
    if not title and "type" in resource:
        title = text_of(at(resource, "type", 0) or resource["type"])
    return title or (text_of(at(resource, "serviceType", 0)) if "serviceType" in resource else "")
