"""What R4 asks of references, codings, identifiers, extensions, contained resources and Bundle entries beyond their
shape.

https://hl7.org/fhir/R4/references.html
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from fhir_tracker.fhir.checks_extensions import check_extension
from fhir_tracker.fhir.checks_findings import Findings
from fhir_tracker.fhir.checks_shapes import Slot, is_language
from fhir_tracker.fhir.definitions.code_systems import is_unknown_code
from fhir_tracker.fhir.definitions.registry import resource_types
from fhir_tracker.fhir.invariants.values import Scope
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.primitives import SCHEME
from fhir_tracker.fhir.profiles.conformance import check_profile
from fhir_tracker.fhir.profiles.tables import find_vital_sign
from fhir_tracker.fhir.references import ReferenceKind, parse_reference
from fhir_tracker.fhir.ucum import SYSTEM as UCUM
from fhir_tracker.fhir.ucum import is_unit

BCP_47 = "urn:ietf:bcp:47"
WITHOUT_FULL_URL = frozenset({"transaction", "batch", "transaction-response", "batch-response"})
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:\S+")
_BOUND = re.compile(
    r"\.(coding\[\d+\]|security\[\d+\]|class)$|^AuditEvent\.(type|subtype\[\d+\])$"
    r"|^(Endpoint\.connectionType|Location\.operationalStatus)$"
)
"""Codings of which HL7's validator only asks that a code of a listed system is one of it."""
_IN_A_CONCEPT = re.compile(r"\.coding\[\d+\]$")
_R4 = "http://hl7.org/fhir/StructureDefinition/"
_FREE = frozenset({ReferenceKind.OTHER, ReferenceKind.URN})
"""References of which only this check asks that no blank is in them."""
_SHORT = 200
_URL = re.compile(r"[!#-;=?-\[\]_a-z~]+")
_RESTFUL = re.compile(r"https?://\S+/(?P<type>[A-Z][A-Za-z]+)/(?P<id>[A-Za-z0-9\-.]{1,64})")


ElementCheck = Callable[[Findings, Slot, Resource, str], None]


def _reference(found: Findings, slot: Slot, value: Resource, path: str) -> None:
    said = value.get("type")
    if type(said) is str:
        _type_of_reference(found, slot, said, value.get("reference"), path)
    text = value.get("reference")
    if type(text) is not str:
        return
    if text[:1] == "#":
        target = local_type(found.scope, text)
        if text == "#" and found.scope.root is found.scope.resource:
            found.add(f"{path}.reference", "points to the resource itself; only contained resources use #", "value")
            return
    else:
        parsed = parse_reference(text)
        if parsed.kind in _FREE and not _ABSOLUTE.fullmatch(text):
            right = "Type/id, an absolute URL, urn:uuid: or #id of a contained resource"
            severity = "warning" if _URL.fullmatch(text) else "error"
            found.add(f"{path}.reference", f"is not a reference: give {right}", "value", severity)
            return
        target = parsed.type
    if slot.targets and target and target not in slot.targets:
        allowed = ", ".join(sorted(slot.targets))
        found.add(f"{path}.reference", f"points to {target}; it may point to {allowed}", "structure")


def is_plain_reference(slot: Slot, value: Resource) -> bool:
    """Whether all it says is `Type/id`, of a type that may stand there, and a display: then nothing is wrong with it."""
    text = value.get("reference")
    if type(text) is not str or len(text) > _SHORT or len(value) > 2:
        return False
    if len(value) == 2 and not _is_plain_text(value.get("display")):
        return False
    parsed = parse_reference(text)
    return parsed.kind is ReferenceKind.RELATIVE and (not slot.targets or parsed.type in slot.targets)


def _is_plain_text(value: Json) -> bool:
    return type(value) is str and 1 < len(value) <= _SHORT


def local_type(scope: Scope, text: str) -> str:
    """The resource type of what `#` or `#id` points to; "" if there is none."""
    if text == "#":
        holder = scope.root
    else:
        held = scope.root.get("contained")
        inside = [one for one in held if type(one) is dict and one.get("id") == text[1:]] if type(held) is list else []
        if not inside:
            return ""
        holder = inside[0]
    name = holder.get("resourceType")
    return name if type(name) is str else ""


def _type_of_reference(found: Findings, slot: Slot, said: str, text: Json, path: str) -> None:
    if said not in resource_types() and not said.startswith(("http:", "https:")):
        found.add(f"{path}.type", "is not a resource type of FHIR R4", "code-invalid")
    elif said.startswith(_R4):
        found.add(
            f"{path}.type", "is an address; the type of a resource is its bare name, such as Patient", "code-invalid"
        )
    elif text is not None and slot.targets and said in resource_types() and said not in slot.targets:
        allowed = ", ".join(sorted(slot.targets))
        found.add(f"{path}.type", f"is not a type this may point to: {allowed}", "structure")
    elif type(text) is str and said in resource_types() and parse_reference(text).type not in ("", said):
        found.add(f"{path}.type", "is not the type that the reference points to", "structure")


def _quantity(found: Findings, slot: Slot, value: Resource, path: str) -> None:
    system, code = value.get("system"), value.get("code")
    if type(system) is not str or not system:
        return
    if not SCHEME.match(system):
        found.add(f"{path}.system", "is not absolute; a system of units is named by a URL or urn", "value")
    elif type(code) is str and (system != UCUM or slot.type == "Quantity"):
        _code(found, system, code, path)


def _code(found: Findings, system: str, code: str, path: str) -> None:
    """A code is one of its system, if that is UCUM or listed completely."""
    if system == UCUM:
        if not is_unit(code) and found.is_strict():
            found.add(f"{path}.code", "is not a unit of UCUM, such as mg/dL, mm[Hg] or {tablet}", "code-invalid")
    elif is_unknown_code(system, code) and found.is_strict():
        found.add(f"{path}.code", "is not a code of its system, which R4 lists completely", "code-invalid")


def _codeable_concept(found: Findings, slot: Slot, value: Resource, path: str) -> None:
    if not slot.coded and not slot.language:
        return
    codings = value.get("coding")
    listed = [one for one in codings if type(one) is dict] if type(codings) is list else []
    if slot.coded:
        _coded(found, slot, listed, path, is_absent="coding" not in value and "extension" not in value)
    for index, coding in enumerate(listed if slot.language else ()):
        code = coding.get("code")
        if coding.get("system", BCP_47) == BCP_47 and type(code) is str and not is_language(code):
            place = f"{path}.coding[{index}].code"
            found.add(place, "is not a language tag of BCP 47, such as en or es-MX", "code-invalid")


def _coding(found: Findings, slot: Slot, value: Resource, path: str) -> None:
    system, code = value.get("system"), value.get("code")
    if type(system) is str and system:
        if not SCHEME.match(system):
            if not _BOUND.search(path):
                found.add(f"{path}.system", "is not absolute; a code system is named by a URL or urn", "value")
        elif type(code) is str:
            _code(found, system, code, path)
        elif (
            "code" not in value and "_code" not in value and _IN_A_CONCEPT.search(path) and is_unknown_code(system, "")
        ):
            found.add(path, "names a system that R4 lists completely, and no code of it", "code-invalid")
    if slot.coded:
        _coded(found, slot, [value], path, is_absent=False)


def _coded(found: Findings, slot: Slot, codings: list[Resource], path: str, *, is_absent: bool) -> None:
    pairs = [(coding.get("system", ""), coding.get("code")) for coding in codings]
    texts = [(system, code) for system, code in pairs if type(code) is type(system) is str]
    if found.issues and (found.issues[-1].expression or "").startswith(f"{path}."):
        return
    if (texts or is_absent) and slot.coded.isdisjoint(texts):
        found.add(path, f"has no coding that is {slot.refused}", "code-invalid")


def _identifier(found: Findings, slot: Slot, value: Resource, path: str) -> None:
    system, text = value.get("system"), value.get("value")
    if type(system) is not str:
        return
    if not SCHEME.match(system):
        found.add(f"{path}.system", "is not absolute; the system of an identifier is a URL or urn", "value")
    elif system == "urn:ietf:rfc:3986" and type(text) is str and not SCHEME.match(text):
        found.add(f"{path}.value", "is not a full URI, as the system urn:ietf:rfc:3986 asks", "value")


def _meta(found: Findings, slot: Slot, value: Resource, path: str) -> None:
    """A profile of R4 itself that a resource claims is the one of its own type."""
    claimed = value.get("profile")
    for index, url in enumerate(claimed if type(claimed) is list else ()):
        name = url.removeprefix(_R4).partition("|")[0] if type(url) is str and url.startswith(_R4) else ""
        if name in resource_types() and name != found.scope.resource.get("resourceType"):
            found.add(f"{path}.profile[{index}]", "is the profile of another type of resource", "value")


ELEMENT_CHECKS: dict[str, ElementCheck] = {
    "Reference": _reference,
    "CodeableConcept": _codeable_concept,
    "Coding": _coding,
    "Meta": _meta,
    **dict.fromkeys(("Quantity", "Age", "Count", "Distance", "Duration"), _quantity),
    "Identifier": _identifier,
    "Extension": check_extension,
}
"""Type -> what is asked of a value of that type beyond its shape."""


def _bundle(found: Findings, value: Resource, path: str) -> None:
    entries, said = value.get("entry"), value.get("type")
    needs_url = type(said) is not str or said not in WITHOUT_FULL_URL
    for index, entry in enumerate(entries if type(entries) is list else ()):
        if type(entry) is dict:
            _entry(found, entry, f"{path}.entry[{index}]", needs_url=needs_url)


def _entry(found: Findings, entry: Resource, path: str, *, needs_url: bool) -> None:
    url, resource = entry.get("fullUrl"), entry.get("resource")
    if url is None:
        if needs_url and type(resource) is dict and "_fullUrl" not in entry:
            found.add(f"{path}.fullUrl", "is missing; outside of transactions and batches an entry has one", "required")
        return
    if type(url) is not str:
        return
    if not SCHEME.match(url):
        found.add(f"{path}.fullUrl", "is not an absolute URL", "value")
        return
    match = _RESTFUL.fullmatch(url)
    if match is None or match["type"] not in resource_types() or type(resource) is not dict:
        return
    if type(resource.get("id")) is str and (match["type"], match["id"]) != (
        resource.get("resourceType"),
        resource["id"],
    ):
        found.add(f"{path}.fullUrl", "does not end with the type and id of its resource", "value")


def _observation(found: Findings, value: Resource, path: str) -> None:
    """An Observation that claims to be a vital sign keeps to R4's own profile of it."""
    meta = value.get("meta")
    claimed = meta.get("profile") if type(meta) is dict and found.is_strict() else None
    for url in claimed if type(claimed) is list else ():
        profile = find_vital_sign(url) if type(url) is str else None
        for issue in check_profile(value, profile) if profile is not None else ():
            place = path + (issue.expression or "").removeprefix("Observation")
            found.misshapen += issue.code != "invariant"
            found.issues.append(replace(issue, expression=place))


RESOURCE_CHECKS: dict[str, Callable[[Findings, Resource, str], None]] = {
    "Bundle": _bundle,
    "Observation": _observation,
}
"""Resource type -> what is asked of it beyond its shape and invariants."""
