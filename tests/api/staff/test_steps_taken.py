from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from fhir_tracker.storage import audit
from tests.api.staff.conftest import Reader, late
from tests.api.staff.test_pages import at
from tests.support.clinic import NURSE, SYSTEM, Clinic

ME = "Device/open-mode"


def test_unowned_work_is_claimed_with_one_press_and_leads_back_to_the_queue(
    reader: Reader, clinic: Clinic, now: datetime
) -> None:
    task = late(clinic, now)
    page = reader.get("/?role=care-coordinator")
    sent = reader.send(at(task) + "/claim", {"version": page.hidden("version"), "back": page.hidden("back")})
    assert sent.status == 303
    assert sent.location.startswith("/?")
    assert "role=care-coordinator" in sent.location
    assert clinic.item(task).owner == ME
    assert "Claimed: this work is yours now." in reader.get(sent.location).words
    assert "First call" in reader.get("/?tab=mine").words


def test_work_that_somebody_else_took_is_not_taken_again(reader: Reader, clinic: Clinic, now: datetime) -> None:
    task = late(clinic, now)
    version = reader.get(at(task)).hidden("version")
    clinic.move(task, "calling", now, NURSE)
    refused = reader.send(at(task) + "/claim", {"version": version})
    assert refused.status == 412
    assert "Somebody changed this meanwhile." in refused.words
    assert "To call → Calling" in refused.words.replace("to-call", "To call").replace("calling", "Calling")
    assert clinic.item(task).owner is None


def test_a_required_field_is_refused_at_the_field_and_what_was_typed_is_kept(
    reader: Reader, clinic: Clinic, now: datetime
) -> None:
    task = late(clinic, now)
    form = reader.get(at(task) + "?move=reached")
    assert "Outcome of the attempt required" in form.words
    fields = {"version": form.hidden("version"), "to": "reached", "outreach.outcome": "reached", "note": "  "}
    refused = reader.send(at(task) + "/move", fields)
    assert refused.status == 422
    assert "a note is missing." in refused.words
    assert 'id="f-note" name="note" rows="3" aria-describedby="f-note-e" aria-invalid="true"' in refused.text
    assert '<option value="reached" selected>' in refused.text
    assert clinic.item(task).attempts == 0
    done = reader.send(at(task) + "/move", fields | {"note": "Spoke with the patient"})
    assert done.status == 303
    assert clinic.item(task).status == "reached"
    assert clinic.item(task).attempts == 1
    assert "Spoke with the patient" in reader.get(at(task)).words


def test_a_hold_needs_an_end_in_the_future_on_the_sites_clock(reader: Reader, clinic: Clinic, now: datetime) -> None:
    task = late(clinic, now)
    refused = reader.send(at(task) + "/move", {"to": "waiting", "hold.until": "2020-01-01T09:00", "reason": "records"})
    assert refused.status == 422
    assert "A hold must end in the future." in refused.words
    assert 'value="2020-01-01T09:00"' in refused.text
    assert reader.send(at(task) + "/move", {"to": "waiting", "hold.until": "soon", "reason": "x"}).status == 422
    fields = {"to": "waiting", "hold.until": "2099-07-01T09:00", "reason": "records"}
    assert reader.send(at(task) + "/move", fields).status == 303
    until = clinic.item(task).hold_until
    assert until is not None
    assert until.isoformat() == "2099-07-01T13:00:00+00:00"
    assert "On hold" in reader.get("/?tab=hold").words
    assert "until 1 Jul 2099" in reader.get("/?tab=hold").words


def test_a_move_that_the_program_does_not_know_is_refused_in_its_words(
    reader: Reader, clinic: Clinic, now: datetime
) -> None:
    task = late(clinic, now)
    refused = reader.send(at(task) + "/move", {"to": "nonsense"})
    assert refused.status == 422
    assert "is not a status of Ring after discharge" in refused.words


def test_a_stale_form_shows_what_changed_and_saves_nothing(reader: Reader, clinic: Clinic, now: datetime) -> None:
    task = late(clinic, now)
    form = reader.get(at(task) + "?move=unreachable")
    clinic.move(task, "calling", now, NURSE)
    fields = {"version": form.hidden("version"), "to": "unreachable", "reason": "typed with care"}
    refused = reader.send(at(task) + "/move", fields)
    assert refused.status == 412
    assert "What changed" in refused.words
    assert "typed with care" in refused.text
    assert clinic.item(task).status == "calling"
    again = reader.send(at(task) + "/move", fields | {"version": refused.hidden("version")})
    assert again.status == 303


def test_attempts_are_logged_and_refused_without_an_outcome(reader: Reader, clinic: Clinic, now: datetime) -> None:
    task = late(clinic, now)
    refused = reader.send(at(task) + "/attempt", {"outreach.channel": "phone", "outreach.outcome": "", "note": "kept"})
    assert refused.status == 400
    assert "The outcome must be one of" in refused.words
    assert 'aria-invalid="true"' in refused.text
    assert ">kept</textarea>" in refused.text
    sent = reader.send(at(task) + "/attempt", {"outreach.channel": "phone", "outreach.outcome": "no-answer"})
    assert sent.status == 303
    assert clinic.item(task).attempts == 1


def test_work_goes_to_a_person_another_team_and_back(reader: Reader, clinic: Clinic, now: datetime) -> None:
    clinic.put({"resourceType": "Practitioner", "id": "nurse", "name": [{"text": "The nurse"}]}, now)
    task = late(clinic, now)
    assert "The nurse" in reader.get(at(task) + "?do=reassign").words
    to_nurse = {"role": "care-coordinator", "owner": "Practitioner/nurse", "reason": "knows the patient"}
    assert reader.send(at(task) + "/assign", to_nurse).status == 303
    assert clinic.item(task).owner == "Practitioner/nurse"
    assert "knows the patient" in reader.get(at(task)).words
    assert reader.send(at(task) + "/assign", {"role": "front-desk", "owner": ""}).status == 303
    assert (clinic.item(task).role, clinic.item(task).owner) == ("front-desk", None)


def test_an_escalation_is_acknowledged_taken_over_or_sent_back(reader: Reader, clinic: Clinic, now: datetime) -> None:
    late(clinic, now)
    escalation = clinic.escalations("rosa")[0].ref
    page = reader.get(at(escalation))
    for said in ("Acknowledge", "Take over", "Send back", "Resolve", "About: First call"):
        assert said in page.words, said
    refused = reader.send(at(escalation) + "/send-back", {"reason": " "})
    assert refused.status == 422
    assert "a reason is missing." in refused.words
    assert 'aria-invalid="true"' in refused.text
    assert reader.send(at(escalation) + "/acknowledge", {"version": page.hidden("version")}).status == 303
    assert clinic.item(escalation).fhir_status == "accepted"
    assert reader.send(at(escalation) + "/take-over").status == 303
    assert clinic.item(escalation).owner == ME
    assert reader.send(at(escalation) + "/resolve").status == 303
    assert not clinic.item(escalation).open
    assert reader.send(at(escalation) + "/resolve").status == 422


def test_sending_back_keeps_the_reason(reader: Reader, clinic: Clinic, now: datetime) -> None:
    late(clinic, now)
    escalation = clinic.escalations("rosa")[0].ref
    assert reader.send(at(escalation) + "/send-back", {"reason": "Not for nurses"}).status == 303
    assert "Not for nurses" in reader.get(at(escalation)).words


def test_a_note_needs_words(reader: Reader, clinic: Clinic, now: datetime) -> None:
    task = late(clinic, now)
    assert "a note is missing." in reader.send(at(task) + "/note", {"note": "\r\n"}).words
    assert reader.send(at(task) + "/note", {"note": "line one\r\nline two"}).status == 303
    assert clinic.resource(task)["note"][0]["text"] == "line one\nline two"


def test_a_step_leaves_an_audit_row_and_a_refused_one_changes_nothing(
    reader: Reader, clinic: Clinic, now: datetime
) -> None:
    task = late(clinic, now)
    reader.send(at(task) + "/claim")
    with clinic.database.read() as tx:
        rows = [(row.action, row.ref, row.patient) for row in audit.list(tx, SYSTEM)]
    assert rows[0] == ("update", task, "rosa")


@pytest.mark.security("S22")
@pytest.mark.parametrize(
    ("csrf", "headers"),
    [
        ("wrong", {}),
        ("", {"Origin": "https://evil.example"}),
        ("", {"Origin": "null"}),
        ("", {"Sec-Fetch-Site": "cross-site"}),
        ("", {"Sec-Fetch-Site": "same-site", "Origin": "http://testserver"}),
    ],
)
def test_a_form_from_elsewhere_changes_nothing(
    reader: Reader, clinic: Clinic, now: datetime, csrf: str, headers: dict[str, str]
) -> None:
    task = late(clinic, now)
    refused = reader.send(at(task) + "/claim", csrf=csrf, headers=headers)
    assert refused.status == 403
    assert clinic.item(task).owner is None


@pytest.mark.security("S22")
def test_a_token_of_another_browser_opens_nothing(reader: Reader, clinic: Clinic, now: datetime) -> None:
    task = late(clinic, now)
    token = reader.get("/").hidden("csrf")
    reader.client.cookies.clear()
    assert reader.send(at(task) + "/claim", csrf=token).status == 403
    assert clinic.item(task).owner is None


@pytest.mark.security("S16")
@pytest.mark.parametrize("back", ["//evil.example", "https://evil.example", "/\\evil.example", "/x\r\nX-Y: z", ""])
def test_a_step_never_leads_to_another_site(reader: Reader, clinic: Clinic, now: datetime, back: str) -> None:
    sent = reader.send(at(late(clinic, now)) + "/claim", {"back": back})
    assert sent.status == 303
    assert sent.location == "/?said=claimed"


@pytest.mark.security("S34")
def test_hostile_bodies_are_refused_in_a_sentence(reader: Reader, clinic: Clinic, now: datetime) -> None:
    path = at(late(clinic, now)) + "/note"
    token = reader.get("/").hidden("csrf")
    kind = {"content-type": "application/x-www-form-urlencoded"}
    post = reader.client.post
    assert post(path, content=b"a" * 70_000, headers=kind).status_code == 413
    assert post(path, content=b"{}", headers={"content-type": "application/json"}).status_code == 415
    assert post(path, content=b"&".join(b"a=1" for _ in range(500)), headers=kind).status_code == 400
    assert post(path, content=f"csrf={token}&note=%ff%fe".encode(), headers=kind).status_code == 400
    assert post(path, content=f"csrf={token}&note=%00".encode(), headers=kind).status_code == 400
    assert post(at("Task/none") + "/claim", content=f"csrf={token}".encode(), headers=kind).status_code == 404
    claim = at(late(clinic, now, "ivo")) + "/claim"
    assert post(claim, content=f"csrf={token}&version=x".encode(), headers=kind).status_code == 400


def test_two_people_at_once_give_one_owner(reader: Reader, clinic: Clinic, now: datetime) -> None:
    task = late(clinic, now)
    version = reader.get(at(task)).hidden("version")
    answers = [reader.send(at(task) + "/claim", {"version": version}).status for _ in range(2)]
    assert answers == [303, 412]
    assert len([row for row in clinic.log(task) if row.what == "owner"]) == 1
    assert clinic.item(task).status_since < now + timedelta(seconds=1)
