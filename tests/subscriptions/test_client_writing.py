"""What the client does with a write: never twice unless the server has surely not done it, and no guess at what became of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import httpx
import pytest
import respx

from fhir_tracker.errors import RemoteFailure
from subscriptions.client import EhrClient, Limits
from tests.subscriptions.test_client import FHIR, HEAD, raw_server

BASE = "https://ehr.example/fhir"
BODY = b'{"resourceType":"Task"}'


class Tokens:
    """An Authorizer that counts; `more` new tokens are to be had."""

    def __init__(self, more: int = 0) -> None:
        self.number = 1
        self.more = more
        self.asked: list[datetime] = []

    def header(self, now: datetime) -> str | None:
        self.asked.append(now)
        return f"Bearer made-up-{self.number}"

    def refused(self) -> bool:
        if not self.more:
            return False
        self.more -= 1
        self.number += 1
        return True


class Purse:
    """A Budget that says these waits, and remembers what it was told."""

    def __init__(self, *waits: float) -> None:
        self.waits = list(waits)
        self.told: list[tuple[int, float | None]] = []

    def take(self) -> float:
        return self.waits.pop(0) if self.waits else 0.0

    def served(self, status: int, retry_after: float | None) -> None:
        self.told.append((status, retry_after))


@contextmanager
def client(
    base: str = BASE, tokens: Tokens | None = None, purse: Purse | None = None, **limits: float
) -> Iterator[tuple[EhrClient, list[float]]]:
    waits: list[float] = []
    chosen = Limits(**limits)  # type: ignore[arg-type]
    made = EhrClient(base, authorizer=tokens, budget=purse, limits=chosen, pause=waits.append, jitter=lambda: 0.5)
    with made:
        yield made, waits


@respx.mock
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_write_carries_its_body_and_headers_and_brings_back_where_it_went(method: str) -> None:
    answer = {**FHIR, "etag": 'W/"3"', "location": f"{BASE}/Task/1/_history/3"}
    route = respx.route(method=method, url=f"{BASE}/Task/1").respond(201, headers=answer, text="{}")
    with client(tokens=Tokens()) as (ehr, _):
        got = ehr.send(method, "Task/1", BODY, {"If-Match": 'W/"2"', "Content-Type": "application/fhir+json"})
    sent = route.calls.last.request
    assert (sent.method, sent.content, sent.headers["if-match"]) == (method, BODY, 'W/"2"')
    assert sent.headers["authorization"] == "Bearer made-up-1"
    assert (got.status, got.etag, got.location) == (201, 'W/"3"', f"{BASE}/Task/1/_history/3")


@respx.mock
@pytest.mark.parametrize(
    ("status", "headers", "requests"),
    [
        (429, {}, 4),
        (429, {"retry-after": "2"}, 4),
        (503, {"retry-after": "2"}, 4),
        (503, {}, 1),
        (429, {"retry-after": "3000"}, 1),
        (500, {}, 1),
        (502, {"retry-after": "1"}, 1),
        (504, {}, 1),
        (408, {}, 1),
        (409, {}, 1),
        (412, {}, 1),
    ],
)
def test_a_write_is_repeated_only_when_the_server_says_that_it_has_not_begun(
    status: int, headers: dict[str, str], requests: int
) -> None:
    route = respx.put(f"{BASE}/Task/1").respond(status, headers=headers)
    with client() as (ehr, _):
        assert ehr.send("PUT", "Task/1", BODY).status == status
    assert route.call_count == requests


@respx.mock
@pytest.mark.parametrize("error", [httpx.ConnectError("refused"), httpx.ConnectTimeout("slow")])
def test_a_write_that_never_left_is_repeated(error: Exception) -> None:
    route = respx.post(f"{BASE}/Task").mock(side_effect=[error, httpx.Response(201, headers=FHIR)])
    with client() as (ehr, _):
        assert ehr.send("POST", "Task", BODY).status == 201
    assert route.call_count == 2


@respx.mock
@pytest.mark.parametrize("error", [httpx.ConnectError("refused"), httpx.ConnectTimeout("slow")])
def test_a_server_that_stays_unreachable_has_surely_not_written(error: Exception) -> None:
    respx.post(f"{BASE}/Task").mock(side_effect=error)
    with client() as (ehr, _), pytest.raises(RemoteFailure, match="cannot be reached") as caught:
        ehr.send("POST", "Task", BODY)
    assert not caught.value.unknown


@respx.mock
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("error", [httpx.ReadTimeout, httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError])
def test_a_write_that_may_have_arrived_is_not_repeated_and_says_so(
    method: str, error: type[httpx.TransportError]
) -> None:
    route = respx.route(method=method, url=f"{BASE}/Task/1").mock(side_effect=error("made up"))
    with client() as (ehr, _), pytest.raises(RemoteFailure) as caught:
        ehr.send(method, "Task/1", BODY)
    assert caught.value.unknown
    assert not caught.value.permanent
    assert route.call_count == 1


@pytest.mark.parametrize("cut", [HEAD + b"Content-Length: 90\r\n\r\n{", b"\x15\x03\x01", b""])
def test_a_real_server_that_hangs_up_in_its_answer_leaves_the_outcome_open(cut: bytes) -> None:
    with raw_server(cut) as base, client(base) as (ehr, waits), pytest.raises(RemoteFailure) as caught:
        ehr.send("PUT", "Task/1", BODY, {"If-Match": 'W/"2"'})
    assert caught.value.unknown
    assert waits == []


def test_an_answer_to_a_write_that_drips_is_ended_with_an_open_outcome() -> None:
    drip = [HEAD + b"Content-Length: 1000\r\n\r\n", *[b" "] * 2000]
    with (
        raw_server(*drip, pause=0.05) as base,
        client(base, total_seconds=0.5) as (ehr, _),
        pytest.raises(RemoteFailure, match="not complete after") as caught,
    ):
        ehr.send("POST", "Task", BODY)
    assert caught.value.unknown


@respx.mock
def test_an_answer_too_large_to_read_leaves_the_outcome_open() -> None:
    respx.post(f"{BASE}/Task").respond(201, headers=FHIR, content=b" " * 2000)
    with client(max_bytes=1000) as (ehr, _), pytest.raises(RemoteFailure, match="larger") as caught:
        ehr.send("POST", "Task", BODY)
    assert caught.value.unknown


@respx.mock
def test_a_read_never_has_an_unknown_outcome() -> None:
    respx.get(f"{BASE}/Task").mock(side_effect=httpx.ReadError("made up"))
    with client(tries=1) as (ehr, _), pytest.raises(RemoteFailure) as caught:
        ehr.get("Task")
    assert not caught.value.unknown


@respx.mock
def test_a_write_follows_a_redirect_that_keeps_its_method_and_no_other() -> None:
    respx.post(f"{BASE}/a").respond(307, headers={"location": "/fhir/b"})
    moved = respx.post(f"{BASE}/b").respond(201, headers=FHIR)
    respx.post(f"{BASE}/c").respond(303, headers={"location": "/fhir/d"})
    respx.post(f"{BASE}/e").respond(308, headers={"location": "https://evil.example/"})
    with client() as (ehr, _):
        assert ehr.send("POST", "a", BODY).status == 201
        with pytest.raises(RemoteFailure, match="redirects what was to be written") as turned:
            ehr.send("POST", "c", BODY)
        with pytest.raises(RemoteFailure, match="another origin") as away:
            ehr.send("POST", "e", BODY)
    assert moved.calls.last.request.content == BODY
    assert (turned.value.unknown, away.value.unknown) == (True, False)


@respx.mock
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_after_a_401_a_request_is_made_once_more_with_the_new_token(method: str) -> None:
    answers = [httpx.Response(401), httpx.Response(200, headers=FHIR, text="{}")]
    route = respx.route(method=method, url=f"{BASE}/Task").mock(side_effect=answers)
    with client(tokens=Tokens(more=1)) as (ehr, waits):
        got = ehr.get("Task") if method == "GET" else ehr.send(method, "Task", BODY)
    assert got.status == 200
    assert [call.request.headers["authorization"] for call in route.calls] == ["Bearer made-up-1", "Bearer made-up-2"]
    assert waits == []


@respx.mock
def test_a_second_401_is_the_answer_however_many_tokens_there_are() -> None:
    route = respx.get(f"{BASE}/Task").respond(401)
    with client(tokens=Tokens(more=9)) as (ehr, _):
        assert ehr.get("Task").status == 401
    assert route.call_count == 2


@respx.mock
def test_without_a_new_token_a_401_is_the_answer() -> None:
    route = respx.get(f"{BASE}/Task").respond(401)
    with client(tokens=Tokens()) as (ehr, _), client() as (plain, _):
        assert ehr.get("Task").status == plain.get("Task").status == 401
    assert route.call_count == 2


@respx.mock
def test_the_budget_is_asked_before_each_request_and_hears_what_came_of_it() -> None:
    answers: list[httpx.Response | Exception] = [
        httpx.ConnectError("refused"),
        httpx.Response(429, headers={"retry-after": "2"}),
        httpx.Response(200),
    ]
    respx.get(f"{BASE}/Task").mock(side_effect=answers)
    purse = Purse(0.0, 1.5, 3.0)
    with client(purse=purse) as (ehr, waits):
        assert ehr.get("Task").status == 200
    assert purse.told == [(0, None), (429, 2.0), (200, None)]
    assert waits == [0.5, 1.5, 2.0, 3.0]


@respx.mock
def test_a_turn_that_is_too_far_off_is_handed_back_and_nothing_is_asked() -> None:
    route = respx.get(f"{BASE}/Task").respond(200)
    with client(purse=Purse(600.0)) as (ehr, waits), pytest.raises(RemoteFailure, match="held back") as caught:
        ehr.get("Task")
    assert (caught.value.retry_after, waits, route.call_count) == (600.0, [], 0)
