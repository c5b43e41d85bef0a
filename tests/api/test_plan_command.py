"""`fhir-tracker plan regenerate`: told as a table and as JSON, rehearsed, done once, and refused in one line."""

from __future__ import annotations

import json

import pytest

from api.cli import main
from fhir_tracker import writes
from fhir_tracker.storage.database import Database
from tests.support.care_program import CARE
from tests.support.clinic import MONDAY, Clinic, author


@pytest.fixture
def plan(database: Database) -> str:
    """A plan that a client filed, with one intervention, which no sweep has looked at."""
    clinic = Clinic(database, CARE)
    clinic.patient("ann")
    body = {
        "resourceType": "CarePlan",
        "status": "active",
        "intent": "plan",
        "instantiatesCanonical": [clinic.program.canonical],
        "subject": {"reference": "Patient/ann"},
        "activity": [{"detail": {"status": "not-started", "code": {"text": "Teach foot care"}}}],
    }
    with database.begin() as tx:
        return writes.create(tx, body, author(MONDAY)).ref


def test_a_plan_is_regenerated_once_and_a_rehearsal_only_tells(
    plan: str, ready_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["plan", "regenerate", plan, "--database", ready_url]
    assert main([*words, "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {one["work"] for one in told["steps"] if one["what"] == "made"} >= {"Assess", "Labs", "Teach foot care"}
    assert main([*words]) == 0
    assert "Teach foot care is among the plan's interventions" in capsys.readouterr().out
    assert main([*words]) == 0
    assert "has all the work it wants" in capsys.readouterr().out


def test_what_is_no_plan_is_refused_in_a_line(plan: str, ready_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "regenerate", "CarePlan/absent", "--database", ready_url]) == 1
    assert "There is no plan CarePlan/absent" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["plan", "regenerate", plan.replace("CarePlan", "Task"), "--database", ready_url])
    assert "is not CarePlan/ID" in capsys.readouterr().err


def test_a_patient_can_be_enrolled_at_a_site(
    database: Database, ready_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    west = "holidays: US, sites: {west: {zone: America/Los_Angeles}}}"
    clinic = Clinic(database, CARE.replace("holidays: US}", west))
    clinic.patient("ann")
    assert main(["program", "enrol", "care", "Patient/ann", "--site", "west", "--database", ready_url]) == 0
    (item,) = [one for one in clinic.items("ann") if one.kind == "plan"]
    assert (item.site, capsys.readouterr().err) == ("west", "")
