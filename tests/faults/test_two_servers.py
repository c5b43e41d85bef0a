"""F15: two servers, each with its worker, on one database: one at a time follows an EHR, and each level fires once."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from fhir_tracker import clock
from fhir_tracker.storage import settings as states
from fhir_tracker.storage.database import Database
from tests.conformance.server import running_tracker
from tests.faults.checker import check
from tests.faults.ehr_process import EhrProcess
from tests.faults.jumping import ROOT, Jumps
from tests.faults.test_kills import PATIENTS, add, held, sync_here, wait_for
from tests.support.clinic import Clinic
from tests.support.crowd import LATE, check_once, discharge_many

EAGER = {"FHIR_TRACKER_SWEEP_INTERVAL": "1s", "FHIR_TRACKER_MASS_ESCALATION_LIMIT": "0"}


@pytest.mark.fault("F15")
def test_two_servers_on_one_database_do_everything_once(
    database: Database, ready_url: str, ehr: EhrProcess, tmp_path: Path
) -> None:
    clinic = Clinic(database)
    patients = discharge_many(clinic, 40)
    add(database, ehr, poll_seconds=1)
    ehr.write(*PATIENTS)
    jumps = Jumps(tmp_path)
    jumps.set((LATE - clock.now()).total_seconds())
    folders = [tmp_path / "one", tmp_path / "two"]
    for one in folders:
        one.mkdir()
    env = {"PYTHONPATH": str(ROOT), **EAGER}
    with (
        running_tracker(ready_url, folders[0], "--processes", "1", env=env, program=jumps.program),
        running_tracker(ready_url, folders[1], "--processes", "1", env=env, program=jumps.program),
    ):
        wait_for(lambda: set(PATIENTS) <= held(database), "the first load")
        wait_for(lambda: all(_has_fired(clinic, one) for one in patients), "everybody is late")
        for _ in range(3):
            ehr.write(*PATIENTS[:20])
            before = _heartbeat(database)
            wait_for(partial(_has_swept_since, database, before), "another sweep")
    check_once(clinic, patients, {1: ["in-app"]})
    logs = [one / "tracker.log" for one in folders]
    assert sync_here(database, ehr).complete
    check(database, ehr.truth(), now=clock.now(), logs=logs)


def _has_fired(clinic: Clinic, patient: str) -> bool:
    calls = [one for one in clinic.items(patient) if one.kind == "task"]
    return bool(calls) and bool(clinic.firings(calls[0].ref))


def _heartbeat(database: Database) -> str:
    with database.read() as tx:
        return states.get(tx, "worker-heartbeat") or ""


def _has_swept_since(database: Database, before: str) -> bool:
    return _heartbeat(database) > before
