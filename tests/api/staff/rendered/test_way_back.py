from __future__ import annotations

from datetime import datetime, timedelta
from urllib.parse import parse_qsl, quote, urlsplit

import pytest

from api.context import Access
from fhir_tracker.storage import connections as connection_rows
from fhir_tracker.storage.connections import Connection
from tests.api.conftest import Serve
from tests.api.staff.conftest import Answer, Reader, late
from tests.api.staff.markup import tree
from tests.api.staff.test_pages import at
from tests.support.clinic import NURSE, Clinic

QUEUE = "/?tab=team&role=care-coordinator&state=late&q=rosa"


def crumb(page: Answer) -> tuple[str, str]:
    """Where the way back leads and what it is called."""
    (line,) = [node for node in tree(page.text).all("p") if node.attrs.get("class") == "crumb"]
    (link,) = line.all("a")
    return link.attrs["href"], link.text


def test_a_task_opened_from_a_narrowed_queue_leads_back_to_it(reader: Reader, clinic: Clinic, now: datetime) -> None:
    task = late(clinic, now)
    queue = reader.get(QUEUE)
    (link,) = [href for href in queue.hrefs(at(task)) if "do=" not in href]
    assert dict(parse_qsl(urlsplit(link).query))["back"] == QUEUE
    assert crumb(reader.get(link)) == (QUEUE, "← Queue")


def test_every_link_and_form_of_the_task_keeps_the_way_back(reader: Reader, clinic: Clinic, now: datetime) -> None:
    task = late(clinic, now)
    page = reader.get(f"{at(task)}?back={quote(QUEUE, safe='')}")
    own = [href for href in page.hrefs(at(task)) if "?" in href]
    assert len(own) > 4
    for href in own:
        assert crumb(reader.get(href))[0] == QUEUE, href


@pytest.mark.parametrize(
    ("step", "do", "fields"),
    [
        ("claim", "", {}),
        ("note", "do=note", {"note": "x"}),
        ("attempt", "do=attempt", {"outreach.channel": "phone", "outreach.outcome": "no-answer"}),
        ("move", "move=unreachable", {"to": "unreachable", "reason": "Moved"}),
    ],
)
def test_after_a_step_the_way_back_is_still_there(
    reader: Reader, clinic: Clinic, now: datetime, step: str, do: str, fields: dict[str, str]
) -> None:
    task = late(clinic, now)
    page = reader.get(f"{at(task)}?{do}&back={quote(QUEUE, safe='')}")
    sent = reader.send(f"{at(task)}/{step}", fields | {"back": page.hidden("back")})
    assert sent.status == 303
    assert crumb(reader.get(sent.location))[0] == QUEUE


def test_after_a_refusal_the_way_back_is_still_there(reader: Reader, clinic: Clinic, now: datetime) -> None:
    task = late(clinic, now)
    page = reader.get(f"{at(task)}?move=reached&back={quote(QUEUE, safe='')}")
    form = next(node for node in tree(page.text).all("form") if node.attrs["action"].endswith("/move"))
    back = next(node.attrs["value"] for node in form.all("input") if node.attrs.get("name") == "back")
    refused = reader.send(f"{at(task)}/move", {"to": "reached", "back": back})
    assert refused.status == 422
    assert crumb(refused)[0] == QUEUE
    fields = {"to": "reached", "outreach.outcome": "reached", "note": "x", "back": back}
    done = reader.send(f"{at(task)}/move", fields)
    assert crumb(reader.get(done.location))[0] == QUEUE


def test_a_task_opened_from_a_patient_leads_back_to_the_patient(reader: Reader, clinic: Clinic, now: datetime) -> None:
    task = late(clinic, now)
    (link,) = reader.get("/patients/rosa").hrefs(f"{at(task)}?back=")
    assert crumb(reader.get(link)) == ("/patients/rosa", "← Patient")


def test_a_task_opened_by_its_address_leads_to_the_queue(reader: Reader, clinic: Clinic, now: datetime) -> None:
    assert crumb(reader.get(at(late(clinic, now)))) == ("/", "← Queue")


@pytest.mark.security("S16")
@pytest.mark.parametrize(
    "back",
    [
        "//evil.example",
        "https://evil.example/",
        "/\\evil.example",
        "javascript:alert(1)",
        "\t//evil.example",
        "/x\r\nSet-Cookie: a=b",
        "http:evil.example",
        "/" + "a" * 1000 + "\u00e9",
        "[",
        "//[",
    ],
)
def test_the_way_back_never_leaves_this_server(reader: Reader, clinic: Clinic, now: datetime, back: str) -> None:
    task = late(clinic, now)
    page = reader.get(f"{at(task)}?back={quote(back, safe='')}")
    assert crumb(page)[0] == "/"
    nested = f"{at(task)}?back={quote(back, safe='')}"
    sent = reader.send(f"{at(task)}/note", {"note": "x", "back": nested})
    assert urlsplit(sent.location).netloc == ""
    assert crumb(reader.get(sent.location))[0] == "/"


def test_browsers_find_an_icon_where_they_look_for_one(reader: Reader) -> None:
    icon = reader.client.get("/favicon.ico")
    assert icon.status_code == 200
    assert icon.headers["content-type"] == "image/svg+xml"
    assert icon.text.startswith("<svg")
    assert len(icon.content) < 1000


def test_an_escalations_row_says_who_it_is_about_and_how_late(reader: Reader, clinic: Clinic, now: datetime) -> None:
    late(clinic, now)
    page = reader.get("/?role=rn")
    (row,) = [node for node in tree(page.text).all("li") if "row" in node.attrs.get("class", "").split()]
    for said in ("Escalation: First call", "rosa Synthetic", "First call is 3 days late"):
        assert said in row.text, row.text
    assert "no due date" not in row.text
    patients = reader.get("/patients/rosa")
    assert "First call is 3 days late" in tree(patients.text).text


def test_the_history_of_an_escalation_speaks_as_its_chip(reader: Reader, clinic: Clinic, now: datetime) -> None:
    late(clinic, now)
    escalation = clinic.escalations("rosa")[0].ref
    for step, chip, history in (
        ("", "New", "Opened: New"),
        ("acknowledge", "Acknowledged", "New → Acknowledged"),
        ("take-over", "Taken over", "Acknowledged → Taken over"),
        ("resolve", "Resolved", "Taken over → Resolved"),
    ):
        if step:
            assert reader.send(f"{at(escalation)}/{step}").status == 303
        words = tree(reader.get(at(escalation)).text).text
        assert history in words
        assert f"Status {chip}" in words
        assert "Requested" not in words
    assert "Closed: Resolved. By Open mode" in words


def test_closed_work_says_how_it_ended_who_closed_it_and_why(reader: Reader, clinic: Clinic, now: datetime) -> None:
    task = late(clinic, now)
    clinic.put({"resourceType": "Practitioner", "id": "nurse", "name": [{"text": "Nurse Synthetic"}]}, now)
    fields = {"outreach.outcome": "reached", "note": "Spoke with the daughter"}
    clinic.move(task, "reached", now, NURSE, fields)
    words = tree(reader.get(at(task)).text).text
    assert "Closed: Reached. By Nurse Synthetic, just now ." in words
    assert "Spoke with the daughter Last attempt: Reached." in words
    escalation = tree(reader.get(at(clinic.escalations("rosa")[0].ref)).text).text
    assert "Closed: Resolved. By Nurse Synthetic, just now . First call is closed: reached" in escalation


@pytest.mark.parametrize("path", ["/", "/operations", "/programs", "/sync", "/help/keys", "/patients/rosa", "/nowhere"])
def test_the_banner_of_old_data_comes_and_goes_by_connection(
    reader: Reader, clinic: Clinic, now: datetime, path: str
) -> None:
    clinic.patient("rosa", now)
    old = now - timedelta(minutes=20)
    with clinic.database.begin() as tx:
        for key in ("north", "south"):
            connection_rows.add(tx, Connection(key=key, base_url=f"http://{key}.example/fhir", created_at=old))
    assert "Nothing has come from north for 20 min" in reader.get(path).words
    with clinic.database.begin() as tx:
        connection_rows.note_success(tx, "north", now)
    one = reader.get(path).words
    assert "Nothing has come from south for 20 min" in one
    assert "come from north" not in one
    with clinic.database.begin() as tx:
        connection_rows.note_success(tx, "south", now)
    assert 'class="banner stale"' not in reader.get(path).text


@pytest.mark.parametrize("path", ["/", "/tasks/x?back=/", "/queue", "/preferences"])
def test_whoever_is_not_in_sees_no_page(serve: Serve, path: str) -> None:
    assert serve(Access.LOCKED).get(path).status_code == 401
