from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from fhir_tracker.model.viewer import open_viewer
from fhir_tracker.storage import outbox, quarantine
from tests.browser.conftest import Tracker
from tests.browser.test_walks import late
from tests.support.clinic import appointment
from tests.support.followed import followed

pytestmark = pytest.mark.peer

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
NAMES = (
    *("queue", "task", "form", "refused", "escalation", "patient", "operations", "programs", "sync", "keys", "empty"),
    *("connection", "quarantine", "set-aside", "outbox", "to-write"),
)


@pytest.fixture
def paths(tracker: Tracker, now: datetime) -> dict[str, str]:
    """The address of each kind of page, with something on it."""
    clinic = tracker.clinic
    task = late(tracker, now, "rosa")
    late(tracker, now, "ivo")
    clinic.attempt(task, now - timedelta(minutes=20))
    clinic.put(appointment("rosa", now + timedelta(days=1), id_="next", status="booked"), now)
    clinic.put(appointment("rosa", now - timedelta(days=1), id_="missed", status="noshow"), now)
    page = f"/tasks/{task.partition('/')[2]}"
    with clinic.database.begin() as tx:
        followed(tx, now)
        (aside,), (refused,) = quarantine.list(tx, open_viewer()), outbox.listed(tx, open_viewer())
    return {
        "queue": "/",
        "task": page,
        "form": f"{page}?move=waiting",
        "refused": f"{page}?move=unreachable",
        "escalation": f"/tasks/{clinic.escalations('rosa')[0].ref.partition('/')[2]}?do=send-back",
        "patient": "/patients/rosa",
        "operations": "/operations",
        "programs": "/programs",
        "sync": "/sync",
        "connection": "/connections/north",
        "quarantine": "/quarantine",
        "set-aside": f"/quarantine/{aside.id}",
        "outbox": "/outbox",
        "to-write": f"/outbox/{refused.id}",
        "keys": "/help/keys",
        "empty": "/?tab=mine&q=nobody",
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_axe_finds_nothing(
    tracker: Tracker, paths: dict[str, str], chromium: Browser, width: int, scheme: Literal["light", "dark"]
) -> None:
    context = chromium.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, reduced_motion="reduce", bypass_csp=True
    )
    page = context.new_page()
    found: list[str] = []
    for name in NAMES:
        page.goto(tracker.address + paths[name])
        if name == "refused":
            page.get_by_role("button", name="Move to Unreachable").click()
            expect(page.get_by_label("Reason")).to_have_attribute("aria-invalid", "true")
            page.wait_for_load_state("load")
        results = Axe().run(page, options={"runOnly": {"type": "tag", "values": TAGS}})
        for violation in results.response["violations"]:
            nodes = [
                node["html"][:160] + " " + str(node.get("failureSummary"))[:200] for node in violation["nodes"][:3]
            ]
            found.append(f"{name} {width} {scheme} {violation['id']}: {nodes}")
    context.close()
    assert found == []


@pytest.mark.parametrize("width", [320, 400, 1280])
def test_nothing_runs_over_the_side(tracker: Tracker, paths: dict[str, str], chromium: Browser, width: int) -> None:
    context = chromium.new_context(viewport={"width": width, "height": 800})
    page = context.new_page()
    for name in NAMES:
        page.goto(tracker.address + paths[name])
        over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert over <= 0, f"{name} at {width}: {over} px too wide"
    context.close()


@pytest.mark.parametrize("compact", [False, True], ids=["comfortable", "compact"])
@pytest.mark.parametrize("width", [400, 800, 1280])
def test_every_target_is_large_enough_to_hit(
    tracker: Tracker, paths: dict[str, str], chromium: Browser, width: int, compact: bool
) -> None:
    context = chromium.new_context(viewport={"width": width, "height": 800})
    page = context.new_page()
    page.goto(tracker.address)
    if compact:
        page.get_by_role("button", name="Compact rows").click()
        expect(page.get_by_role("button", name="Comfortable rows")).to_be_visible()
    script = """() => [...document.querySelectorAll('button, input:not([type=hidden]), select, summary, a')]
        .filter(one => one.offsetParent && !one.matches('.more-box, .skip'))
        .map(one => [one.outerHTML.slice(0, 80), one.getBoundingClientRect()])
        .filter(([, box]) => box.height < 24 || box.width < 24).map(([text]) => text)"""
    for name in NAMES:
        page.goto(tracker.address + paths[name])
        assert page.evaluate(script) == [], name
    context.close()
