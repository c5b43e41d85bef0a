"""Many discharged patients at once, worker processes over them, and the proof that everything happened once."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

from fhir_tracker import records
from fhir_tracker.fhir.reading import text_at
from tests.support.clinic import MONDAY, Clinic, encounter

LATE = MONDAY + timedelta(days=2)
ROOT = Path(__file__).parents[2]


def discharge_many(clinic: Clinic, number: int) -> list[str]:
    """Synthetic patients whose stays end on Monday; nobody has looked at them yet."""
    names = [f"p{n}" for n in range(number)]
    with clinic.acting(MONDAY) as (tx, by):
        for name in names:
            records.save(tx, {"resourceType": "Patient", "id": name, "name": [{"family": "Synthetic"}]}, by)
            records.save(tx, encounter(name, MONDAY, id_=f"stay-{name}"), by)
    return names


def start_worker(url: str, at: datetime) -> subprocess.Popen[str]:
    """A worker process that is ready to begin."""
    command = [sys.executable, "-m", "tests.support.sweeper", url, at.isoformat()]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", process.communicate()[1]
    return process


def finish(process: subprocess.Popen[str]) -> None:
    """Wait for a worker that is to end well."""
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said


def check_once(clinic: Clinic, patients: list[str], channels: dict[int, list[str]]) -> None:
    """Each patient has one plan and one late call, each level in `channels` fired once: one row, one Task, one message a channel."""
    escalations = {task["id"]: task for task in clinic.stored("Task") if text_at(task, "focus", "reference")}
    counted: Counter[tuple[str, int]] = Counter()
    for task in escalations.values():
        counted[task["focus"]["reference"], task["input"][0]["valuePositiveInt"]] += 1
    written = Counter(one["target"][0]["reference"] for one in clinic.stored("Provenance"))
    wanted = 0
    for patient in patients:
        items = clinic.items(patient)
        assert sorted(item.kind for item in items if item.kind != "escalation") == ["plan", "task"]
        call = clinic.task(patient, "first-call").ref
        fired = clinic.firings(call)
        assert [(one.key.rule, one.key.cycle, one.key.level) for one in fired] == [("late", "0", n) for n in channels]
        assert [row.after for row in clinic.log(call) if row.what == "escalation"] == [
            f"level {one.key.level} to {one.to_role}" for one in fired
        ]
        for one in fired:
            assert one.task is not None
            assert counted[call, one.key.level] == 1
            assert [told.channel for told in clinic.notified(one.task)] == channels[one.key.level]
            assert written[f"{one.task}/_history/1"] == 1
        wanted += len(fired)
    assert len(escalations) == wanted
