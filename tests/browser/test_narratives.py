"""Markup of strangers in a real browser: the page's own policy aside, nothing of it runs, loads or takes over."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from playwright.sync_api import Page, Request, expect

from fhir_tracker import records
from fhir_tracker.fhir.safe_markup import safe_markup
from fhir_tracker.records import Remote
from tests.browser.conftest import Tracker
from tests.support.clinic import author
from tests.support.hostile_narratives import HOSTILE, LINKS, STORED

pytestmark = pytest.mark.peer
BARE = "<!doctype html><script>var hits = 0; function hit() {{ hits++ }}</script><main id=m><div>{}</div><p id=after>after</p></main>"
WAIT = "() => new Promise((done) => setTimeout(() => done(hits), 60))"
AROUND = """() => [location.href, document.querySelectorAll("#m > div, #m > p").length, document.forms.length,
    [...document.querySelectorAll("#m > div *")].filter((one) => one.shadowRoot || one.style.length || one.id).length,
    [...document.querySelectorAll("#m a[href], #m [src], #m [onclick]")].length]"""


@pytest.fixture
def bare(page: Page) -> tuple[Page, list[str]]:
    """A page of no policy at all, and what it asked the network for."""
    asked: list[str] = []

    def refuse(request: Request) -> None:
        if not request.url.startswith(("about:", "data:")):
            asked.append(request.url)

    page.on("request", refuse)
    page.on("dialog", lambda dialog: dialog.dismiss())
    page.route("**/*", lambda route: route.abort())
    page.goto("about:blank")
    return page, asked


@pytest.mark.security("S24")
def test_of_what_is_hostile_nothing_runs_loads_or_leads_away_even_without_a_policy(
    bare: tuple[Page, list[str]],
) -> None:
    page, asked = bare
    for text in HOSTILE:
        page.set_content(BARE.format(safe_markup(f"<div>{text}</div>")), wait_until="commit")
        assert page.evaluate(AROUND) == ["about:blank", 2, 0, 0, 0], text
        expect(page.locator("#after")).to_be_visible()
        assert page.evaluate("hits") == 0, text
        assert asked == [], text
    assert page.evaluate(WAIT) == 0


@pytest.mark.security("S24")
def test_the_same_unsafe_does_run_so_that_the_test_above_can_fail(bare: tuple[Page, list[str]]) -> None:
    page, asked = bare
    ran = 0
    for text in ("<script>hit()</script>", "<svg onload=hit()>", "<details open ontoggle=hit()>x</details>"):
        page.set_content(BARE.format(text))
        ran += page.evaluate(WAIT) > 0
    page.set_content(BARE.format("<img src=http://evil.example/x>"), wait_until="commit")
    page.evaluate("() => new Promise((done) => setTimeout(done, 200))")
    page.set_content(BARE.format(LINKS[0]))
    page.get_by_text("press").click()
    assert (ran, page.evaluate(WAIT)) == (3, 1)
    assert any("evil.example" in one for one in asked)


@pytest.mark.security("S24", "S25")
def test_on_the_page_of_a_patient_it_is_folded_away_and_inert(tracker: Tracker, page: Page, now: datetime) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    text = "".join(f"<p>{one}</p>" for one in STORED if "plaintext" not in one)
    body: dict[str, Any] = {
        "resourceType": "Patient",
        "id": "rosa",
        "name": [{"family": "Synthetic", "given": ["<svg onload=hit()>"]}],
    }
    body["text"] = {"status": "additional", "div": f"<p>first</p>{text}"}
    remote = Remote(connection="north", id="rosa", version="1", body="{}", content_hash="h")
    with tracker.clinic.database.begin() as tx:
        records.save(tx, body, author(now, origin="ehr:north"), remote=remote)
    page.add_init_script("window.hits = 0; window.hit = () => { window.hits++ }")
    page.goto(f"{tracker.address}/patients/rosa")
    expect(page.get_by_text("first", exact=True)).to_be_hidden()
    page.locator("summary", has_text="The patient").click()
    expect(page.get_by_text("first", exact=True)).to_be_visible()
    assert page.evaluate("window.hits") == 0
    assert [one for one in asked if not one.startswith(tracker.address)] == []
    assert page.locator(".narrative :is(a, img, form, input, script, style, svg, iframe, [id], [style])").count() == 0
    assert page.evaluate("document.querySelectorAll('main').length") == 1
