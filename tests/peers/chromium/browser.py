"""Debian's Chromium, driven by Playwright, without a window and without calls home."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, BrowserContext, sync_playwright

from tests.peers.process import PeerFailed

QUIET = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-sync",
    "--no-first-run",
)


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """One browser; open a context of your own in it (`browser.new_context`) and close that."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_program(), headless=True, args=list(QUIET))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def person_at(
    browser: Browser, folder: Path, blocked: Literal["none", "third-party", "all"], *, but: str = ""
) -> Iterator[BrowserContext]:
    """A browser of its own, set as a person sets it: which cookies are blocked, `but` those of one host.

    `folder` does not exist yet and keeps its profile. Contexts of `browser.new_context` are incognito windows, where
    cookies of other sites are blocked in any case.
    """
    preferences = {
        "profile": {
            "block_third_party_cookies": blocked != "none",
            "cookie_controls_mode": 0 if blocked == "none" else 1,
            "default_content_setting_values": {"cookies": 2 if blocked == "all" else 1},
            "content_settings": {"exceptions": {"cookies": {f"{but},*": {"setting": 1}} if but else {}}},
        }
    }
    (folder / "Default").mkdir(parents=True)
    (folder / "Default" / "Preferences").write_text(json.dumps(preferences))
    context = browser.browser_type.launch_persistent_context(
        folder, executable_path=_program(), headless=True, args=list(QUIET), viewport={"width": 1400, "height": 900}
    )
    try:
        context.set_default_timeout(90_000)
        yield context
    finally:
        context.close()


def _program() -> str:
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        raise PeerFailed("chromium is missing; `make test` installs it")
    return program
