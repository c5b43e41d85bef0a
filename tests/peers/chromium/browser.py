"""Debian's Chromium, driven by Playwright, without a window and without calls home."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

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
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        raise PeerFailed("chromium is missing; `make test` installs it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, headless=True, args=list(QUIET))
        try:
            yield browser
        finally:
            browser.close()
