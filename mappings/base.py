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


def remote_reference(text: str, source: Source) -> str:
    """The way back of `local_reference`: `Type/<id there>` for what is mirrored from `source` under an id that shows it.

    An absolute reference into `source` becomes relative; all else is unchanged, also an id that is a digest.
    """
    absolute = source.base_url + "/"
    if text.startswith(absolute):
        match = _TAIL.fullmatch(text[len(absolute) :])
        return text[len(absolute) :] if match and match["type"] in resource_types() else text
    type_, _, id_ = text.partition("/")
    remote_id = id_.removeprefix(f"{source.key}-")
    return f"{type_}/{remote_id}" if remote_id != id_ and type_ in resource_types() else text


def delocalised(resource: Resource, source: Source) -> Resource:
    """The way back of `localised`: a copy with the EHR's references, and without what only we keep in meta.

    The id is left off unless it is one of `source`'s.
    """
    fresh = rewrite_references(resource, lambda text: remote_reference(text, source))
    ours = {"versionId", "lastUpdated", "source"}
    meta = {name: value for name, value in (resource.get("meta") or {}).items() if name.lstrip("_") not in ours}
    kept = {name: value for name, value in fresh.items() if name not in ("id", "meta")}
    remote_id = str(resource.get("id", "")).removeprefix(f"{source.key}-")
    identified = {"id": remote_id} if remote_id and remote_id != resource.get("id") else {}
    head = {"resourceType": resource["resourceType"], **identified, **({"meta": meta} if meta else {})}
    return head | {name: value for name, value in kept.items() if name != "resourceType"}


@dataclass(frozen=True, kw_only=True)
class Hint:
    """How a vendor's servers are asked about one type, which their metadata does not tell.

    `strategy` is a name of `subscriptions.strategies`, `query` what every search must say besides (`category=assess-plan`),
    `days` that `_lastUpdated` is understood to the day only, `why` a sentence for people. A mapping keeps them as
    `strategy_hints` (type -> Hint), and what the vendor allows in a minute as `budget` (`250 aligned`).
    """

    strategy: str
    why: str
    query: str = ""
    days: bool = False
