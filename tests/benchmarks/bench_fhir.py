from __future__ import annotations

import json

import pytest

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
