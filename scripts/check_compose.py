"""Check a Compose file against the official schema and against what a wrong one would hide until it is started.

check_compose.py FILE: prints every problem and ends with 1, or says how many services are right.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import yaml
from jsonschema import Draft201909Validator

SCHEMA = Path(__file__).parent / "compose" / "compose-spec.json"
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}

Service = dict[str, object]


def problems(text: str) -> list[str]:
    """Everything wrong with the text of a Compose file, as sentences."""
    document = yaml.safe_load(text)
    validator = Draft201909Validator(json.loads(SCHEMA.read_text()))
    shape = [f"{'/'.join(map(str, e.absolute_path)) or '(top)'}: {e.message}" for e in validator.iter_errors(document)]
    if shape:
        return shape
    services = cast("dict[str, Service]", document.get("services", {}))
    found: list[str] = []
    for name, service in services.items():
        found += _service_problems(name, service, services, document)
    return found


def _service_problems(
    name: str, service: Service, services: dict[str, Service], document: dict[str, object]
) -> Iterator[str]:
    if "image" not in service and "build" not in service:
        yield f"{name}: neither image nor build"
    if not service.get("profiles"):
        yield f"{name}: in no profile, so it would start with each of them"
    if "healthcheck" not in service:
        yield f"{name}: no healthcheck"
    for other, how in cast("dict[str, dict[str, str]]", service.get("depends_on", {})).items():
        yield from _dependency_problems(name, service, other, services.get(other), how.get("condition"))
    volumes = cast("dict[str, object]", document.get("volumes", {}))
    for mount in cast("list[str]", service.get("volumes", [])):
        source = mount.split(":")[0]
        if not source.startswith((".", "/")) and source not in volumes:
            yield f"{name}: volume {source} is not declared"
    for port in cast("list[str]", service.get("ports", [])):
        if not str(port).startswith("127.0.0.1:"):
            yield f"{name}: port {port} is published on every address; begin it with 127.0.0.1:"


def _dependency_problems(
    name: str, service: Service, other: str, target: Service | None, condition: str | None
) -> Iterator[str]:
    if target is None:
        yield f"{name}: depends on {other}, which is not a service"
        return
    if condition not in CONDITIONS:
        yield f"{name}: depends on {other} without a condition"
    if condition == "service_healthy" and "test" not in cast("dict[str, object]", target.get("healthcheck", {})):
        yield f"{name}: waits for the health of {other}, which has no health test"
    if not set(cast("list[str]", service.get("profiles", []))) <= set(cast("list[str]", target.get("profiles", []))):
        yield f"{name}: depends on {other}, which is not in all of its profiles"


def main() -> int:
    """Check the file named on the command line."""
    path = Path(sys.argv[1])
    found = problems(path.read_text())
    for problem in found:
        print(f"{path}: {problem}")
    if not found:
        count = len(yaml.safe_load(path.read_text())["services"])
        print(f"{path}: {count} services, right by the Compose schema")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
