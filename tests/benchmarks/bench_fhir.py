from __future__ import annotations

import gzip
import json
from contextlib import suppress

import pytest
from fhir.resources.R4B import get_fhir_model_class

from fhir_tracker.fhir.body import read_resource, write_json
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.search_values import extract
from scripts.budgets import ROOT
from tests.benchmarks.table import best_seconds, row

EXAMPLES = ROOT / "fixtures" / "r4-examples"
TIMES = 200


@pytest.mark.parametrize("name", ["CarePlan-example", "Appointment-example", "Encounter-example"])
def test_reading_checking_and_indexing_one_resource(name: str) -> None:
    raw = (EXAMPLES / f"{name}.json").read_bytes()
    resource = read_resource(raw)
    for what, work in {
        "json.loads, for comparison": lambda: json.loads(raw),
        "read_resource": lambda: read_resource(raw),
        "check against R4": lambda: check(resource),
        "search values": lambda: extract(resource),
        "write_json": lambda: write_json(resource),
    }.items():
        seconds = best_seconds(lambda work=work: [work() for _ in range(TIMES)])  # type: ignore[misc]
        row(f"{name} ({len(raw):,} bytes): {what}", seconds / TIMES * 1e6, "us")


@pytest.mark.parametrize("name", ["Task-example3", "CarePlan-example"])
def test_checking_one_resource_beside_fhir_resources(name: str) -> None:
    raw = (EXAMPLES / f"{name}.json").read_bytes()
    _beside(f"{name} ({len(raw):,} bytes)", [raw])


def test_checking_a_synthea_patient_beside_fhir_resources() -> None:
    packed = sorted((ROOT / "fixtures" / "synthea").glob("*.json.gz"))[0].read_bytes()
    bundle = read_resource(gzip.decompress(packed), max_bytes=100_000_000)
    raws = [write_json(entry["resource"]).encode() for entry in bundle["entry"]]
    _beside(f"Synthea, {len(raws)} resources of {sum(map(len, raws)) // len(raws):,} bytes", raws)


def _beside(what: str, raws: list[bytes]) -> None:
    """Microseconds a resource of the check and of building the same with fhir.resources (R4B), which asks no invariants."""
    resources = [read_resource(raw) for raw in raws]
    loose = [json.loads(raw) for raw in raws]
    models = [get_fhir_model_class(one["resourceType"]) for one in loose]

    times = max(1, TIMES // len(raws))

    def own() -> None:
        for resource in resources * times:
            check(resource)

    def theirs() -> None:
        for model, one in zip(models * times, loose * times, strict=True):
            with suppress(ValueError):
                model.model_validate(one)

    ours = best_seconds(own) / times / len(raws) * 1e6
    peer = best_seconds(theirs) / times / len(raws) * 1e6
    row(f"{what}: check against R4 with invariants", ours, "us")
    row(f"{what}: fhir.resources", peer, "us")
    row(f"{what}: ratio", peer / ours, "x")
