"""F20: the clock of the whole server jumps two hours on and back while it follows an EHR and waits for deadlines."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from fhir_tracker import brake, clock
from fhir_tracker.storage import cursors
from fhir_tracker.storage import settings as states
from fhir_tracker.storage.database import Database
from tests.conformance.server import running_tracker
from tests.faults.checker import CONNECTION, check
from tests.faults.ehr_process import EhrProcess
from tests.faults.jumping import ROOT, Jumps
from tests.faults.test_kills import add, held, wait_for
from tests.support.clinic import Clinic
from tests.support.crowd import LATE, discharge_many

HOUR = timedelta(hours=1)
BEFORE_LATE = LATE - HOUR
"""Nobody is late then, and two hours on everybody is."""
HOLDS = {"FHIR_TRACKER_MASS_ESCALATION_LIMIT": "0.3", "FHIR_TRACKER_MASS_ESCALATION_FLOOR": "10"}


@pytest.mark.fault("F20")
@pytest.mark.requirement(78)
def test_a_server_whose_clock_jumps_on_and_back_goes_on_polling_and_escalates_nobody(
    database: Database, ready_url: str, ehr: EhrProcess, tmp_path: Path
) -> None:
    clinic = Clinic(database)
    patients = discharge_many(clinic, 30)
    add(database, ehr, poll_seconds=1)
    ehr.write("at-first")
    jumps = Jumps(tmp_path)
    start = clock.now()

    def move(to: datetime) -> None:
        jumps.set((to - start).total_seconds())

    move(BEFORE_LATE)
    env = {"PYTHONPATH": str(ROOT), "FHIR_TRACKER_SWEEP_INTERVAL": "1s", **HOLDS}
    with running_tracker(ready_url, tmp_path, "--processes", "1", env=env, program=jumps.program):
        wait_for(lambda: "at-first" in held(database), "the first load")
        wait_for(lambda: all(len(clinic.items(one)) == 2 for one in patients), "everybody is enrolled")
        before = _watermark(database)
        for name, hours in (("on", 2), ("back", 0), ("further-back", -2)):
            to = BEFORE_LATE + hours * HOUR
            move(to)
            wait_for(partial(_has_swept_about, database, to), f"a sweep after the clock went {name}")
            ehr.write(name)
            wait_for(partial(_holds, database, name), f"a poll after the clock went {name}")
        with database.read() as tx:
            assert brake.engaged(tx) is not None, "thirty at once are held until a person has looked at the clock"
        assert not [one for one in patients if clinic.firings(clinic.task(one, "first-call").ref)]
        assert _watermark(database) - before < timedelta(minutes=10), "the watermark is of the EHR's clock"
    check(database, ehr.truth(), now=BEFORE_LATE, logs=[tmp_path / "tracker.log"])


def _holds(database: Database, id_: str) -> bool:
    return id_ in held(database)


def _watermark(database: Database) -> datetime:
    with database.read() as tx:
        cursor = cursors.find(tx, CONNECTION, "Patient")
    assert cursor is not None
    assert cursor.watermark is not None
    return cursor.watermark


def _has_swept_about(database: Database, moment: datetime) -> bool:
    """Whether the latest sweep was in the hour from `moment` on, as the server believes."""
    with database.read() as tx:
        told = states.get(tx, "worker-heartbeat")
    return told is not None and timedelta() <= datetime.fromisoformat(told) - moment < HOUR
