"""An EHR's style sheet is asked for at that EHR alone, without a token, soon given up and kept by its address."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import respx

from fhir_tracker.storage.issuers import Issuer
from subscriptions.ehr_styles import FAILED_FOR, KEPT, LIMITS, MOST, EhrStyles

NOW = datetime(2026, 7, 2, 20, 0, tzinfo=UTC)
ISSUER = Issuer(
    key="clinic",
    url="https://ehr.example/fhir",
    client_id="tracker",
    options={"endpoint_origins": ["https://login.example"]},
    changed_at=NOW,
)
URL = "https://ehr.example/styles/clinic.json?v=3"
GOOD = {"color_text": "#000000"}
pytestmark = pytest.mark.security("S29", "S58")


@pytest.fixture
def router() -> Iterator[respx.MockRouter]:
    with respx.mock(assert_all_called=False) as made:
        yield made


def sheet(styles: EhrStyles, url: str = URL, after: timedelta = timedelta()) -> str:
    return styles.sheet(ISSUER, url, NOW + after)


def test_it_is_asked_for_once_an_hour_and_shown_nothing_of_ours(router: respx.MockRouter) -> None:
    route = router.get(URL).respond(json=GOOD)
    styles = EhrStyles()
    assert "--ink: #000000;" in sheet(styles)
    assert [sheet(styles, after=after) for after in (KEPT / 2, KEPT - timedelta(seconds=1))] == [sheet(styles)] * 2
    assert route.call_count == 1
    asked = route.calls[0].request
    assert not {"authorization", "cookie", "referer"} & set(asked.headers)
    sheet(styles, after=KEPT)
    assert route.call_count == 2
    sheet(styles, after=-KEPT)
    assert route.call_count == 3, "never kept for longer than that after our clock was put back"


@pytest.mark.parametrize(
    ("url", "is_asked"),
    [
        (URL, True),
        ("https://login.example/style.json", True),
        ("https://ehr.example:443/style.json", True),
        ("https://elsewhere.example/style.json", False),
        ("https://ehr.example.elsewhere.example/style.json", False),
        ("https://ehr.example@elsewhere.example/style.json", False),
        ("https://ehr.example:8443/style.json", False),
        ("http://ehr.example/style.json", False),
        ("http://169.254.169.254/latest/meta-data", False),
        ("http://127.0.0.1:9/style.json", False),
        ("javascript:alert(1)", False),
        ("//ehr.example/style.json", False),
        ("", False),
    ],
)
def test_nobody_is_asked_but_the_ehr_and_whom_a_person_named(
    router: respx.MockRouter, url: str, is_asked: bool
) -> None:
    asked = router.route().respond(json=GOOD)
    assert bool(sheet(EhrStyles(), url)) is is_asked
    assert asked.call_count == int(is_asked)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(404, json=GOOD),
        httpx.Response(500, json=GOOD),
        httpx.Response(302, headers={"location": "https://elsewhere.example/style.json"}),
        httpx.Response(302, headers={"location": "https://ehr.example/other.json"}),
        httpx.Response(200, html="<html>"),
        httpx.Response(200, json=GOOD, headers={"content-type": "text/css"}),
        httpx.Response(200, json={**GOOD, "pad": "x" * LIMITS.max_bytes}),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
    ],
    ids=["404", "500", "elsewhere", "redirect", "html", "css", "large", "refused", "slow"],
)
def test_an_ehr_without_a_usable_one_changes_nothing_and_is_left_alone_for_a_while(
    router: respx.MockRouter, answer: httpx.Response | Exception
) -> None:
    route = router.get(URL)
    route.side_effect = [answer, httpx.Response(200, json=GOOD)]
    elsewhere = router.route(host="elsewhere.example").respond(json=GOOD)
    styles = EhrStyles()
    assert [sheet(styles), sheet(styles, after=FAILED_FOR / 2)] == ["", ""]
    assert (route.call_count, elsewhere.call_count) == (1, 0)
    assert "--ink" in sheet(styles, after=FAILED_FOR)


def test_the_memory_is_bounded(router: respx.MockRouter) -> None:
    route = router.route().respond(json=GOOD)
    styles = EhrStyles()
    for number in range(MOST + 5):
        sheet(styles, f"https://ehr.example/{number}.json")
    assert route.call_count == MOST + 5
    sheet(styles, f"https://ehr.example/{MOST + 4}.json")
    assert route.call_count == MOST + 5
    sheet(styles, "https://ehr.example/0.json")
    assert route.call_count == MOST + 6
