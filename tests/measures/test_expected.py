"""Missing documents, results and forms, each found by its own kind of rule, and what of them was filed elsewhere."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from fhir_tracker.fhir.dates import instant
from fhir_tracker.measures import expected, figures
from fhir_tracker.measures.report import Asked, Number
from fhir_tracker.model.sight import EVERYTHING
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage.database import Database
from tests.support.clinic import MONDAY, RING, SYSTEM, Clinic, encounter

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
LATE = MONDAY + 4 * DAY
SUMMARY = "http://loinc.org|18842-5"
WAITED = f"""documents:
  - {{code: summary, title: Discharge summary, after: discharge, within: 1 day, satisfied_by: {{DocumentReference: {{type: "{SUMMARY}"}}}}}}
"""
RULES = """  - id: no-summary
    when: {document_missing: summary}
    do: {escalate: late-call}
  - id: no-result
    when: {absent: {expect: {Observation: {code: "http://loinc.org|4548-4"}}, after: discharge, within: 2 days}}
    do: {escalate: late-call}
  - id: no-form
    when:
      any:
        - all:
            - {task: first-call}
            - {absent: {expect: {QuestionnaireResponse: {code: "http://example.org/q"}}, after: discharge, within: 2 days}}
    do: {escalate: late-call}
  - id: no-visit
    when: {absent: {expect: {Appointment: {status: booked, service: visit}}, after: discharge, within: 2 days}}
    do: {escalate: late-call}
  - id: all-there
    when: {all: [{not: {document_missing: summary}}, {overdue_by: 1 hours}]}
    do: {escalate: late-call}
"""
PROGRAM = RING.replace("rules:\n", f"{WAITED}rules:\n{RULES}")
KEYS = {
    "no-summary": "summary",
    "no-result": "Observation with code 4548-4",
    "no-form": "QuestionnaireResponse with code http://example.org/q",
}
Rows = dict[str, tuple[Number, ...]]


def summary(patient: str, at: datetime, *, under: str = "", id_: str = "") -> dict[str, Any]:
    system, _, code = SUMMARY.partition("|")
    body: dict[str, Any] = {
        "resourceType": "DocumentReference",
        "id": id_ or f"summary-{patient}",
        "status": "current",
        "type": {"coding": [{"system": system, "code": code}]},
        "subject": {"reference": f"Patient/{patient}"},
        "date": instant(at),
        "content": [{"attachment": {"url": "http://example.org/d"}}],
    }
    return body | ({"context": {"encounter": [{"reference": under}]}} if under else {})


@pytest.fixture
def clinic(database: Database) -> Clinic:
    """Two patients whose papers do not come; ann has an older stay under which they could be filed."""
    clinic = Clinic(database, PROGRAM)
    for name in ("ann", "bob"):
        clinic.patient(name)
        clinic.put(encounter(name, MONDAY - 90 * DAY, id_=f"old-{name}"), MONDAY)
        clinic.discharge(name, MONDAY)
    return clinic


def told(clinic: Clinic, now: datetime, *names: str, viewer: Viewer = SYSTEM, **more: Any) -> Rows:
    asked = Asked(viewer=viewer, now=now, start=MONDAY, end=now + HOUR, **more)
    found = figures.alone(clinic.database, "missing-documents", asked)
    return {
        row.keys[2]: tuple(row.values[name] for name in names or ("found", "open", "misfiled")) for row in found.rows
    }


def test_the_rules_that_find_something_filed_missing_are_known_by_what_they_wait_for(clinic: Clinic) -> None:
    with clinic.database.read() as tx:
        found = {rule: what for (_, rule), what in expected.expecting_rules(tx).items()}
    assert found.keys() == KEYS.keys()
    assert found["no-summary"] == "summary"
    assert "4548-4" in found["no-result"]
    assert "QuestionnaireResponse" in found["no-form"]


def test_documents_results_and_forms_that_do_not_come_are_counted_and_what_came_in_time_is_not(clinic: Clinic) -> None:
    result = {"resourceType": "Observation", "id": "r", "status": "final", "effectiveDateTime": instant(MONDAY + HOUR)}
    coded = {"code": {"coding": [{"system": "http://loinc.org", "code": "4548-4"}]}}
    clinic.put(result | coded | {"subject": {"reference": "Patient/ann"}}, MONDAY + HOUR)
    clinic.put(summary("bob", MONDAY + HOUR), MONDAY + HOUR)
    clinic.sweep(LATE)
    now = LATE + 3 * HOUR
    every = {"no-summary": (1, 1, 0), "no-result": (1, 1, 0), "no-form": (2, 2, 0)}
    assert told(clinic, now) == every
    assert told(clinic, now, as_of=LATE) == every
    assert told(clinic, now, as_of=MONDAY + HOUR) == {}
    assert told(clinic, now, program="other") == {}


def test_what_was_filed_under_something_else_is_counted_as_near(clinic: Clinic) -> None:
    clinic.sweep(LATE)
    clinic.put(summary("ann", MONDAY + HOUR, under="Encounter/old-ann"), LATE + HOUR)
    now = LATE + 2 * HOUR
    assert told(clinic, now)["no-summary"] == (2, 2, 1)
    assert told(clinic, now, as_of=LATE)["no-summary"] == (2, 2, 0)
    clinic.put(summary("ann", MONDAY + HOUR, under="Encounter/stay-ann"), now + HOUR)
    clinic.sweep(now + HOUR)
    after = now + 2 * HOUR
    assert told(clinic, after)["no-summary"] == (2, 2, 0)
    assert told(clinic, after, as_of=now)["no-summary"] == (2, 2, 1)
    assert told(clinic, after, as_of=LATE)["no-summary"] == (2, 2, 0)


def test_what_was_filed_in_another_patients_record_is_near_and_nobody_locked_out_of_it_learns_more(
    clinic: Clinic,
) -> None:
    clinic.sweep(LATE)
    clinic.put(summary("bob", MONDAY + HOUR, under="Encounter/stay-ann", id_="mixed-up"), LATE + HOUR)
    now = LATE + 2 * HOUR
    assert told(clinic, now)["no-summary"] == (2, 2, 2)
    assert told(clinic, now, as_of=LATE)["no-summary"] == (2, 2, 0)
    for patient in ("ann", "bob"):
        locked = Viewer(who=f"Patient/{patient}", patient=patient, sight=EVERYTHING)
        assert told(clinic, now, viewer=locked)["no-summary"] == (1, 1, 1)


def test_a_case_that_is_answered_is_open_no_more(clinic: Clinic) -> None:
    clinic.sweep(LATE)
    clinic.put(summary("ann", MONDAY + HOUR, under="Encounter/old-ann"), LATE)
    fired = [each for one in clinic.items("ann") for each in clinic.firings(one.ref)]
    escalation = clinic.item(next(one.task or "" for one in fired if one.key.rule == "no-summary"))
    clinic.move(escalation.ref, "completed", LATE + HOUR, fields={"reason": "Found under the old stay", "note": "n"})
    assert told(clinic, LATE + 2 * HOUR)["no-summary"] == (2, 1, 0)
    assert told(clinic, LATE + 2 * HOUR, "open", "median_hours", as_of=LATE)["no-summary"] == (2, 0.0)
