"""Work made because a document was missing closes when the document arrives, whatever day it bears."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from fhir_tracker.model.effects import SetStatus
from fhir_tracker.rules.engine import evaluate
from fhir_tracker.rules.program_file import read_program
from fhir_tracker.rules.starters import starter_programs
from tests.rules.samples import event, facts, item, ny, plan

DISCHARGE = ny("2026-03-05 10:00")
MADE = ny("2026-03-09 17:00")
ARRIVED = ny("2026-03-10 09:00")
SUMMARY = ("http://loinc.org|18842-5",)
TCM = replace(read_program(starter_programs()["tcm"]), version=1)


def closed(dated: str, code: str = "get-discharge-summary", **changes: object) -> bool:
    work = item(code=code, created_at=MADE, program="tcm", status=TCM.statuses[0].code, **changes)
    summary = event("DocumentReference/s", "current", ny(dated), codes=SUMMARY, seen_at=ARRIVED)
    known = facts(work, events=(summary,), plan=plan(DISCHARGE + timedelta(hours=1), discharge=DISCHARGE))
    effects = evaluate(TCM, known, ARRIVED).effects
    return any(isinstance(one, SetStatus) and one.evidence == ("DocumentReference/s",) for one in effects)


@pytest.mark.parametrize(
    "dated",
    ["2026-03-10 08:00", "2026-03-09 16:59", "2026-03-06 12:00", "2026-03-05 10:01", "2026-03-05 07:30"],
)
def test_a_summary_written_since_the_day_of_discharge_closes_the_work_that_asked_for_it(dated: str) -> None:
    assert closed(dated)


@pytest.mark.parametrize("dated", ["2026-03-04 23:59", "2025-03-06 12:00"])
def test_an_older_summary_is_of_another_stay(dated: str) -> None:
    assert not closed(dated)


def test_work_about_one_visit_takes_a_document_since_that_visit_only() -> None:
    assert not closed("2026-03-06 12:00", focus="Appointment/unknown")
