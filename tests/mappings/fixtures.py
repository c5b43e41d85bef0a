"""What each vendor sends, from `fixtures/ehr/<vendor>/`, and a table of a practice's own for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fhir_tracker.fhir.body import read_resource
from mappings import Mapping, Source, Tables, read_tables

FIXTURES = Path(__file__).parents[2] / "fixtures" / "ehr"
BASE = "https://ehr.example/fhir"
SOURCE = Source(key="clinic", base_url=BASE)
PRACTICE = """
[status.Appointment]
scheduled = "booked"
"checked out" = "fulfilled"
[status.Task]
open = "requested"
[appointment-type.codes]
"urn:oid:1.2.840.114350.1.13.0.1.7.3.808267.11|1004" = "tcm-visit"
"https://fhir.cerner.com/00000000-0000-0000-0000-000000000000/codeSet/14249|4047611" = "http://snomed.info/sct|185389009"
"local|7" = "tcm-visit"
[reason.codes]
"local|away" = "pat"
"local|other" = ""
[outreach.codes]
"local|rang out" = "no-answer"
[channel.codes]
"local|call" = "phone"
"""


def sent_by(vendor: str) -> dict[str, dict[str, Any]]:
    """File name without ending -> resource, OperationOutcomes left out."""
    files = sorted((FIXTURES / vendor).glob("*.json"))
    found = {file.stem: read_resource(file.read_bytes()) for file in files}
    return {name: one for name, one in found.items() if one["resourceType"] != "OperationOutcome"}


def outcome(vendor: str, code: str) -> dict[str, Any]:
    """The OperationOutcome of one of the vendor's codes."""
    found: dict[str, Any] = json.loads((FIXTURES / vendor / f"OperationOutcome-{code}.json").read_text())
    return found


def tables(text: str = PRACTICE) -> Tables:
    return read_tables(text.encode(), "practice.toml")


def source(text: str = PRACTICE) -> Source:
    return Source(key="clinic", base_url=BASE, tables=tables(text))


def taken_back(mapping: Mapping, resource: dict[str, Any], at: Source = SOURCE) -> dict[str, Any] | None:
    """What goes back of what came."""
    return mapping.to_ehr(mapping.to_tracker(resource, at), at)


def as_it_takes_it(resource: dict[str, Any], drops: frozenset[str] = frozenset()) -> dict[str, Any]:
    """What was sent without what a server sets itself: version, time, source, and the vendor's own members of meta."""
    servers = {"versionId", "lastUpdated", "source", *drops}
    meta = {name: value for name, value in resource.get("meta", {}).items() if name not in servers}
    rest = {name: value for name, value in resource.items() if name != "meta"}
    return rest | ({"meta": meta} if meta else {})
