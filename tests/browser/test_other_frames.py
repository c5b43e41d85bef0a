"""Ways to show the tracker that are not one frame in one tab: two at once, nested, sandboxed, in a window of its own, without cookies."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Frame, Page, expect

from api.demo.simulator.ledger import Context
from fhir_tracker import clock
from fhir_tracker.storage import launches
from tests.browser.at_the_ehr import Site, site
from tests.peers.chromium.browser import person_at

pytestmark = pytest.mark.peer
SESSION = re.compile(r"/l/([A-Za-z0-9_-]{21,})/")
CLOSED = re.compile("You are logged off|This page is closed")


@contextmanager
def wall() -> Iterator[dict[str, str]]:
    """A server of pages that tests put up, by their path; under `""` is its port. It goes by localhost and by 127.0.0.1."""
    pages: dict[str, str] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = f"<!doctype html><title>EHR</title>{pages.get(self.path, '')}".encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    pages[""] = str(listener.server_address[1])
    thread = threading.Thread(target=listener.serve_forever, daemon=True)
    thread.start()
    try:
        yield pages
    finally:
        listener.shutdown()
        thread.join(30)
        listener.server_close()


@pytest.fixture(scope="module")
def pages() -> Iterator[dict[str, str]]:
    with wall() as found:
        yield found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, pages: dict[str, str]) -> Iterator[Site]:
    """The wall is the EHR that may frame us; who somebody is, the simulated one says."""
    now = clock.now()
    with site(tmp_path_factory.mktemp("site"), now, framed_by=f"http://localhost:{pages['']}") as found:
        found.late_calls(now)
        yield found


@dataclass
class Kiosk:
    """One window of an EHR whose pages are made by the test, with frames in them."""

    place: Site
    pages: dict[str, str]
    page: Page

    @property
    def origin(self) -> str:
        """That of the EHR, which may frame us."""
        return f"http://localhost:{self.pages['']}"

    def launch(self, patient: str) -> str:
        """Where a frame of that chart begins."""
        simulator = self.place.ehr.simulator
        return simulator.launch_address("care-tracker", simulator.launch("nurse", Context(patient=patient)))

    def show(self, html: str) -> None:
        """Have the EHR's own window show this."""
        self.pages["/kiosk"] = html
        self.page.goto(f"{self.origin}/kiosk")

    def frame(self, name: str) -> Frame:
        """A frame by its name, once a page of a session is in it."""
        expect(self.page.frame_locator(f"iframe[name={name}]").get_by_role("heading", level=1)).to_contain_text(
            "Synthetic"
        )
        return self.page.frame(name=name) or next(one for one in self.page.frames if SESSION.search(one.url))


@pytest.fixture
def kiosk(place: Site, pages: dict[str, str], browser_of_staff: BrowserContext) -> Iterator[Kiosk]:
    browser_of_staff.clear_cookies()
    place.ehr.simulator.ledger.forget()
    yield Kiosk(place, pages, browser_of_staff.new_page())
    for page in browser_of_staff.pages:
        page.close()


def framed(name: str, address: str, more: str = "") -> str:
    return f'<iframe name="{name}" src="{escape(address)}" width="620" height="800" {more}></iframe>'


def session_of(url: str) -> str:
    found = SESSION.search(url)
    assert found is not None, url
    return found[1]


@pytest.mark.security("S19", "A4")
@pytest.mark.requirement(94, 97)
def test_two_charts_in_two_frames_of_one_page_never_mix(kiosk: Kiosk) -> None:
    """Both log in at the same time, in one browser, with the cookies of one site."""
    kiosk.show(framed("left", kiosk.launch("ada")) + framed("right", kiosk.launch("ben")))
    sides = {"Ada": kiosk.page.frame_locator("[name=left]"), "Ben": kiosk.page.frame_locator("[name=right]")}
    for _ in range(2):
        for name, side in sides.items():
            expect(side.get_by_role("heading", level=1)).to_contain_text(f"{name} Synthetic")
        for side in sides.values():
            side.get_by_role("link", name="First call", exact=True).first.click()
            expect(side.get_by_role("heading", level=1)).to_contain_text("First call")
        for name, side in sides.items():
            other = "Ben" if name == "Ada" else "Ada"
            expect(side.locator("body")).to_contain_text(f"{name} Synthetic")
            expect(side.locator("body")).not_to_contain_text(f"{other} Synthetic")
            side.get_by_role("link", name="Patient", exact=True).first.click()
    for name, side in sides.items():
        expect(side.get_by_role("heading", level=1)).to_contain_text(f"{name} Synthetic")
    left, right = (kiosk.page.frame(name=one) for one in ("left", "right"))
    assert left is not None
    assert right is not None
    assert session_of(left.url) != session_of(right.url)
    sides["Ada"].get_by_role("button", name="Log off", exact=True).click()
    expect(sides["Ada"].get_by_role("heading", name="You are logged off")).to_be_visible()
    right.goto(right.url)
    expect(sides["Ben"].get_by_role("heading", level=1)).to_contain_text("Ben Synthetic")


@pytest.mark.security("S19", "A6")
def test_a_second_launch_in_the_same_frame_leaves_the_first_chart_as_it_was(kiosk: Kiosk) -> None:
    kiosk.show(framed("chart", kiosk.launch("ada")))
    first = kiosk.frame("chart").url
    chart = kiosk.page.frame_locator("[name=chart]")
    again = kiosk.page.frame(name="chart")
    assert again is not None
    again.goto(kiosk.launch("ben"))
    expect(chart.get_by_role("heading", level=1)).to_contain_text("Ben Synthetic")
    assert session_of(again.url) != session_of(first)
    assert again.evaluate("window.name") == "chart"
    kiosk.page.evaluate("history.back()")
    expect(chart.get_by_role("heading", level=1)).to_contain_text("Ada Synthetic")
    expect(chart.locator("body")).not_to_contain_text("Ben Synthetic")
    kiosk.page.evaluate("history.forward()")
    expect(chart.get_by_role("heading", level=1)).to_contain_text("Ben Synthetic")
    chart.get_by_role("button", name="Log off", exact=True).click()
    expect(chart.get_by_role("heading", name="You are logged off")).to_be_visible()
    kiosk.page.evaluate("history.back()")
    expect(chart.locator("body")).not_to_contain_text("Ben Synthetic")
    kiosk.page.evaluate("history.forward()")
    expect(chart.locator("body")).not_to_contain_text("Ben Synthetic")


@pytest.mark.security("A6")
@pytest.mark.requirement(96)
def test_when_the_ehr_renews_no_more_the_frame_says_so_and_opens_anew(kiosk: Kiosk, place: Site) -> None:
    kiosk.show(framed("chart", kiosk.launch("ada")))
    frame = kiosk.frame("chart")
    chart = kiosk.page.frame_locator("[name=chart]")
    with place.clinic.database.begin() as tx:
        session = launches.find(tx, session_of(frame.url))
        assert session is not None
        launches.end(tx, session.id, clock.now(), "relaunch")
    chart.get_by_role("link", name="First call", exact=True).first.click()
    expect(chart.get_by_role("heading", name="You are logged off")).to_be_visible()
    expect(chart.locator("body")).to_contain_text("open the tracker again from the chart")
    expect(chart.locator("body")).not_to_contain_text("Synthetic")
    frame.goto(kiosk.launch("ada"))
    expect(chart.get_by_role("heading", level=1)).to_contain_text("Ada Synthetic")


@pytest.mark.security("S23")
@pytest.mark.requirement(100)
@pytest.mark.parametrize("middle", ["the EHR's own", "another site's"])
def test_a_frame_in_a_frame_shows_us_only_where_all_around_it_may(kiosk: Kiosk, middle: str) -> None:
    own = middle == "the EHR's own"
    address = f"{kiosk.origin}/inner" if own else f"http://127.0.0.1:{kiosk.pages['']}/inner"
    kiosk.pages["/inner"] = framed("chart", kiosk.launch("ada"))
    said: list[str] = []
    kiosk.page.on("console", lambda one: said.append(one.text))
    kiosk.show(framed("inner", address))
    chart = kiosk.page.frame_locator("[name=inner]").frame_locator("[name=chart]")
    if own:
        expect(chart.get_by_role("heading", level=1)).to_contain_text("Ada Synthetic")
        chart.get_by_role("link", name="First call", exact=True).first.click()
        expect(chart.get_by_role("heading", level=1)).to_contain_text("First call")
        return
    for _ in range(100):
        if any("frame-ancestors" in one for one in said):
            break
        kiosk.page.wait_for_timeout(100)
    assert any("frame-ancestors" in one for one in said), said
    assert not any("Synthetic" in one.content() for one in kiosk.page.frames if kiosk.place.tracker.address in one.url)


@pytest.mark.security("S18", "S20")
@pytest.mark.requirement(90)
def test_a_launch_into_a_window_of_its_own_comes_in_there(kiosk: Kiosk) -> None:
    kiosk.show('<button onclick="window.open(this.dataset.to)">Tracker</button>')
    kiosk.page.locator("button").evaluate("(one, to) => { one.dataset.to = to; }", kiosk.launch("ada"))
    with kiosk.page.context.expect_page() as opened:
        kiosk.page.get_by_role("button").click()
    popup = opened.value
    expect(popup.get_by_role("heading", level=1)).to_contain_text("Ada Synthetic")
    popup.get_by_role("link", name="First call", exact=True).first.click()
    popup.get_by_role("link", name="Log attempt").click()
    popup.get_by_label("Outcome").select_option("no-answer")
    popup.get_by_role("button", name="Log attempt").click()
    expect(popup.get_by_text("Phone: No answer")).to_be_visible()
    assert not re.search(r"code=|state=|launch=|iss=|token", popup.url)


@pytest.mark.security("S22", "S23")
@pytest.mark.requirement(97, 100)
def test_a_sandbox_without_an_origin_says_what_is_wrong_and_shows_nobody(kiosk: Kiosk) -> None:
    """`sandbox` without `allow-same-origin`: the frame is of no origin, so no form of its could be told from a forged one."""
    kiosk.show(framed("chart", kiosk.launch("ada"), 'sandbox="allow-scripts allow-forms"'))
    body = kiosk.page.frame_locator("[name=chart]").locator("body")
    expect(body).to_contain_text("allow-same-origin")
    expect(body).not_to_contain_text("Synthetic")


@pytest.mark.security("S20")
@pytest.mark.requirement(97)
def test_a_sandbox_that_keeps_the_origin_is_worked_in(kiosk: Kiosk) -> None:
    kiosk.show(framed("chart", kiosk.launch("ada"), 'sandbox="allow-scripts allow-forms allow-same-origin"'))
    chart = kiosk.page.frame_locator("[name=chart]")
    chart.get_by_role("link", name="First call", exact=True).first.click()
    chart.get_by_role("link", name="Log attempt").click()
    chart.get_by_label("Outcome").select_option("no-answer")
    chart.get_by_role("button", name="Log attempt").click()
    expect(chart.get_by_text("Phone: No answer").first).to_be_visible()


@pytest.mark.security("S21", "A6")
@pytest.mark.requirement(97)
def test_with_all_cookies_blocked_a_reload_closes_and_another_launch_opens(
    chromium: Browser, place: Site, pages: dict[str, str], tmp_path: Path
) -> None:
    with person_at(chromium, tmp_path / "profile", "all", but="localhost") as context:
        kiosk = Kiosk(place, pages, context.new_page())
        kiosk.show(framed("left", kiosk.launch("ada")) + framed("right", kiosk.launch("ben")))
        left, right = (kiosk.page.frame_locator(f"[name={one}]") for one in ("left", "right"))
        expect(left.get_by_role("heading", level=1)).to_contain_text("Ada Synthetic")
        expect(right.get_by_role("heading", level=1)).to_contain_text("Ben Synthetic")
        left.get_by_role("link", name="First call", exact=True).first.click()
        expect(left.get_by_role("heading", level=1)).to_contain_text("First call")
        frame = kiosk.page.frame(name="left")
        assert frame is not None
        frame.evaluate("history.back()")
        expect(left.get_by_role("heading", level=1)).to_contain_text("Ada Synthetic")
        frame.evaluate("location.reload()")
        expect(left.get_by_role("heading", level=1)).to_have_text(CLOSED)
        expect(left.locator("body")).not_to_contain_text("Synthetic")
        frame.goto(kiosk.launch("ada"))
        expect(left.get_by_role("heading", level=1)).to_contain_text("Ada Synthetic")
        right.get_by_role("link", name="First call", exact=True).first.click()
        expect(right.locator("body")).to_contain_text("Ben Synthetic")
        right.get_by_role("button", name="Log off", exact=True).click()
        expect(right.get_by_role("heading", name="You are logged off")).to_be_visible()
