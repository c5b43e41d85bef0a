"""Keys at the address of a system: fetched when needed, kept as long as allowed, never more often than is decent."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import respx

from fhir_tracker.errors import Busy, RemoteFailure
from subscriptions.key_sets import LONGEST, MOST_FOR_ONE, MOST_WAITING, SHORTEST, SPARE, UNTOLD, KeySets, fetch_key_set
from tests.support.systems import ec_key, key_set, public, rsa_key, weak_rsa

URL = "https://reports.example/jwks.json"
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class Address:
    """What is at URL: the keys with these names, and how long they may be kept; `asked` counts."""

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ("a",)
        self.kept = ""
        self.answer: httpx.Response | Exception | None = None
        self.asked = 0
        self.hold: Callable[[], object] = lambda: None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        self.hold()
        if isinstance(self.answer, Exception):
            raise self.answer
        headers = {"Cache-Control": self.kept} if self.kept else {}
        return self.answer or httpx.Response(200, json=key_set(*self.names), headers=headers)


@pytest.fixture
def there() -> Iterator[Address]:
    made = Address()
    with respx.mock(assert_all_called=False) as router:
        router.get(url__startswith=URL).mock(side_effect=made)
        yield made


def ids(sets: KeySets, kid: str, now: datetime) -> list[str]:
    return [one.kid for one in sets.keys(URL, kid, now)]


@pytest.mark.requirement(108)
@pytest.mark.security("S7")
def test_keys_are_fetched_once_and_kept_as_long_as_their_server_says(there: Address) -> None:
    sets, there.kept = KeySets(), "public, max-age=600"
    for seconds in (0, 1, 599):
        assert ids(sets, "a", NOW + seconds * SECOND) == ["a"]
    assert there.asked == 1
    there.names = ("b",)
    assert ids(sets, "a", NOW + 600 * SECOND) == ["b"]
    assert there.asked == 2


@pytest.mark.requirement(108)
@pytest.mark.security("S7")
@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("", UNTOLD),
        ("max-age=0", SHORTEST),
        ("no-store", SHORTEST),
        ("no-cache, max-age=9999", SHORTEST),
        ("max-age=60", timedelta(seconds=60)),
        ("private, MAX-AGE=60", timedelta(seconds=60)),
        ('max-age="60"', timedelta(seconds=60)),
        ("max-age=999999999", LONGEST),
        ("max-age=9" + "9" * 50, LONGEST),
        ("max-age=-1", UNTOLD),
        ("max-age=soon", UNTOLD),
    ],
)
def test_what_the_server_says_counts_within_bounds(there: Address, told: str, kept: timedelta) -> None:
    there.kept = told
    assert fetch_key_set(URL)[1] == kept
    sets, there.asked = KeySets(), 0
    ids(sets, "a", NOW)
    ids(sets, "a", NOW + kept - SECOND)
    assert there.asked == 1
    ids(sets, "a", NOW + kept)
    assert there.asked == 2


@pytest.mark.fault("F29")
@pytest.mark.requirement(108)
@pytest.mark.security("S7", "S4")
def test_an_unknown_key_has_them_fetched_again_but_not_at_every_knock(there: Address) -> None:
    sets, there.kept = KeySets(), "max-age=3600"
    assert ids(sets, "a", NOW) == ["a"]
    for number in range(200):
        assert ids(sets, f"made-up-{number}", NOW + number * SECOND / 20) == ["a"]
    assert there.asked == 1
    there.names = ("a", "b")
    assert ids(sets, "b", NOW + SHORTEST) == ["a", "b"]
    assert there.asked == 2


@pytest.mark.fault("F29")
@pytest.mark.security("S7")
@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500),
        httpx.Response(404),
        httpx.Response(302, headers={"Location": "http://169.254.169.254/"}),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"keys": "none"}),
        httpx.Response(200, json={"keys": [1]}),
        httpx.Response(200, content=b"x" * 200_000),
        httpx.Response(200, content=b'{"keys":' + b"[" * 50_000),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
    ],
    ids=lambda one: repr(one)[:30],
)
def test_an_address_that_fails_gives_no_keys_and_is_not_asked_at_every_knock(
    there: Address, answer: httpx.Response | Exception
) -> None:
    sets, there.answer = KeySets(), answer
    for seconds in range(20):
        with pytest.raises(RemoteFailure):
            ids(sets, "a", NOW + seconds * SECOND)
    assert there.asked == 1
    there.answer = None
    assert ids(sets, "a", NOW + SHORTEST) == ["a"]


@pytest.mark.fault("F29")
@pytest.mark.security("S7")
def test_keys_outlive_a_short_absence_of_their_server_and_no_long_one(there: Address) -> None:
    sets, there.kept = KeySets(), "max-age=60"
    ids(sets, "a", NOW)
    there.answer = httpx.ConnectError("refused")
    ends = NOW + timedelta(seconds=60) + SPARE
    assert ids(sets, "a", ends - SECOND) == ["a"]
    with pytest.raises(RemoteFailure):
        ids(sets, "a", ends)


@pytest.mark.fault("F29")
@pytest.mark.security("S7")
def test_a_key_that_was_taken_away_counts_no_more_once_the_set_is_fetched_anew(there: Address) -> None:
    sets, there.kept = KeySets(), "max-age=60"
    there.names = ("stolen", "b")
    assert ids(sets, "stolen", NOW) == ["stolen", "b"]
    there.names = ("b",)
    assert ids(sets, "stolen", NOW + timedelta(seconds=60)) == ["b"]


@pytest.mark.fault("F29")
@pytest.mark.security("S7")
def test_a_clock_that_was_put_back_makes_nothing_stay_for_ever(there: Address) -> None:
    sets = KeySets()
    ids(sets, "a", NOW)
    there.names = ("b",)
    assert ids(sets, "b", NOW - timedelta(days=30)) == ["b"]


@pytest.mark.requirement(108)
@pytest.mark.security("S1")
def test_only_keys_that_can_be_trusted_are_taken_from_the_set(there: Address) -> None:
    private = {**ec_key("p").as_dict(private=True), "kid": "p"}
    mixed = [
        private,
        weak_rsa("short"),
        public(ec_key("w", "P-256"), "weak"),
        {"kty": "oct", "k": "AAAA", "kid": "oct"},
        public(rsa_key(), "rsa256", alg="RS256"),
        public(rsa_key(), "enc", use="enc"),
        {"kty": "RSA"},
        public(rsa_key(), "good"),
    ]
    there.answer = httpx.Response(200, content=json.dumps({"keys": mixed}).encode())
    assert ids(KeySets(), "good", NOW) == ["good"]


@pytest.mark.security("S3", "S29")
def test_an_address_inside_a_cloud_and_a_file_are_never_asked() -> None:
    with pytest.raises(RemoteFailure):
        fetch_key_set("http://169.254.169.254/jwks.json")
    with pytest.raises(RemoteFailure):
        fetch_key_set("file:///etc/passwd")


@contextmanager
def standing_still(there: Address) -> Iterator[threading.Event]:
    """Whoever asks at the address from now on is answered when this ends; the event is set once somebody does."""
    asked, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        asked.set()
        assert go_on.wait(60)

    there.hold = hold
    try:
        yield asked
    finally:
        there.hold = lambda: None
        go_on.set()


def crowd(
    pool: ThreadPoolExecutor, ask: Callable[[int], list[str]], count: int
) -> tuple[queue.Queue[str], list[Future[None]]]:
    """`ask` by so many at once; what became of those who have heard."""
    heard: queue.Queue[str] = queue.Queue()

    def one(number: int) -> None:
        try:
            heard.put(",".join(ask(number)))
        except (Busy, RemoteFailure) as error:
            heard.put(type(error).__name__)

    return heard, [pool.submit(one, number) for number in range(count)]


@pytest.mark.fault("F29")
@pytest.mark.security("S7", "S56")
def test_who_has_a_key_that_is_known_does_not_wait_while_the_set_is_fetched_for_another(there: Address) -> None:
    sets, there.kept = KeySets(), "max-age=3600"
    ids(sets, "a", NOW)
    with ThreadPoolExecutor(1) as pool, standing_still(there) as asked:
        guess = pool.submit(ids, sets, "made-up", NOW + SHORTEST)
        assert asked.wait(60)
        assert [ids(sets, "a", NOW + SHORTEST) for _ in range(20)] == [["a"]] * 20
        assert not guess.done()
    assert guess.result() == ["a"]


@pytest.mark.fault("F29")
@pytest.mark.security("S7", "S56")
def test_few_wait_for_an_address_that_does_not_answer_and_the_others_hear_so_at_once(there: Address) -> None:
    sets, more = KeySets(), 20
    with ThreadPoolExecutor(MOST_FOR_ONE + more) as pool:
        with standing_still(there):
            heard, _ = crowd(pool, lambda number: ids(sets, "a", NOW), MOST_FOR_ONE + more)
            assert [heard.get(timeout=60) for _ in range(more)] == ["Busy"] * more
            assert heard.empty()
        assert [heard.get(timeout=60) for _ in range(MOST_FOR_ONE)] == ["a"] * MOST_FOR_ONE
    assert there.asked == 1
    assert ids(sets, "a", NOW + SECOND) == ["a"]


@pytest.mark.fault("F29")
@pytest.mark.security("S7", "S56")
def test_when_too_many_wait_for_old_keys_to_be_fetched_anew_those_count_for_the_others(there: Address) -> None:
    sets, more, there.kept = KeySets(), 5, "max-age=60"
    ids(sets, "a", NOW)
    later, there.names = NOW + 61 * SECOND, ("b",)
    with ThreadPoolExecutor(MOST_FOR_ONE + more) as pool:
        with standing_still(there):
            heard, _ = crowd(pool, lambda number: ids(sets, "a", later), MOST_FOR_ONE + more)
            assert [heard.get(timeout=60) for _ in range(more)] == ["a"] * more
            with pytest.raises(Busy):
                ids(sets, "b", later)
        assert [heard.get(timeout=60) for _ in range(MOST_FOR_ONE)] == ["b"] * MOST_FOR_ONE
    assert ids(sets, "b", later) == ["b"]


@pytest.mark.security("S7", "S56")
def test_all_addresses_together_keep_no_more_than_some_waiting_and_give_their_places_back(there: Address) -> None:
    sets, more = KeySets(), 6
    count = MOST_WAITING + more

    def ask(number: int) -> list[str]:
        return [one.kid for one in sets.keys(f"{URL}?{number}", "a", NOW)]

    with ThreadPoolExecutor(count) as pool:
        with standing_still(there):
            heard, _ = crowd(pool, ask, count)
            assert [heard.get(timeout=60) for _ in range(more)] == ["Busy"] * more
        assert [heard.get(timeout=60) for _ in range(MOST_WAITING)] == ["a"] * MOST_WAITING
        there.answer = httpx.ConnectError("refused")
        for _ in range(2):
            heard, done = crowd(pool, lambda number: ask(100 + number), MOST_WAITING)
            assert {heard.get(timeout=60) for _ in done} == {"RemoteFailure"}
