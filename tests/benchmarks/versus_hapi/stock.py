"""The made-up patients and Tasks that both servers hold before the clock starts, and the scripts that wrk runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PATIENTS = 50
TASKS_EACH = 60
_SYSTEM = "https://fhir-tracker.example/made-up"

_CREATE = """
local bodies = {%s}
local number = 0
request = function()
  number = number + 1
  local headers = {["Content-Type"] = "application/fhir+json", ["Prefer"] = "return=minimal"}
  headers["Authorization"] = wrk.headers["Authorization"]
  return wrk.format("POST", "/fhir/Task", headers, bodies[number %% #bodies + 1])
end
"""
_GET = """
local paths = {%s}
local number = 0
request = function()
  number = number + 1
  local headers = {["Accept"] = "application/fhir+json", ["Authorization"] = wrk.headers["Authorization"]}
  return wrk.format("GET", paths[number %% #paths + 1], headers)
end
"""


def patient(number: int) -> dict[str, Any]:
    """A synthetic patient with the id `bench-p<number>`."""
    name = [{"family": f"Synthetic{number}", "given": ["Benchmark"]}]
    return {"resourceType": "Patient", "id": f"bench-p{number}", "name": name, "gender": "unknown"}


def task(number: int, *, status: str = "requested") -> dict[str, Any]:
    """A Task of about 1 KB for one of the patients."""
    code = {"system": _SYSTEM, "code": f"work-{number % 7}", "display": "Call the patient about the plan"}
    day = f"2026-03-{number % 28 + 1:02d}"
    return {
        "resourceType": "Task",
        "identifier": [{"system": f"{_SYSTEM}/numbers", "value": f"T-{number:07d}"}],
        "status": status,
        "intent": "order",
        "priority": ("routine", "urgent")[number % 2],
        "code": {"coding": [code], "text": "Call the patient about the plan"},
        "description": "Ask about medicines, the next appointment and what the patient needs help with. " * 3,
        "for": {"reference": f"Patient/bench-p{number % PATIENTS}"},
        "executionPeriod": {"start": f"{day}T08:00:00Z"},
        "authoredOn": f"{day}T08:00:00Z",
        "lastModified": f"{day}T08:00:00Z",
        "performerType": [{"coding": [{"system": _SYSTEM, "code": "rn", "display": "Nurse"}]}],
        "restriction": {"period": {"end": f"{day}T20:00:00Z"}},
        "note": [{"text": "Synthetic data for a benchmark; there is no such patient."}],
    }


def stock() -> list[dict[str, Any]]:
    """Every patient, then their Tasks with ids."""
    tasks = [task(number) | {"id": f"bench-t{number}"} for number in range(PATIENTS * TASKS_EACH)]
    return [*(patient(number) for number in range(PATIENTS)), *tasks]


def scripts(folder: Path) -> dict[str, Path]:
    """The Lua scripts by name, written into `folder`."""
    bodies = ",".join(f"[==[{json.dumps(task(number))}]==]" for number in range(500))
    reads = [f"/fhir/Task/bench-t{number}" for number in range(0, PATIENTS * TASKS_EACH, 7)]
    searches = [f"/fhir/Task?patient=Patient/bench-p{n}&status=requested&_count=50" for n in range(PATIENTS)]
    texts = {"create": _CREATE % bodies, "read": _GET % _listed(reads), "search": _GET % _listed(searches)}
    for name, text in texts.items():
        (folder / f"{name}.lua").write_text(text)
    return {name: folder / f"{name}.lua" for name in texts}


def _listed(paths: list[str]) -> str:
    return ",".join(json.dumps(path) for path in paths)
