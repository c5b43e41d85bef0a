from __future__ import annotations

import re
from datetime import datetime, timedelta
from importlib.resources import files

import pytest

from api.context import Access
from fhir_tracker.storage import connections
from fhir_tracker.storage.connections import Connection
from tests.api.conftest import Serve
from tests.api.staff.conftest import Reader
from tests.api.staff.markup import tree
from tests.api.staff.rendered.conftest import HEBREW, LONG, PROGRAM, World
from tests.support.clinic import NURSE, Clinic, appointment

STATIC = files("api.staff").joinpath("static")
CSS = "".join(STATIC.joinpath(name).read_text() for name in ("tokens.css", "pages.css"))
SCRIPT = STATIC.joinpath("pages.js").read_text()


def section(world: World, path: str, title: str) -> str:
    page = tree(world.reader().get(path).text)
    (found,) = [node.inside("section") for node in page.all("h2") if node.text == title]
    assert found is not None
    return found.text


@pytest.mark.parametrize("path", ["/patients/x", "/operations", "/programs", "/sync", "/help/keys"])
def test_nobody_logged_in_sees_a_page(serve: Serve, path: str) -> None:
    assert serve(Access.LOCKED).get(path).status_code == 401


@pytest.mark.parametrize(
    ("title", "said"),
    [
        ("Plans", "Next: First call"),
        ("Open work", "Escalation: First call"),
        ("Outreach", "Phone: No answer"),
        ("Appointments", "Missed or cancelled"),
        ("Expected documents", "missing"),
        ("Timeline", "Escalated to RN, level 1"),
        ("Timeline", "Ended: Encounter"),
    ],
)
def test_a_patients_page_has_each_part(world: World, title: str, said: str) -> None:
    assert said in section(world, "/patients/rosa", title)


@pytest.mark.parametrize(
    ("title", "said"),
    [
        ("Plans", "Not enrolled in a program. A program takes patients in by its own eligibility rule."),
        ("Outreach", "No attempt to reach this patient is on record."),
        ("Appointments", "None booked."),
        ("Expected documents", "No program expects a document now."),
    ],
)
def test_an_empty_part_says_why(world: World, title: str, said: str) -> None:
    assert said in section(world, "/patients/long", title)


def test_a_patient_known_by_name_only_has_a_whole_page(reader: Reader, clinic: Clinic, now: datetime) -> None:
    clinic.put({"resourceType": "Patient", "id": "bare"}, now)
    words = reader.get("/patients/bare").words
    for said in ("bare", "Nothing is open for this patient.", "Nothing yet."):
        assert said in words


@pytest.mark.parametrize(("id_", "name"), [("long", LONG), ("rtl", HEBREW)])
def test_names_of_every_kind_head_their_page(world: World, id_: str, name: str) -> None:
    page = tree(world.reader().get(f"/patients/{id_}").text)
    assert page.all("h1")[0].text.startswith(" ".join(name.split()))


def test_a_plan_without_work_says_so(reader: Reader, clinic: Clinic, now: datetime) -> None:
    clinic.patient("rosa", now - timedelta(days=2))
    clinic.discharge("rosa", now - timedelta(days=1))
    task = clinic.task("rosa", "first-call").ref
    assert "Next: First call" in reader.get("/patients/rosa").words
    clinic.move(task, "reached", now, NURSE, {"outreach.outcome": "reached", "note": "x"})
    words = reader.get("/patients/rosa").words
    assert "No open work in this plan." in words
    assert "To call → Reached" in words


def test_appointments_say_when_and_how_they_ended(reader: Reader, clinic: Clinic, now: datetime) -> None:
    clinic.patient("rosa", now)
    for number, (days, status) in enumerate([(1, "booked"), (30, "pending"), (-1, "noshow"), (-2, "cancelled")]):
        clinic.put(appointment("rosa", now + timedelta(days=days), id_=f"a{number}", status=status), now)
    clinic.put(appointment("rosa", now - timedelta(days=200), id_="old", status="noshow"), now)
    words = reader.get("/patients/rosa").words
    for said in ("booked", "pending", "no-show", "cancelled"):
        assert said in words
    assert words.count("no-show") == 1, "what was missed long ago is over"


def test_a_tracker_without_anything_explains_itself(serve: Serve) -> None:
    client = serve(Access.OPEN)
    said = {
        "/": "No program is published yet. A program brings patients and their work in.",
        "/operations": "Nothing is late.",
        "/programs": "No program is published. Publish one with",
        "/sync": "No EHR is connected. Add one with",
    }
    for path, text in said.items():
        assert text in " ".join(tree(client.get(path).text).text.split()), path
    assert "nothing can grow old" in client.get("/operations").text
    assert "No escalation level fired in the last 30 days." in client.get("/operations").text


def test_every_chart_has_the_same_numbers_as_its_table(world: World) -> None:
    page = tree(world.reader().get("/operations").text)
    described = {node.all("title")[0].text: node.all("desc")[0].text for node in page.all("svg") if node.all("desc")}
    (twin,) = [node for node in page.all("details") if node.attrs.get("class") == "twin"]
    for row in twin.all("tr")[1:]:
        cells = [cell.text for cell in row.all("td")]
        label = row.all("th")[0].text
        (told,) = [text for title, text in described.items() if title.replace(",", "") == label]
        assert re.findall(r"(?<![-\w])(\d+) (?:open|under|1-3|3-7|7-14|over)", told) == [cells[-1], *cells[:-1]]


def test_programs_are_told_in_words_with_every_status_defined(world: World) -> None:
    words = world.reader().get("/programs").words
    assert "ring version 1" in words
    for status in world.clinic.program.statuses:
        assert f"{status.title} {status.means}" in words


def test_an_older_version_stays_to_be_read(reader: Reader, clinic: Clinic, now: datetime) -> None:
    clinic.publish(PROGRAM.replace("title: First call", "title: Second thoughts"), now)
    page = tree(reader.get("/programs").text)
    assert [node.text for node in page.all("h2")] == ["Ring after discharge active", "Ring after discharge retired"]


@pytest.mark.parametrize(
    ("age", "failing", "state"),
    [
        (timedelta(seconds=5), False, "in step"),
        (timedelta(minutes=30), False, "behind"),
        (timedelta(seconds=5), True, "failing"),
        (None, False, "first load"),
    ],
)
def test_a_connection_says_how_it_does(
    reader: Reader, clinic: Clinic, now: datetime, age: timedelta | None, failing: bool, state: str
) -> None:
    with clinic.database.begin() as tx:
        connections.add(tx, Connection(key="north", base_url="http://north.example/fhir", created_at=now))
        if age is not None:
            connections.note_success(tx, "north", now - age)
        if failing:
            connections.note_failure(tx, "north", now, "The server answered 500.")
    words = reader.get("/sync").words
    assert f"north {state}" in words
    assert ("The server answered 500." in words) is failing
    assert state in reader.get("/operations").words


def test_a_connection_that_is_not_let_in_says_so(reader: Reader, clinic: Clinic, now: datetime) -> None:
    with clinic.database.begin() as tx:
        connections.add(tx, Connection(key="north", base_url="http://north.example/fhir", created_at=now))
        connections.note_failure(tx, "north", now, "It takes no key of ours.", state="auth_failed")
    words = reader.get("/sync").words
    assert "north login refused" in words
    assert "It takes no key of ours." in words


@pytest.mark.security("S22")
def test_a_form_of_another_browser_changes_nothing(world: World) -> None:
    before = world.reader().get("/help/keys").hidden("csrf")
    other = world.reader()
    assert other.get("/help/keys").hidden("csrf") != before
    assert other.send("/preferences", {"keys": "off"}, csrf=before).status == 403


@pytest.mark.security("S23")
def test_the_cookie_can_be_read_by_no_script_and_lasts_as_long_as_the_browser(world: World) -> None:
    given = world.reader().client.get("/").headers["set-cookie"].lower()
    assert "httponly" in given
    assert "samesite=lax" in given
    assert "path=/" in given
    assert "max-age" not in given
    assert "expires" not in given


def test_the_keys_can_be_switched_off_and_on_again(reader: Reader) -> None:
    assert "Switch single keys off" in reader.get("/help/keys").words
    reader.send("/preferences", {"keys": "off"})
    assert "Switch single keys on" in reader.get("/help/keys").words


def test_paper_gets_the_content_without_the_controls() -> None:
    printed = CSS.partition("@media print")[2]
    for hidden in (".top nav", ".doing", ".filters", ".tabs", ".c-action", "form"):
        assert hidden in printed.partition("display: none")[0], hidden
    assert "break-inside: avoid" in printed
    assert "attr(title)" in printed, "exact times are on paper, where nothing can be hovered"


def test_styles_know_dark_rooms_narrow_panels_and_those_who_want_no_motion() -> None:
    for query in ("prefers-color-scheme: dark", "prefers-reduced-motion", "max-width"):
        assert query in CSS, query
    assert ":focus-visible" in CSS


@pytest.mark.security("S23")
def test_styles_and_script_load_and_run_nothing_of_others() -> None:
    assert "url(" not in CSS
    assert "@import" not in CSS
    for word in (
        "innerHTML",
        "outerHTML",
        "eval(",
        "document.write",
        "insertAdjacentHTML",
        "http:",
        "https:",
        "import(",
    ):
        assert word not in SCRIPT, word


def luminance(colour: str) -> float:
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def themes() -> list[dict[str, str]]:
    light, _, dark = STATIC.joinpath("tokens.css").read_text().partition("prefers-color-scheme: dark")
    found = [dict(re.findall(r"--([a-z-]+): (#[0-9a-fA-F]{6})\b", text)) for text in (light, dark)]
    return [found[0], found[0] | found[1]]


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("ink", ["ink", "soft"])
@pytest.mark.parametrize("paper", ["paper", "ground"])
def test_text_is_readable_on_its_ground(theme: int, ink: str, paper: str) -> None:
    colours = themes()[theme]
    assert contrast(colours[ink], colours[paper]) >= 4.5


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("tone", ["late", "today", "hold", "done", "escalated"])
def test_each_state_is_readable_in_its_colour(theme: int, tone: str) -> None:
    colours = themes()[theme]
    for ground in ("paper", f"{tone}-soft"):
        assert contrast(colours[tone], colours[ground]) >= 4.5, ground
    assert contrast(colours["accent-ink"], colours["accent"]) >= 4.5
