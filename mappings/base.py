"""What every mapping shares: where a resource comes from, and how its references become local ones.

https://hl7.org/fhir/R4/references.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from fhir_tracker.fhir.definitions.registry import resource_types
from fhir_tracker.fhir.identity import local_id
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.references import rewrite_references

_TAIL = re.compile(r"(?P<type>[A-Z][A-Za-z]+)/(?P<id>[^/?#\s]{1,255})(?:/_history/[^/?#\s]+)?(?P<fragment>#\S*)?")


@dataclass(frozen=True, kw_only=True)
class Source:
    """One EHR as mappings see it: the connection's key and its FHIR base address without a closing slash."""

    key: str
    base_url: str


class Mapping(Protocol):
    """One vendor's dialect; `wanted` are the types followed by default, in the order they are read."""

    @property
    def wanted(self) -> tuple[str, ...]:
        """The types followed when the connection names none."""
        ...

    def to_tracker(self, resource: Resource, source: Source) -> Resource:
        """The tracker's form of an EHR resource that has a string `id`; a copy, the argument is untouched."""
        ...


def local_reference(text: str, source: Source) -> str:
    """`Type/<local id>` for a reference into `source`, relative or absolute, its version dropped; all else unchanged."""
    tail = text
    if "://" in text:
        base = source.base_url + "/"
        if not text.startswith(base):
            return text
        tail = text[len(base) :]
    match = _TAIL.fullmatch(tail)
    if match is None or match["type"] not in resource_types():
        return text
    return f"{match['type']}/{local_id(source.key, match['id'], match['type'])}{match['fragment'] or ''}"


def localised(resource: Resource, source: Source) -> Resource:
    """A copy of `resource` with local id and references and `meta.source` naming the original; nothing else differs."""
    type_, remote_id = resource["resourceType"], resource["id"]
    fresh = rewrite_references(resource, lambda text: local_reference(text, source))
    meta = {**resource.get("meta", {}), "source": f"{source.base_url}/{type_}/{remote_id}"}
    return {**fresh, "id": local_id(source.key, remote_id, type_), "meta": meta}
