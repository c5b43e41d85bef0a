"""What a browser could keep of a patient when the tab is closed: nothing, for our pages never ask it to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

STAFF = Path(__file__).parents[2] / "api" / "staff"
SCRIPTS = sorted(STAFF.glob("static/*.js"))
PAGES = sorted([*STAFF.glob("templates/**/*.html"), *STAFF.parent.glob("templates/*.html")])
KEEPERS = (
    "localStorage", "indexedDB", "serviceWorker", "caches", "CacheStorage", "openDatabase", "webkitRequestFileSystem", "showSaveFilePicker",
    "SharedWorker", "BroadcastChannel", "Notification", "document.cookie", "cookieStore", "clipboard",
    "manifest", "force-cache", "only-if-cached", "hx-push-url", "hx-history",
)  # fmt: skip


@pytest.mark.security("L3")
@pytest.mark.parametrize("path", [*SCRIPTS, *PAGES], ids=lambda path: path.name)
def test_no_page_and_no_script_puts_anything_where_it_stays(path: Path) -> None:
    text = path.read_text()
    assert [word for word in KEEPERS if re.search(rf"\b{re.escape(word)}\b", text)] == []
    assert text.count("State(") == text.count("State(null,"), "the way back knows addresses and nothing else"
    assert text.count("createObjectURL") == text.count("revokeObjectURL")


@pytest.mark.security("L3", "S23")
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_script_makes_a_script_of_text_or_speaks_to_anybody_else(path: Path) -> None:
    text = path.read_text()
    for word in (
        "eval(",
        "new Function",
        "document.write",
        "insertAdjacentHTML",
        "outerHTML",
        "srcdoc",
        "importScripts",
        "WebSocket",
        "http:",
        "https:",
    ):
        assert word not in text, word


@pytest.mark.security("L3")
def test_there_is_something_to_look_at() -> None:
    assert len(SCRIPTS) >= 1
    assert len(PAGES) > 15


@pytest.mark.security("L3", "S18")
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_no_field_of_a_page_is_remembered_by_the_browser(path: Path) -> None:
    """Notes, reasons and names of patients come back in the next person's form otherwise."""
    text = re.sub(r"{#.*?#}", "", path.read_text(), flags=re.DOTALL)
    for form in re.findall(r"<form\b.*?</form>", text, re.DOTALL):
        is_whole = re.match(r'<form\b[^>]*autocomplete="off"', form)
        assert is_whole or "field(" not in form or path.name == "login.html", (
            "its fields say by themselves what they are"
        )
        for field in re.findall(r"<(?:input|textarea)\b[^>]*>", form):
            is_typed = not re.search(r'type="(?:hidden|submit|checkbox|radio|file)"', field)
            assert not is_typed or is_whole or "autocomplete=" in field, field
