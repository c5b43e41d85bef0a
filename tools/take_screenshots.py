"""Take the pictures of docs/screenshots: the demo as it stands a minute into its day, in a browser that blocks other sites' cookies.

take_screenshots.py [FOLDER]: writes PNG files, docs/screenshots without FOLDER.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from pathlib import Path

from playwright.sync_api import FrameLocator, Page

from api.demo.stage import Stage, set_up
from fhir_tracker import clock
from fhir_tracker.config import load_settings
from scripts.budgets import ROOT
from tests.peers.chromium.browser import person_at, running_chromium

WIDTHS = ((1280, 800), (400, 800))
LAUNCH = "Launch Care plan tracker"
NURSE, COORDINATOR, ADMIN = 0, 2, 7


def main() -> int:
    """Start the demo, let its day run for a while, walk through it."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "screenshots"
    stop = threading.Event()
    with tempfile.TemporaryDirectory() as place:
        settings = load_settings({"HOME": place})
        with set_up(Path(place) / "demo", settings, port=None, pace=4.0, stop=stop) as stage, running_chromium() as one:
            day = threading.Thread(target=stage.director.run, daemon=True)
            day.start()
            day.join(40)
            with person_at(one, Path(place) / "profile", "third-party") as context:
                _walk(context.new_page(), stage, folder)
            stop.set()
            day.join(60)
    return 0


def _walk(page: Page, stage: Stage, folder: Path) -> None:
    page.set_viewport_size({"width": 1400, "height": 900})
    page.goto(stage.address)
    page.screenshot(path=folder / "ehr-people-1400.png")
    _be(page, NURSE)
    page.locator("#steps button").first.click()
    frame = _launch(page)
    frame.get_by_role("heading", name="Open work").wait_for()
    clock.pause(1)
    page.screenshot(path=folder / "ehr-chart-1400.png")
    tab = _tab(page, frame)
    _shoot(tab, folder, "patient")
    tab.locator(".row .open").first.click()
    tab.get_by_role("heading", name="Why it is here").wait_for()
    _shoot(tab, folder, "task")
    tab.close()
    _be(page, COORDINATOR)
    frame = _launch(page)
    frame.get_by_role("link", name="Unassigned").wait_for()
    clock.pause(1)
    page.screenshot(path=folder / "ehr-queue-1400.png")
    tab = _tab(page, frame)
    _shoot(tab, folder, "queue")
    tab.close()
    _be(page, ADMIN)
    frame = _launch(page)
    tab = _tab(page, frame)
    tab.get_by_role("link", name="Operations").click()
    tab.get_by_role("heading", name="Operations").wait_for()
    _shoot(tab, folder, "operations")


def _be(page: Page, number: int) -> None:
    """Log in at the EHR as the member of staff with that number."""
    if page.get_by_role("button", name="Change person").count():
        page.get_by_role("button", name="Change person").click()
    page.locator(".choices button").nth(number).click()
    page.locator("#charts").wait_for()


def _launch(page: Page) -> FrameLocator:
    panel = page.locator("#panels section:not([hidden])")
    panel.get_by_role("button", name=LAUNCH).click()
    return page.frame_locator("#panels section:not([hidden]) iframe")


def _tab(page: Page, frame: FrameLocator) -> Page:
    """The same page in a tab of its own."""
    with page.context.expect_page() as opened:
        frame.get_by_role("button", name="Open in a tab").click()
    opened.value.get_by_role("button", name="Log off", exact=True).wait_for()
    return opened.value


def _shoot(tab: Page, folder: Path, name: str) -> None:
    """The page that a tab shows, wide and narrow."""
    for width, height in WIDTHS:
        tab.set_viewport_size({"width": width, "height": height})
        clock.pause(0.5)
        tab.screenshot(path=folder / f"{name}-{width}.png")


if __name__ == "__main__":
    sys.exit(main())
