"""Definitions by others from fixtures/definitions, and a situation to apply them in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fhir_tracker.fhir.apply.situation import Situation
from fhir_tracker.fhir.body import read_resource
from fhir_tracker.fhir.json_types import Resource
from scripts.budgets import ROOT

FOLDER = ROOT / "fixtures" / "definitions"
NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
PATIENT: Resource = {"resourceType": "Patient", "id": "synthetic", "gender": "female", "birthDate": "1950-01-31"}


def definitions() -> dict[str, Resource]:
    """Each definition by a name of its own."""
    return {name: one for path in sorted(FOLDER.glob("*.json")) for name, one in _of_file(path)}


def _of_file(path: Path) -> Iterator[tuple[str, Resource]]:
    read = read_resource(path.read_bytes())
    inside = [entry["resource"] for entry in read["entry"]] if read["resourceType"] == "Bundle" else [read]
    for number, one in enumerate(inside):
        if one["resourceType"] in ("PlanDefinition", "ActivityDefinition", "Questionnaire"):
            yield f"{path.stem}-{number}", one


def situation(known: Mapping[str, Resource] | None = None, **changed: Any) -> Situation:
    """A synthetic patient at a fixed time; `known` are definitions by canonical or `Type/id`."""
    held = known or {}
    fixed: dict[str, Any] = {
        "subject": PATIENT,
        "subject_ref": "Patient/synthetic",
        "now": NOW,
        "find": lambda canonical: held.get(canonical.partition("|")[0]),
    }
    return Situation(**(fixed | changed))


def by_address(resources: Mapping[str, Resource]) -> dict[str, Resource]:
    """Definitions by their url and by `Type/id`."""
    by_url = {str(one["url"]): one for one in resources.values() if "url" in one}
    return by_url | {f"{one['resourceType']}/{one['id']}": one for one in resources.values() if "id" in one}


def copied(resource: Resource) -> Resource:
    """The same for any writer of JSON, to be changed."""
    made: Resource = json.loads(json.dumps(resource, default=float))
    return made
