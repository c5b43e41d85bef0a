from __future__ import annotations

import re
from datetime import datetime, timedelta

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from fhir_tracker.storage import connections
from fhir_tracker.storage.connections import Connection
from tests.browser.conftest import Tracker
from tests.browser.test_walks import late
from tests.support.clinic import NURSE

pytestmark = pytest.mark.peer

LONG = "Maximiliane-Theodora-Wilhelmina" * 4
HEBREW = "\u05e8\u05d5\u05d6\u05d4 \u05dc\u05d3\u05d5\u05d2\u05de\u05d4"


def page_of(tracker: Tracker, task: str) -> str:
    return f"{tracker.address}/tasks/{task.partition('/')[2]}"


def test_a_task_leads_back_to_the_queue_as_it_was_narrowed(tracker: Tracker, page: Page, now: datetime) -> None:
    late(tracker, now, "rosa")
    late(tracker, now, "ivo")
    page.goto(f"{tracker.address}/?role=care-coordinator&q=ivo")
    page.get_by_role("link", name="First call", exact=True).click()
    page.get_by_role("link", name="Note", exact=True).click()
    page.get_by_label("Note").fill("Rang the ward")
    page.get_by_role("button", name="Add note").click()
    expect(page.get_by_role("status").first).to_contain_text("Note added.")
    page.get_by_role("link", name="← Queue").click()
    expect(page).to_have_url(re.compile(r"role=care-coordinator&q=ivo$"))
    expect(page.locator(".row")).to_have_count(1)


def test_somebody_faster_is_shown_and_what_was_typed_is_kept(tracker: Tracker, page: Page, now: datetime) -> None:
    task = late(tracker, now, "rosa")
    page.goto(f"{page_of(tracker, task)}?do=attempt")
    page.get_by_label("Outcome").select_option("left-message")
    page.get_by_label("Note").fill("Left word with a neighbour")
    tracker.clinic.move(task, "calling", now, NURSE)
    page.get_by_role("button", name="Log attempt").click()
    expect(page.get_by_role("alert", name="Changed meanwhile")).to_contain_text("To call → Calling")
    expect(page.get_by_label("Note")).to_have_value("Left word with a neighbour")
    expect(page.get_by_label("Outcome")).to_have_value("left-message")
    assert tracker.clinic.item(task).attempts == 0
    page.get_by_role("button", name="Log attempt").click()
    expect(page.get_by_text("Phone: Left a message")).to_be_visible()
    assert tracker.clinic.item(task).attempts == 1


def test_a_button_pressed_twice_sends_once(tracker: Tracker, page: Page, now: datetime) -> None:
    task = late(tracker, now, "rosa")
    page.goto(f"{page_of(tracker, task)}?do=attempt")
    page.get_by_label("Outcome").select_option("no-answer")
    sent: list[Route] = []
    page.route("**/attempt", lambda route: sent.append(route))
    twice = "async one => { one.click(); await new Promise(done => setTimeout(done, 500)); one.click(); }"
    with page.expect_request("**/attempt"):
        page.get_by_role("button", name="Log attempt").evaluate(twice)
    sent[0].continue_()
    expect(page.get_by_text("Phone: No answer")).to_be_visible()
    assert tracker.clinic.item(task).attempts == 1
    assert len(sent) == 1


def test_a_form_is_filled_and_sent_with_the_keyboard_alone(tracker: Tracker, page: Page, now: datetime) -> None:
    task = late(tracker, now, "rosa")
    page.goto(f"{page_of(tracker, task)}?move=unreachable#form")
    reason = page.get_by_label("Reason")
    expect(reason).to_be_focused()
    page.keyboard.type("Moved to another state")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Note (optional)")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Move to Unreachable")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Closed: Unreachable.")).to_be_visible()
    expect(page.get_by_text("Moved to another state").first).to_be_visible()


def test_typing_into_a_field_presses_no_keys_of_the_page(tracker: Tracker, page: Page, now: datetime) -> None:
    late(tracker, now, "rosa")
    page.goto(f"{tracker.address}/")
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("jakr?")
    expect(page.get_by_role("searchbox")).to_have_value("jakr?")
    expect(page).to_have_url(f"{tracker.address}/")
    page.keyboard.press("Escape")
    expect(page.get_by_role("searchbox")).not_to_be_focused()


def test_the_banner_of_old_data_comes_and_goes(tracker: Tracker, page: Page, now: datetime) -> None:
    old = now - timedelta(minutes=20)
    with tracker.clinic.database.begin() as tx:
        connections.add(tx, Connection(key="north", base_url="http://ehr.example/fhir", created_at=old))
    page.goto(tracker.address)
    banner = page.locator(".banner.stale")
    expect(banner).to_contain_text(re.compile(r"Nothing has come from north for 2\d min"))
    banner.get_by_role("link", name="EHR sync").click()
    expect(page.get_by_role("heading", name="EHR sync")).to_be_visible()
    with tracker.clinic.database.begin() as tx:
        connections.note_success(tx, "north", now)
    page.reload()
    expect(page.locator(".banner.stale")).to_have_count(0)
    expect(page.locator("footer")).to_contain_text(re.compile(r"EHR data \d+ (s|min) old"))


def test_paper_shows_the_story_and_no_controls(tracker: Tracker, page: Page, now: datetime) -> None:
    late(tracker, now, "rosa")
    page.goto(f"{tracker.address}/patients/rosa")
    page.emulate_media(media="print")
    expect(page.get_by_role("heading", name="rosa Synthetic")).to_be_visible()
    expect(page.get_by_role("heading", name="Timeline")).to_be_visible()
    expect(page.locator("nav").first).to_be_hidden()
    expect(page.locator("footer")).to_be_hidden()
    expect(page.locator("button:visible")).to_have_count(0)
    expect(page.locator("input:visible, select:visible")).to_have_count(0)


@pytest.mark.parametrize("width", [320, 700, 1280])
def test_long_names_other_scripts_and_many_notes_stay_on_the_page(
    tracker: Tracker, chromium: Browser, now: datetime, width: int
) -> None:
    clinic = tracker.clinic
    for id_, name in (("long", LONG), ("rtl", HEBREW)):
        clinic.put({"resourceType": "Patient", "id": id_, "name": [{"text": name}]}, now)
        body = {"resourceType": "Task", "id": f"t-{id_}", "status": "requested", "intent": "order"}
        notes = [{"text": name * 3, "authorString": name} for _ in range(1000 if id_ == "rtl" else 3)]
        clinic.put(body | {"code": {"text": name}, "for": {"reference": f"Patient/{id_}"}, "note": notes}, now)
    context = chromium.new_context(viewport={"width": width, "height": 800})
    page = context.new_page()
    for path in ("/", "/tasks/t-long", "/tasks/t-rtl", "/patients/long", "/patients/rtl"):
        page.goto(tracker.address + path)
        over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert over <= 0, f"{path} at {width}: {over} px too wide"
    assert page.locator("html").get_attribute("lang") == "en"
    context.close()


def test_nothing_of_a_page_is_refused_by_its_own_policy(tracker: Tracker, page: Page, now: datetime) -> None:
    task = late(tracker, now, "rosa")
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for path in ("/", "/operations", "/programs", "/sync", "/help/keys", "/patients/rosa"):
        page.goto(tracker.address + path)
    page.goto(f"{page_of(tracker, task)}?move=waiting")
    assert said == []
    assert all(url.startswith(tracker.address) for url in asked)


def test_a_status_explains_itself_on_hover_and_on_focus(tracker: Tracker, page: Page, now: datetime) -> None:
    task = late(tracker, now, "rosa")
    page.goto(page_of(tracker, task))
    tip = page.locator("#status-means")
    expect(tip).to_be_hidden()
    page.locator(".bar .chip").hover()
    expect(tip).to_be_visible()
    expect(tip).to_have_text("Nobody has tried the patient yet")
    page.mouse.move(0, 0)
    page.locator(".bar .chip").focus()
    expect(tip).to_be_visible()


def test_an_escalation_is_sent_back_without_javascript(tracker: Tracker, chromium: Browser, now: datetime) -> None:
    late(tracker, now, "rosa")
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{tracker.address}/?role=rn")
    expect(page.locator(".row")).to_contain_text("late")
    page.get_by_role("link", name="Escalation: First call", exact=True).click()
    page.get_by_role("link", name="Send back").click()
    page.get_by_role("button", name="Send back").click()
    expect(page.locator("#f-reason-e")).to_have_text("a reason is missing.")
    page.get_by_label("Reason").fill("The coordinator has it")
    page.get_by_role("button", name="Send back").click()
    expect(page.get_by_text("Closed: Sent back.")).to_be_visible()
    expect(page.get_by_text("New → Sent back")).to_be_visible()
    context.close()


def test_a_side_panel_has_its_filters_behind_one_button(tracker: Tracker, chromium: Browser, now: datetime) -> None:
    late(tracker, now, "rosa")
    context = chromium.new_context(viewport={"width": 400, "height": 800})
    page = context.new_page()
    page.goto(tracker.address)
    expect(page.get_by_label("Program")).to_be_hidden()
    page.locator("label.more").click()
    expect(page.get_by_label("Program")).to_be_visible()
    page.get_by_label("Program").select_option("ring")
    page.get_by_role("button", name="Apply").click()
    expect(page).to_have_url(re.compile("program=ring"))
    expect(page.get_by_role("link", name="Remove filter Program: Ring after discharge")).to_be_visible()
    context.close()
