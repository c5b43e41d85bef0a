"""Whether a resource keeps to a profile: cardinality, slices, required codes, patterns, types, targets and invariants.

https://hl7.org/fhir/R4/profiling.html
"""

from __future__ import annotations

from collections.abc import Iterator

from fhir_tracker.errors import Issue
from fhir_tracker.fhir.invariants.values import Scope
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.profiles.tables import Node, Profile
from fhir_tracker.fhir.references import parse_reference

MOST_ISSUES = 50
_LISTED_CODES = 10

Item = tuple[str, str, Json]
"""The expression of a value, the FHIR type its JSON name tells for a choice or "", and the value."""


def check_profile(resource: Resource, profile: Profile) -> tuple[Issue, ...]:
    """What in `resource` breaks `profile`, at most 50 issues, beside what R4 itself asks; never shows a value.

    A resource of another type than the profile's has one issue that says so.
    """
    if resource.get("resourceType") != profile.type:
        return (
            Issue(
                message=f"{profile.title} ({profile.version}) is a profile of {profile.type}, not of this resource's type.",
                code="structure",
            ),
        )
    found = _Finder(resource, f"{profile.title} {profile.version}")
    found.invariants(profile.root, resource, profile.type)
    found.check(profile.root, resource, profile.type)
    return tuple(found.issues[:MOST_ISSUES])


class _Finder:
    """Collects the issues of one resource against one profile."""

    def __init__(self, resource: Resource, profile: str) -> None:
        self.issues: list[Issue] = []
        self._resource = resource
        self._profile = profile
        self._scope = Scope(resource, resource)

    def check(self, node: Node, holder: Resource, path: str) -> None:
        """Every child element that the profile speaks of, in one object."""
        for child in node.children:
            items = list(_items(child, holder, path))
            place = f"{path}.{child.name.removesuffix('[x]')}"
            self._count(child, items, place, "")
            for item in items:
                self._item(child, item)
            for one in child.slices:
                chosen = [item for item in items if _is_of(one, item[2])]
                self._count(one, chosen, place, _kind(one))
                for item in chosen:
                    self._item(one, item)

    def _count(self, node: Node, items: list[Item], place: str, kind: str) -> None:
        if len(items) < node.least:
            wrong = f"has no item {kind}" if kind else "is missing" if not items else f"has fewer than {node.least}"
            self._add(place, f"{wrong}; the profile wants at least {node.least}", "required")
        elif node.most is not None and len(items) > node.most:
            wrong = f"has more than {node.most} {kind}".rstrip() if node.most else "is given"
            self._add(place, f"{wrong}; the profile allows {node.most or 'none'}", "structure")

    def _item(self, node: Node, item: Item) -> None:
        path, type_, value = item
        if node.types and type_ and type_ not in node.types:
            self._add(path, f"is a {type_}; the profile wants {' or '.join(node.types)}", "structure")
            return
        if node.fixed is not None and value is not None and value != node.fixed:
            self._add(path, "is another value than the one the profile fixes", "value")
        if node.codes:
            self._codes(node, value, path)
        if not isinstance(value, dict):
            if node.invariants and value is not None:
                self.invariants(node, value, path)
            return
        if node.targets:
            self._target(node, value, path)
        if not type_:
            self.invariants(node, value, path)
        self.check(node, value, path)

    def invariants(self, node: Node, value: Json, path: str) -> None:
        """What the profile asks of one value as a whole."""
        for one in node.invariants:
            if one.test(value, self._scope) is not True:
                self._add(path, f"breaks {one.key}: {one.human}", "invariant")

    def _codes(self, node: Node, value: Json, path: str) -> None:
        if isinstance(value, str):
            right = any(value == code for _, code in node.codes)
        elif isinstance(value, dict):
            right = any(pair in node.codes for pair in _codings(value))
        else:
            return
        if not right:
            shown = ", ".join(sorted({code for _, code in node.codes})[:_LISTED_CODES])
            self._add(path, f"is not a code that the profile requires, such as {shown}", "code-invalid")

    def _target(self, node: Node, value: Resource, path: str) -> None:
        text = value.get("reference")
        if not isinstance(text, str):
            return
        type_ = _contained_type(self._resource, text[1:]) if text.startswith("#") else parse_reference(text).type
        if type_ and type_ not in node.targets:
            allowed = ", ".join(sorted(node.targets))
            self._add(f"{path}.reference", f"points to {type_}; in the profile it may point to {allowed}", "structure")

    def _add(self, path: str, wrong: str, code: str) -> None:
        self.issues.append(Issue(message=f"{path} {wrong} ({self._profile}).", code=code, expression=path))


def _items(node: Node, holder: Resource, path: str) -> Iterator[Item]:
    if node.name.endswith("[x]"):
        yield from _choice(node.name.removesuffix("[x]"), holder, path)
        return
    value = holder.get(node.name)
    if isinstance(value, list):
        yield from ((f"{path}.{node.name}[{index}]", "", item) for index, item in enumerate(value))
    elif value is not None or f"_{node.name}" in holder:
        yield f"{path}.{node.name}", "", value


def _choice(base: str, holder: Resource, path: str) -> Iterator[Item]:
    for name in {key.removeprefix("_"): None for key in holder}:
        type_ = name.removeprefix(base)
        if name.startswith(base) and type_[:1].isupper():
            leaf = type_ if type_ in _CAPITAL else type_[0].lower() + type_[1:]
            yield f"{path}.{base}", leaf, holder.get(name)


def _is_of(node: Node, value: Json) -> bool:
    if node.url:
        return isinstance(value, dict) and value.get("url") == node.url
    return _holds(value, node.pattern)


def _holds(value: Json, pattern: Json) -> bool:
    """Whether a value has all that a pattern has, items of arrays in any place."""
    if isinstance(pattern, dict):
        return isinstance(value, dict) and all(_holds(value.get(name), inner) for name, inner in pattern.items())
    if isinstance(pattern, list):
        return isinstance(value, list) and all(any(_holds(item, inner) for item in value) for inner in pattern)
    return bool(value == pattern)


def _codings(value: Resource) -> list[tuple[Json, Json]]:
    """System and code of a Coding or of each coding of a CodeableConcept, where both are text."""
    given = value.get("coding", [value])
    rows = (
        [(one.get("system"), one.get("code")) for one in given if isinstance(one, dict)]
        if isinstance(given, list)
        else []
    )
    return [(system, code) for system, code in rows if isinstance(system, str) and isinstance(code, str)]


def _kind(node: Node) -> str:
    if node.url:
        return f"with url {node.url}"
    codings = node.pattern.get("coding", []) if isinstance(node.pattern, dict) else []
    return "coded " + " and ".join(f"{one['system']}|{one['code']}" for one in codings)


def _contained_type(resource: Resource, local: str) -> str:
    contained = resource.get("contained")
    for one in contained if isinstance(contained, list) else ():
        if isinstance(one, dict) and one.get("id") == local:
            return str(one.get("resourceType", ""))
    return ""


_CAPITAL = frozenset(
    "Address Age Annotation Attachment CodeableConcept Coding ContactPoint Count Distance Duration HumanName Identifier Money "
    "Period Quantity Range Ratio Reference SampledData Signature Timing ContactDetail Contributor DataRequirement Expression "
    "ParameterDefinition RelatedArtifact TriggerDefinition UsageContext Dosage Meta".split()
)
