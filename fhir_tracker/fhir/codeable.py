"""Small readers and builders of CodeableConcept, Coding, Identifier and Reference."""

from __future__ import annotations

from fhir_tracker.fhir.json_types import Json, Resource


def codings(concept: Json) -> tuple[tuple[str, str], ...]:
    """The (system, code) pairs of a CodeableConcept, a Coding or a list of either; "" for no system."""
    if isinstance(concept, list):
        return tuple(pair for item in concept for pair in codings(item))
    if not isinstance(concept, dict):
        return ()
    if isinstance(concept.get("coding"), list):
        return codings(concept["coding"])
    code = concept.get("code")
    return ((str(concept.get("system") or ""), code),) if isinstance(code, str) else ()


def first_code(concept: Json, system: str | None = None) -> str | None:
    """The first code of a CodeableConcept or Coding, of `system` when given."""
    if type(concept) is list:
        return next((code for item in concept if (code := first_code(item, system)) is not None), None)
    if type(concept) is not dict:
        return None
    inner = concept.get("coding")
    if type(inner) is list:
        return first_code(inner, system)
    code = concept.get("code")
    return code if type(code) is str and system in (None, str(concept.get("system") or "")) else None


def text_of(concept: Json) -> str:
    """What to show for a CodeableConcept: its text, else a display, else a code, else ""."""
    if not isinstance(concept, dict):
        return ""
    shown = [concept.get("text")]
    found = concept.get("coding")
    for coding in found if isinstance(found, list) else ():
        shown += [coding.get("display"), coding.get("code")] if isinstance(coding, dict) else []
    return next((text for text in shown if isinstance(text, str) and text), "")


def concept(system: str, code: str, display: str | None = None, *, text: str | None = None) -> Resource:
    """A CodeableConcept with one coding."""
    coding: Resource = {"system": system, "code": code}
    if display:
        coding["display"] = display
    return {"coding": [coding], "text": text} if text else {"coding": [coding]}


def reference(type_: str, id_: str, display: str | None = None) -> Resource:
    """A Reference to `type_/id_`."""
    built: Resource = {"reference": f"{type_}/{id_}"}
    return built | {"display": display} if display else built


def identifiers(resource: Resource) -> tuple[tuple[str, str], ...]:
    """The (system, value) pairs of a resource's `identifier`, single or many; "" for no system."""
    found = resource.get("identifier")
    rows = found if isinstance(found, list) else [found]
    return tuple(
        (str(row.get("system") or ""), row["value"])
        for row in rows
        if isinstance(row, dict) and isinstance(row.get("value"), str)
    )
