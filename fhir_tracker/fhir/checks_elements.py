"""What R4 asks of references, codings, identifiers, extensions, contained resources and Bundle entries beyond their
shape.

https://hl7.org/fhir/R4/references.html
"""

from __future__ import annotations

import re
from collections.abc import Callable

from fhir_tracker.errors import Issue
from fhir_tracker.fhir.checks_shapes import Slot, is_language
from fhir_tracker.fhir.definitions.code_systems import is_unknown_code
from fhir_tracker.fhir.definitions.registry import (
    ExtensionDefinition,
    extension_definition,
    resource_types,
    value_set,
)
from fhir_tracker.fhir.invariants.values import Scope
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.primitives import SCHEME
from fhir_tracker.fhir.references import ReferenceKind, parse_reference

BCP_47 = "urn:ietf:bcp:47"
OWNED = frozenset(
    "ActivityDefinition Appointment CarePlan CareTeam Communication Goal PlanDefinition Provenance Questionnaire "
    "QuestionnaireResponse Subscription Task".split()
)
"""The types of which the tracker is the source, or in which it writes."""
WITHOUT_FULL_URL = frozenset({"transaction", "batch", "transaction-response", "batch-response"})
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:\S+")
_BOUND = re.compile(r"\.(coding\[\d+\]|security\[\d+\]|class)$")
"""Codings of which HL7's validator only asks that a code of a listed system is one of it."""
_R4 = "http://hl7.org/fhir/StructureDefinition/"
_SHORT = 200
_URL = re.compile(r"[!#-;=?-\[\]_a-z~]+")
_RESTFUL = re.compile(r"https?://\S+/(?P<type>[A-Z][A-Za-z]+)/(?P<id>[A-Za-z0-9\-.]{1,64})")


class Findings:
    """The issues found so far, the resource a value is in, and the ids of its elements."""

    __slots__ = ("ids", "issues", "misshapen", "scope", "warnings")

    def __init__(self, scope: Scope, *, warnings: bool) -> None:
        self.issues: list[Issue] = []
        self.warnings = warnings
        self.misshapen = 0
        self.scope = scope
        self.ids: set[str] | None = None

    def add(self, path: str, wrong: str, code: str, severity: str = "error") -> None:
        """One issue at `path`; `wrong` follows it in the message. Every error but a broken invariant is a wrong shape."""
        if severity == "error":
            self.misshapen += code != "invariant"
        elif not self.warnings:
            return
        self.issues.append(Issue(message=f"{path} {wrong}.", code=code, expression=path, severity=severity))

    def element_id(self, value: Json, path: str) -> None:
        """The id of an element is given once in a resource."""
        if self.ids is None:
            self.ids = set()
        if type(value) is str:
            if value in self.ids:
                self.add(f"{path}.id", "is the id of another element too; within a resource each has its own", "value")
            self.ids.add(value)

    def contained(self, values: list[Json], path: str) -> None:
        """Every contained resource has an id of its own."""
        seen: set[str] = set()
        for index, value in enumerate(values):
            if type(value) is not dict or "resourceType" not in value:
                continue
            name = value.get("id")
            if name is None:
                self.add(f"{path}[{index}].id", "is missing; a contained resource needs one", "required")
            elif type(name) is str and name in seen:
                self.add(f"{path}[{index}].id", "is the id of another contained resource too", "value")
            elif type(name) is str:
                seen.add(name)


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
        if parsed.kind is ReferenceKind.OTHER and not _ABSOLUTE.fullmatch(text):
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
    elif type(code) is str and is_unknown_code(system, code):
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
        if coding.get("system") == BCP_47 and type(code) is str and not is_language(code):
            place = f"{path}.coding[{index}].code"
            found.add(place, "is not a language tag of BCP 47, such as en or es-MX", "code-invalid")


def _coding(found: Findings, slot: Slot, value: Resource, path: str) -> None:
    system, code = value.get("system"), value.get("code")
    if type(system) is str and system:
        if not SCHEME.match(system):
            if not _BOUND.search(path):
                found.add(f"{path}.system", "is not absolute; a code system is named by a URL or urn", "value")
        elif type(code) is str and is_unknown_code(system, code):
            wrong = "is not a code of its system, which R4 lists completely"
            found.add(f"{path}.code", wrong, "code-invalid", _weight_of_code(found))
        elif "code" not in value and "_code" not in value and is_unknown_code(system, ""):
            found.add(path, "names a system that R4 lists completely, and no code of it", "code-invalid")
    if slot.coded:
        _coded(found, slot, [value], path, is_absent=False)


def _weight_of_code(found: Findings) -> str:
    """A code that its system does not have refuses what people write here; what EHRs and generators send is kept."""
    return "error" if found.scope.root.get("resourceType") in OWNED else "warning"


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


def _extension(found: Findings, slot: Slot, value: Resource, path: str) -> None:
    url = value.get("url")
    if type(url) is not str or not url:
        return
    known = extension_definition(url)
    if known is not None:
        _known_extension(found, known, value, path)
    elif " " not in url and not SCHEME.match(url) and ".extension[" not in path.rpartition(".")[0][-14:]:
        found.add(f"{path}.url", "is not absolute; only the extensions within an extension have a plain name", "value")


def _known_extension(found: Findings, known: ExtensionDefinition, value: Resource, path: str) -> None:
    """An extension that R4 defines has the type of value it defines, and stands where it may change a meaning or not."""
    if path.rpartition(".")[2].startswith("modifierExtension") is not known.is_modifier:
        right = "modifierExtension" if known.is_modifier else "extension"
        found.add(path, f"is an extension that R4 defines for {right}", "structure")
    name = next((one for one in value if one.startswith("value")), None)
    if name is None:
        return
    if not known.types:
        found.add(f"{path}.value", "is given; this extension has extensions instead", "structure")
    elif name[len("value") :] not in {leaf[0].upper() + leaf[1:] for leaf in known.types}:
        found.add(f"{path}.value", f"has another type than R4 defines for it: {', '.join(known.types)}", "structure")
    elif known.codes and name == "valueCode":
        codes = {code for listed in value_set(known.codes).values() for code in listed}
        if codes and type(value[name]) is str and value[name] not in codes:
            found.add(f"{path}.value", "is not a code that R4 allows in this extension", "code-invalid")


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
    "Extension": _extension,
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


RESOURCE_CHECKS: dict[str, Callable[[Findings, Resource, str], None]] = {"Bundle": _bundle}
"""Resource type -> what is asked of it beyond its shape and invariants."""
