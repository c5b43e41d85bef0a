"""Staff works in the EHR's frame, on another site than ours, in a browser that blocks the cookies of other sites."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Frame, Page, expect

from api.demo.simulator.faults import NO_FAULTS, Faults, IdTokenFaults
from fhir_tracker import clock
from fhir_tracker.storage import launches
from tests.browser.at_the_ehr import ADA, BEN, Desk, Site, site
from tests.peers.chromium.browser import person_at
from tests.support.simulated_ehr import CLERK, PEOPLE

pytestmark = pytest.mark.peer
KEPT = """() => {
    try { return [localStorage.length, sessionStorage.length, document.cookie]; }
    catch { return [0, 0, document.cookie]; }
}"""
"""What a page keeps where scripts can read it; browsers that block other sites' cookies deny them all of it."""
CLOSED = re.compile("You are logged off|This page is closed")
SESSION = re.compile(r"^http://127\.0\.0\.1:\d+/l/([A-Za-z0-9_-]{21,})/")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The EHR and the tracker, with late work for both patients."""
    now = clock.now()
    with site(tmp_path_factory.mktemp("site"), now) as found:
        found.late_calls(now)
        yield found


@pytest.fixture
def desk(place: Site, browser_of_staff: BrowserContext) -> Iterator[Desk]:
    """Nora Nurse, logged in at the EHR in a window of her own."""
    browser_of_staff.clear_cookies()
    place.ehr.simulator.ledger.forget()
    found = Desk(place, browser_of_staff)
    found.sit_down()
    yield found
    for page in browser_of_staff.pages:
        page.close()


def in_frame(desk: Desk, heading: str) -> Frame:
    """The tracker's frame of the tab that is shown, once its page has this heading."""
    expect(desk.frame.get_by_role("heading", level=1)).to_contain_text(heading)
    element = desk.page.locator("#panels section:not([hidden]) iframe").element_handle()
    frame = element.content_frame()
    assert frame is not None
    return frame


def session_of(frame: Frame) -> str:
    found = SESSION.match(frame.url)
    assert found is not None, frame.url
    return found[1]


@pytest.mark.security("S18", "S20", "S23")
@pytest.mark.requirement(90, 91, 93, 97)
def test_a_chart_opens_locked_to_its_patient_and_is_worked_on(desk: Desk, place: Site) -> None:
    desk.open("Ada Synthetic")
    desk.launch()
    frame = in_frame(desk, "Ada Synthetic")
    assert place.ehr.simulator.violations == ()
    assert not re.search(r"code=|state=|launch=|iss=|token", frame.url)
    assert frame.evaluate(KEPT) == [0, 0, ""]

    inside = desk.frame
    inside.get_by_role("link", name="First call", exact=True).first.click()
    inside.get_by_role("link", name="Log attempt").click()
    inside.get_by_label("Outcome").select_option("no-answer")
    inside.get_by_label("Note").fill("Rang twice")
    inside.get_by_role("button", name="Log attempt").click()
    expect(inside.get_by_text("Phone: No answer")).to_be_visible()
    inside.get_by_text("Move to…").click()
    inside.get_by_role("link", name=re.compile("^Reached")).click()
    inside.get_by_label("Note").fill("Spoke with the daughter")
    inside.get_by_role("button", name="Move to Reached").click()
    expect(inside.get_by_text("Closed: Reached.")).to_be_visible()
    item = place.clinic.task(ADA, "first-call")
    assert item.status == "reached"
    assert place.clinic.log(item.ref)[-1].who == "Practitioner/ehr-nurse"

    lock = f"{place.tracker.address}/l/{session_of(frame)}"
    for path in (f"/patients/{BEN}", f"/tasks/{place.clinic.task(BEN, 'first-call').ref.partition('/')[2]}"):
        frame.goto(lock + path)
        expect(inside.get_by_role("heading", name="Not found")).to_be_visible()
        expect(inside.locator("body")).not_to_contain_text("Ben")
    for path, told in {"/operations": "found", "/programs": "found", "/sync": "found", "/setup": "allowed"}.items():
        frame.goto(lock + path)
        expect(inside.get_by_role("heading", name=f"Not {told}")).to_be_visible()


@pytest.mark.requirement(94)
def test_work_queues_open_without_a_patient(desk: Desk, place: Site) -> None:
    desk.launch()
    expect(desk.frame.get_by_role("link", name="Unassigned")).to_be_visible()
    desk.frame.get_by_role("link", name="Queue").click()
    expect(desk.frame.locator("main")).to_contain_text("Ben Synthetic")
    assert place.ehr.simulator.violations == ()


@pytest.mark.security("S19")
def test_two_charts_in_two_tabs_never_mix(desk: Desk, place: Site) -> None:
    desk.open("Ada Synthetic")
    desk.launch()
    ada = in_frame(desk, "Ada Synthetic")
    desk.open("Ben Synthetic")
    desk.launch()
    ben = in_frame(desk, "Ben Synthetic")
    assert session_of(ada) != session_of(ben)

    desk.open("Ada Synthetic")
    for _ in range(2):
        ada.goto(ada.url)
        in_frame(desk, "Ada Synthetic")
        expect(desk.frame.locator("body")).not_to_contain_text("Ben")
    desk.frame.locator("#exceptions").get_by_text("Flag an exception…").click()
    ada.goto(ben.url)
    expect(desk.frame.get_by_role("heading", level=1)).to_contain_text("Ben Synthetic")
    ada.goto(f"{place.tracker.address}/l/{session_of(ben)}/patients/{ADA}")
    expect(desk.frame.get_by_role("heading", name="Not found")).to_be_visible()


@pytest.mark.security("S19", "A4")
def test_a_form_of_the_old_chart_writes_nothing_once_the_ehr_has_switched_patients(desk: Desk, place: Site) -> None:
    call = place.clinic.task(BEN, "first-call").ref
    desk.open("Ben Synthetic")
    desk.launch()
    old = in_frame(desk, "Ben Synthetic")
    token = old.locator("input[name=csrf]").first.get_attribute("value")
    ben = session_of(old)
    desk.page.get_by_label("replace the chart that is open").check()
    desk.open("Ada Synthetic")
    desk.launch()
    new = in_frame(desk, "Ada Synthetic")
    assert session_of(new) != ben
    claim = f"/l/{session_of(new)}/tasks/{call.partition('/')[2]}/claim"
    sent = """async ([path, csrf]) => (await fetch(path, {method: "POST", body: new URLSearchParams({csrf})})).status"""
    assert new.evaluate(sent, [claim, token]) == 403
    own = new.locator("input[name=csrf]").first.get_attribute("value")
    assert new.evaluate(sent, [claim, own]) == 404
    assert place.clinic.item(call).owner is None


@pytest.mark.security("S22")
@pytest.mark.requirement(100)
def test_the_page_around_the_frame_cannot_press_our_buttons_even_with_a_form_of_ours(desk: Desk, place: Site) -> None:
    call = place.clinic.task(BEN, "first-call").ref
    desk.open("Ben Synthetic")
    desk.launch()
    frame = in_frame(desk, "Ben Synthetic")
    stolen = frame.locator("input[name=csrf]").first.get_attribute("value")
    action = f"{place.tracker.address}/l/{session_of(frame)}/tasks/{call.partition('/')[2]}/claim"
    desk.page.evaluate(
        """([action, csrf]) => {
            const target = document.createElement("iframe");
            target.name = "forged";
            document.body.append(target);
            const form = document.createElement("form");
            Object.assign(form, {method: "post", action, target: "forged"});
            const field = document.createElement("input");
            Object.assign(field, {name: "csrf", value: csrf});
            form.append(field);
            document.body.append(form);
            form.submit();
        }""",
        [action, stolen],
    )
    expect(desk.page.frame_locator("iframe[name=forged]").locator("body")).to_contain_text("sent from another site")
    assert place.clinic.item(call).owner is None


@pytest.mark.requirement(94)
def test_an_item_that_the_launch_names_is_opened(desk: Desk, place: Site) -> None:
    call = place.clinic.task(BEN, "first-call").ref
    place.ehr.simulator.ledger.forget()
    desk.open("Ben Synthetic")
    desk.launch(item=f"{place.tracker.address}/fhir/{call}")
    expect(desk.frame.get_by_role("heading", level=1)).to_contain_text("First call")
    expect(desk.frame.locator("body")).to_contain_text("Ben Synthetic")


@pytest.mark.requirement(94)
def test_an_intent_opens_its_view_where_there_is_no_patient(desk: Desk) -> None:
    desk.launch(intent="operations")
    expect(desk.frame.get_by_role("heading", level=1)).to_contain_text("Operations")
    desk.launch(intent="work-queue")
    expect(desk.frame.get_by_role("link", name="Unassigned")).to_be_visible()


@pytest.mark.security("A2")
@pytest.mark.requirement(95)
def test_somebody_without_an_account_reads_what_to_do(desk: Desk, place: Site) -> None:
    desk.page.get_by_role("button", name="Change person").click()
    desk.sit_down(CLERK.name)
    desk.open("Ada Synthetic")
    desk.launch()
    body = desk.frame.locator("body")
    expect(body).to_contain_text("Practitioner/clerk")
    expect(body).not_to_contain_text("First call")
    assert desk.frame.get_by_role("link", name="Queue").count() == 0


@pytest.mark.security("S21", "S23")
@pytest.mark.requirement(100)
def test_a_login_that_failed_leaves_the_frame_its_name_and_can_be_read_after_a_reload(desk: Desk, place: Site) -> None:
    """An EHR finds its frame by the name again, and who was let in meanwhile and reloads is told to open it again."""
    place.ehr.simulator.faults = Faults(id_token=IdTokenFaults(claims={"fhirUser": "Practitioner/gone"}))
    try:
        desk.open("Ada Synthetic")
        panel = desk.page.locator("#panels section:not([hidden]) iframe")
        desk.launch()
        frame = in_frame(desk, "You have no account here yet")
        assert "/callback?" in frame.url
        assert frame.evaluate("window.name") == (panel.get_attribute("name") or "")
        frame.evaluate("location.reload()")
        frame = in_frame(desk, "This login is over")
        expect(desk.frame.locator("main")).to_contain_text("Open the tracker again")
    finally:
        place.ehr.simulator.faults = NO_FAULTS


@pytest.mark.security("A6")
def test_after_logging_off_the_way_back_shows_nothing(desk: Desk, place: Site) -> None:
    desk.open("Ben Synthetic")
    desk.launch()
    frame = in_frame(desk, "Ben Synthetic")
    session, address = session_of(frame), frame.url
    desk.frame.get_by_role("link", name="First call", exact=True).first.click()
    expect(desk.frame.get_by_role("heading", level=1)).to_contain_text("First call")
    desk.frame.get_by_role("button", name="Log off", exact=True).click()
    expect(desk.frame.get_by_role("heading", name="You are logged off")).to_be_visible()
    for step in ("back", "back", "again"):
        if step == "back":
            with desk.page.expect_event("framenavigated"):
                desk.page.evaluate("history.back()")
        else:
            frame.goto(address)
        expect(desk.frame.get_by_role("heading", level=1)).to_have_text(CLOSED)
        expect(desk.frame.locator("body")).not_to_contain_text("First call")
        expect(desk.frame.locator("body")).not_to_contain_text("Synthetic")
    with place.clinic.database.read() as tx:
        ended = launches.find(tx, session)
    assert ended is not None
    assert ended.ended_at is not None
    assert ended.tokens_end is None


@pytest.mark.security("S14")
def test_a_way_back_that_was_taken_from_another_browser_opens_nothing(
    desk: Desk, place: Site, page: Page, chromium: Browser
) -> None:
    asked: list[str] = []
    desk.page.context.on("request", lambda one: asked.append(one.url) if "/callback?" in one.url else None)
    desk.page.route("**/callback?*", lambda route: route.abort())
    desk.open("Ada Synthetic")
    desk.launch()
    deadline = time.monotonic() + 60
    while not asked and time.monotonic() < deadline:
        desk.page.wait_for_timeout(100)
    desk.page.unroute_all(behavior="ignoreErrors")
    answer = page.goto(asked[0])
    assert answer is not None
    assert answer.status in {400, 401, 403}
    expect(page.locator("body")).not_to_contain_text("Ada Synthetic")


@pytest.mark.requirement(99)
def test_standalone_asks_the_ehr_who_and_which_chart(place: Site, page: Page) -> None:
    simulator = place.ehr.simulator
    simulator.ledger.forget()
    page.goto(f"{place.tracker.address}/login")
    page.get_by_role("link", name=re.compile("Log in with")).click()
    page.get_by_role("button", name=re.compile("Nora Nurse")).click()
    if page.get_by_role("heading", name="Which patient?").count():
        page.get_by_role("button", name=re.compile("Ada Synthetic")).click()
    page.get_by_role("button", name="Allow", exact=True).click()
    expect(page).to_have_url(SESSION)
    expect(page.get_by_role("button", name="Log off", exact=True)).to_be_visible()
    assert simulator.violations == ()


@pytest.mark.security("S24", "S25")
def test_a_script_in_what_the_ehr_sent_stays_inert_in_the_frame(desk: Desk, place: Site) -> None:
    attack = "<img src=x onerror=\"window.top.name='owned'\"><script>window.top.name='owned'</script>"
    before = next(one for one in PEOPLE if one["id"] == "ben")
    narrative = {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{attack}</div>'}
    place.ehr.records.put({**before, "name": [{"text": f"Ben Synthetic {attack}"}], "text": narrative})
    try:
        place.pull()
        desk.open("Ben Synthetic")
        desk.launch()
        expect(desk.frame.locator("main")).to_contain_text("onerror=")
        expect(desk.frame.locator("main img, main script")).to_have_count(0)
        desk.page.wait_for_timeout(200)
        assert desk.page.evaluate("window.name") == ""
    finally:
        place.ehr.records.put(before)
        place.pull()


@pytest.mark.security("S20")
@pytest.mark.parametrize("width", [1400, 700])
def test_the_framed_page_is_looked_at(desk: Desk, place: Site, width: int) -> None:
    desk.page.set_viewport_size({"width": width, "height": 900})
    desk.open("Ben Synthetic")
    desk.launch()
    frame = in_frame(desk, "Ben Synthetic")
    too_wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth + 1"
    assert not frame.evaluate(too_wide)
    desk.page.set_viewport_size({"width": 1400, "height": 900})


@pytest.mark.security("A6")
def test_doing_nothing_warns_and_then_logs_off_though_the_page_asks_by_itself(
    chromium: Browser, tmp_path: Path, now: datetime
) -> None:
    with (
        site(tmp_path / "site", now, values={"FHIR_TRACKER_SESSION_IDLE": "14s"}) as place,
        person_at(chromium, tmp_path / "profile", "third-party") as context,
    ):
        place.late_call(ADA, now)
        desk = Desk(place, context)
        desk.sit_down()
        desk.launch()
        dialog = desk.frame.get_by_role("alertdialog")
        expect(dialog).to_contain_text("Are you still there?")
        desk.frame.get_by_role("button", name="Stay logged in").click()
        expect(dialog).to_be_hidden()
        expect(dialog).to_be_visible()
        expect(desk.frame.get_by_role("heading", name="You are logged off")).to_be_visible()
        expect(desk.frame.locator("body")).not_to_contain_text("Synthetic")


@pytest.mark.security("S21")
@pytest.mark.requirement(97)
def test_with_all_our_cookies_blocked_the_page_goes_on_by_its_handle(
    chromium: Browser, tmp_path: Path, now: datetime
) -> None:
    with (
        site(tmp_path / "site", now) as place,
        person_at(chromium, tmp_path / "profile", "all", but="localhost") as context,
    ):
        call = place.late_call(ADA, now)
        desk = Desk(place, context)
        desk.sit_down()
        desk.open("Ada Synthetic")
        desk.launch()
        frame = in_frame(desk, "Ada Synthetic")
        assert frame.evaluate(KEPT) == [0, 0, ""]
        desk.frame.get_by_role("link", name="First call", exact=True).first.click()
        desk.frame.get_by_role("link", name="Log attempt").click()
        desk.frame.get_by_label("Outcome").select_option("no-answer")
        desk.frame.get_by_role("button", name="Log attempt").click()
        expect(desk.frame.get_by_text("Phone: No answer")).to_be_visible()
        assert len(place.clinic.stored("Communication")) == 1
        assert call
        desk.frame.get_by_role("button", name="Log off", exact=True).click()
        expect(desk.frame.get_by_role("heading", name="You are logged off")).to_be_visible()


@pytest.mark.security("S23")
@pytest.mark.requirement(100)
def test_a_frame_of_an_origin_that_is_not_named_stays_empty(chromium: Browser, tmp_path: Path, now: datetime) -> None:
    with (
        site(tmp_path / "site", now, framed_by="https://ehr.example.org") as place,
        person_at(chromium, tmp_path / "profile", "third-party") as context,
    ):
        place.late_call(ADA, now)
        desk = Desk(place, context)
        desk.sit_down()
        refused: list[str] = []
        desk.page.on("console", lambda one: refused.append(one.text) if "frame-ancestors" in one.text else None)
        desk.open("Ada Synthetic")
        desk.launch()
        deadline = time.monotonic() + 60
        while not refused and time.monotonic() < deadline:
            desk.page.wait_for_timeout(100)
        assert "https://ehr.example.org" in refused[0] or "none" in refused[0]
        assert all("Ada" not in (one.content() if one.url.startswith("http") else "") for one in desk.page.frames[1:])


@pytest.mark.security("S18", "S20")
def test_a_page_opens_in_tabs_of_its_own_by_a_ticket_that_counts_once(desk: Desk, place: Site) -> None:
    desk.open("Ben Synthetic")
    desk.launch()
    frame = in_frame(desk, "Ben Synthetic")
    tickets: list[str] = []
    desk.page.context.on("request", lambda one: tickets.append(one.url) if "/t/" in one.url else None)
    for _ in range(2):
        with desk.page.context.expect_page() as opened:
            desk.frame.get_by_role("button", name="Open in a tab").click()
        tab = opened.value
        expect(tab.get_by_role("heading", level=1)).to_contain_text("Ben Synthetic")
        assert session_of(tab.main_frame) == session_of(frame)
        tab.close()
    again = desk.page.context.new_page()
    answer = again.goto(tickets[0])
    assert answer is not None
    assert answer.status == 401
    expect(again.locator("body")).not_to_contain_text("Ben")


@pytest.mark.security("A6")
def test_a_session_is_over_for_the_server_when_its_time_is(place: Site, desk: Desk) -> None:
    desk.open("Ben Synthetic")
    desk.launch()
    frame = in_frame(desk, "Ben Synthetic")
    with place.clinic.database.begin() as tx:
        session = launches.find(tx, session_of(frame))
        assert session is not None
        launches.end(tx, session.id, clock.now() - timedelta(seconds=1), "disabled")
    frame.goto(frame.url)
    expect(desk.frame.get_by_role("heading", name="You are logged off")).to_be_visible()
    expect(desk.frame.locator("body")).not_to_contain_text("Ben")
