"""A launch of an EHR that tells of its colours has a style sheet of its own; there is no style in any page."""

from __future__ import annotations

from datetime import datetime

import pytest
import respx
from starlette.testclient import TestClient

from api.context import Access
from fhir_tracker.storage import issuers
from fhir_tracker.storage.issuers import Issuer
from tests.api.conftest import Serve
from tests.api.staff.markup import problems
from tests.support.clinic import Clinic
from tests.support.launched import EHR, Tab, launched, person

STYLE = f"{EHR}/style-of-the-test.json"


@pytest.fixture
def ready_url(one_file: str) -> str:
    """The subject is the page."""
    return one_file


@pytest.fixture
def client(serve: Serve, clinic: Clinic, now: datetime) -> TestClient:
    with clinic.database.begin() as tx:
        issuers.save(tx, Issuer(key="north", url=f"{EHR}/fhir", client_id="tracker", changed_at=now))
    return serve(Access.LOCKED)


def tab_of(client: TestClient, clinic: Clinic, now: datetime, style_url: str) -> Tab:
    nurse = person(clinic.database, "nurse", "rn", now=now)
    return Tab(client, *launched(clinic.database, nurse, now, style_url=style_url))


@pytest.mark.security("S23")
def test_the_pages_of_a_launch_take_the_ehrs_colours_by_a_style_sheet_of_their_own(
    client: TestClient, clinic: Clinic, now: datetime
) -> None:
    tab = tab_of(client, clinic, now, STYLE)
    with respx.mock(assert_all_called=False) as router:
        route = router.get(STYLE).respond(json={"color_highlight": "#004488", "color_text": "</style><script>"})
        sheets = [tab.get("/style.css") for _ in range(2)]
    assert route.call_count == 1
    for one in sheets:
        assert one.status_code == 200
        assert one.headers["content-type"].startswith("text/css")
        assert one.headers["x-content-type-options"] == "nosniff"
        assert "--accent: #004488;" in one.text
        assert "<" not in one.text
    page = tab.get("/")
    assert page.text.count(f'href="/l/{tab.session.id}/style.css"') == 1
    assert "style=" not in page.text
    assert problems(page.text) == []


def test_without_colours_there_is_no_style_sheet_to_ask_for(client: TestClient, clinic: Clinic, now: datetime) -> None:
    tab = tab_of(client, clinic, now, "")
    assert "style.css" not in tab.get("/").text
    with respx.mock() as router:
        answer = tab.get("/style.css")
        assert router.calls.call_count == 0
    assert (answer.status_code, answer.text) == (200, "")


@pytest.mark.security("S11", "S29")
def test_colours_elsewhere_are_not_asked_for(client: TestClient, clinic: Clinic, now: datetime) -> None:
    tab = tab_of(client, clinic, now, "https://elsewhere.example/style.json")
    with respx.mock() as router:
        answer = tab.get("/style.css")
        assert router.calls.call_count == 0
    assert (answer.status_code, answer.text) == (200, "")


@pytest.mark.security("A1")
def test_nobody_else_is_told_of_them(client: TestClient, clinic: Clinic, now: datetime) -> None:
    tab = tab_of(client, clinic, now, STYLE)
    assert client.get(f"/l/{tab.session.id}/style.css").status_code == 401
    assert client.get("/style.css").status_code in (401, 404)
