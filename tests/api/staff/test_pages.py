from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

import pytest

from api.context import Access
from fhir_tracker.fhir.dates import instant
from fhir_tracker.storage import audit, cursors
from fhir_tracker.storage import connections as connection_rows
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.cursors import Cursor
from tests.api.conftest import Serve
from tests.api.staff.conftest import Reader, late
from tests.support.clinic import SYSTEM, Clinic, appointment

PAGES = ("/", "/operations", "/programs", "/sync", "/help/keys")


def at(ref: str) -> str:
    return f"/tasks/{ref.partition('/')[2]}"


def test_a_server_without_login_shows_no_page(serve: Serve) -> None:
    client = serve(Access.LOCKED)
    for path in (*PAGES, "/tasks/1", "/patients/1", "/pulse", "/connections/north", "/quarantine/1", "/outbox/1"):
        answer = client.get(path)
        assert answer.status_code == 401, path
        assert "Nobody is logged in" in answer.text, path


@pytest.mark.security("S23")
def test_every_page_keeps_its_content_here(reader: Reader, clinic: Clinic, now: datetime) -> None:
    task = late(clinic, now)
    for path in (*PAGES, at(task), "/patients/rosa", "/nowhere", at(task) + "?do=attempt", at(task) + "?move=reached"):
        page = reader.get(path)
        policy = page.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'self'" in policy
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["referrer-policy"] == "no-referrer"
        assert not re.search(r"\son\w+=|\sstyle=|<style|<script(?! src=)", page.text), path
        assert not re.search(r'(?:src|href|action)="(?:https?:)?//', page.text), path
        assert page.text.count("<h1") == 1, path
        assert "Open mode" in page.words


def test_late_work_comes_first_with_all_that_a_row_must_say(reader: Reader, clinic: Clinic, now: datetime) -> None:
    late(clinic, now)
    clinic.patient("later", now - timedelta(days=2))
    clinic.discharge("later", now - timedelta(hours=6))
    clinic.attempt(clinic.task("rosa", "first-call").ref, now - timedelta(minutes=30))
    page = reader.get("/?role=care-coordinator")
    assert page.words.index("rosa Synthetic") < page.words.index("later Synthetic")
    for said in ("First call", "Ring after discharge", "3 days late", "Team Care coordinator", "Escalated, level"):
        assert said in page.words
    assert "1 attempt, no answer" in page.words
    assert "waiting 5 days" in page.words
    assert "Nobody has tried the patient yet" in page.words
    assert '<time class="when late" datetime="' in page.text


def test_a_queue_is_read_page_by_page_without_gaps(reader: Reader, clinic: Clinic, now: datetime) -> None:
    for number in range(56):
        clinic.put(
            {
                "resourceType": "Task",
                "id": f"t{number}",
                "status": "requested",
                "intent": "order",
                "code": {"text": f"Job {number}"},
            },
            now,
        )
    first = reader.get("/")
    (following,) = set(first.hrefs("/?tab=team&role=every&after="))
    second = reader.get(following)
    jobs = re.findall(r">Job (\d+)<", first.text) + re.findall(r">Job (\d+)<", second.text)
    assert sorted(map(int, jobs)) == list(range(56))
    assert "50 of 56" in first.words
    assert "6 of 56" in second.words


def test_what_was_closed_last_comes_first_page_by_page(reader: Reader, clinic: Clinic, now: datetime) -> None:
    for number in range(53):
        closed: dict[str, Any] = {"resourceType": "Task", "id": f"t{number}", "status": "requested", "intent": "order"}
        closed |= {"code": {"text": f"Job {number}"}}
        clinic.put(closed, now - timedelta(days=2))
        clinic.put(closed | {"status": "completed"}, now - timedelta(minutes=100 - number))
    first = reader.get("/?tab=done")
    (following,) = set(first.hrefs("/?tab=done&role=every&after="))
    jobs = re.findall(r">Job (\d+)<", first.text + reader.get(following).text)
    assert list(map(int, jobs)) == list(range(52, -1, -1))


def test_search_and_filters_narrow_and_can_be_taken_away(reader: Reader, clinic: Clinic, now: datetime) -> None:
    late(clinic, now)
    late(clinic, now, "ivo", days=1)
    found = reader.get("/?q=ROSA")
    assert "rosa Synthetic" in found.words
    assert "ivo Synthetic" not in found.words
    assert "Remove filter Search: ROSA" in found.text
    assert "Nothing matches these filters." in reader.get("/?q=nobody").words
    assert reader.get("/?status=%27%22%3E&program=none&owner=none&flag=%25").status == 200


def test_a_broken_address_is_answered_with_a_sentence(reader: Reader) -> None:
    for path in ("/?after=x", "/?after=1", "/?age=never", "/?after=9999999999999999999999.1"):
        page = reader.get(path)
        assert page.status == 400, path
        assert "That did not work" in page.words, path


def test_every_number_of_operations_opens_a_list_of_as_many(reader: Reader, clinic: Clinic, now: datetime) -> None:
    for number in range(4):
        late(clinic, now, f"p{number}", days=3 + number * 4)
    late(clinic, now, "fresh", days=0)
    reader.send(at(clinic.task("p1", "first-call").ref) + "/claim", {"back": "/"})
    hold = {"to": "waiting", "hold.until": "2099-01-01T09:00", "reason": "records"}
    assert reader.send(at(clinic.task("p2", "first-call").ref) + "/move", hold).status == 303
    page = reader.get("/operations")
    numbers = re.findall(
        r'<a href="(/\?[^"]+)"[^>]*>(?:<span class="tile-label">.*?</span><span class="tile-number">)?(\d+)<',
        page.text,
        re.S,
    )
    numbers += re.findall(r'class="bar-total" href="([^"]+)"[^>]*>(\d+)<', page.text)
    assert len(numbers) > 15
    for href, number in numbers:
        listed = reader.get(href.replace("&amp;", "&"))
        assert listed.text.count('<li class="row') == int(number), href


def test_a_stale_connection_is_said_on_every_page(reader: Reader, clinic: Clinic, now: datetime) -> None:
    assert "No EHR connected" in reader.get("/").words
    with clinic.database.begin() as tx:
        old = now - timedelta(minutes=14)
        connection_rows.add(tx, Connection(key="north", base_url="http://ehr.example/fhir", created_at=old))
        connection_rows.note_success(tx, "north", old)
    assert "Data from north is 14 min old (promised 2 min)." in reader.get("/").words
    assert "behind" in reader.get("/sync").words
    with clinic.database.begin() as tx:
        connection_rows.note_success(tx, "north", now)
    assert "promised" not in reader.get("/").words
    assert re.search(r"EHR data \d+ (s|min) old", reader.get("/").words)


def test_only_the_types_that_are_old_are_named_on_every_page(reader: Reader, clinic: Clinic, now: datetime) -> None:
    with clinic.database.begin() as tx:
        types = ("Appointment", "Task")
        one = Connection(key="north", base_url="http://ehr.example/fhir", created_at=now, types=types)
        connection_rows.add(tx, one)
        connection_rows.note_failure(tx, "north", now, "Appointment: The server answered 500.")
        for type_, age in (("Appointment", timedelta(minutes=14)), ("Task", timedelta())):
            detail = {"completed_at": instant(now - age)}
            cursors.save(tx, Cursor(connection="north", type=type_, updated_at=now, detail=detail))
    for path in ("/", "/operations", "/programs", "/sync", "/connections/north", "/quarantine", "/outbox"):
        assert "Appointments from north are 14 min old (promised 2 min)." in reader.get(path).words, path
    assert "Appointment 14 min ago 2 min behind Task just now 2 min in step" in reader.get("/sync").words


def test_the_task_page_says_why_it_is_here_and_what_comes_next(reader: Reader, clinic: Clinic, now: datetime) -> None:
    page = reader.get(at(late(clinic, now)))
    for said in (
        "First call",
        "rosa Synthetic",
        "Level 1 went to RN",
        "Level 2 goes to Provider",
        "an outreach attempt with its outcome",
        "Opened: To call",
    ):
        assert said in page.words, said


def test_the_patient_page_tells_the_whole_story(reader: Reader, clinic: Clinic, now: datetime) -> None:
    late(clinic, now)
    clinic.attempt(clinic.task("rosa", "first-call").ref, now - timedelta(minutes=5), outcome="left-message")
    clinic.put(appointment("rosa", now + timedelta(days=2), id_="next", status="booked"), now)
    clinic.put(appointment("rosa", now - timedelta(days=2), id_="missed", status="noshow"), now)
    page = reader.get("/patients/rosa")
    told = (
        "Ring after discharge",
        "Next: First call",
        "booked",
        "no-show",
        "Phone: Left a message",
        "Ended: Encounter",
    )
    for said in ("rosa Synthetic", *told):
        assert said in page.words, said


def test_what_is_not_there_is_a_page_that_leads_back(reader: Reader) -> None:
    for path in (
        "/tasks/none",
        "/patients/none",
        "/nowhere",
        "/connections/none",
        "/quarantine/1",
        "/outbox/1",
    ):
        page = reader.get(path)
        assert page.status == 404, path
        assert "Back" in page.words, path


def test_a_deleted_task_says_so(reader: Reader, clinic: Clinic, now: datetime) -> None:
    task = late(clinic, now)
    clinic.remove(task, now)
    assert reader.get(at(task)).status == 410


def test_the_pulse_changes_with_the_queue_and_says_nothing_of_patients(
    reader: Reader, clinic: Clinic, now: datetime
) -> None:
    task = late(clinic, now)
    first = reader.get("/pulse?tab=team")
    assert "rosa" not in first.text
    assert task not in first.text
    etag = first.headers["etag"]
    assert reader.get("/pulse?tab=team", If_None_Match=etag).status == 304
    reader.send(at(task) + "/claim")
    changed = reader.get("/pulse?tab=team", If_None_Match=etag)
    assert changed.status == 200
    assert changed.headers["etag"] != etag


def test_a_page_of_patient_data_leaves_an_audit_row(reader: Reader, clinic: Clinic, now: datetime) -> None:
    task = late(clinic, now)
    for path in ("/", at(task), "/patients/rosa"):
        reader.get(path)
    with clinic.database.read() as tx:
        rows = [(row.action, row.ref, row.patient, row.who) for row in audit.list(tx, SYSTEM)]
    assert ("search", "Task", None, "Device/open-mode") in rows
    assert ("read", task, "rosa", "Device/open-mode") in rows
    assert ("read", "Patient/rosa", "rosa", "Device/open-mode") in rows


def test_without_a_database_a_page_says_to_come_back(serve: Serve) -> None:
    answer = serve(Access.OPEN, reached=False).get("/")
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert "cannot be reached" in answer.text


@pytest.mark.security("S24", "S25")
def test_what_patients_and_staff_write_is_text_and_never_markup(reader: Reader, clinic: Clinic, now: datetime) -> None:
    attack = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'>"
    task = late(clinic, now)
    clinic.put(
        {
            "resourceType": "Patient",
            "id": "rosa",
            "name": [{"text": attack}],
            "telecom": [{"system": "phone", "value": attack}],
            "identifier": [{"value": attack}],
            "communication": [{"language": {"text": attack}}],
            "text": {"status": "generated", "div": f"<div>{attack}</div>"},
        },
        now,
    )
    reader.send(at(task) + "/note", {"note": attack})
    reader.send(at(task) + "/attempt", {"outreach.channel": "phone", "outreach.outcome": "no-answer", "note": attack})
    for path in ("/", at(task), "/patients/rosa", "/?q=" + "%3Cscript%3Ealert(1)", at(task) + "?do=%22%3E%3Cscript%3E"):
        text = reader.get(path).text
        assert "<script>" not in text, path
        assert "<img" not in text, path
        assert 'x onerror=alert(1)>"' not in text, path


def test_a_cookie_that_is_none_of_ours_is_that_of_somebody_new(reader: Reader) -> None:
    reader.send("/preferences", {"density": "compact"})
    reader.client.cookies.clear()
    reader.client.cookies.set("tracker_session", "forged.00")
    assert 'data-density="comfortable"' in reader.get("/").text


def test_preferences_last_as_long_as_the_browser(reader: Reader) -> None:
    assert 'data-density="comfortable" data-keys="on"' in reader.get("/").text
    assert reader.send("/preferences", {"density": "compact", "back": "/operations"}).location == "/operations"
    reader.send("/preferences", {"keys": "off"})
    assert 'data-density="compact" data-keys="off"' in reader.get("/").text
    assert reader.send("/preferences", {"density": "huge"}).status == 400


def test_numbers_of_requests_name_pages_without_ids(reader: Reader, clinic: Clinic, now: datetime) -> None:
    reader.get(at(late(clinic, now)))
    numbers = reader.client.get("/metrics").text
    assert 'route="/tasks/{id}"' in numbers
    assert "rosa" not in numbers
