"""Every link of every page leads whoever sees it to a page that opens to them, and that is the one it names."""

from __future__ import annotations

import html
import re
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import pytest
from starlette.testclient import TestClient

from api.context import Access
from fhir_tracker.roles import built_in
from tests.api.conftest import Serve
from tests.api.staff.conftest import late
from tests.support.clinic import Clinic, appointment
from tests.support.launched import Tab, launched, person
from tests.support.setting_up import know_north

MOST = 60
"""Pages that one person opens; of those of one kind some."""
BEGIN = ("/", "/audit", "/operations", "/setup", "/patients/rosa", "/patients/rosa/access")


@pytest.fixture
def ready_url(one_file: str) -> str:
    """The subject is the page, not the database."""
    return one_file


@pytest.fixture
def client(serve: Serve, clinic: Clinic, now: datetime) -> TestClient:
    """Late work, tries, visits, and a connection of which nothing ever came, as every page says."""
    know_north(clinic.database, now - timedelta(days=1))
    for name in ("rosa", "ivo"):
        late(clinic, now, name)
        clinic.attempt(clinic.task(name, "first-call").ref, now - timedelta(minutes=5))
        clinic.put(appointment(name, now + timedelta(days=1), id_=f"visit-{name}", status="booked"), now)
    return serve(Access.LOCKED)


def shape(address: str) -> str:
    """Addresses of one kind: without ids, and of a query the names."""
    parts = urlsplit(address)
    path = re.sub(r"^(/(?:tasks|patients|outbox|quarantine|connections)/)[^/]+", r"\1*", parts.path)
    return f"{path}?{'&'.join(sorted(one.partition('=')[0] for one in parts.query.split('&')))}"


def links_of(tab: Tab, text: str) -> list[str]:
    found = [html.unescape(one) for one in re.findall(r'<a [^>]*href="([^"#]+)', text)]
    assert [one for one in found if not one.startswith(tab.prefix)] == [], "a page of a launch leads nowhere else"
    return [one.removeprefix(tab.prefix) or "/" for one in found]


def followed(tab: Tab, begin: tuple[str, ...]) -> tuple[set[str], list[str]]:
    """The kinds of pages that were opened, and links that did not lead where they say."""
    ahead = [(one, "") for one in begin if tab.get(one).status_code == 200]
    seen, wrong = set[str](), list[str]()
    while ahead and len(seen) < MOST:
        address, where = ahead.pop(0)
        if shape(address) in seen:
            continue
        seen.add(shape(address))
        answer = tab.get(address)
        home = address in ("/", "/?") and answer.status_code == 303
        if answer.status_code != 200 and not home:
            wrong.append(f"{where} -> {address}: {answer.status_code} {answer.headers.get('location', '')}")
        ahead += [(one, address) for one in links_of(tab, answer.text)]
    return seen, wrong


@pytest.mark.parametrize("chart", [None, "rosa"])
@pytest.mark.parametrize("role", sorted(built_in()))
def test_no_link_that_a_role_sees_is_dead(
    client: TestClient, clinic: Clinic, now: datetime, role: str, chart: str | None
) -> None:
    account = person(clinic.database, "walker", role, now=now)
    tab = Tab(client, *launched(clinic.database, account, now, patient=chart))
    seen, wrong = followed(tab, BEGIN)
    assert wrong == []
    assert "Nothing has come from north" in tab.get("/help/keys").text
    assert len(seen) > (1 if chart else 4)


def test_operations_say_to_who_sees_no_work_that_none_is_counted(
    client: TestClient, clinic: Clinic, now: datetime
) -> None:
    pages = {
        role: Tab(client, *launched(clinic.database, person(clinic.database, role, role, now=now), now))
        .get("/operations")
        .text
        for role in ("auditor", "rn")
    }
    assert ["Your role sees no work" in pages[role] for role in ("auditor", "rn")] == [True, False]
    assert [
        "Nothing is late" in pages["auditor"],
        "No open work" in pages["auditor"],
        'class="tiles"' in pages["auditor"],
    ] == [False] * 3
    assert 'class="tiles"' in pages["rn"]
