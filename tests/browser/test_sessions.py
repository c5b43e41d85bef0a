"""What the script of the pages does with a session: further tabs, the warning, the cover, and what the way back finds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from api.context import Access
from fhir_tracker import clock, local_accounts, staff_sessions
from fhir_tracker.roles import built_in
from tests.browser.conftest import Tracker, running
from tests.browser.test_accessible import TAGS
from tests.peers.chromium.browser import person_at
from tests.support.launched import launched, person

pytestmark = pytest.mark.peer
VALUES = {"FHIR_TRACKER_LOCAL_LOGIN": "on", "FHIR_TRACKER_SESSION_IDLE": "6h"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracker]:
    """A tracker that knows who comes in, with late work for two patients."""
    now = clock.now()
    with running(tmp_path_factory.mktemp("place"), now, Access.LOCKED, VALUES) as found:
        for name in ("rosa", "ivo"):
            found.clinic.patient(name, now - timedelta(days=6))
            found.clinic.discharge(name, now - timedelta(days=5))
        found.clinic.sweep(now)
        yield found


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A window of its own."""
    context = chromium.new_context(viewport={"width": 900, "height": 800})
    yield context.new_page()
    context.close()


def ticket(place: Tracker, *, framed_by: tuple[str, ...] = (), patient: str | None = None) -> str:
    """The address at which a new launch of the nurse begins."""
    now, database = clock.now(), place.clinic.database
    nurse = person(database, "nurse", "rn", "care-coordinator", now=now)
    session, _, _ = launched(database, nurse, now, framed_by=framed_by, patient=patient)
    with database.begin() as tx:
        return f"{place.address}/t/{staff_sessions.ticket(tx, session, '/open', now)}"


def shorten(page: Page, left: int) -> None:
    """As if the page had been made with so many seconds left."""

    def changed(route: Route) -> None:
        given = route.fetch()
        told = f'data-left="{left}" data-warn="120"'
        route.fulfill(response=given, body=re.sub(r'data-left="\d+" data-warn="\d+"', told, given.text()))

    page.route(re.compile("/help/keys$"), changed)
    page.goto(re.sub(r"(/l/[^/]+)/.*", r"\1/help/keys", page.url))


@pytest.mark.security("A6")
@pytest.mark.requirement(97)
@pytest.mark.parametrize("answer", ["button", "Escape"])
def test_who_is_warned_can_stay_by_one_press(place: Tracker, page: Page, answer: str) -> None:
    page.goto(ticket(place))
    expect(page.get_by_role("heading", level=1)).to_have_text("All teams")
    page.route("**/session", lambda route: route.fulfill(json={"left": 100}))
    shorten(page, 100)
    dialog = page.get_by_role("alertdialog", name="Are you still there?")
    expect(dialog).to_be_visible()
    expect(dialog).to_contain_text(re.compile("logged off in (2 minutes|[0-9]+ seconds)"))
    stay = page.get_by_role("button", name="Stay logged in")
    expect(stay).to_be_focused()
    assert Axe().run(page, options={"runOnly": TAGS}).violations_count == 0
    for _ in range(3):
        page.keyboard.press("Tab")
        assert page.evaluate(
            "!document.activeElement || document.activeElement === document.body || !!document.activeElement.closest('dialog')"
        )
    page.unroute("**/session")
    with page.expect_request("**/stay") as asked:
        stay.click() if answer == "button" else page.keyboard.press("Escape")
    assert asked.value.method == "POST"
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("heading", level=1)).to_have_text("Keys")


@pytest.mark.security("A6", "L3")
def test_when_time_is_over_the_page_holds_nothing_any_more(place: Tracker, page: Page) -> None:
    page.goto(ticket(place, patient="rosa"))
    expect(page.get_by_role("heading", level=1)).to_have_text("rosa Synthetic")
    page.route("**/session", lambda route: route.fulfill(json={"left": 0}))
    shorten(page, 0)
    expect(page.get_by_role("heading", level=1)).to_have_text("You are logged off")
    assert "rosa" not in page.content()
    assert "data-csrf" not in page.content()
    assert page.title() == "Logged off · fhir-tracker"
    assert Axe().run(page, options={"runOnly": TAGS}).violations_count == 0


@pytest.mark.security("A6", "L3")
def test_a_page_that_the_browser_keeps_for_the_way_back_is_emptied_first(place: Tracker, page: Page) -> None:
    page.goto(ticket(place, patient="rosa"))
    expect(page.get_by_role("heading", level=1)).to_have_text("rosa Synthetic")
    page.wait_for_load_state("load")
    kept = "() => { dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true})); return document.body.innerHTML; }"
    assert page.evaluate(kept) == ""
    with page.expect_navigation():
        page.evaluate("() => dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    expect(page.get_by_role("heading", level=1)).to_have_text("rosa Synthetic")


class Frame(BaseHTTPRequestHandler):
    """A page of another site with ours in its frame; the address of ours is in the query."""

    def do_GET(self) -> None:
        """Answer."""
        body = (
            f'<!doctype html><iframe name="ours" width="800" height="700" src="{self.path.partition("?")[2]}"></iframe>'
        )
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named so by its base
        """Say nothing."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The origin of the other site."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Frame)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(params=["third-party", "all"])
def staff(request: pytest.FixtureRequest, chromium: Browser, tmp_path: Path) -> Iterator[BrowserContext]:
    """A browser that blocks the cookies of other sites, or every cookie."""
    with person_at(chromium, tmp_path / "p", request.param) as context:
        yield context


@pytest.mark.security("S18", "S20", "S21", "S22")
@pytest.mark.requirement(97, 100)
def test_a_frame_is_worked_in_and_opens_a_further_tab_with_and_without_cookies(
    place: Tracker, site: str, staff: BrowserContext
) -> None:
    asked: list[str] = []
    staff.on("request", lambda request: asked.append(request.url))
    page = staff.new_page()
    page.goto(f"{site}/?{ticket(place, framed_by=(site,))}")
    ours = page.frame("ours")
    assert ours is not None
    expect(ours.get_by_role("heading", level=1)).to_have_text("All teams")
    ours.get_by_role("searchbox").fill("rosa")
    ours.get_by_role("button", name="Apply").click()
    expect(ours.locator(".row")).to_have_count(2)
    ours.get_by_role("link", name="First call", exact=True).click()
    expect(ours.get_by_role("heading", level=1)).to_have_text("First call")
    ours.get_by_role("link", name="Note", exact=True).click()
    ours.get_by_label("Note").fill("Rang the ward")
    ours.get_by_role("button", name="Add note").click()
    expect(ours.get_by_role("status").first).to_contain_text("Note added.")
    with staff.expect_page() as opened:
        ours.get_by_role("button", name="Open in a tab").click()
    tab = opened.value
    expect(tab.get_by_role("heading", level=1)).to_have_text("First call")
    assert tab.evaluate("window.opener") is None
    assert "rosa" not in "".join(asked)
    assert not [one for one in asked if "handle" in one]
    ours.get_by_role("button", name="Log off").first.click()
    expect(ours.get_by_role("heading", level=1)).to_have_text("You are logged off")
    tab.get_by_role("link", name="← Queue").click()
    expect(tab.get_by_role("heading", level=1)).to_have_text("You are logged off")


@pytest.mark.parametrize("width", [1000, 320])
def test_the_pages_before_a_login_are_for_everybody(place: Tracker, chromium: Browser, width: int) -> None:
    now = clock.now()
    with place.clinic.database.begin() as tx:
        _, code, _ = local_accounts.invite(tx, f"ada{width}", "Ada Example", ["rn"], known=built_in(), now=now)
    context = chromium.new_context(viewport={"width": width, "height": 800})
    page = context.new_page()
    for path, button in (("/", ""), ("/login/local", "Log in"), ("/login/enrol", "")):
        page.goto(f"{place.address}{path}")
        if button:
            page.get_by_role("button", name=button).click()
            expect(page.get_by_role("alert")).to_be_visible()
        assert not Axe().run(page, options={"runOnly": TAGS}).violations_count, path
    page.get_by_label("Invitation code").fill(code)
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Choose a password")
    assert not Axe().run(page, options={"runOnly": TAGS}).violations_count
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()


def test_a_launch_that_was_opened_twice_ends_in_both_tabs(place: Tracker, chromium: Browser, now: datetime) -> None:
    context = chromium.new_context()
    first, second = context.new_page(), context.new_page()
    first.goto(ticket(place))
    expect(first.get_by_role("heading", level=1)).to_have_text("All teams")
    second.goto(first.url)
    expect(second.get_by_role("heading", level=1)).to_have_text("All teams")
    second.get_by_role("button", name="Log off").first.click()
    expect(second.get_by_role("heading", level=1)).to_have_text("You are logged off")
    first.reload()
    expect(first.get_by_role("heading", level=1)).to_have_text(re.compile("You are logged off|This page is closed"))
    context.close()
