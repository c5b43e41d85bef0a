"""Further tabs of a launch, and what its addresses tell."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import pytest
from starlette.testclient import TestClient

from api.context import Access
from fhir_tracker import staff_sessions
from fhir_tracker.digests import digest_of
from tests.api.conftest import Serve
from tests.api.staff.conftest import late
from tests.api.staff.markup import tree
from tests.support.clinic import Clinic
from tests.support.launched import Tab

IDLE = timedelta(minutes=15)
SECOND = timedelta(seconds=1)


@pytest.fixture
def ready_url(one_file: str) -> str:
    """The subject is the page and the session, not the database."""
    return one_file


@pytest.fixture
def client(serve: Serve, clinic: Clinic) -> TestClient:
    """A server that knows who comes in."""
    return serve(Access.LOCKED)


# --- further tabs


@pytest.mark.security("S18", "S21")
@pytest.mark.requirement(97)
def test_a_ticket_opens_one_further_tab_once(tab: Tab, client: TestClient) -> None:
    address = tab.post("/tickets", {"page": "/help/keys"}).json()["address"]
    assert tab.secret not in address
    assert tab.handle not in address
    assert tab.session.id not in address
    first = client.get(address)
    assert first.status_code == 200
    assert f'data-page="{tab.prefix}/help/keys"' in first.text
    match = re.search(r'name="tracker-handle" content="([^"]+)"', first.text)
    assert match
    assert match[1] != tab.handle
    secret = first.headers["set-cookie"].partition("=")[2].partition(";")[0]
    further = Tab(client, tab.session, secret, match[1])
    for further.has_cookies in (True, False):
        assert further.get("/").status_code == 200
    assert client.get(address).status_code == 401
    tab.post("/logout")
    assert further.get("/").status_code == 401, "a session ends in all its tabs"


@pytest.mark.security("S18")
def test_a_ticket_is_for_soon_and_for_a_session_that_stands(tab: Tab, clinic: Clinic, now: datetime) -> None:
    soon, late_ = now + timedelta(seconds=29), now + timedelta(seconds=30)
    with clinic.database.begin() as tx:
        tickets = [staff_sessions.ticket(tx, tab.session, "/", now) for _ in range(3)]
        assert staff_sessions.redeem(tx, tickets[0], soon, IDLE) is not None
        assert staff_sessions.redeem(tx, tickets[0], soon, IDLE) is None
        assert staff_sessions.redeem(tx, tickets[1], late_, IDLE) is None
        staff_sessions.end(tx, tab.session, now, "logout")
        assert staff_sessions.redeem(tx, tickets[2], soon, IDLE) is None
        assert staff_sessions.redeem(tx, digest_of(tickets[2]), soon, IDLE) is None


@pytest.mark.security("S16")
@pytest.mark.parametrize("page", ["//evil.example", "https://evil.example", "", "evil"])
def test_a_ticket_leads_into_its_launch_only(tab: Tab, client: TestClient, page: str) -> None:
    address = tab.post("/tickets", {"page": page}).json()["address"]
    assert f'data-page="{tab.prefix}/open"' in client.get(address).text


# --- what addresses tell


@pytest.mark.security("L2")
@pytest.mark.requirement(97)
def test_who_is_searched_for_is_in_no_address(tab: Tab, clinic: Clinic, now: datetime) -> None:
    for name in ("rosa", "ivo"):
        late(clinic, now, name)
    page = tab.get("/?role=every")
    (form,) = [one for one in tree(page.text).all("form") if "search" in one.attrs.get("role", "")]
    assert (form.attrs["method"], form.attrs["action"]) == ("post", f"{tab.prefix}/find")
    sent = tab.post("/find", {"q": " Rosa ", "role": "every", "tab": "all", "state": "late", "after": "x"})
    assert sent.status_code == 303
    address = sent.headers["location"]
    assert "osa" not in address
    found = tab.get(address.removeprefix(tab.prefix))
    assert "rosa Synthetic" in found.text
    assert "ivo Synthetic" not in found.text
    assert 'value="Rosa"' in found.text
    addresses = [one.attrs.get("href", "") + one.attrs.get("action", "") for one in tree(found.text).walk()]
    addresses += [one.attrs.get("data-pulse", "") + one.attrs.get("data-here", "") for one in tree(found.text).walk()]
    assert not [one for one in addresses if "Rosa" in one or "q=" in one]
    (whole,) = [one for one in tree(found.text).all("a") if one.name == "Remove filter Search: Rosa"]
    assert "ivo Synthetic" in tab.get(whole.attrs["href"].removeprefix(tab.prefix)).text
    task = next(one for one in tree(found.text).all("a") if "open" in one.attrs.get("class", "").split())
    back = tree(tab.get(task.attrs["href"].removeprefix(tab.prefix)).text).all("a")
    (crumb,) = [one for one in back if one.name == "← Queue"]
    assert "ivo Synthetic" not in tab.get(crumb.attrs["href"].removeprefix(tab.prefix)).text


@pytest.mark.security("L2", "S45")
@pytest.mark.parametrize("find", ["", "x", "Rosa", "a.b.c.d.e", "%00", "e30..a.b.c", "x" * 5000])
def test_words_that_were_not_sealed_here_search_for_nothing(tab: Tab, clinic: Clinic, now: datetime, find: str) -> None:
    for name in ("rosa", "ivo"):
        late(clinic, now, name)
    page = tab.get(f"/?role=every&find={find}").text
    assert "rosa Synthetic" in page
    assert "ivo Synthetic" in page
