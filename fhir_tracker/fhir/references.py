"""Reference strings: what they point to, where they stand in a resource, and how to rewrite them.

https://hl7.org/fhir/R4/references.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from fhir_tracker.fhir.definitions.registry import resource_types
from fhir_tracker.fhir.json_types import Json, Resource

_SHORT = 200
_LOCATION = re.compile(
    r"(?:(?P<base>https?://[^\s?#]+)/)?(?P<type>[A-Z][A-Za-z]+)/(?P<id>[A-Za-z0-9\-.]{1,64})"
    r"(?:/_history/(?P<version>[A-Za-z0-9\-.]{1,64}))?(?:#[^\s]*)?"
)
_CONDITIONAL = re.compile(r"(?P<type>[A-Z][A-Za-z]+)\?\S*")


class ReferenceKind(StrEnum):
    """What sort of reference a string is."""

    RELATIVE = "relative"
    ABSOLUTE = "absolute"
    URN = "urn"
    FRAGMENT = "fragment"
    CONDITIONAL = "conditional"
    OTHER = "other"


@dataclass(frozen=True, kw_only=True, slots=True)
class ParsedReference:
    """The parts of a reference string; `base` has no closing slash; "" where a part cannot be known."""

    kind: ReferenceKind
    text: str
    type: str = ""
    id: str = ""
    version: str = ""
    base: str = ""


def parse_reference(text: str) -> ParsedReference:
    """What `text` (a Reference.reference) points to; never raises: what has no known form is OTHER."""
    return _parse_short(text) if len(text) <= _SHORT else _parse(text)


def _parse(text: str) -> ParsedReference:
    if text.startswith("#"):
        return ParsedReference(kind=ReferenceKind.FRAGMENT, text=text, id=text[1:])
    if text.startswith(("urn:uuid:", "urn:oid:")):
        return ParsedReference(kind=ReferenceKind.URN, text=text)
    match = _LOCATION.fullmatch(text)
    if match and match["type"] in resource_types():
        return ParsedReference(
            kind=ReferenceKind.ABSOLUTE if match["base"] else ReferenceKind.RELATIVE,
            text=text,
            type=match["type"],
            id=match["id"],
            version=match["version"] or "",
            base=match["base"] or "",
        )
    match = _CONDITIONAL.fullmatch(text)
    if match and match["type"] in resource_types():
        return ParsedReference(kind=ReferenceKind.CONDITIONAL, text=text, type=match["type"])
    return ParsedReference(kind=ReferenceKind.OTHER, text=text)


_parse_short = lru_cache(maxsize=4096)(_parse)


def walk_references(resource: Resource) -> Iterator[tuple[str, Resource]]:
    """Every Reference with a `reference` string, extensions and contained resources included, as (path, Reference).

    A path reads `CarePlan.activity[0].reference`; the dicts are those of `resource`, not copies.
    """
    yield from _walk(resource, str(resource.get("resourceType", "")))


def rewrite_references(resource: Resource, rewrite: Callable[[str], str]) -> Resource:
    """A copy in which each Reference.reference string is `rewrite(it)`; parts without a change are shared."""
    changed: Resource = _rewritten(resource, rewrite, "")
    return changed


def _walk(value: Json, path: str, name: str = "") -> Iterator[tuple[str, Resource]]:
    if type(value) is dict:
        if type(value.get("reference")) is str and is_reference(value, name):
            yield path, value
        for member_name, member in value.items():
            if type(member) in (dict, list):
                yield from _walk(member, f"{path}.{member_name}", member_name)
    elif type(value) is list:
        for index, item in enumerate(value):
            yield from _walk(item, f"{path}[{index}]", name)


def is_reference(value: Resource, name: str) -> bool:
    """Whether it is a Reference: DetectedIssue, Expression and Immunization.education have a `reference` uri too."""
    return "resourceType" not in value and "language" not in value and name != "education"


def _rewritten(value: Json, rewrite: Callable[[str], str], name: str) -> Json:
    if type(value) is dict:
        return _rewritten_object(value, rewrite, name)
    items = [_rewritten(item, rewrite, name) if type(item) in (dict, list) else item for item in value]
    return items if any(new is not old for new, old in zip(items, value, strict=True)) else value


def _rewritten_object(value: Resource, rewrite: Callable[[str], str], name: str) -> Resource:
    fresh: Resource = {}
    for member_name, member in value.items():
        if type(member) in (dict, list):
            new = _rewritten(member, rewrite, member_name)
        elif member_name == "reference" and type(member) is str and is_reference(value, name):
            new = rewrite(member)
        else:
            continue
        if new is not member and new != member:
            fresh[member_name] = new
    return value | fresh if fresh else value
