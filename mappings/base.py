"""What every mapping shares: where a resource comes from, and how its references become local ones.

https://hl7.org/fhir/R4/references.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping as Words
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.definitions.registry import resource_types
from fhir_tracker.fhir.identity import local_id
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.references import rewrite_references
from fhir_tracker.model.program import CANONICAL
from mappings.tables import NOTHING, Tables

_TAIL = re.compile(r"(?P<type>[A-Z][A-Za-z]+)/(?P<id>[^/?#\s]{1,255})(?:/_history/[^/?#\s]+)?(?P<fragment>#\S*)?")
_ADDRESS = re.compile(
    r"(?i:(?P<scheme>https?))://(?P<host>\[[0-9A-Fa-f:.]+\]|[^/?#@:\s\\\[\]]+)(?::(?P<port>[0-9]{1,5}))?(?P<path>/\S*)?"
)


@dataclass(frozen=True, kw_only=True)
class Source:
    """One EHR as mappings see it: the connection's key, its FHIR base address without a closing slash, what the practice
    says of its codes, and the base address by which the server itself goes, "" when it does not tell.
    """

    key: str
    base_url: str
    tables: Tables = NOTHING
    calls_itself: str = ""


@dataclass(frozen=True, kw_only=True)
class Hint:
    """How a vendor's servers are asked about one type, which their metadata does not tell.

    `strategy` is a name of `subscriptions.strategies`, `query` what every search must say besides (`category=assess-plan`),
    `days` that `_lastUpdated` is understood to the day only, `why` a sentence for people.
    """

    strategy: str
    why: str
    query: str = ""
    days: bool = False


class Mapping(Protocol):
    """One vendor's dialect; `wanted` are the types followed by default, in the order they are read."""

    @property
    def wanted(self) -> tuple[str, ...]:
        """The types followed when the connection names none."""
        ...

    @property
    def codes(self) -> Tables:
        """What the vendor's own codes mean; a practice's own table goes before it."""
        ...

    @property
    def strategy_hints(self) -> Words[str, Hint]:
        """Type -> how it is asked about."""
        ...

    @property
    def writes(self) -> Words[str, str]:
        """Type -> how it is written there: `create`, `update`, `patch`, `status`, `communication`, `note` or `none`."""
        ...

    @property
    def budget(self) -> str | None:
        """How many requests a minute the vendor allows, as `connection add --budget` takes it; None when it does not say."""
        ...

    def to_tracker(self, resource: Resource, source: Source) -> Resource:
        """The tracker's form of an EHR resource that has a string `id`; a copy, the argument is untouched.

        Raises Incorrect, and nothing else, for what cannot be used.
        """
        ...

    def to_ehr(self, resource: Resource, source: Source) -> Resource | None:
        """The EHR's form of a resource of the tracker's; a copy. None when the vendor has no place for the type."""
        ...

    def recoded(self, resource: Resource, source: Source, *, status: bool = False) -> Resource:
        """A resource that is here already with its codings, and with `status` its status, as the tables have them now."""
        ...


def local_reference(text: str, source: Source) -> str:
    """`Type/<local id>` for a reference into `source`, relative or absolute, its version dropped; all else unchanged.

    Hosts are compared without regard to case and usual ports, http and https are one, and so is the server's own address.
    """
    tail = text
    if "://" in text:
        found = _within(text, source)
        if found is None:
            return text
        tail = found
    match = _TAIL.fullmatch(tail)
    if match is None or match["type"] not in resource_types():
        return text
    return f"{match['type']}/{local_id(source.key, match['id'], match['type'])}{match['fragment'] or ''}"


def _within(text: str, source: Source) -> str | None:
    """What follows the base address, None for an address elsewhere."""
    base = source.base_url + "/"
    if text.startswith(base):
        return text[len(base) :]
    host, path = _address(text)
    for base in (source.base_url, source.calls_itself):
        known, root = _address(base.rstrip("/"))
        if host and host == known and path.startswith(f"{root}/"):
            return path[len(root) + 1 :]
    return None


@lru_cache(maxsize=4096)
def _address(url: str) -> tuple[str, str]:
    """(host and port, path) of an http(s) address; "" for the host of anything else."""
    match = _ADDRESS.fullmatch(url)
    if match is None or (match["port"] and int(match["port"]) > 65_535):
        return "", ""
    usual = {"http": "80", "https": "443"}[match["scheme"].lower()]
    port = match["port"] if match["port"] and match["port"] != usual else ""
    return f"{match['host'].lower()}:{port}", match["path"] or ""


def localised(resource: Resource, source: Source) -> Resource:
    """A copy of `resource` with local id and references and `meta.source` naming the original; nothing else differs."""
    type_, remote_id = named(resource)
    fresh = rewrite_references(resource, lambda text: local_reference(text, source))
    meta = {**meta_of(resource), "source": f"{source.base_url}/{type_}/{remote_id}"}
    return {**fresh, "id": local_id(source.key, remote_id, type_), "meta": meta}


def named(resource: Resource) -> tuple[str, str]:
    """The type and id of a resource; Incorrect when it has none."""
    type_, id_ = resource.get("resourceType"), resource.get("id")
    if not isinstance(type_, str) or type_ not in resource_types():
        raise Incorrect("The resource has no type of FHIR R4.")
    if not isinstance(id_, str) or not id_:
        raise Incorrect("The resource has no `id`.")
    return type_, id_


def meta_of(resource: Resource) -> dict[str, Any]:
    """Its meta, {} when it has none; Incorrect when it is no object."""
    meta = resource.get("meta", {})
    if not isinstance(meta, dict):
        raise Incorrect("`meta` is not an object.")
    return meta


def remote_reference(text: str, source: Source) -> str:
    """The way back of `local_reference`: `Type/<id there>` for what is mirrored from `source` under an id that shows it.

    An absolute reference into `source` becomes relative; all else is unchanged, also an id that is a digest.
    """
    if "://" in text:
        tail = _within(text, source)
        match = None if tail is None else _TAIL.fullmatch(tail)
        return match[0] if match and match["type"] in resource_types() else text
    type_, _, id_ = text.partition("/")
    remote_id = id_.removeprefix(f"{source.key}-")
    return f"{type_}/{remote_id}" if remote_id != id_ and type_ in resource_types() else text


def delocalised(resource: Resource, source: Source) -> Resource:
    """The way back of `localised`: a copy with the EHR's references, and without what only we keep in meta.

    The id is left off unless it is one of `source`'s.
    """
    fresh = rewrite_references(resource, lambda text: remote_reference(text, source))
    meta = _meta_there(resource.get("meta"))
    kept = {name: value for name, value in fresh.items() if name not in ("id", "meta")}
    remote_id = str(resource.get("id", "")).removeprefix(f"{source.key}-")
    identified = {"id": remote_id} if remote_id and remote_id != resource.get("id") else {}
    head = {"resourceType": resource["resourceType"], **identified, **({"meta": meta} if meta else {})}
    return head | {name: value for name, value in kept.items() if name != "resourceType"}


def _meta_there(meta: object) -> dict[str, Any]:
    """Without version, time and source, which are each side's own, and without the tags that the tracker sets."""
    if not isinstance(meta, dict):
        return {}
    ours = {"versionId", "lastUpdated", "source"}
    kept = {name: value for name, value in meta.items() if name.lstrip("_") not in ours}
    tags = kept.get("tag")
    if isinstance(tags, list) and (theirs := [one for one in tags if not _is_own(one)]) != tags:
        kept = {name: value for name, value in kept.items() if name != "tag"} | ({"tag": theirs} if theirs else {})
    return kept


def _is_own(coding: object) -> bool:
    return isinstance(coding, dict) and str(coding.get("system", "")).startswith(f"{CANONICAL}/")
