"""Restricted patients: shut to all whose role does not see them, opened for a reason and a short time, and then shut again."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from fhir_tracker import glass
from fhir_tracker.errors import Conflict, Forbidden, Incorrect, NotFound
from fhir_tracker.model.policy import Policy, policy_of
from fhir_tracker.model.viewer import Viewer, open_viewer
from fhir_tracker.roles import built_in
from fhir_tracker.storage import epochs
from fhir_tracker.storage.database import Database
from tests.support.asking import NOW, Asker, holder, member, told

LABEL = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}
REASON = "She fell in the waiting room"
HOUR = timedelta(minutes=60)
NURSE = member("rn", who="Practitioner/nurse")
CREATOR = open_viewer()


def patient(id_: str, *labels: dict[str, str]) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": id_, "name": [{"family": id_}], "meta": {"security": list(labels)}} if labels else {
        "resourceType": "Patient", "id": id_, "name": [{"family": id_}]
    }  # fmt: skip


def task(id_: str, of: str) -> dict[str, Any]:
    return {
        "resourceType": "Task",
        "id": id_,
        "status": "requested",
        "intent": "order",
        "for": {"reference": f"Patient/{of}"},
    }


@pytest.fixture
def asker(database: Database) -> Asker:
    """The nurse; `vip` is restricted, `ann` is not, and each has a task."""
    whole = Asker(database=database, viewer=CREATOR)
    whole.put(patient("vip", LABEL), patient("ann"), task("hers", "vip"), task("anns", "ann"))
    return whole.as_viewer(NURSE)


def opened(asker: Asker, viewer: Viewer = NURSE, minutes: int = 0) -> Asker:
    """The same person some minutes later, found out anew as every request does."""
    later = NOW + timedelta(minutes=minutes)
    with asker.database.read() as tx:
        found = glass.with_openings(tx, viewer, later)
    return Asker(database=asker.database, viewer=found, now=later)


def broken(reason: str = REASON) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": [{"name": "reason", "valueString": reason}]}


@pytest.mark.security("A5", "S50")
def test_a_restricted_patient_is_in_no_search_no_count_and_no_history(asker: Asker) -> None:
    for address in (
        "Patient",
        "Task",
        "Patient/_history",
        "_history",
        "Task?_include=Task:patient",
        "?_type=Patient,Task",
    ):
        shown = json.dumps(asker.read(address))
        assert "vip" not in shown, address
        assert "hers" not in shown, address
    assert asker.read("Patient?_summary=count")["total"] == 1
    assert asker.read("Task?_summary=count")["total"] == 1


@pytest.mark.security("A5")
@pytest.mark.parametrize("address", ["Patient/vip", "Task/hers"])
def test_who_might_break_the_glass_is_told_so(asker: Asker, address: str) -> None:
    answer = asker.ask("GET", address)
    assert answer.status == 403
    assert "Patient/vip/$break-glass" in told(answer)


@pytest.mark.security("A5", "M3")
@pytest.mark.parametrize(
    "viewer",
    [
        member("front-desk"),
        member("clinic-admin"),
        member("rn", patient="ann"),
        member("rn", policy=Policy(grants=built_in()["rn"].grants)),
    ],
    ids=["front-desk", "admin", "launched-elsewhere", "without-the-act"],
)
def test_who_may_not_break_it_learns_nothing(asker: Asker, viewer: Viewer) -> None:
    one = asker.as_viewer(viewer)
    hidden, absent = one.ask("GET", "Patient/vip"), one.ask("GET", "Patient/nobody")
    assert (hidden.status, hidden.body) == (absent.status, absent.body) == (404, hidden.body)
    refused = one.ask("POST", "Patient/vip/$break-glass", broken())
    assert refused.status in (403, 404)
    assert "vip" not in json.dumps(one.read("Patient"))


@pytest.mark.security("A5", "B1")
def test_breaking_it_opens_the_record_tells_the_admins_and_is_in_the_trail(asker: Asker) -> None:
    with asker.database.read() as tx:
        before = epochs.epoch(tx)
    answer = asker.ask("POST", "Patient/vip/$break-glass", broken())
    assert answer.status == 200, told(answer)
    seen = opened(asker)
    assert seen.read("Patient/vip")["id"] == "vip"
    assert seen.read("Task?_summary=count")["total"] == 2
    with asker.database.read() as tx:
        assert epochs.epoch(tx) > before
        rows = tx.connection.execute(
            text("SELECT who, purpose, patient, detail FROM audit WHERE action = 'break-glass'")
        )
        (row,) = rows.all()
        told_of = tx.connection.execute(text("SELECT to_role, channel, text FROM notification ORDER BY channel")).all()
    assert (row.who, row.purpose, row.patient) == ("Practitioner/nurse", "BTG", "vip")
    assert REASON in row.detail
    assert [(one.to_role, one.channel) for one in told_of] == [("clinic-admin", "email"), ("clinic-admin", "in-app")]
    assert not any(REASON in one.text or "vip" in one.text for one in told_of)


@pytest.mark.security("A5")
def test_it_ends_by_itself_and_is_nobody_elses(asker: Asker) -> None:
    asker.ask("POST", "Patient/vip/$break-glass", broken())
    assert opened(asker, minutes=59).ask("GET", "Patient/vip").status == 200
    assert opened(asker, minutes=60).ask("GET", "Patient/vip").status == 403
    other = member("rn", who="Practitioner/another")
    assert opened(asker, other).ask("GET", "Patient/vip").status == 403


def test_it_can_be_shut_before(asker: Asker) -> None:
    asker.ask("POST", "Patient/vip/$break-glass", broken())
    close = {"resourceType": "Parameters", "parameter": [{"name": "close", "valueBoolean": True}]}
    assert opened(asker).ask("POST", "Patient/vip/$break-glass", close).status == 200
    assert opened(asker).ask("GET", "Patient/vip").status == 403


@pytest.mark.security("A5", "B1")
def test_what_is_seen_meanwhile_is_told_with_its_purpose(asker: Asker) -> None:
    from api.fhir.auditing import record

    asker.ask("POST", "Patient/vip/$break-glass", broken())
    seen = opened(asker)
    for address in ("Patient/vip", "Patient/ann"):
        answer = seen.ask("GET", address)
        with asker.database.begin() as tx:
            assert answer.note is not None
            from api.fhir.exchange import FhirRequest

            request = FhirRequest(
                context=seen.context, method="GET", path=(), viewer=seen.viewer, request_id="r", now=seen.now
            )
            record(tx, request, answer.note, "success")
    with asker.database.read() as tx:
        rows = tx.connection.execute(text("SELECT ref, purpose FROM audit WHERE action = 'read'")).all()
    assert sorted(tuple(row) for row in rows) == [("Patient/ann", "TREAT"), ("Patient/vip", "BTG")]


@pytest.mark.security("A5")
@pytest.mark.parametrize("reason", ["", "   ", "urgent", "x" * 2001])
def test_a_reason_is_needed(asker: Asker, reason: str) -> None:
    answer = asker.ask("POST", "Patient/vip/$break-glass", broken(reason))
    assert answer.status == 400
    assert opened(asker).ask("GET", "Patient/vip").status == 403


@pytest.mark.parametrize(
    "body",
    [
        {"resourceType": "Patient"},
        {"resourceType": "Parameters", "parameter": {"name": "reason"}},
        {"resourceType": "Parameters", "parameter": [{"name": "reason", "valueString": ["x"]}]},
        {"resourceType": "Parameters", "parameter": [{"name": "minutes", "valueInteger": 600}]},
        {"resourceType": "Parameters", "parameter": ["reason"]},
    ],
)
def test_odd_parameters_are_refused(asker: Asker, body: dict[str, Any]) -> None:
    assert asker.ask("POST", "Patient/vip/$break-glass", body).status == 400


def test_what_is_open_already_and_what_is_not_there_is_said(asker: Asker) -> None:
    with asker.database.begin() as tx:
        with pytest.raises(Conflict):
            glass.break_glass(tx, NURSE, "ann", REASON, now=NOW, lasts=HOUR)
        with pytest.raises(NotFound):
            glass.break_glass(tx, NURSE, "nobody", REASON, now=NOW, lasts=HOUR)
        with pytest.raises(Incorrect):
            glass.break_glass(tx, NURSE, "vip", "no", now=NOW, lasts=HOUR)
        with pytest.raises(Forbidden):
            glass.break_glass(tx, member("auditor"), "vip", REASON, now=NOW, lasts=HOUR)


def test_a_label_that_comes_or_goes_counts_at_once(asker: Asker) -> None:
    whole = asker.as_viewer(CREATOR)
    whole.put(patient("ann", LABEL), patient("vip"))
    assert asker.ask("GET", "Patient/ann").status == 403
    assert asker.ask("GET", "Patient/vip").status == 200


def test_a_role_may_see_restricted_patients_and_a_system_does(asker: Asker) -> None:
    trusted = Policy(grants=built_in()["rn"].grants, restricted=True)
    assert asker.as_viewer(member("rn", policy=trusted)).ask("GET", "Patient/vip").status == 200
    both = policy_of(["a", "b"], {"a": built_in()["rn"], "b": Policy(restricted=True)})
    assert both.restricted
    assert asker.as_viewer(holder("system/Patient.rs")).ask("GET", "Patient/vip").status == 200


@pytest.mark.security("A5")
def test_work_outside_the_programs_of_a_role_can_be_opened_too(asker: Asker) -> None:
    rn = built_in()["rn"]
    narrow = Policy(grants=rn.grants, acts=rn.acts, programs=frozenset({"tcm"}))
    nurse = member("rn", who="Practitioner/nurse", policy=narrow)
    assert asker.as_viewer(nurse).ask("GET", "Patient/ann").status == 403
    assert asker.as_viewer(nurse).ask("POST", "Patient/ann/$break-glass", broken()).status == 200
    assert opened(asker, nurse).ask("GET", "Patient/ann").status == 200
    assert opened(asker, nurse).ask("GET", "Patient/vip").status == 403


@pytest.mark.security("A5", "S41")
@pytest.mark.parametrize("gone", ["Patient/vip", "Task/hers"])
def test_what_was_deleted_of_a_restricted_patient_is_shown_to_nobody_new(asker: Asker, gone: str) -> None:
    whole = asker.as_viewer(CREATOR)
    for ref in dict.fromkeys(("Task/hers", gone)):
        assert whole.ask("DELETE", ref).status == 204
    for address in (gone, f"{gone}/_history", f"{gone}/_history/1"):
        assert asker.ask("GET", address).status in (403, 404), address
    assert "vip" not in json.dumps(asker.read("_history"))
    assert whole.ask("GET", f"{gone}/_history").status == 200


@pytest.mark.security("S45", "A5")
def test_nobody_takes_the_label_off_by_a_write(asker: Asker) -> None:
    trusted = Policy(grants=built_in()["rn"].grants, restricted=True)
    nurse = asker.as_viewer(member("rn", who="Practitioner/nurse", policy=trusted))
    asker.as_viewer(CREATOR).put(task("hers", "vip") | {"meta": {"security": [LABEL]}})
    read = nurse.read("Task/hers")
    assert nurse.ask("PUT", "Task/hers", {**read, "meta": {}, "description": "x"}).status == 200
    patch = [{"op": "remove", "path": "/meta/security"}]
    nurse.ask("PATCH", "Task/hers", patch, {"content-type": "application/json-patch+json"})
    assert nurse.read("Task/hers")["meta"]["security"] == [LABEL]
