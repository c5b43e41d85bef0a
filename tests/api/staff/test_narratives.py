"""What an EHR wrote about a record stands on its page as safe markup; what a role may not see does not."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from api.context import Access
from fhir_tracker import records
from fhir_tracker.records import Remote
from tests.api.conftest import Serve
from tests.api.staff.conftest import Reader
from tests.api.staff.markup import problems, tree
from tests.support.clinic import Clinic, author
from tests.support.hostile_narratives import STORED
from tests.support.launched import Tab, launched, person

ROLE = "https://fhir-tracker.example/CodeSystem/role"
HEADING = "As written by the EHR"
WORDS = "Quarterly review of asthma"
DIV = f'<div xmlns="http://www.w3.org/1999/xhtml"><h2>{WORDS}</h2><script>hit()</script></div>'


@pytest.fixture
def ready_url(one_file: str) -> str:
    """The subject is the page, not the database."""
    return one_file


def told(type_: str, id_: str, div: str = DIV, status: str = "generated") -> dict[str, Any]:
    body: dict[str, Any] = {"resourceType": type_, "id": id_, "text": {"status": status, "div": div}}
    if type_ == "Task":
        body |= {"status": "requested", "intent": "order", "for": {"reference": "Patient/rosa"}}
    return body | ({"name": [{"family": "Synthetic"}]} if type_ == "Patient" else {})


def from_ehr(clinic: Clinic, body: dict[str, Any], now: datetime) -> None:
    remote = Remote(connection="north", id=body["id"], version="1", body="{}", content_hash="h")
    with clinic.database.begin() as tx:
        records.save(tx, body, author(now, origin="ehr:north"), remote=remote)


@pytest.mark.security("S24")
def test_what_the_ehr_wrote_of_a_patient_and_a_task_is_folded_away_on_their_pages(
    reader: Reader, clinic: Clinic, now: datetime
) -> None:
    from_ehr(clinic, told("Patient", "rosa"), now)
    from_ehr(clinic, told("Task", "theirs"), now)
    for path in ("/patients/rosa", "/tasks/theirs"):
        page = reader.get(path)
        assert problems(page.text) == []
        (folded,) = [one for one in tree(page.text).all("details") if WORDS in one.text]
        assert "open" not in folded.attrs
        assert f"<h3>{WORDS}</h3>" in page.text
        assert HEADING in page.words
        assert "hit()" not in page.text


@pytest.mark.parametrize(
    ("div", "status"),
    [(DIV, "empty"), ("", "generated"), ("<div><img src='x'/></div>", "generated"), ("<" * 250_000, "additional")],
)
def test_a_narrative_that_says_nothing_or_too_much_is_not_there(
    reader: Reader, clinic: Clinic, now: datetime, div: str, status: str
) -> None:
    from_ehr(clinic, told("Patient", "rosa", div, status), now)
    page = reader.get("/patients/rosa")
    assert (page.status, HEADING in page.words) == (200, False)


def test_our_own_narratives_repeat_the_page_and_are_not_shown(reader: Reader, clinic: Clinic, now: datetime) -> None:
    clinic.patient("rosa")
    clinic.discharge("rosa", now)
    clinic.sweep(now)
    for path in ("/patients/rosa", f"/tasks/{clinic.task('rosa', 'first-call').ref.partition('/')[2]}"):
        assert HEADING not in reader.get(path).words


@pytest.mark.security("S24")
def test_no_narrative_changes_the_page_around_it(reader: Reader, clinic: Clinic, now: datetime) -> None:
    from_ehr(clinic, told("Patient", "rosa", "<p>x</p>"), now)
    around = reader.get("/patients/rosa").text.count("<")
    for number, text in enumerate(STORED[::2]):
        from_ehr(clinic, told("Patient", f"p{number}", f"{text}<p>end</p>"), now)
    for number, text in enumerate(STORED[::2]):
        page = reader.get(f"/patients/p{number}")
        assert set(problems(page.text)) <= {"a table without a caption"}, text
        assert page.status == 200
        blocks = [one for one in tree(page.text).walk() if one.attrs.get("class") == "narrative"]
        inner = sum(1 for block in blocks for _ in block.walk()) - len(blocks)
        assert len(blocks) <= 1
        assert page.text.count("<") <= around + 2 * inner, text


@pytest.mark.security("A3", "S24")
@pytest.mark.parametrize(("role", "is_shown"), [("rn", True), ("front-desk", False)])
def test_where_a_role_hides_anything_the_narrative_is_hidden_with_it(
    serve: Serve, clinic: Clinic, now: datetime, role: str, is_shown: bool
) -> None:
    desk = {"performerType": [{"coding": [{"system": ROLE, "code": "front-desk"}]}]}
    from_ehr(clinic, told("Patient", "rosa"), now)
    from_ehr(clinic, told("Task", "theirs") | desk, now)
    known = person(clinic.database, "somebody", role, now=now)
    page = Tab(serve(Access.LOCKED), *launched(clinic.database, known, now)).get("/tasks/theirs")
    assert page.status_code == 200
    assert (WORDS in page.text) is is_shown
