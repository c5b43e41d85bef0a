"""An ActivityDefinition made into the request of its kind.

https://hl7.org/fhir/R4/activitydefinition-operation-apply.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fhir_tracker.errors import RuleBroken
from fhir_tracker.fhir.apply.contained import with_contained
from fhir_tracker.fhir.apply.dynamic_values import with_dynamic_values
from fhir_tracker.fhir.apply.periods import period_of
from fhir_tracker.fhir.apply.situation import Situation, canonical_of
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.reading import at, objects_at, text_at

Builder = Callable[[Resource, Situation], Resource]


def apply_activity(definition: Resource, situation: Situation) -> Resource:
    """The draft request, without id; raises RuleBroken for a kind that cannot be made from a definition here."""
    kind = text_at(definition, "kind") or "Task"
    builder = KINDS.get(kind)
    if builder is None:
        known = ", ".join(sorted(KINDS))
        raise RuleBroken(f"A request of the kind {kind} is not made here; {known} are.")
    if text_at(definition, "transform"):
        situation.note("The transform of an ActivityDefinition (a StructureMap) is not carried out.")
    made = {name: value for name, value in builder(definition, situation).items() if value not in (None, [], {}, "")}
    return with_contained(with_dynamic_values(made, definition, situation), definition)


def with_period(resource: Resource, period: Resource) -> Resource:
    """A copy that is to be done in `period`, where its kind has a place for that."""
    kind = resource["resourceType"]
    if kind == "Task":
        return resource | {"restriction": (resource.get("restriction") or {}) | {"period": period}}
    if kind == "Appointment":
        return resource | {"requestedPeriod": [period]}
    if kind in ("ServiceRequest", "CommunicationRequest", "DeviceRequest", "SupplyRequest"):
        rest = {name: value for name, value in resource.items() if not name.startswith("occurrence")}
        return rest | {"occurrencePeriod": period}
    return resource


def with_performers(resource: Resource, participants: Json, situation: Situation) -> Resource:
    """A copy done by whom the participants name: roles as performer types, the person who applies as owner."""
    rows = participants if isinstance(participants, list) else []
    roles = [role for one in rows if (role := at(one, "role"))]
    kinds = {text_at(one, "type") for one in rows if not at(one, "role")}
    kind = resource["resourceType"]
    if kind == "Task":
        changed = resource | ({"performerType": roles} if roles else {})
        owner = situation.practitioner if "practitioner" in kinds else None
        owner = owner or (situation.subject_ref if "patient" in kinds else None)
        return changed | ({"owner": _reference(owner)} if owner and not roles else {})
    if roles and kind in ("ServiceRequest", "MedicationRequest", "DeviceRequest"):
        return resource | {"performerType": roles[0]}
    if roles and kind == "Appointment":
        return resource | {
            "participant": [
                *objects_at(resource, "participant"),
                *({"type": [role], "status": "needs-action"} for role in roles),
            ]
        }
    return resource


def _task(definition: Resource, situation: Situation) -> Resource:
    canonical = canonical_of(definition)
    made: Resource = {
        "resourceType": "Task",
        "instantiatesCanonical": canonical,
        "status": "draft",
        "intent": text_at(definition, "intent") or situation.intent,
        "priority": text_at(definition, "priority"),
        "code": at(definition, "code"),
        "description": text_at(definition, "description") or text_at(definition, "title"),
        "for": _reference(situation.subject_ref),
        "encounter": _reference(situation.encounter),
        "authoredOn": situation.stamp,
        "lastModified": situation.stamp,
        "requester": _requester(situation),
        "location": at(definition, "location"),
    }
    return _timed(with_performers(made, at(definition, "participant"), situation), definition, situation)


def _service_request(definition: Resource, situation: Situation) -> Resource:
    made = _ordered("ServiceRequest", definition, situation) | {
        "doNotPerform": at(definition, "doNotPerform"),
        "code": at(definition, "code") or _text(definition),
        "quantityQuantity": at(definition, "quantity"),
        "bodySite": at(definition, "bodySite"),
        "locationReference": [at(definition, "location")] if at(definition, "location") else None,
    }
    return _occurring(with_performers(made, at(definition, "participant"), situation), definition, situation)


def _medication_request(definition: Resource, situation: Situation) -> Resource:
    quantity = at(definition, "quantity")
    made = _ordered("MedicationRequest", definition, situation) | {
        "doNotPerform": at(definition, "doNotPerform"),
        **_product(definition, "medication"),
        "dosageInstruction": at(definition, "dosage"),
        "dispenseRequest": {"quantity": quantity} if quantity else None,
    }
    return with_performers(made, at(definition, "participant"), situation)


def _device_request(definition: Resource, situation: Situation) -> Resource:
    made = _ordered("DeviceRequest", definition, situation) | _product(definition, "code")
    return _occurring(with_performers(made, at(definition, "participant"), situation), definition, situation)


def _communication_request(definition: Resource, situation: Situation) -> Resource:
    code = at(definition, "code")
    text = text_at(definition, "description") or text_at(code, "text") or text_at(definition, "title")
    made = _ordered("CommunicationRequest", definition, situation) | {
        "doNotPerform": at(definition, "doNotPerform"),
        "category": [code] if code else None,
        "recipient": [_reference(situation.subject_ref)],
        "payload": [{"contentString": text}] if text else None,
    }
    for name in ("intent", "instantiatesCanonical"):
        made.pop(name, None)
    return _timed(made, definition, situation)


def _nutrition_order(definition: Resource, situation: Situation) -> Resource:
    made = _ordered("NutritionOrder", definition, situation)
    code = at(definition, "productCodeableConcept") or at(definition, "code") or _text(definition)
    for name in ("subject", "authoredOn", "priority", "requester"):
        made.pop(name, None)
    return made | {
        "patient": _reference(situation.subject_ref),
        "dateTime": situation.stamp,
        "orderer": _reference(situation.practitioner),
        "oralDiet": {"type": [code]},
    }


def _supply_request(definition: Resource, situation: Situation) -> Resource:
    made: Resource = {
        "resourceType": "SupplyRequest",
        "status": "draft",
        "priority": text_at(definition, "priority"),
        **_product(definition, "item"),
        "quantity": at(definition, "quantity") or {"value": 1},
        "authoredOn": situation.stamp,
        "requester": _requester(situation),
        "deliverTo": _reference(situation.subject_ref) if situation.subject_ref.startswith("Patient/") else None,
    }
    return _occurring(made, definition, situation)


def _appointment(definition: Resource, situation: Situation) -> Resource:
    made: Resource = {
        "resourceType": "Appointment",
        "status": "proposed",
        "serviceType": [at(definition, "code")] if at(definition, "code") else None,
        "description": text_at(definition, "title") or text_at(definition, "description"),
        "created": situation.stamp,
        "participant": [{"actor": _reference(situation.subject_ref), "status": "needs-action"}],
    }
    return _timed(with_performers(made, at(definition, "participant"), situation), definition, situation)


KINDS: Mapping[str, Builder] = {
    "Appointment": _appointment,
    "CommunicationRequest": _communication_request,
    "DeviceRequest": _device_request,
    "MedicationRequest": _medication_request,
    "NutritionOrder": _nutrition_order,
    "ServiceRequest": _service_request,
    "SupplyRequest": _supply_request,
    "Task": _task,
}


def _ordered(kind: str, definition: Resource, situation: Situation) -> Resource:
    """What the requests of clinical orders have alike."""
    canonical = canonical_of(definition)
    return {
        "resourceType": kind,
        "instantiatesCanonical": [canonical] if canonical else None,
        "status": "draft",
        "intent": text_at(definition, "intent") or situation.intent,
        "priority": text_at(definition, "priority"),
        "subject": _reference(situation.subject_ref),
        "encounter": _reference(situation.encounter),
        "authoredOn": situation.stamp,
        "requester": _requester(situation),
    }


def _product(definition: Resource, name: str) -> Resource:
    """The product of a definition under `name[x]`, its code where there is none."""
    if reference := at(definition, "productReference"):
        return {f"{name}Reference": reference}
    code = at(definition, "productCodeableConcept") or at(definition, "code") or _text(definition)
    return {f"{name}CodeableConcept": code}


def _text(definition: Resource) -> Resource:
    return {"text": text_at(definition, "title") or text_at(definition, "name") or "As the definition says"}


def _occurring(made: Resource, definition: Resource, situation: Situation) -> Resource:
    timing = at(definition, "timingTiming")
    return made | {"occurrenceTiming": timing} if isinstance(timing, dict) else _timed(made, definition, situation)


def _timed(made: Resource, definition: Resource, situation: Situation) -> Resource:
    period = period_of(definition, situation.now, text_at(situation.subject, "birthDate"))
    return with_period(made, period) if period else made


def _requester(situation: Situation) -> Resource | None:
    return _reference(situation.practitioner or situation.organization)


def _reference(target: str | None) -> Resource | None:
    return {"reference": target} if target else None
