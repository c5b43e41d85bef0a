"""Synthetic patients of fixtures/synthea, loaded into a FHIR server as transactions."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import httpx

FOLDER = Path(__file__).parents[2] / "fixtures" / "synthea"
LEFT_OUT = frozenset({"Claim", "ExplanationOfBenefit"})


def bundles() -> list[dict[str, Any]]:
    """One transaction Bundle a patient, without billing."""
    read = (json.loads(gzip.decompress(path.read_bytes())) for path in sorted(FOLDER.glob("*.json.gz")))
    return [one | {"entry": [e for e in one["entry"] if e["resource"]["resourceType"] not in LEFT_OUT]} for one in read]


def load_patients(base_url: str) -> int:
    """Post every Bundle; how many patients there are."""
    loaded = bundles()
    with httpx.Client(timeout=120, trust_env=False) as client:
        for bundle in loaded:
            client.post(base_url, json=bundle, headers={"content-type": "application/fhir+json"}).raise_for_status()
    return len(loaded)
