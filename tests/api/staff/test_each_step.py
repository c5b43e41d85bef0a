"""Every POST in the same order: nobody logged in, the wrong role, the way it is meant, and the edges."""

from __future__ import annotations

import re
from datetime import datetime

import pytest

from api.context import Access
from api.staff import session
from fhir_tracker import records
from fhir_tracker.records import Remote
from tests.api.conftest import Serve
from tests.api.staff.conftest import Reader, late
from tests.api.staff.test_pages import at
from tests.support.clinic import COORDINATOR, NURSE, Clinic, author

FORMS: dict[str, dict[str, str]] = {
    "claim": {},
    "release": {},
    "assign": {"role": "rn", "owner": ""},
    "move": {"to": "calling"},
    "attempt": {"outreach.channel": "phone", "outreach.outcome": "no-answer"},
    "note": {"note": "A word"},
    "acknowledge": {},
    "take-over": {},
    "send-back": {"reason": "Not for us"},
    "resolve": {},
}
ANSWERS = ("acknowledge", "take-over", "send-back", "resolve")
WORK = tuple(name for name in FORMS if name not in ANSWERS)
ODD = "\u05e9\u05dc\u05d5\u05dd \u202e\u2764\ufe0f \U0001f9d1\u200d\u2695\ufe0f \u0130\u0131 \"'&<>\\ %s {{7*7}} ${x}"


@pytest.fixture
def ready_url(one_file: str) -> str:
    """On SQLite: what steps write is tested on both kinds of database where transitions are."""
    return one_file


def target(clinic: Clinic, now: datetime, step: str) -> str:
    """The work that a step is meant for."""
    call = late(clinic, now)
    return clinic.escalations("rosa")[0].ref if step in ANSWERS else call


def log_length(clinic: Clinic, ref: str) -> tuple[int, str]:
    return len(clinic.log(ref)), clinic.resource(ref)["meta"]["versionId"]


@pytest.mark.parametrize("path", [*(f"/tasks/x/{step}" for step in FORMS), "/preferences"])
def test_a_server_without_login_takes_no_form(serve: Serve, path: str) -> None:
    answer = serve(Access.LOCKED).post(path, data={"csrf": "x", "note": "x"})
    assert answer.status_code == 401
    assert "Nobody is logged in" in answer.text


def test_who_has_the_wrong_role_is_told_who_may(doctor: Reader, clinic: Clinic, now: datetime) -> None:
    task = late(clinic, now)
    fields = {"to": "reached", "outreach.outcome": "reached", "note": "Spoke"}
    refused = doctor.send(at(task) + "/move", fields)
    assert refused.status == 422
    assert 'Only care-coordinator or rn may move this to "reached"' in refused.words.replace(
        "Reached", "reached"
    ).replace('"reached" (reached)', '"reached"')
    assert clinic.item(task).status == "to-call"
    page = doctor.get(at(task))
    assert not page.hrefs(f"{at(task)}?move=reached")
    assert page.hrefs(f"{at(task)}?move=unreachable")


@pytest.mark.parametrize("step", list(FORMS))
def test_a_step_is_done_once_and_says_so(reader: Reader, clinic: Clinic, now: datetime, step: str) -> None:
    ref = target(clinic, now, step)
    page = reader.get(at(ref))
    done = reader.send(
        f"{at(ref)}/{step}", FORMS[step] | {"version": page.hidden("version"), "back": "/?tab=all&role=every"}
    )
    assert done.status == 303
    assert done.location.startswith("/?tab=all&role=every&said=")
    shown = reader.get(done.location)
    assert re.search(r'<p class="banner said" role="status">', shown.text)
    assert "said=" not in "".join(shown.hrefs("/tasks/"))


@pytest.mark.parametrize("step", [name for name in FORMS if name not in ("attempt",)])
def test_pressed_twice_it_is_done_once(reader: Reader, clinic: Clinic, now: datetime, step: str) -> None:
    ref = target(clinic, now, step)
    fields = FORMS[step] | {"version": reader.get(at(ref)).hidden("version")}
    answers = [reader.send(f"{at(ref)}/{step}", fields).status]
    after = log_length(clinic, ref)
    answers.append(reader.send(f"{at(ref)}/{step}", fields).status)
    assert answers == [303, 412]
    assert log_length(clinic, ref) == after


@pytest.mark.parametrize("step", list(FORMS))
def test_a_form_made_before_somebody_else_changed_the_work_saves_nothing(
    reader: Reader, clinic: Clinic, now: datetime, step: str
) -> None:
    ref = target(clinic, now, step)
    version = reader.get(at(ref)).hidden("version")
    reader.send(at(ref) + "/note", {"note": "From somebody faster"})
    before = (log_length(clinic, ref), clinic.item(ref).attempts)
    refused = reader.send(f"{at(ref)}/{step}", FORMS[step] | {"version": version})
    assert refused.status == 412
    assert "Somebody changed this meanwhile. Nothing of yours was saved." in refused.words
    assert "From somebody faster" in refused.words
    assert (log_length(clinic, ref), clinic.item(ref).attempts) == before
    again = refused.hidden("version")
    assert again != version
    assert reader.send(f"{at(ref)}/{step}", FORMS[step] | {"version": again}).status == 303


@pytest.mark.parametrize(("step", "name", "form"), [("note", "note", "note"), ("attempt", "note", "attempt")])
def test_what_was_typed_into_a_stale_note_or_attempt_is_kept(
    reader: Reader, clinic: Clinic, now: datetime, step: str, name: str, form: str
) -> None:
    task = late(clinic, now)
    version = reader.get(f"{at(task)}?do={form}").hidden("version")
    clinic.move(task, "calling", now, NURSE)
    refused = reader.send(f"{at(task)}/{step}", FORMS[step] | {name: "typed with care", "version": version})
    assert refused.status == 412
    assert ">typed with care</textarea>" in refused.text
    assert "To call → Calling" in refused.words.replace("to-call", "To call").replace("calling", "Calling")


def test_an_attempt_leaves_the_task_at_its_version(reader: Reader, clinic: Clinic, now: datetime) -> None:
    task = late(clinic, now)
    version = reader.get(at(task)).hidden("version")
    for number in (1, 2):
        assert reader.send(at(task) + "/attempt", FORMS["attempt"] | {"version": version}).status == 303
        assert clinic.item(task).attempts == number
    assert reader.get(at(task)).hidden("version") == version


@pytest.mark.parametrize("step", list(FORMS))
@pytest.mark.parametrize("kind", ["absent", "deleted"])
def test_what_is_gone_takes_no_step(reader: Reader, clinic: Clinic, now: datetime, step: str, kind: str) -> None:
    ref = "Task/never" if kind == "absent" else late(clinic, now)
    if kind == "deleted":
        clinic.remove(ref, now)
    answer = reader.send(f"{at(ref)}/{step}", FORMS[step])
    assert answer.status == (404 if kind == "absent" else 410)
    assert ("There is no" if kind == "absent" else "was deleted") in answer.words


@pytest.mark.parametrize("step", [*WORK, *ANSWERS])
def test_an_ehrs_task_is_shown_and_never_changed(reader: Reader, clinic: Clinic, now: datetime, step: str) -> None:
    body = {"resourceType": "Task", "id": "theirs", "status": "requested", "intent": "order"}
    remote = Remote(connection="ehr", id="1", version="1", body="{}", content_hash="h")
    with clinic.database.begin() as tx:
        records.save(tx, body, author(now, origin="ehr:ehr"), remote=remote)
    refused = reader.send(f"/tasks/theirs/{step}", FORMS[step])
    assert refused.status in (400, 422)
    assert any(text in refused.words for text in ("belongs to the EHR", "is not an escalation"))
    assert clinic.resource("Task/theirs")["meta"]["versionId"] == "1"
    assert not clinic.stored("Communication")
    page = reader.get("/tasks/theirs")
    assert "It is shown here and changed there." in page.words
    assert "<form" not in page.text.partition("<main")[2].partition("</main>")[0]


@pytest.mark.parametrize("step", ["claim", "release", "assign", *ANSWERS])
def test_closed_work_takes_no_step(reader: Reader, clinic: Clinic, now: datetime, step: str) -> None:
    ref = target(clinic, now, step)
    clinic.move(clinic.task("rosa", "first-call").ref, "unreachable", now, fields={"reason": "Moved"})
    before = log_length(clinic, ref)
    refused = reader.send(f"{at(ref)}/{step}", FORMS[step])
    assert refused.status == 422
    assert "closed" in refused.words
    assert log_length(clinic, ref) == before


@pytest.mark.parametrize("step", ANSWERS)
def test_work_that_is_no_escalation_is_not_answered_as_one(
    reader: Reader, clinic: Clinic, now: datetime, step: str
) -> None:
    task = late(clinic, now)
    refused = reader.send(f"{at(task)}/{step}", FORMS[step])
    assert refused.status == 422
    assert "is not an escalation." in refused.words


@pytest.mark.security("S22")
@pytest.mark.parametrize("step", list(FORMS))
def test_a_form_of_a_session_that_is_over_is_refused_kindly(
    reader: Reader, clinic: Clinic, now: datetime, step: str
) -> None:
    ref = target(clinic, now, step)
    token = session.token(session.fresh(), "k" * 40)
    before = log_length(clinic, ref)
    refused = reader.send(f"{at(ref)}/{step}", FORMS[step], csrf=token)
    assert refused.status == 403
    assert "This form is from an older visit: open the page again and repeat the step." in refused.words
    assert log_length(clinic, ref) == before


@pytest.mark.parametrize("version", ["x", "-1", "1.5", "1e3", " 1", "9999999999", "\u0661", "1;2"])
def test_a_version_that_is_no_number_is_refused(reader: Reader, clinic: Clinic, now: datetime, version: str) -> None:
    task = late(clinic, now)
    refused = reader.send(at(task) + "/claim", {"version": version})
    assert refused.status == 400
    assert "version is not a number" in refused.words
    assert clinic.item(task).owner is None


def test_what_people_write_comes_back_letter_by_letter(reader: Reader, clinic: Clinic, now: datetime) -> None:
    task = late(clinic, now)
    reader.send(at(task) + "/note", {"note": ODD})
    reader.send(at(task) + "/attempt", FORMS["attempt"] | {"note": ODD})
    reader.send(at(task) + "/assign", {"role": "rn", "owner": "", "reason": ODD})
    assert clinic.resource(task)["note"][-1]["text"] == ODD
    page = reader.get(at(task))
    assert page.words.count(" ".join(ODD.split())) >= 3
    assert "49" not in page.text.partition("Notes")[2][:300]


def test_a_refused_text_comes_back_letter_by_letter(reader: Reader, clinic: Clinic, now: datetime) -> None:
    task = late(clinic, now)
    refused = reader.send(at(task) + "/move", {"to": "waiting", "reason": ODD, "hold.until": ODD})
    assert refused.status == 422
    assert refused.text.count("&lt;&gt;\\ %s {{7*7}} ${x}") >= 2


def test_a_very_long_note_is_kept_whole_and_one_too_long_is_refused(
    reader: Reader, clinic: Clinic, now: datetime
) -> None:
    task = late(clinic, now)
    whole = "word " * 8000
    assert reader.send(at(task) + "/note", {"note": whole}).status == 303
    assert clinic.resource(task)["note"][-1]["text"] == whole.strip()
    refused = reader.send(at(task) + "/note", {"note": "x" * 70_000})
    assert refused.status == 413
    assert "64000 bytes" in refused.words


def test_work_of_no_program_and_no_patient_is_worked_like_any_other(
    reader: Reader, clinic: Clinic, now: datetime
) -> None:
    clinic.put({"resourceType": "Task", "id": "loose", "status": "requested", "intent": "order"}, now)
    assert reader.send("/tasks/loose/claim").status == 303
    assert reader.send("/tasks/loose/move", {"to": "in-progress"}).status == 303
    assert reader.send("/tasks/loose/move", {"to": "completed", "note": "Done"}).status == 303
    page = reader.get("/tasks/loose")
    assert "Closed: Completed. By Open mode, just now ." in page.words
    assert "No rule of a program looks at this work." in page.words
    assert "Outside programs" in page.words


def test_a_move_of_a_paused_task_ends_the_pause(reader: Reader, clinic: Clinic, now: datetime) -> None:
    task = late(clinic, now)
    hold = {"to": "waiting", "hold.until": "2099-07-01T09:00", "reason": "records"}
    reader.send(at(task) + "/move", hold)
    assert "paused until 1 Jul 2099" in reader.get(at(task)).words
    assert reader.send(at(task) + "/move", {"to": "calling"}).status == 303
    assert clinic.item(task).hold_until is None
    assert clinic.item(task).clock == "running"


def test_giving_work_to_another_team_and_to_a_person_is_one_step(reader: Reader, clinic: Clinic, now: datetime) -> None:
    task = late(clinic, now)
    version = reader.get(at(task)).hidden("version")
    fields = {"role": "rn", "owner": COORDINATOR.who, "reason": "Knows her", "version": version}
    assert reader.send(at(task) + "/assign", fields).status == 303
    assert (clinic.item(task).role, clinic.item(task).owner) == ("rn", COORDINATOR.who)
    words = reader.get(at(task)).words
    assert "Team: Care coordinator → RN" in words
    assert "Knows her" in words


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        ("/preferences", {"density": "tiny"}, 400),
        ("/preferences", {"keys": "maybe"}, 400),
        ("/preferences", {}, 303),
    ],
)
def test_preferences_take_what_there_is(reader: Reader, path: str, fields: dict[str, str], status: int) -> None:
    assert reader.send(path, fields).status == status


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", ["/", "/tasks/x", "/tasks/x/claim", "/operations"])
def test_pages_know_no_other_method(reader: Reader, method: str, path: str) -> None:
    assert reader.client.request(method, path).status_code in (404, 405)


@pytest.mark.parametrize("step", list(FORMS))
def test_no_step_is_taken_by_following_a_link(reader: Reader, clinic: Clinic, now: datetime, step: str) -> None:
    ref = target(clinic, now, step)
    before = log_length(clinic, ref)
    assert reader.get(f"{at(ref)}/{step}").status in (404, 405)
    assert log_length(clinic, ref) == before
