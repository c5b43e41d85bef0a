from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from api.context import Access
from fhir_tracker.model.moves import FIELDS
from fhir_tracker.outreach import Attempt, log_attempt
from tests.api.conftest import Serve
from tests.api.staff.conftest import Answer, Reader
from tests.api.staff.markup import Node, tree
from tests.api.staff.rendered.conftest import World, task
from tests.support.clinic import NURSE, RING, Clinic


def card(page: Answer, title: str) -> str:
    """The words of the part under that heading."""
    found = [node.inside("section") for node in tree(page.text).all("h2") if node.text == title]
    assert len(found) == 1, title
    assert found[0] is not None
    return found[0].text.removeprefix(title).strip()


def menu(page: Answer) -> dict[str, Node]:
    """The moves there are: where each leads and its link."""
    (found,) = [node for node in tree(page.text).all("details") if node.attrs.get("class") == "menu"]
    return {link.attrs["href"].partition("move=")[2].partition("#")[0]: link for link in found.all("a")}


def buttons(page: Answer) -> list[str]:
    """The names of what can be done at the top."""
    (doing,) = [node for node in tree(page.text).walk() if node.attrs.get("class") == "doing"]
    return [node.name for node in doing.all("button", "a") if node.inside("details") is None]


def test_nobody_logged_in_sees_no_task(serve: Serve) -> None:
    assert serve(Access.LOCKED).get("/tasks/x?do=note").status_code == 401


def test_the_page_says_what_to_do_why_and_until_when(world: World) -> None:
    page = world.reader().get(world.pages["call of rosa"])
    assert tree(page.text).all("h1")[0].text == "First call"
    assert tree(page.text).all("title")[0].text == "First call for rosa Synthetic · fhir-tracker"
    assert "Ring the patient and ask about medicines" in card(page, "What to do")
    assert "Level 1 went to RN" in card(page, "Why it is here")
    assert "Level 2 goes to Provider" in card(page, "Why it is here")
    assert "Phone: No answer" in card(page, "Outreach attempts")
    assert card(page, "History").endswith("Enrolment by rule eligible")
    assert "Ring after discharge · version 1" in page.words


def test_the_menu_shows_each_status_with_its_definition_and_what_it_asks(world: World) -> None:
    found = menu(world.reader().get(world.pages["call of rosa"]))
    assert set(found) == {"calling", "reached", "waiting", "unreachable"}
    for code, link in found.items():
        own = world.clinic.program.status(code)
        assert own is not None
        assert link.text.startswith(own.title)
        assert link.text.endswith(own.means)
    assert FIELDS["hold.until"] in found["waiting"].text
    assert "asks for a note" in found["reached"].text, "the attempt on record answers for the outcome"
    assert "asks" not in found["calling"].text


@pytest.mark.parametrize("code", ["calling", "reached", "waiting", "unreachable"])
def test_the_form_of_a_move_repeats_the_definition_of_its_status(world: World, code: str) -> None:
    own = world.clinic.program.status(code)
    assert own is not None
    page = world.reader().get(f"{world.pages['call of fred']}?move={code}")
    text = card(page, f"Move to {own.title}")
    assert text.startswith(own.means)


def test_what_is_needed_before_closing_is_ticked_as_it_is_met(world: World) -> None:
    met = card(world.reader().get(world.pages["call of rosa"]), "What to do")
    assert "an outreach attempt with its outcome : there" in met
    assert "a note : missing" in met
    unmet = card(world.reader().get(world.pages["call of fred"]), "What to do")
    assert "an outreach attempt with its outcome : missing" in unmet


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("call of fred", ["Claim", "Log attempt", "Hold", "Reassign", "Note"]),
        ("call of mia", []),
        ("ehrs", []),
        ("nobodys", ["Claim", "Reassign", "Note"]),
        ("owned", ["Log attempt", "Reassign", "Note"]),
        ("escalation", ["Acknowledge", "Take over", "Resolve", "Send back"]),
        ("closed escalation", []),
    ],
)
def test_what_can_be_done_is_offered_and_nothing_else(world: World, name: str, shown: list[str]) -> None:
    assert buttons(world.reader().get(world.pages[name])) == shown


def test_one_step_at_most_is_the_primary_one(world: World) -> None:
    for name, path in world.pages.items():
        page = tree(world.reader().get(path).text)
        primary = [node for node in page.walk() if "primary" in node.attrs.get("class", "").split()]
        assert len(primary) <= 1, name


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("do=attempt", ["outreach.channel", "outreach.outcome", "minutes", "note"]),
        ("do=note", ["note"]),
        ("do=reassign", ["role", "owner", "reason"]),
        ("move=calling", ["note"]),
        ("move=waiting", ["hold.until", "reason", "note"]),
        ("move=unreachable", ["reason", "note"]),
        ("move=reached", ["outreach.channel", "outreach.outcome", "note"]),
        ("do=send-back", []),
        ("do=nonsense", []),
        ("move=nonsense", []),
        ("move=to-call", []),
    ],
)
def test_a_form_asks_exactly_what_its_step_needs(world: World, query: str, names: list[str]) -> None:
    page = tree(world.reader().get(f"{world.pages['call of fred']}?{query}").text)
    forms = [node for node in page.all("section") if node.attrs.get("id") == "form"]
    asked = [node for form in forms for node in form.all("input", "select", "textarea")]
    assert [node.attrs["name"] for node in asked if node.attrs.get("type") != "hidden"] == names


def test_the_programs_channels_come_first_in_an_attempt(world: World) -> None:
    page = tree(world.reader().get(f"{world.pages['call of fred']}?do=attempt").text)
    (select,) = [node for node in page.all("select") if node.attrs["name"] == "outreach.channel"]
    assert [option.attrs["value"] for option in select.all("option")][:2] == ["sms", "phone"]


@pytest.mark.parametrize("query", ["do=attempt", "do=note", "do=reassign", "move=calling", "do=send-back"])
@pytest.mark.parametrize("name", ["ehrs", "closed escalation"])
def test_what_is_closed_or_an_ehrs_offers_no_form(world: World, name: str, query: str) -> None:
    page = tree(world.reader().get(f"{world.pages[name]}?{query}").text)
    assert page.all("main")[0].all("form") == []


def test_closed_work_offers_only_to_be_opened_again(world: World) -> None:
    path = world.pages["call of mia"]
    assert set(menu(world.reader().get(path))) == {"calling"}
    assert "Move to Calling" in world.reader().get(f"{path}?move=calling").words
    for query in ("do=attempt", "do=note", "do=reassign", "move=waiting"):
        assert tree(world.reader().get(f"{path}?{query}").text).all("main")[0].all("form") == [], query


def test_an_attempt_for_work_without_a_patient_is_not_offered(world: World) -> None:
    page = world.reader().get(f"{world.pages['nobodys']}?do=attempt")
    assert "Log an outreach attempt" not in page.words


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nobodys", "The program says nothing more about this work."),
        ("nobodys", "No rule of a program looks at this work."),
        ("call of fred", "Nobody has tried the patient for this work yet."),
        ("ehrs", "This Task belongs to the EHR. It is shown here and changed there."),
        ("call of ivo", "paused until"),
        ("call of ivo", "records are on their way"),
        ("unknown", "Patient/nowhere"),
        ("titled", "deceased"),
        ("titled", "stat"),
        ("escalation", "Look at the late work, then acknowledge it"),
        ("escalation", "About: First call"),
    ],
)
def test_each_odd_state_is_explained(world: World, name: str, said: str) -> None:
    assert said in world.reader().get(world.pages[name]).words


def test_markup_in_a_title_or_description_is_text(world: World) -> None:
    page = tree(world.reader().get(world.pages["script"]).text)
    assert page.all("h1")[0].text == "<b>&amp;\"'"
    assert "<script>alert(1)</script>" in page.text


def test_a_thousand_notes_are_all_there_newest_first(world: World) -> None:
    words = card(world.reader().get(world.pages["noted"]), "Notes")
    assert words.startswith("Note 999 \u2764 A nurse Note 998")
    assert words.count("\u2764") == 1000


def test_a_task_whose_plan_and_program_are_unknown_is_still_a_page(
    reader: Reader, clinic: Clinic, now: datetime
) -> None:
    body = task("lost", basedOn=[{"reference": "CarePlan/never"}], focus={"reference": "Appointment/never"})
    body |= {"instantiatesCanonical": "https://elsewhere.example/PlanDefinition/other|9"}
    clinic.put(body, now)
    page = reader.get("/tasks/lost")
    assert page.status == 200
    assert "Outside programs" in page.words


@pytest.mark.parametrize("id_", ["..", "%2e%2e", "x" * 65, "a_b", "%20", "%3Cscript%3E", "\u05d0", "%00"])
def test_an_id_that_none_can_have_is_not_found(reader: Reader, id_: str) -> None:
    for place in ("tasks", "patients"):
        page = reader.get(f"/{place}/{id_}")
        assert page.status in (200, 404) if id_ in ("..",) else page.status == 404
        assert "<script>" not in page.text


def test_where_outreach_stands_is_told_with_what_cannot_be_used(world: World) -> None:
    page = world.reader().get(world.pages["call of rosa"])
    assert "1 of 2 attempts; no channel is left" in page.words
    assert "not used: the record has no usable number or address" in page.words


def test_the_next_contact_and_the_time_spent_are_told_once_there_is_a_number(
    reader: Reader, clinic: Clinic, now: datetime
) -> None:
    policy = "role: care-coordinator\n    outreach: {attempts: 2, over: 2 days, channels: [sms, phone]}\n"
    clinic.program = clinic.publish(RING.replace("role: care-coordinator\n", policy), now - timedelta(days=1))
    telecom = [{"system": "phone", "value": "555-0142"}]
    clinic.put({"resourceType": "Patient", "id": "rosa", "telecom": telecom}, now - timedelta(days=1))
    clinic.discharge("rosa", now - timedelta(hours=20))
    item = clinic.task("rosa", "first-call")
    made = Attempt(channel="phone", outcome="no-answer", at=now - timedelta(hours=1), spent=timedelta(minutes=3))
    with clinic.acting(now - timedelta(hours=1), NURSE) as (tx, by):
        log_attempt(tx, item, made, by)
    page = reader.get(f"/tasks/{item.ref.partition('/')[2]}").words
    assert "1 of 2 attempts; next text from" in page
    assert "Next number 555-0142" in page
    assert "next text from" in reader.get("/?role=care-coordinator").words
    assert "3 minutes of staff time in" in reader.get("/patients/rosa").words
