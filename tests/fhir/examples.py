"""The official examples kept in fixtures/r4-examples, read once."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from fhir_tracker.fhir.body import read_resource
from fhir_tracker.fhir.json_types import Resource

FOLDER = Path(__file__).parents[2] / "fixtures" / "r4-examples"


@cache
def example(name: str) -> Resource:
    """One example by file name without `.json`; do not change it."""
    return read_resource((FOLDER / f"{name}.json").read_bytes())


def example_names() -> list[str]:
    """The names of all examples."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def examples() -> list[Resource]:
    """All examples, and the resources inside those that are Bundles."""
    found: list[Resource] = []
    for name in example_names():
        resource = example(name)
        found.append(resource)
        found += [entry["resource"] for entry in resource.get("entry", ()) if isinstance(entry.get("resource"), dict)]
    return found
