"""Where an administrator begins, and who finds the way to what."""

from __future__ import annotations

import html
import re
from datetime import datetime

import pytest
from starlette.testclient import TestClient

from fhir_tracker import accounts, connections, roles
from fhir_tracker.storage.database import Database
from tests.api.staff.markup import problems
from tests.support.launched import Tab, launched
from tests.support.setting_up import OTHER_ROLES, configured, tab_of

PAGES = ("/setup", "/connections", "/connections/north", "/staff", "/login-providers", "/clients", "/roles")
STEPS = (
    *("/connections", "/connections/north/smart", "/connections/north/smart/remove", "/staff", "/staff/x/roles"),
    *("/connections/north/terms", "/connections/north/remove"),
    *("/staff/x/disable", "/login-providers", "/login-providers/x/remove", "/clients", "/clients/rotate"),
    *("/clients/revoke", "/roles"),
)
LIMITED = """
roles:
  - {role: key-keeper, title: Key keeper, may: [Task.rs], acts: [clients]}
  - {role: greeter, title: Greeter, may: [Task.rs], acts: [people, operations]}
"""


@pytest.fixture
def ready_url(one_file: str) -> str:
    """The subject is the page."""
    return one_file


def links(text: str) -> list[str]:
    """The pages of the launch that a page leads to."""
    return [html.unescape(found) for found in re.findall(r'href="/l/[\w-]+(/[^"#]*)"', text)]


def test_an_admin_is_led_from_any_page_to_everything_that_is_set_up(admin: Tab) -> None:
    assert "/setup" in links(admin.get("/help/keys").text)
    page = admin.get("/setup")
    assert (page.status_code, problems(page.text)) == (200, [])
    there = [one for one in links(page.text) if one not in ("/", "/operations", "/programs", "/sync", "/setup")]
    assert set(PAGES) - {"/setup", "/connections/north"} <= set(there)
    for one in there:
        assert admin.get(one).status_code == 200, one
    for said in ("1 connection", "1 account", "0 providers", "6 roles", "0 systems"):
        assert said in page.text
    assert "/connections/north" in links(admin.get("/connections").text)


@pytest.mark.parametrize("path", PAGES)
def test_each_of_these_pages_leads_back_is_well_made_and_marks_where_it_is(admin: Tab, path: str) -> None:
    page = admin.get(path)
    assert (page.status_code, problems(page.text)) == (200, [])
    assert "/setup" in links(page.text)
    assert page.text.count("<h1") == 1
    assert re.search(r'aria-current="page">', page.text)


@pytest.mark.security("A1", "S40")
@pytest.mark.parametrize("role", OTHER_ROLES)
def test_others_find_no_way_there_see_nothing_and_change_nothing(
    north: TestClient, database: Database, now: datetime, role: str
) -> None:
    tab = tab_of(north, database, now, "somebody", role)
    assert not set(PAGES) & set(links(tab.get("/help/keys").text))
    for path in PAGES:
        assert tab.get(path).status_code == 403, path
    for path in STEPS:
        form = {"issuer": "https://evil.example", "client_id": "x", "key": "x", "id": "x", "role.clinic-admin": "on"}
        form |= {"confirm": "north", "poll": "1s"}
        assert tab.post(path, form).status_code == 403, path
    assert configured(database) == []
    with database.read() as tx:
        assert connections.get(tx, "north").poll_seconds == 30
    if tab.get("/sync").status_code == 200:
        assert not {"/connections", "/connections/north", "/quarantine", "/outbox"} & set(links(tab.get("/sync").text))


@pytest.mark.security("A1", "S40")
@pytest.mark.parametrize(
    ("role", "opens"),
    [("key-keeper", {"/setup", "/clients"}), ("greeter", {"/setup", "/staff", "/login-providers"})],
)
def test_a_role_of_the_practice_finds_what_its_acts_open_and_no_more(
    north: TestClient, database: Database, now: datetime, role: str, opens: set[str]
) -> None:
    with database.begin() as tx:
        roles.load(tx, LIMITED, name="limited", at=now, by="a test")
        known = roles.defined(tx)
        user = "Practitioner/some"
        account, _ = accounts.add(tx, "Some", (role,), known=known, now=now, connection="north", fhir_user=user)
    tab = Tab(north, *launched(database, account, now))
    assert {path for path in PAGES if tab.get(path).status_code == 200} == opens
    found = set(links(tab.get("/setup").text))
    assert found & {*PAGES, "/quarantine", "/outbox"} == opens
    for path in STEPS:
        allowed = any(path.startswith(one) for one in opens - {"/setup"})
        assert (tab.post(path).status_code != 403) == allowed, path


@pytest.mark.security("S22")
@pytest.mark.parametrize("path", STEPS)
def test_no_step_is_taken_for_another_site_or_without_the_token_of_the_form(
    admin: Tab, database: Database, path: str
) -> None:
    assert admin.post(path, {}, {"sec-fetch-site": "cross-site"}).status_code == 403
    assert admin.post(path, {}, {"origin": "https://evil.example"}).status_code == 403
    assert admin.post(path, {"csrf": "forged"}).status_code == 403
    assert configured(database) == []
