"""Requests that are wrong before any body is read: broken heads, smuggled requests, strange methods and addresses."""

from __future__ import annotations

import socket
import time

import httpx
import pytest

from tests.conformance.server import Tracker
from tests.conformance.talk import JSON, issue_of

PUT = b'{"resourceType":"Basic","id":"smuggled","code":{"text":"x"}}'


def send(tracker: Tracker, raw: bytes, seconds: float = 60) -> bytes:
    """All that comes back for these bytes, until the server closes or falls silent."""
    with socket.create_connection(("127.0.0.1", tracker.port), timeout=seconds) as connection:
        connection.sendall(raw)
        found = b""
        try:
            while piece := connection.recv(65536):
                found += piece
                connection.settimeout(seconds if b"Connection: close" in raw else 5)
        except (TimeoutError, ConnectionResetError):
            pass
        return found


def head(tracker: Tracker, first: str, *lines: str) -> bytes:
    host = f"Host: 127.0.0.1:{tracker.port}"
    return "\r\n".join([first, host, *lines, "", ""]).encode("latin-1")


@pytest.fixture(autouse=True)
def unharmed(one_tracker: Tracker) -> None:
    """Whatever came before, the server answers."""
    assert httpx.get(f"{one_tracker.url}/livez", timeout=60, trust_env=False).status_code == 200


@pytest.mark.security("S34")
@pytest.mark.parametrize(
    "first",
    [
        "GET /fhir/Patient HTTP/9.9",
        "GET  HTTP/1.1",
        "\x00\x01\x02",
        "GET /fhir/Patient\x00 HTTP/1.1",
        "GET /fhir/Pat\xffient HTTP/1.1",
        "GET " + "/a" * 50_000 + " HTTP/1.1",
        "CONNECT 127.0.0.1:22 HTTP/1.1",
        "TRACE /fhir/Patient HTTP/1.1",
        "PRI * HTTP/2.0",
        "A" * 10_000 + " / HTTP/1.1",
    ],
)
def test_a_broken_request_line_is_refused_or_dropped(one_tracker: Tracker, first: str) -> None:
    answer = send(one_tracker, head(one_tracker, first, "Connection: close"))
    assert not answer or answer.startswith(b"HTTP/1.1 4"), answer[:200]
    assert b"Traceback" not in answer


@pytest.mark.security("S34")
def test_a_hundred_thousand_headers_and_a_huge_one_are_refused_or_dropped(one_tracker: Tracker) -> None:
    for lines in ([f"X-{number}: x" for number in range(20_000)], ["X-Big: " + "a" * 2_000_000]):
        began = time.monotonic()
        try:
            answer = send(one_tracker, head(one_tracker, "GET /fhir/metadata HTTP/1.1", *lines, "Connection: close"))
        except (BrokenPipeError, ConnectionResetError):
            answer = b""
        assert not answer or answer.split(b" ")[1][:1] in (b"2", b"4")
        assert time.monotonic() - began < 90


@pytest.mark.security("S34")
@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 6", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 6"],
        ["Content-Length: 6", "Content-Length: 60"],
        ["Content-Length: -1"],
        ["Content-Length: 6x"],
        ["Transfer-Encoding: xchunked"],
        ["Transfer-Encoding : chunked"],
    ],
)
def test_no_second_request_can_hide_in_the_body_of_a_first(one_tracker: Tracker, lines: list[str]) -> None:
    hidden = head(one_tracker, "PUT /fhir/Basic/smuggled HTTP/1.1", *[f"{k}: {v}" for k, v in JSON.items()])
    hidden = hidden[:-2] + f"Content-Length: {len(PUT)}\r\n\r\n".encode() + PUT
    body = b"0\r\n\r\n" + hidden
    answer = send(one_tracker, head(one_tracker, "POST /fhir/Patient/_search HTTP/1.1", *lines) + body)
    assert b"201 Created" not in answer
    issue_of(httpx.get(f"{one_tracker.fhir}/Basic/smuggled", timeout=60, trust_env=False), 404)


@pytest.mark.security("S28", "S34")
def test_nothing_of_a_request_becomes_a_header_of_the_answer(one_tracker: Tracker) -> None:
    for path in (
        "/fhir/Patient?name=a%0d%0aSet-Cookie:%20x=1",
        "/fhir/Patient%0d%0aSet-Cookie:%20x=1",
        "/fhir/Patient/%0d%0aSet-Cookie:%20x=1",
        "/tasks/%0d%0aSet-Cookie:%20x=1?back=%0d%0aSet-Cookie:%20x=1",
    ):
        answer = send(one_tracker, head(one_tracker, f"GET {path} HTTP/1.1", "Connection: close"))
        lines = answer.partition(b"\r\n\r\n")[0].split(b"\r\n")
        named = [line.partition(b":")[0].lower() for line in lines]
        assert b"set-cookie" not in named or path.startswith("/tasks"), answer[:400]
        assert path.startswith("/tasks") or b"content-type: application/fhir+json" in answer
        assert b"Set-Cookie: x=1" not in lines
    given = send(one_tracker, head(one_tracker, "GET /livez HTTP/1.1", "X-Request-Id: a\x0bb", "Connection: close"))
    assert b"a\x0bb" not in given


@pytest.mark.security("S34")
@pytest.mark.parametrize("header", ["X-HTTP-Method-Override", "X-Method-Override", "X-HTTP-Method"])
def test_no_header_turns_a_read_into_a_write(one_tracker: Tracker, header: str) -> None:
    with httpx.Client(base_url=one_tracker.fhir, timeout=60, trust_env=False) as client:
        before = client.put("/Basic/kept", content=PUT.replace(b"smuggled", b"kept"), headers=JSON).headers["etag"]
        for method in ("DELETE", "PUT"):
            client.get("/Basic/kept", headers={header: method})
            client.post("/Basic/_search", headers={header: method})
            client.get(f"/Basic/kept?_method={method}")
        answer = client.get("/Basic/kept")
        assert (answer.status_code, answer.headers["etag"]) == (200, before)


@pytest.mark.security("S34", "S36")
@pytest.mark.parametrize(
    "path",
    [
        "/static/../../../../etc/passwd",
        "/static/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/static/..%2f..%2f..%2fetc%2fpasswd",
        "/static/....//....//etc/passwd",
        "/static//etc/passwd",
        "/static/%00",
        "/static/",
        "/static/../templates/base.html",
        "/static/..%5c..%5ctemplates%5cbase.html",
        "/fhir/../static/../../pyproject.toml",
        "/fhir/Patient/..%2f..%2fetc%2fpasswd",
        "/%2e%2e/%2e%2e/etc/passwd",
    ],
)
def test_no_address_leads_to_a_file_that_is_not_meant(one_tracker: Tracker, path: str) -> None:
    answer = send(one_tracker, head(one_tracker, f"GET {path} HTTP/1.1", "Connection: close"))
    assert answer.startswith(b"HTTP/1.1 40"), answer[:200]
    for text in (b"root:x", b"{% ", b"[build-system]"):
        assert text not in answer


@pytest.mark.security("S34")
def test_a_client_that_dawdles_or_leaves_keeps_nobody_waiting(one_tracker: Tracker) -> None:
    lines = [*(f"{name}: {value}" for name, value in JSON.items()), "Content-Length: 1000"]
    slow = [socket.create_connection(("127.0.0.1", one_tracker.port), timeout=60) for _ in range(60)]
    try:
        for number, connection in enumerate(slow):
            connection.sendall(head(one_tracker, "POST /fhir/Basic HTTP/1.1", *lines) + PUT[: number % 20])
        began = time.monotonic()
        assert httpx.get(f"{one_tracker.fhir}/Patient?_count=1", trust_env=False, timeout=60).status_code == 200
        assert time.monotonic() - began < 40
    finally:
        for connection in slow:
            connection.close()
