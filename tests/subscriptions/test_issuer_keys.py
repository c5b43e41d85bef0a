"""The pages of an EHR's keys: one look for a key that is not there, and logins go on while the page is away."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import respx

from fhir_tracker.errors import RemoteFailure
from subscriptions.issuer_keys import LEAST, MISSED_EVERY, MOST, SPARE, KeyPages
from subscriptions.outbound import reach_of
from tests.support.systems import ec_key, key_set, public, rsa_key

URL = "https://ehr.example/keys"
REACH = reach_of(URL)
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
pytestmark = [pytest.mark.fault("F29"), pytest.mark.security("S7", "D1")]


class Page:
    """What is at URL: the keys of these names; `asked` counts. `gate` has whoever asks wait until it is set; `met` is set by them."""

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ("a",)
        self.kept = "max-age=600"
        self.answer: httpx.Response | Exception | None = None
        self.asked = 0
        self.gate = threading.Event()
        self.gate.set()
        self.met = threading.Event()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        self.met.set()
        assert self.gate.wait(60)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer or httpx.Response(200, json=key_set(*self.names), headers={"Cache-Control": self.kept})


@pytest.fixture
def page() -> Iterator[Page]:
    made = Page()
    with respx.mock(assert_all_called=False) as router:
        router.get(URL).mock(side_effect=made)
        yield made
    made.gate.set()


def is_known(pages: KeyPages, kid: str, now: datetime) -> bool:
    """Whether the page has that very key; RemoteFailure when it has none of the name, or cannot be read."""
    return bool(pages.key(URL, REACH, kid, "ES384", now).as_dict(private=False)["x"] == public(ec_key(kid), kid)["x"])


def is_refused(pages: KeyPages, kid: str, now: datetime) -> bool:
    try:
        return not is_known(pages, kid, now)
    except RemoteFailure:
        return True


AWAY: dict[str, httpx.Response | Exception] = {
    "refused": httpx.ConnectError("refused"),
    "slow": httpx.ReadTimeout("slow"),
    "a mistake of its own": httpx.Response(500),
    "gone": httpx.Response(404),
    "elsewhere": httpx.Response(302, headers={"Location": "https://attacker.example/keys"}),
    "a page for people": httpx.Response(200, text="<html>", headers={"Content-Type": "text/html"}),
    "no set": httpx.Response(200, json={"keys": "none"}),
    "a list": httpx.Response(200, json=[]),
    "without end": httpx.Response(200, content=b'{"keys": [' + b" " * 300_000),
}


@pytest.mark.parametrize("kind", AWAY)
def test_keys_that_were_read_go_on_while_the_page_is_away_and_no_longer_than_an_hour(page: Page, kind: str) -> None:
    pages = KeyPages()
    assert is_known(pages, "a", NOW)
    old, page.answer = NOW + timedelta(minutes=10), AWAY[kind]
    for second in range(0, 3600, 600):
        assert is_known(pages, "a", old + second * SECOND)
        assert is_refused(pages, "b", old + second * SECOND)
    assert is_known(pages, "a", old + SPARE - SECOND)
    assert is_refused(pages, "a", old + SPARE)
    page.answer, page.names = None, ("b",)
    assert is_known(pages, "b", old + SPARE + SECOND)
    assert is_refused(pages, "a", old + SPARE + SECOND)


def test_a_page_that_is_away_is_asked_seldom_and_at_once_again_by_who_has_nothing_else(page: Page) -> None:
    pages = KeyPages()
    page.answer = httpx.Response(503)
    for number in range(3):
        assert is_refused(pages, "a", NOW + number * SECOND)
    assert page.asked == 3
    page.answer = None
    assert is_known(pages, "a", NOW + 3 * SECOND)
    old, page.answer, page.asked = NOW + MOST, httpx.Response(503), 0
    for number in range(300):
        assert is_known(pages, "a", old + number * MISSED_EVERY / 300)
    assert page.asked == 1
    page.answer, page.names = None, ("b",)
    assert is_known(pages, "b", old + MISSED_EVERY)
    assert is_refused(pages, "a", old + MISSED_EVERY)


def test_a_key_that_is_not_there_is_looked_for_once_and_not_at_every_login(page: Page) -> None:
    pages = KeyPages()
    assert is_known(pages, "a", NOW)
    for number in range(100):
        assert is_refused(pages, f"made-up-{number}", NOW + number * SECOND / 10)
        assert is_known(pages, "a", NOW + number * SECOND / 10)
    assert page.asked == 2
    page.names = ("a", "b")
    assert is_known(pages, "b", NOW + MISSED_EVERY)
    assert page.asked == 3


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("", LEAST), ("no-store", LEAST), ("no-cache, max-age=900", LEAST), ("max-age=0", LEAST),
        ("max-age=900", timedelta(seconds=900)), ("MAX-AGE=900", timedelta(seconds=900)), ("max-age=999999999", MOST),
    ],
)  # fmt: skip
def test_a_page_is_kept_as_long_as_it_says_within_bounds(page: Page, told: str, kept: timedelta) -> None:
    pages, page.kept = KeyPages(), told
    assert is_known(pages, "a", NOW)
    assert is_known(pages, "a", NOW + kept - SECOND)
    assert page.asked == 1
    page.names = ("b",)
    assert is_refused(pages, "a", NOW + kept)


def test_a_clock_that_was_put_back_reads_the_page_anew(page: Page) -> None:
    pages = KeyPages()
    assert is_known(pages, "a", NOW)
    page.answer = httpx.Response(503)
    assert is_refused(pages, "a", NOW - timedelta(days=30))
    page.answer, page.names = None, ("b",)
    assert is_known(pages, "b", NOW - timedelta(days=30))


def test_who_waited_while_another_could_not_read_the_page_does_not_wait_once_more(page: Page) -> None:
    """Else the last of many who log in at once, while it stands still, would wait for all the others one after another."""
    pages, many = KeyPages(), 12
    ready, heard = threading.Barrier(many), queue.Queue[str]()
    page.gate.clear()
    page.answer = httpx.ReadTimeout("slow")

    def log_in() -> None:
        ready.wait(60)
        try:
            heard.put(str(is_known(pages, "a", NOW)))
        except RemoteFailure as failure:
            heard.put(failure.message)

    with ThreadPoolExecutor(many) as pool:
        for _ in range(many):
            pool.submit(log_in)
        assert page.met.wait(60)
        page.gate.wait(0.5)
        page.gate.set()
    told = {heard.get_nowait() for _ in range(many)}
    assert len(told) == 1
    assert "cannot be read" in told.pop()
    assert page.asked < many
    page.answer = None
    assert is_known(pages, "a", NOW)


def test_who_has_a_key_that_is_known_does_not_wait_while_the_page_is_read_for_another(page: Page) -> None:
    pages = KeyPages()
    assert is_known(pages, "a", NOW)
    page.gate.clear()
    page.met.clear()
    with ThreadPoolExecutor(1) as pool:
        guess = pool.submit(is_refused, pages, "made-up", NOW)
        assert page.met.wait(60)
        for _ in range(50):
            assert is_known(pages, "a", NOW)
        assert not guess.done()
        page.gate.set()
    assert guess.result()


@pytest.mark.security("S4")
def test_of_two_keys_of_one_name_neither_counts_but_the_same_one_twice_and_one_of_another_kind_do(page: Page) -> None:
    pages = KeyPages()
    one, other, third = public(ec_key("a"), "a"), public(ec_key("z"), "a"), public(rsa_key(), "a")
    page.answer = httpx.Response(200, json={"keys": [one, other]})
    assert is_refused(pages, "a", NOW)
    page.answer = httpx.Response(200, json={"keys": [one, third, one, {**other, "use": "enc"}]})
    assert is_known(pages, "a", NOW + MOST)
    assert pages.key(URL, REACH, "a", "RS256", NOW + MOST).as_dict(private=False)["n"] == third["n"]
