"""From a response in the store to flag, score and work, on both databases; amended and withdrawn responses follow."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fhir_tracker.fhir.checks import check
from fhir_tracker.storage.database import Database
from tests.support.clinic import MONDAY, RING, Clinic

HOUR = timedelta(hours=1)
FORM = """
forms:
  - code: mood
    score: {code: "http://loinc.org|44261-6"}
    answers: {No: 0, Yes: 3}
    items: [{code: one, text: First}, {code: two, text: Second}]
    flags: [{at_least: 4, raise: low-mood}]
"""
RULE = """rules:
  - {id: next-step, when: {flag: low-mood}, do: {create_task: reschedule}}
"""


@pytest.fixture
def clinic(database: Database) -> Clinic:
    made = Clinic(database, RING.replace("rules:\n", RULE) + FORM)
    made.patient("ann")
    made.discharge("ann", MONDAY)
    return made


def response(*answers: str, status: str = "completed", id_: str = "r") -> dict[str, Any]:
    links = zip(("one", "two"), answers, strict=False)
    return {
        "resourceType": "QuestionnaireResponse",
        "id": id_,
        "status": status,
        "questionnaire": "https://fhir-tracker.example/Questionnaire/ring.mood",
        "subject": {"reference": "Patient/ann"},
        "authored": (MONDAY + HOUR).isoformat(),
        "item": [{"linkId": link, "answer": [{"valueCoding": {"display": text}}]} for link, text in links],
    }


def flags(clinic: Clinic) -> list[tuple[str, str]]:
    return [(one["code"]["coding"][0]["code"], one["status"]) for one in clinic.stored("Flag")]


def scores(clinic: Clinic) -> list[tuple[int, str]]:
    return [(int(one["valueQuantity"]["value"]), one["status"]) for one in clinic.stored("Observation")]


def test_the_questionnaire_is_published_with_its_program(clinic: Clinic) -> None:
    (form,) = clinic.stored("Questionnaire")
    assert (form["status"], form["title"], len(form["item"])) == ("active", "Mood", 2)


def test_a_response_puts_up_its_flag_keeps_its_score_and_makes_the_next_step(clinic: Clinic) -> None:
    clinic.put(response("Yes", "Yes"), MONDAY + HOUR)
    clinic.sweep(MONDAY + HOUR)
    clinic.sweep(MONDAY + 2 * HOUR)
    assert (flags(clinic), scores(clinic)) == ([("low-mood", "active")], [(6, "final")])
    assert clinic.task("ann", "reschedule").open
    (score,) = clinic.stored("Observation")
    assert [issue for issue in check(score) if issue.severity in ("error", "fatal")] == []
    assert score["derivedFrom"] == [{"reference": "QuestionnaireResponse/r"}]
    assert clinic.provenance(f"Observation/{score['id']}")


def test_an_amended_and_a_withdrawn_response_are_followed(clinic: Clinic) -> None:
    clinic.put(response("Yes", "Yes"), MONDAY + HOUR)
    clinic.sweep(MONDAY + HOUR)
    clinic.put(response("Yes", "No", status="amended"), MONDAY + 2 * HOUR)
    clinic.sweep(MONDAY + 2 * HOUR)
    assert (flags(clinic), scores(clinic)) == ([("low-mood", "inactive")], [(3, "corrected")])
    clinic.put(response("Yes", "No", status="entered-in-error"), MONDAY + 3 * HOUR)
    clinic.sweep(MONDAY + 3 * HOUR)
    assert scores(clinic) == [(3, "entered-in-error")]


def test_looking_again_changes_nothing(clinic: Clinic) -> None:
    clinic.put(response("Yes", "Yes"), MONDAY + HOUR)
    for hours in range(1, 5):
        clinic.sweep(MONDAY + hours * HOUR)
    assert len(clinic.stored("Flag")) == len(clinic.stored("Observation")) == 1
    assert clinic.stored("Observation")[0]["meta"]["versionId"] == "1"


def test_a_half_answered_or_empty_response_does_nothing(clinic: Clinic) -> None:
    clinic.put(response("Yes"), MONDAY + HOUR)
    clinic.put(response(id_="empty"), MONDAY + HOUR)
    clinic.sweep(MONDAY + HOUR)
    assert (flags(clinic), scores(clinic)) == ([], [])
