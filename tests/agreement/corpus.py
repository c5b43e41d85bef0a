"""The good resources that mutations start from: official examples, US Core's examples and Synthea's patients."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path

from fhir_tracker.errors import TrackerError
from fhir_tracker.fhir.body import read_resource
from fhir_tracker.fhir.json_types import Resource

FIXTURES = Path(__file__).parents[2] / "fixtures"
OWNED = (
    "CarePlan", "Task", "Appointment", "Communication", "Goal", "CareTeam", "QuestionnaireResponse", "Subscription",
    "PlanDefinition", "ActivityDefinition", "Questionnaire", "Provenance", "Flag",
)  # fmt: skip
JUDGED = (*OWNED, "Patient", "Encounter", "Observation")
R4 = "http://hl7.org/fhir/StructureDefinition/"
MOST_CHARACTERS = 60_000


def read_corpus(
    folders: tuple[Path, ...], *, only: frozenset[str] = frozenset(JUDGED)
) -> dict[str, list[tuple[str, Resource]]]:
    """Type -> (name, resource) of every JSON file in the folders, entries of Bundles included, in a fixed order."""
    found: dict[str, list[tuple[str, Resource]]] = {}
    for folder in folders:
        for path in sorted([*folder.rglob("*.json"), *folder.rglob("*.json.gz")]):
            for name, resource in _resources(path, only):
                if resource["resourceType"] in only:
                    found.setdefault(str(resource["resourceType"]), []).append((name, resource))
    return found


def sample(
    corpus: dict[str, list[tuple[str, Resource]]], most: int, rng: random.Random
) -> Iterator[tuple[str, Resource]]:
    """At most so many of each type, drawn at random."""
    for type_ in sorted(corpus):
        rows = corpus[type_]
        yield from rows if len(rows) <= most else rng.sample(rows, most)


def without_unknown_profiles(resource: Resource) -> Resource:
    """The resource without claims of profiles other than R4's own, which no base validation can judge."""
    meta = resource.get("meta")
    profiles = meta.get("profile") if isinstance(meta, dict) else None
    if not isinstance(profiles, list) or not isinstance(meta, dict):
        return resource
    kept = [one for one in profiles if isinstance(one, str) and one.startswith(R4)]
    fresh = {key: value for key, value in meta.items() if key not in ("profile", "_profile")} | (
        {"profile": kept} if kept else {}
    )
    rest = {key: value for key, value in resource.items() if key != "meta"}
    return {"resourceType": resource["resourceType"], **({"meta": fresh} if fresh else {}), **rest}


def _resources(path: Path, only: frozenset[str]) -> Iterator[tuple[str, Resource]]:
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    loose = json.loads(raw)
    inner = (
        [one["resource"] for one in loose.get("entry", ()) if "resource" in one]
        if loose.get("resourceType") == "Bundle"
        else []
    )
    for index, one in enumerate([loose, *inner]):
        if one.get("resourceType") not in only:
            continue
        text = json.dumps(one)
        if len(text) > MOST_CHARACTERS:
            continue
        try:
            resource = read_resource(text.encode())
        except TrackerError:
            continue
        yield path.name + (f"#{index}" if index else ""), without_unknown_profiles(resource)
