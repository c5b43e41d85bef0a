"""What an EHR takes of what we would write: from its CapabilityStatement, and from what its mapping knows of the vendor.

https://hl7.org/fhir/R4/capabilitystatement.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from fhir_tracker.errors import RemoteFailure, Unsupported
from subscriptions.bundles import read_object
from subscriptions.client import EhrClient

Kind = Literal["create", "update", "patch", "communication", "note"]
STATUS_ONLY = frozenset({"status", "statusReason"})
TOLD_AS = ("Task",)
"""The types whose end can be told in words when the EHR does not take them themselves."""


@dataclass(frozen=True, kw_only=True)
class Abilities:
    """Interactions by type, and the types with conditional create; `interactions` is None when nothing is known."""

    interactions: Mapping[str, frozenset[str]] | None = None
    conditional_create: frozenset[str] = frozenset()

    def can(self, type_: str, interaction: str) -> bool:
        """Whether it says so; a server that says nothing is tried."""
        return self.interactions is None or interaction in self.interactions.get(type_, frozenset())

    def as_detail(self) -> dict[str, Any]:
        """As JSON values."""
        known = self.interactions
        return {
            "interactions": None if known is None else {name: sorted(one) for name, one in known.items()},
            "conditional_create": sorted(self.conditional_create),
        }


@dataclass(frozen=True, kw_only=True)
class Way:
    """How something reaches the EHR: what is done with a resource of `type` there; `only` these fields when given."""

    kind: Kind
    type: str
    only: frozenset[str] | None = None


def abilities_from(detail: Mapping[str, Any]) -> Abilities:
    """What `as_detail` made."""
    known = detail.get("interactions")
    return Abilities(
        interactions=None if known is None else {name: frozenset(one) for name, one in known.items()},
        conditional_create=frozenset(detail.get("conditional_create", ())),
    )


def read_abilities(client: EhrClient) -> Abilities:
    """What the server's metadata say; nothing is known of one whose metadata cannot be read."""
    try:
        members = read_object(client.get("metadata"))
        rests = msgspec.json.decode(members.get("rest", b"[]"))
    except RemoteFailure as failure:
        if not failure.permanent:
            raise
        return Abilities()
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return Abilities()
    described = {str(one.get("type")): one for rest in _objects(rests) for one in _objects(rest.get("resource"))}
    return Abilities(
        interactions={
            name: frozenset(str(found.get("code")) for found in _objects(one.get("interaction")))
            for name, one in described.items()
        },
        conditional_create=frozenset(name for name, one in described.items() if one.get("conditionalCreate") is True),
    )


def way_to_create(type_: str, abilities: Abilities, writes: Mapping[str, str]) -> Way:
    """How something made here can get there; raises Unsupported, in words, when it cannot."""
    told = writes.get(type_, "")
    if told in ("", "create") and abilities.can(type_, "create"):
        return Way(kind="create", type=type_)
    if type_ in TOLD_AS and told != "none":
        known = told in ("communication", "note")
        if told != "note" and _takes(abilities, "Communication", known):
            return Way(kind="communication", type="Communication")
        if told != "communication" and _takes(abilities, "DocumentReference", known):
            return Way(kind="note", type="DocumentReference")
    raise Unsupported(f"It takes no new {type_}; this one stays here.")


def way_to_change(type_: str, abilities: Abilities, writes: Mapping[str, str]) -> Way:
    """How a change to something that is there can get there; raises Unsupported, in words, when it cannot."""
    told = writes.get(type_, "")
    if told in ("", "create", "update", "status") and abilities.can(type_, "update"):
        return Way(kind="update", type=type_, only=STATUS_ONLY if told == "status" else None)
    if told in ("", "create", "update", "status", "patch") and abilities.can(type_, "patch"):
        return Way(kind="patch", type=type_, only=STATUS_ONLY if told == "status" else None)
    raise Unsupported(f"It takes no changes to a {type_}; this one stays here.")


def _takes(abilities: Abilities, type_: str, known: bool) -> bool:
    """Whether it says so, or says nothing and its mapping does."""
    return abilities.can(type_, "create") and (known or abilities.interactions is not None)


def _objects(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
