from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.peer


def test_a_real_chromium_runs_a_page_and_its_script(chromium: Browser, page: Page) -> None:
    page.set_content("<h1>Waiting</h1><script>document.querySelector('h1').textContent = 'Ready'</script>")
    assert page.inner_text("h1") == "Ready"
    assert int(chromium.version.split(".")[0]) >= 100
