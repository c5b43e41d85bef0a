from __future__ import annotations

import gzip
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
import respx

from fhir_tracker.errors import RemoteFailure
from subscriptions.client import EhrClient, Fixed, Limits
from subscriptions.outbound import origin

BASE = "https://ehr.example/fhir"
FHIR = {"content-type": "application/fhir+json"}


@contextmanager
def client(
    base: str = BASE, authorization: str | None = None, **limits: float
) -> Iterator[tuple[EhrClient, list[float]]]:
    waits: list[float] = []
    chosen = Limits(**limits)  # type: ignore[arg-type]
    with EhrClient(
        base, authorizer=Fixed(value=authorization), limits=chosen, pause=waits.append, jitter=lambda: 0.5
    ) as made:
        yield made, waits


@contextmanager
def raw_server(*pieces: bytes, pause: float = 0.0) -> Iterator[str]:
    """A server that sends `pieces` to whoever connects, `pause` seconds apart, and hangs up."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                try:
                    peer.recv(65_536)
                    for piece in pieces:
                        peer.sendall(piece)
                        if stop.wait(pause):
                            return
                except OSError:
                    continue

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/fhir"
    finally:
        stop.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


@respx.mock
def test_every_request_asks_for_fresh_fhir_json_and_carries_the_secret() -> None:
    route = respx.get(f"{BASE}/Patient").respond(
        200, headers={**FHIR, "date": "Mon, 06 May 2024 12:00:00 GMT"}, text="{}"
    )
    with client(authorization="Bearer made-up") as (ehr, _):
        answer = ehr.get("Patient?_count=1")
    sent = route.calls.last.request.headers
    assert sent["cache-control"] == "no-cache"
    assert sent["accept"] == "application/fhir+json"
    assert sent["authorization"] == "Bearer made-up"
    assert sent["user-agent"] == "fhir-tracker"
    assert answer.served_at is not None
    assert answer.served_at.isoformat() == "2024-05-06T12:00:00+00:00"


@respx.mock
@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example/fhir/Patient", "https://ehr.example:8443/fhir/Patient", "http://ehr.example/fhir/Patient"],
)
def test_neither_a_redirect_nor_an_address_leads_to_another_origin(elsewhere: str) -> None:
    respx.get(f"{BASE}/Patient").respond(302, headers={"location": elsewhere})
    trap = respx.get(elsewhere)
    with client(authorization="Bearer made-up") as (ehr, _):
        for url in ("Patient", elsewhere):
            with pytest.raises(RemoteFailure, match="another origin") as caught:
                ehr.get(url)
            assert caught.value.permanent
    assert not trap.called


@respx.mock
def test_a_redirect_within_the_origin_is_followed_and_a_circle_of_them_is_not() -> None:
    respx.get(f"{BASE}/a").respond(307, headers={"location": "/fhir/b"})
    respx.get(f"{BASE}/b").respond(200, headers=FHIR, text="{}")
    respx.get(f"{BASE}/c").respond(302, headers={"location": "/fhir/c"})
    with client() as (ehr, _):
        assert ehr.get("a").url == f"{BASE}/b"
        with pytest.raises(RemoteFailure, match="redirects without end"):
            ehr.get("c")


@respx.mock
def test_server_errors_are_repeated_with_growing_waits_and_then_told() -> None:
    route = respx.get(f"{BASE}/x").respond(503)
    with client() as (ehr, waits):
        assert ehr.get("x").status == 503
    assert route.call_count == 4
    assert waits == [0.5, 1.0, 2.0]


@respx.mock
@pytest.mark.parametrize(
    ("said", "waited"),
    [
        ("7", 7.0),
        ("Mon, 06 May 2024 12:00:09 GMT", 9.0),
        ("soon", 0.5),
        ("-3", 0.5),
        ("Mon, 06 May 2024 11:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_read_in_both_forms(said: str, waited: float) -> None:
    headers = {"retry-after": said, "date": "Mon, 06 May 2024 12:00:00 GMT"}
    respx.get(f"{BASE}/x").mock(side_effect=[httpx.Response(429, headers=headers), httpx.Response(200, headers=FHIR)])
    with client() as (ehr, waits):
        assert ehr.get("x").status == 200
    assert waits == [waited]


@respx.mock
@pytest.mark.parametrize("said", ["86400", "99999999999999999999", "Tue, 07 May 2024 12:00:00 GMT"])
def test_a_long_retry_after_is_not_slept_but_handed_back_capped(said: str) -> None:
    headers = {"retry-after": said, "date": "Mon, 06 May 2024 12:00:00 GMT"}
    route = respx.get(f"{BASE}/x").respond(429, headers=headers)
    with client() as (ehr, waits):
        assert ehr.get("x").retry_after == 3600.0
    assert route.call_count == 1
    assert waits == []


@respx.mock
def test_connection_failures_are_repeated_and_then_name_the_cause() -> None:
    route = respx.get(f"{BASE}/x").mock(side_effect=httpx.ConnectError("[Errno 111] Connection refused"))
    with client() as (ehr, _), pytest.raises(RemoteFailure, match="cannot be reached: connection refused") as caught:
        ehr.get("x")
    assert route.call_count == 4
    assert not caught.value.permanent


@respx.mock
def test_a_compressed_answer_is_read_and_a_bomb_is_stopped() -> None:
    respx.get(f"{BASE}/good").respond(
        200, headers={**FHIR, "content-encoding": "gzip"}, content=gzip.compress(b'{"a":1}')
    )
    bomb = gzip.compress(b" " * 30_000_000)
    respx.get(f"{BASE}/bomb").respond(200, headers={**FHIR, "content-encoding": "gzip"}, content=bomb)
    respx.get(f"{BASE}/cut").respond(200, headers={**FHIR, "content-encoding": "gzip"}, content=bomb[:900])
    respx.get(f"{BASE}/odd").respond(200, headers={**FHIR, "content-encoding": "br"}, content=b"?")
    respx.get(f"{BASE}/big").respond(200, headers=FHIR, content=b" " * 1_000_001)
    with client(max_bytes=1_000_000) as (ehr, _):
        assert ehr.get("good").body == b'{"a":1}'
        for path, said in (
            ("bomb", "larger than"),
            ("cut", "ended too early"),
            ("odd", "not asked"),
            ("big", "larger"),
        ):
            with pytest.raises(RemoteFailure, match=said):
                ehr.get(path)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\n"


def test_a_body_that_drips_is_ended_at_the_limit() -> None:
    drip = [HEAD + b"Content-Length: 1000\r\n\r\n", *[b" "] * 2000]
    with raw_server(*drip, pause=0.05) as base, client(base, total_seconds=0.5, tries=1) as (ehr, _):
        started = time.monotonic()
        with pytest.raises(RemoteFailure, match=r"not complete after 0\.5 seconds"):
            ehr.get("x")
        assert time.monotonic() - started < 30


def test_headers_that_drip_are_ended_at_the_limit_and_the_client_stays_usable() -> None:
    drip = [bytes([byte]) for byte in HEAD] * 30
    with raw_server(*drip, pause=0.05) as base, client(base, total_seconds=0.5, tries=1) as (ehr, _):
        for _ in range(2):
            started = time.monotonic()
            with pytest.raises(RemoteFailure, match="not complete after"):
                ehr.get("x")
            assert time.monotonic() - started < 30


def test_an_answer_cut_off_before_its_length_is_a_failure() -> None:
    with raw_server(HEAD + b"Content-Length: 1000\r\n\r\n{") as base, client(base, tries=2) as (ehr, waits):
        with pytest.raises(RemoteFailure, match="broke"):
            ehr.get("x")
        assert waits == [0.5]


def test_what_is_not_http_is_a_failure() -> None:
    with (
        raw_server(b"\x15\x03\x01\x00\x02\x02\x28") as base,
        client(base, tries=1) as (ehr, _),
        pytest.raises(RemoteFailure, match="broke"),
    ):
        ehr.get("x")


@respx.mock
def test_no_address_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    respx.get(f"{BASE}/Patient").respond(200, headers=FHIR, text="{}")
    with client() as (ehr, _):
        ehr.get("Patient?name=CANARY")
    assert "CANARY" not in caplog.text


@pytest.mark.parametrize("url", ["ftp://x/y", "//x/y", "http://", "http://x:99999/", "javascript:1", "http://[x/"])
def test_an_address_without_a_web_origin_is_refused(url: str) -> None:
    with pytest.raises(RemoteFailure):
        origin(url)


def test_an_origin_has_its_default_port() -> None:
    assert origin("https://EHR.example/a") == origin("https://ehr.example:443/b")
