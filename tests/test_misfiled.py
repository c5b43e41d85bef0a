"""Filed in another patient's record though it names this one's visit or order: told who may know, and nothing leaks."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from fhir_tracker import explain
from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.sight import EVERYTHING
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage.database import Database
from tests.support.clinic import MONDAY, NURSE, Clinic, appointment, encounter

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LATE = MONDAY + 9 * DAY
LOCKED = Viewer(who="Practitioner/app", name="A chart", roles=frozenset({"rn"}), patient="ann", sight=EVERYTHING)
LOINC = "http://loinc.org"
PROGRAM = """
program: papers
eligible: {anchor: discharge, any: [{Encounter: {status: finished, class: IMP, within: 30 days}}]}
services: {visit: ["http://example.org/service|visit"]}
statuses:
  - {code: to-do, is: requested, means: Not yet done}
  - {code: done, is: completed, means: Done}
tasks:
  - {code: chase, role: rn}
documents:
  - {code: note, title: The note, after: appointment.fulfilled, service: visit, within: 2 days,
     satisfied_by: {DocumentReference: {type: "http://loinc.org|11506-3"}}}
  - {code: summary, title: The summary, after: discharge, within: 2 days,
     satisfied_by: {DocumentReference: {type: "http://loinc.org|18842-5"}}}
rules:
  - {id: no-note, when: {document_missing: note}, do: {raise_flag: missing-documents}}
  - {id: no-summary, when: {document_missing: summary}, do: {raise_flag: missing-documents}}
  - id: no-lab
    when:
      absent:
        expect: {Observation: {code: "http://loinc.org|4548-4"}}
        after: {ServiceRequest: {code: "http://loinc.org|4548-4"}}
        within: 5 days
    do: {raise_flag: missing-labs}
"""


@pytest.fixture
def clinic(database: Database) -> Clinic:
    made = Clinic(database, PROGRAM)
    for who in ("ann", "bob"):
        made.patient(who)
    made.put(encounter("ann", MONDAY, id_="stay"), MONDAY)
    made.enrol(MONDAY)
    made.put(appointment("ann", MONDAY + HOUR, id_="v", status="fulfilled"), MONDAY + 2 * HOUR)
    seen = encounter("ann", MONDAY + 2 * HOUR, id_="seen") | {"appointment": [{"reference": "Appointment/v"}]}
    made.put(seen | {"class": {"code": "AMB"}, "period": {"start": instant(MONDAY + HOUR)}}, MONDAY + 2 * HOUR)
    order = {"resourceType": "ServiceRequest", "id": "o", "status": "active", "intent": "order", "code": code("4548-4")}
    made.put(order | {"subject": {"reference": "Patient/ann"}, "authoredOn": instant(MONDAY + HOUR)}, MONDAY + HOUR)
    return made


def code(value: str) -> dict[str, Any]:
    return {"coding": [{"system": LOINC, "code": value}]}


def paper(id_: str, type_: str, named: str, who: str = "bob", **members: Any) -> dict[str, Any]:
    base: dict[str, Any] = {"resourceType": "DocumentReference", "id": id_, "status": "current", "type": code(type_)}
    base |= {"content": [{"attachment": {"title": "Secret words"}}], "description": "Secret words"}
    place = "encounter" if named.startswith("Encounter/") else "related"
    context = {place: [{"reference": named}]}
    return (
        base | {"subject": {"reference": f"Patient/{who}"}, "date": instant(MONDAY + DAY), "context": context} | members
    )


def result(id_: str, named: str, who: str = "bob", **members: Any) -> dict[str, Any]:
    base: dict[str, Any] = {"resourceType": "Observation", "id": id_, "status": "final", "code": code("4548-4")}
    base |= {"subject": {"reference": f"Patient/{who}"}, "effectiveDateTime": instant(MONDAY + DAY)}
    return base | {"basedOn": [{"reference": named}]} | members


def why(clinic: Clinic, viewer: Viewer = NURSE) -> dict[str, str]:
    """What each rule says of the plan."""
    (plan,) = [one.ref for one in clinic.items("ann") if one.kind == "plan"]
    with clinic.database.read() as tx:
        found = explain.explain(tx, viewer, plan, LATE)
    return {one.rule: one.verdict.why for one in found.findings}


def everything(clinic: Clinic, viewer: Viewer) -> str:
    (plan,) = [one.ref for one in clinic.items("ann") if one.kind == "plan"]
    with clinic.database.read() as tx:
        found = explain.explain(tx, viewer, plan, LATE)
    return json.dumps(found.as_json()) + "\n".join(found.as_lines())


@pytest.mark.parametrize(
    ("rule", "filed", "says"),
    [
        ("no-note", paper("x", "11506-3", "Encounter/seen"), "DocumentReference/x names Encounter/seen"),
        ("no-note", paper("x", "11506-3", "Appointment/v"), "DocumentReference/x names Appointment/v"),
        ("no-summary", paper("x", "18842-5", "Encounter/stay"), "DocumentReference/x names Encounter/stay"),
        ("no-lab", result("x", "ServiceRequest/o"), "Observation/x names ServiceRequest/o"),
    ],
    ids=["visit", "appointment", "stay", "order"],
)
def test_it_is_told_where_somebody_asks_and_satisfies_nothing(
    clinic: Clinic, rule: str, filed: dict[str, Any], says: str
) -> None:
    before = why(clinic)
    assert "was filed in the record of" not in before[rule]
    clinic.put(filed, MONDAY + 2 * DAY)
    clinic.sweep(LATE)
    assert why(clinic)[rule].endswith(f"; {says} and was filed in the record of Patient/bob")
    others = {name: text for name, text in why(clinic).items() if name != rule}
    assert others == {name: text for name, text in before.items() if name != rule}
    assert {one["code"]["coding"][0]["code"] for one in clinic.stored("Flag")} == {"missing-documents", "missing-labs"}


@pytest.mark.parametrize(
    ("rule", "filed", "kind"),
    [
        ("no-note", paper("x", "11506-3", "Encounter/seen"), "DocumentReference names Encounter/seen"),
        ("no-lab", result("x", "ServiceRequest/o"), "Observation names ServiceRequest/o"),
    ],
    ids=["document", "result"],
)
def test_who_may_not_see_the_other_record_learns_only_that_there_is_something(
    clinic: Clinic, rule: str, filed: dict[str, Any], kind: str
) -> None:
    context = filed.get("context", {"encounter": []})
    hidden = filed if "context" not in filed else filed | {
        "context": context | {"encounter": [{"reference": "Encounter/seen"}, {"reference": "Encounter/bobs-own"}]}
    }  # fmt: skip
    clinic.put(encounter("bob", MONDAY, id_="bobs-own"), MONDAY)
    clinic.put(hidden | {"id": "bobs-paper"}, MONDAY + 2 * DAY)
    assert why(clinic, LOCKED)[rule].endswith(f"; {kind} and was filed in the record of another patient")
    told = everything(clinic, LOCKED)
    for secret in ("bob", "Secret", "bobs-paper"):
        assert secret not in told
    assert "bobs-paper" in everything(clinic, NURSE)


@pytest.mark.parametrize(
    "filed",
    [
        paper("x", "11506-3", "Encounter/seen", status="entered-in-error"),
        paper("x", "34133-9", "Encounter/seen"),
        paper("x", "11506-3", "Encounter/nowhere"),
        paper("x", "11506-3", "Encounter/stay"),
        paper("x", "11506-3", "Encounter/seen", date=instant(MONDAY - 3 * DAY)),
        result("x", "ServiceRequest/o", code=code("2345-7")),
        {"resourceType": "Communication", "id": "x", "status": "completed", "subject": {"reference": "Patient/bob"},
         "about": [{"reference": "Encounter/seen"}]},
    ],
    ids=["error", "kind", "nowhere", "another-of-hers", "too-early", "another-test", "no-document"],
)  # fmt: skip
def test_what_would_not_have_been_enough_in_her_own_record_is_not_told(clinic: Clinic, filed: dict[str, Any]) -> None:
    clinic.put(filed, MONDAY + 2 * DAY)
    assert not [text for text in why(clinic).values() if "was filed in the record of" in text]


def test_once_it_is_moved_to_her_record_it_counts_and_is_told_no_more(clinic: Clinic) -> None:
    clinic.put(paper("x", "11506-3", "Encounter/seen"), MONDAY + 2 * DAY)
    assert "Patient/bob" in why(clinic)["no-note"]
    clinic.put(paper("x", "11506-3", "Encounter/seen", who="ann"), MONDAY + 3 * DAY)
    assert why(clinic)["no-note"] == "The note is there"


def test_many_of_them_are_told_in_few_words(clinic: Clinic) -> None:
    for number in range(30):
        clinic.put(paper(f"x{number:02}", "11506-3", "Encounter/seen"), MONDAY + 2 * DAY)
    assert why(clinic)["no-note"].count("was filed in the record of") == 3


def test_what_a_rule_writes_down_tells_nothing_of_the_other_record(clinic: Clinic) -> None:
    clinic.put(paper("x", "11506-3", "Encounter/seen"), MONDAY + 2 * DAY)
    clinic.sweep(LATE)
    (plan,) = [one.ref for one in clinic.items("ann") if one.kind == "plan"]
    written = json.dumps(clinic.stored("Flag", "Task", "Provenance")) + repr(clinic.firings(plan))
    assert "bob" not in written
    assert "DocumentReference/x" not in written
