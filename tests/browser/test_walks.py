from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.conftest import Tracker
from tests.support.clinic import RING, encounter

pytestmark = pytest.mark.peer

QUICK = RING.replace("within: 2 days", "within: 2 seconds")


def late(tracker: Tracker, now: datetime, name: str) -> str:
    clinic = tracker.clinic
    clinic.patient(name, now - timedelta(days=6))
    clinic.discharge(name, now - timedelta(days=5))
    clinic.sweep(now)
    return clinic.task(name, "first-call").ref


def test_work_is_claimed_tried_refused_and_completed(tracker: Tracker, page: Page, now: datetime) -> None:
    task = late(tracker, now, "rosa")
    page.goto(f"{tracker.address}/?role=care-coordinator")
    page.get_by_role("button", name="Claim: First call, rosa Synthetic").click()
    expect(page.get_by_role("status").first).to_contain_text("Claimed")
    page.get_by_role("link", name="My work").click()
    expect(page).to_have_url(re.compile("tab=mine"))
    page.get_by_role("link", name="First call", exact=True).click()

    page.get_by_role("link", name="Log attempt").click()
    page.get_by_label("Outcome").select_option("no-answer")
    page.get_by_label("Note").fill("Rang twice")
    page.get_by_role("button", name="Log attempt").click()
    expect(page.get_by_text("Phone: No answer")).to_be_visible()

    page.get_by_text("Move to…").click()
    page.get_by_role("link", name=re.compile("^Reached asks for")).click()
    page.get_by_role("button", name="Move to Reached").click()
    note = page.get_by_label("Note")
    expect(note).to_have_attribute("aria-invalid", "true")
    expect(note).to_be_focused()
    expect(page.locator("#f-note-e")).to_have_text("a note is missing.")
    note.fill("Spoke with the daughter")
    page.get_by_role("button", name="Move to Reached").click()
    expect(page.get_by_text("Closed: Reached.")).to_be_visible()
    assert tracker.clinic.item(task).status == "reached"


def test_an_escalation_appears_by_itself_and_is_announced(tracker: Tracker, page: Page, now: datetime) -> None:
    tracker.clinic.publish(QUICK, now - timedelta(days=20))
    tracker.clinic.patient("ivo", now - timedelta(days=1))
    page.goto(f"{tracker.address}/?role=rn")
    expect(page.get_by_text("Team RN has no open work.")).to_be_visible()
    tracker.work()
    tracker.clinic.put(encounter("ivo", now, id_="stay-ivo"), now)
    news = page.locator("#news")
    expect(news).to_contain_text("1 new", timeout=60_000)
    expect(page.locator("#live")).to_contain_text("1 new in this queue")
    news.get_by_role("link", name="Show").click()
    expect(page.get_by_role("link", name="Escalation: First call")).to_be_visible()
    page.get_by_role("button", name=re.compile("^Acknowledge")).click()
    expect(page.get_by_role("status").first).to_contain_text("Acknowledged")


def test_an_escalation_between_a_page_and_its_first_question_is_announced(
    tracker: Tracker, page: Page, now: datetime
) -> None:
    tracker.clinic.patient("ivo", now - timedelta(days=6))
    tracker.clinic.discharge("ivo", now - timedelta(days=5))
    asked: list[str] = []

    def escalate_first(route: Route) -> None:
        if not asked:
            tracker.clinic.sweep(now)
        asked.append(route.request.url)
        route.continue_()

    page.route("**/pulse?*", escalate_first)
    page.goto(f"{tracker.address}/?role=rn")
    expect(page.get_by_text("Team RN has no open work.")).to_be_visible()
    expect(page.locator("#news")).to_contain_text("1 new")
    expect(page.locator("#live")).to_contain_text("1 new in this queue")
    page.unroute_all(behavior="ignoreErrors")


def test_a_queue_is_worked_with_the_keyboard_alone(tracker: Tracker, page: Page, now: datetime) -> None:
    late(tracker, now, "rosa")
    late(tracker, now, "ivo")
    page.goto(f"{tracker.address}/?role=care-coordinator")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("j")
    rows = page.locator(".row")
    expect(rows.nth(0)).to_be_focused()
    page.keyboard.press("j")
    expect(rows.nth(1)).to_be_focused()
    page.keyboard.press("k")
    page.keyboard.press("a")
    expect(page.get_by_role("status").first).to_contain_text("Claimed")
    expect(rows.nth(0)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/tasks/"))
    page.wait_for_load_state()
    page.keyboard.press("?")
    expect(page.get_by_role("heading", name="Keys")).to_be_visible()
    page.get_by_role("button", name="Switch single keys off").click()
    expect(page.get_by_role("button", name="Switch single keys on")).to_be_visible()
    page.goto(f"{tracker.address}/?role=care-coordinator")
    page.keyboard.press("j")
    expect(page.locator(".row:focus")).to_have_count(0)


def test_the_walk_works_without_javascript(tracker: Tracker, chromium: Browser, now: datetime) -> None:
    task = late(tracker, now, "rosa")
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{tracker.address}/")
    page.get_by_role("button", name="Claim: First call, rosa Synthetic").click()
    expect(page.get_by_role("status").first).to_contain_text("Claimed")
    page.get_by_role("link", name="First call", exact=True).first.click()
    page.get_by_text("Move to…").click()
    page.get_by_role("link", name=re.compile("^Unreachable")).click()
    page.get_by_label("Reason").fill("Moved away")
    page.get_by_role("button", name="Move to Unreachable").click()
    expect(page.get_by_text("Closed: Unreachable.")).to_be_visible()
    context.close()
    assert tracker.clinic.item(task).status == "unreachable"


@pytest.mark.security("S24", "S25")
def test_a_script_in_a_name_or_a_note_stays_text(tracker: Tracker, page: Page, now: datetime) -> None:
    task = late(tracker, now, "rosa")
    attack = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    tracker.clinic.put(
        {
            "resourceType": "Patient",
            "id": "rosa",
            "name": [{"text": attack}],
            "text": {"status": "generated", "div": f"<div>{attack}</div>"},
        },
        now,
    )
    seen: list[str] = []
    page.on("dialog", lambda dialog: seen.append(dialog.message))
    address = f"{tracker.address}/tasks/{task.partition('/')[2]}"
    page.goto(f"{address}?do=note")
    page.get_by_label("Note").fill(attack)
    page.get_by_role("button", name="Add note").click()
    expect(page.get_by_role("status").first).to_contain_text("Note added.")
    for where in (tracker.address + "/", address, f"{tracker.address}/patients/rosa"):
        page.goto(where)
        expect(page.locator("main")).to_contain_text("onerror=")
        page.wait_for_timeout(100)
        assert "owned" not in page.title().replace(attack, "")
        expect(page.locator("main img")).to_have_count(0)
        expect(page.locator("main script")).to_have_count(0)
    assert seen == []


@pytest.mark.security("S22")
def test_a_page_of_another_site_cannot_press_our_buttons(tracker: Tracker, page: Page, now: datetime) -> None:
    task = late(tracker, now, "rosa")
    page.goto(f"{tracker.address}/")
    action = f"{tracker.address}/tasks/{task.partition('/')[2]}/claim"
    token = page.locator("input[name=csrf]").first.get_attribute("value")
    page.goto("about:blank")
    page.set_content(
        f'<form method="post" action="{action}"><input name="csrf" value="{token}"><button>Win</button></form>'
    )
    page.get_by_role("button", name="Win").click()
    expect(page.get_by_text("This form was sent from another site.")).to_be_visible()
    assert tracker.clinic.item(task).owner is None


def test_the_page_says_nothing_when_nothing_changed_and_pauses_when_hidden(
    tracker: Tracker, page: Page, now: datetime
) -> None:
    late(tracker, now, "rosa")
    asked: list[str] = []
    answers: list[int] = []
    page.on("request", lambda request: asked.append(request.url) if "/pulse" in request.url else None)
    page.on("response", lambda response: answers.append(response.status) if "/pulse" in response.url else None)
    page.add_init_script("Object.defineProperty(document, 'hidden', { get: () => window.isHidden === true })")
    page.goto(f"{tracker.address}/?role=care-coordinator")
    wait_for(page, answers, 2)
    assert answers[:2] == [200, 304]
    expect(page.locator("#news")).to_be_hidden()
    page.evaluate("window.isHidden = true")
    page.wait_for_timeout(1_000)
    before = len(asked)
    page.wait_for_timeout(5_000)
    assert len(asked) == before
    page.evaluate("window.isHidden = false")
    wait_for(page, answers, before + 1)


def test_a_page_that_is_seen_again_asks_at_once_also_after_questions_that_failed(
    tracker: Tracker, page: Page, now: datetime
) -> None:
    failed: list[str] = []

    def fail(route: Route) -> None:
        failed.append(route.request.url)
        route.abort()

    tracker.clinic.patient("ivo", now - timedelta(days=6))
    tracker.clinic.discharge("ivo", now - timedelta(days=5))
    page.clock.install(time=now)
    page.route("**/pulse?*", fail)
    page.goto(f"{tracker.address}/?role=rn")
    page.clock.pause_at(now + timedelta(minutes=30))
    for number in range(6):
        wait_for(page, failed, number + 1)
        page.clock.run_for(60_000)
    tracker.clinic.sweep(now)
    expect(page.locator("#news")).to_be_hidden()
    page.unroute_all(behavior="wait")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator("#news")).to_contain_text("1 new")


def wait_for(page: Page, answers: Sequence[object], number: int) -> None:
    """Until so many answers came, a minute at most."""
    for _ in range(300):
        if len(answers) >= number:
            return
        page.wait_for_timeout(200)
    raise AssertionError(f"only {len(answers)} of {number} answers came")
