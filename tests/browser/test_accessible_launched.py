"""What people see who log in is as accessible as the queue: ways in, refusals, charts, setup, audit, and the idle warning.

https://www.w3.org/TR/WCAG22/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from fhir_tracker import accounts, clock, local_accounts, roles, staff_sessions
from tests.browser.at_the_ehr import ADA, KEY, Site, site
from tests.browser.test_accessible import TAGS
from tests.support.launched import launched

pytestmark = pytest.mark.peer

WIDTHS = (320, 400, 1280)
OUTSIDE = {
    "ways in": "/login",
    "local login": "/login/local",
    "invitation": "/login/enrol",
    "unknown EHR": "/launch?iss=https://elsewhere.example/fhir&launch=x",
    "old login": "/callback?state=unknown&code=x",
    "closed page": "/l/abcdefghijklmnopqrstuv/",
}
SETUP = ("/setup", "/connections", f"/connections/{KEY}", "/staff", "/login-providers", "/roles", "/clients")
INSIDE = {
    "clinic-admin": (*SETUP, "/quarantine", "/outbox", "/break-glass"),
    "auditor": ("/audit", f"/patients/{ADA}/access", "/setup"),
    "front-desk": ("/", f"/patients/{ADA}"),
    "rn": ("/", f"/patients/{ADA}", "/operations", "/patients/none"),
}
SMALL = """() => [...document.querySelectorAll('button, input:not([type=hidden]), select, summary, a')]
    .filter(one => one.offsetParent && !one.matches('.more-box, .skip, .sr'))
    .map(one => [one.outerHTML.slice(0, 80), one.getBoundingClientRect()])
    .filter(([, box]) => box.height < 24 || box.width < 24).map(([text]) => text)"""
OVER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A tracker with late work, where local accounts are on."""
    now = clock.now()
    with site(tmp_path_factory.mktemp("site"), now, values={"FHIR_TRACKER_LOCAL_LOGIN": "on"}) as found:
        found.late_call(ADA, now)
        yield found


@pytest.fixture
def page(place: Site, chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce", bypass_csp=True)
    yield context.new_page()
    context.close()


def come_in(place: Site, page: Page, role: str) -> str:
    """Let somebody with the role in, by a ticket to a session put into the store; where their pages are."""
    now, database = clock.now(), place.clinic.database
    with database.begin() as tx:
        user = f"Practitioner/{role}"
        known = roles.built_in()
        name = f"{role.capitalize()} Synthetic"
        account, _ = accounts.add(tx, name, (role,), known=known, now=now, connection=KEY, fhir_user=user)
    session, _, _ = launched(database, account, now)
    with database.begin() as tx:
        ticket = staff_sessions.ticket(tx, session, "/help/keys", now)
    page.goto(f"{place.tracker.address}/t/{ticket}")
    expect(page.get_by_role("heading", name="Keys")).to_be_visible()
    return f"{place.tracker.address}/l/{session.id}"


def wrong(page: Page, name: str) -> list[str]:
    """What axe finds, what runs over the side, and what is too small to hit, at each width."""
    found = []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        over = page.evaluate(OVER)
        found += [f"{name} {width}: {over} px too wide"] if over > 0 else []
        found += [f"{name} {width}: too small: {one}" for one in page.evaluate(SMALL)]
    for violation in Axe().run(page, options={"runOnly": {"type": "tag", "values": TAGS}}).response["violations"]:
        nodes = [node["html"][:160] + " " + str(node.get("failureSummary"))[:200] for node in violation["nodes"][:3]]
        found.append(f"{name} {violation['id']}: {nodes}")
    return found


def test_the_ways_in_and_what_is_refused_there(place: Site, page: Page) -> None:
    found = []
    for name, path in OUTSIDE.items():
        page.goto(place.tracker.address + path)
        found += wrong(page, name)
    page.goto(f"{place.tracker.address}/login/local")
    page.get_by_label("Name").fill("nobody")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    found += wrong(page, "refused login")
    with place.clinic.database.begin() as tx:
        _, code, _ = local_accounts.invite(tx, "ada", "Ada", ["rn"], known=roles.built_in(), now=clock.now())
    page.goto(f"{place.tracker.address}/login/enrol")
    page.get_by_label("Invitation code").fill(code)
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("heading", name="Choose a password")).to_be_visible()
    found += wrong(page, "enrolment")
    assert found == []


@pytest.mark.parametrize("role", INSIDE)
def test_the_pages_of_a_role(place: Site, page: Page, role: str) -> None:
    start, found = come_in(place, page, role), []
    for path in INSIDE[role]:
        page.goto(start + path)
        found += wrong(page, f"{role} {path}")
    assert found == []


@pytest.mark.requirement(97)
def test_an_admin_lets_a_system_in_by_keyboard_alone_and_is_led_to_what_is_wrong(place: Site, page: Page) -> None:
    page.goto(come_in(place, page, "clinic-admin") + "/")
    page.get_by_role("link", name="Setup").focus()
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Systems").focus()
    page.keyboard.press("Enter")
    page.get_by_label("Client id").focus()
    for text in ("reports", "Reports", "user/*.rs", '{"keys": []}', ""):
        page.keyboard.insert_text(text)
        page.keyboard.press("Tab")
    page.get_by_role("button", name="Let in", exact=True).focus()
    page.keyboard.press("Enter")
    scopes = page.get_by_label(re.compile("^Scopes"))
    expect(scopes).to_have_attribute("aria-invalid", "true")
    expect(scopes).to_be_focused()
    expect(page.get_by_label("Client id")).to_have_value("reports")
    described = scopes.get_attribute("aria-describedby") or ""
    expect(page.locator(f"#{described}")).to_contain_text("is for people")
    assert wrong(page, "refused system") == []


def test_who_is_about_to_be_logged_off_is_asked_in_a_dialog_that_can_be_answered_by_keyboard(
    tmp_path: Path, chromium: Browser
) -> None:
    with site(tmp_path / "s", clock.now(), values={"FHIR_TRACKER_SESSION_IDLE": "20s"}) as place:
        context = chromium.new_context(viewport={"width": 320, "height": 700}, bypass_csp=True)
        page = context.new_page()
        page.goto(come_in(place, page, "rn") + "/")
        dialog = page.get_by_role("alertdialog", name="Are you still there?")
        expect(dialog).to_be_visible()
        stay = page.get_by_role("button", name="Stay logged in")
        expect(stay).to_be_focused()
        assert wrong(page, "idle warning") == []
        page.keyboard.press("Enter")
        expect(dialog).to_be_hidden()
        expect(dialog).to_be_visible()
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.get_by_role("heading", name="You are logged off")).to_be_visible()
        assert wrong(page, "logged off") == []
        context.close()
