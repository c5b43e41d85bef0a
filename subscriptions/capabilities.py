"""What a server says it can do, from its CapabilityStatement.

https://hl7.org/fhir/R4/capabilitystatement.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from fhir_tracker.errors import RemoteFailure
from subscriptions.bundles import read_object
from subscriptions.client import EhrClient


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """FHIR version, software, and by type whether it can be searched and its history read; `searches` are parameter names.

    `exports` tells of what a bulk export can be asked: `system`, `Group`, `Patient`; `address` is the base address by
    which the server itself goes, "" when it does not tell.
    """

    fhir_version: str
    software: str
    searchable: frozenset[str]
    history: frozenset[str]
    searches: Mapping[str, frozenset[str]]
    exports: frozenset[str]
    served_at: datetime | None
    address: str = ""

    @property
    def is_r4(self) -> bool:
        return self.fhir_version == "4.0" or self.fhir_version.startswith("4.0.")


def read_capabilities(client: EhrClient) -> Capabilities:
    """GET metadata; RemoteFailure when it cannot be had or is no CapabilityStatement."""
    answer = client.get("metadata")
    members = read_object(answer)
    try:
        statement: dict[str, Any] = {
            name: msgspec.json.decode(members[name])
            for name in ("resourceType", "fhirVersion", "software", "implementation", "rest")
            if name in members
        }
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise RemoteFailure("The CapabilityStatement is not valid JSON.", permanent=True) from None
    if statement.get("resourceType") != "CapabilityStatement":
        raise RemoteFailure("The server's metadata is not a CapabilityStatement.", permanent=True)
    described = _resources(statement)
    return Capabilities(
        fhir_version=_text(statement.get("fhirVersion")),
        software=" ".join(_text(_dict(statement.get("software")).get(name)) for name in ("name", "version")).strip(),
        searchable=frozenset(name for name, one in described.items() if "search-type" in _interactions(one)),
        history=frozenset(name for name, one in described.items() if "history-type" in _interactions(one)),
        searches={
            name: frozenset(_text(_dict(found).get("name")) for found in _list(one.get("searchParam")))
            for name, one in described.items()
        },
        exports=_exports(statement, described),
        served_at=answer.served_at,
        address=_text(_dict(statement.get("implementation")).get("url")),
    )


def _exports(statement: dict[str, Any], described: dict[str, dict[str, Any]]) -> frozenset[str]:
    """Of what a bulk export can be asked: `system`, or by type (Group, Patient)."""
    servers = [_dict(rest) for rest in _list(statement.get("rest"))]
    found = {name for name, one in described.items() if "export" in _operations(one)}
    return frozenset(found | ({"system"} if any("export" in _operations(rest) for rest in servers) else set()))


def _operations(described: dict[str, Any]) -> set[str]:
    return {_text(_dict(one).get("name")).lstrip("$") for one in _list(described.get("operation"))}


def _resources(statement: dict[str, Any]) -> dict[str, dict[str, Any]]:
    servers = [_dict(rest) for rest in _list(statement.get("rest"))]
    found = (_dict(one) for rest in servers if rest.get("mode") != "client" for one in _list(rest.get("resource")))
    return {_text(one.get("type")): one for one in found}


def _interactions(resource: dict[str, Any]) -> set[str]:
    return {_text(_dict(one).get("code")) for one in _list(resource.get("interaction"))}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
