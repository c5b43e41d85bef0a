"""Clients that come to no end, say two things at once or hide one request in another, at the socket itself."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from api.door import MOST_HEAD, MOST_HEADERS, MOST_URL, Server, Waits
from api.inert import ON_ALL
from api.serve import listen
from api.tally import Tally

HOST = b"Host: here\r\n"
GET = b"GET /quick HTTP/1.1\r\n" + HOST
CLOSE = b"Connection: close\r\n\r\n"
POST = b"POST /read HTTP/1.1\r\n" + HOST
CHUNKED = b"Transfer-Encoding: chunked\r\n"
SILENCE = 60.0


@dataclass
class Echo:
    """An application that reads what it is asked to read and answers with what it got; it keeps what it was asked."""

    asked: list[tuple[str, str, dict[bytes, bytes], bytes]] = field(default_factory=list)
    go_on: threading.Event = field(default_factory=threading.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        if scope["path"] == "/read":
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                body, more = body + message["body"], message["more_body"]
        if scope["path"] == "/slow":
            while not self.go_on.is_set():
                await asyncio.sleep(0.01)
        self.asked.append((scope["method"], scope["path"], dict(scope["headers"]), body))
        told = b"got %d" % len(body)
        headers = [(b"content-length", str(len(told)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": told})


@dataclass(frozen=True)
class Open:
    """A server that waits for a short time: how to send it bytes, and what reached its application."""

    port: int
    app: Echo

    def connect(self) -> socket.socket:
        """A connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=SILENCE)

    def send(self, *pieces: bytes) -> bytes:
        """All that comes back until the server closes."""
        with self.connect() as one:
            for piece in pieces:
                one.sendall(piece)
            return rest(one)


def rest(one: socket.socket) -> bytes:
    """What comes until the other side closes; a connection that it broke off has ended, too."""
    found = b""
    try:
        while piece := one.recv(65_536):
            found += piece
    except (ConnectionResetError, BrokenPipeError):
        pass
    return found


def statuses(answer: bytes) -> list[int]:
    """The status of each answer in what came back."""
    lines = answer.split(b"\r\n")
    heads = [line.rpartition(b"HTTP/1.1 ")[2] for line in lines if b"HTTP/1.1 " in line]
    return [int(one[:3]) for one in heads]


Serving = Callable[[Waits], Open]


@pytest.fixture
def serving() -> Iterator[Serving]:
    """Starts servers in threads of their own, and ends them."""
    with ExitStack() as undo:

        def start(waits: Waits) -> Open:
            app = Echo()
            undo.callback(app.go_on.set)
            listening = undo.enter_context(closing(listen("127.0.0.1", 0)))
            config = uvicorn.Config(
                app, loop="uvloop", http="httptools", ws="none", lifespan="off", log_config=None, access_log=False
            )
            server = Server(config, Tally(1), None, 60.0, waits=waits)
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
            thread.start()
            undo.callback(thread.join, 60)
            undo.callback(setattr, server, "should_exit", True)
            return Open(listening.getsockname()[1], app)

        yield start


@pytest.fixture
def hasty(serving: Serving) -> Open:
    """A server that waits a fifth of a second."""
    return serving(Waits(head=0.2, body=0.2))


@pytest.fixture
def patient(serving: Serving) -> Open:
    """A server that waits as long as usual."""
    return serving(Waits())


@pytest.mark.security("S34", "S56")
@pytest.mark.parametrize(
    "begun",
    [
        b"G",
        b"GET",
        b"GET /quick HTTP/1.1",
        GET,
        GET + b"X-Half: ",
        GET + b"X-Whole: x\r\n",
        b"POST / HTTP/1.1\r\nContent-Le",
    ],
)
def test_a_head_that_does_not_come_to_its_end_is_answered_408_and_closed(hasty: Open, begun: bytes) -> None:
    assert statuses(hasty.send(begun)) == [408]
    assert hasty.app.asked == []


@pytest.mark.security("S34", "S56")
def test_who_drips_a_head_gains_no_time_by_it(hasty: Open) -> None:
    with hasty.connect() as one:
        one.settimeout(0.02)
        one.sendall(GET)
        answer = b""
        for number in range(3_000):
            try:
                one.sendall(b"X-%d: x\r\n" % number if number % 40 == 0 else b"")
                answer = one.recv(65_536)
                break
            except TimeoutError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                break
    assert statuses(answer) in ([408], [])
    assert hasty.app.asked == []


@pytest.mark.security("S34", "S56")
def test_who_says_nothing_is_left_without_a_word(hasty: Open) -> None:
    assert hasty.send() == b""


@pytest.mark.security("S34", "S56")
@pytest.mark.parametrize(
    "begun",
    [
        b"Content-Length: 10\r\n\r\n",
        b"Content-Length: 10\r\n\r\nhalf",
        CHUNKED + b"\r\n",
        CHUNKED + b"\r\n5\r\nhel",
        CHUNKED + b"\r\n5\r\nhello\r\n",
        CHUNKED + b"\r\n5;" + b"extension=x;" * 2_000,
        CHUNKED + b"\r\n0\r\nTrailer: without end",
    ],
)
def test_a_body_that_does_not_come_to_its_end_is_answered_408_and_closed(hasty: Open, begun: bytes) -> None:
    assert statuses(hasty.send(POST + begun)) == [408]
    assert hasty.app.asked == []


@pytest.mark.security("S34", "S56")
def test_who_goes_on_sending_after_its_answer_is_cut_off_without_a_second_one(hasty: Open) -> None:
    answer = hasty.send(b"POST /quick HTTP/1.1\r\n" + HOST + b"Content-Length: 1000000\r\n\r\n", b"x" * 1_000)
    assert statuses(answer) == [200]


@pytest.mark.security("S34", "S56")
def test_a_request_that_waits_for_the_one_before_it_is_not_late(hasty: Open) -> None:
    with hasty.connect() as one:
        one.sendall(b"GET /slow HTTP/1.1\r\n" + HOST + b"\r\n" + POST + b"Content-Length: 5\r\n\r\n")
        threading.Timer(0.7, hasty.app.go_on.set).start()
        threading.Timer(0.7, one.sendall, [b"hello"]).start()
        assert statuses(rest(one))[0] == 200
    assert hasty.app.asked[0][1] == "/slow"


@pytest.mark.security("S34", "S56")
def test_two_hundred_that_dawdle_keep_nobody_waiting(patient: Open) -> None:
    with ExitStack() as held:
        slow = [held.enter_context(patient.connect()) for _ in range(200)]
        for number, one in enumerate(slow):
            one.sendall((GET, POST + b"Content-Length: 9\r\n\r\nx", b"G")[number % 3])
        for _ in range(5):
            assert statuses(patient.send(GET + CLOSE)) == [200]


@pytest.mark.security("S34")
@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /" + b"a" * (MOST_URL + 1) + b" HTTP/1.1\r\n" + HOST + CLOSE, 414),
        (GET + b"X: x\r\n" * MOST_HEADERS + CLOSE, 431),
        (GET + b"X: " + b"a" * (MOST_HEAD + 1) + b"\r\n" + CLOSE, 431),
        (GET + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 900) for n in range(80)) + CLOSE, 431),
        (GET + b"X: " + b"a" * (MOST_HEAD * 2), 431),
        (GET + HOST + CLOSE, 400),
        (GET + b"host: elsewhere\r\n" + CLOSE, 400),
        (GET + b"Content-Length: 1\r\nContent-Length: 2\r\n" + CLOSE, 400),
        (GET + b"Content-Length: 1, 1\r\n" + CLOSE, 400),
        (GET + b"Content-Length: +1\r\n" + CLOSE, 400),
        (GET + b"Content-Length: 0x1\r\n" + CLOSE, 400),
        (GET + b"Content-Length: 99999999999999999999\r\n" + CLOSE, 400),
        (GET + b"Content-Length: 5\r\n" + CHUNKED + CLOSE, 400),
        (GET + CHUNKED + b"Content-Length: 5\r\n" + CLOSE, 400),
        (GET + b"Transfer-Encoding: chunked, identity\r\n" + CLOSE, 400),
        (GET + b"Transfer-Encoding: gzip\r\n" + CLOSE, 400),
        (GET + b"Transfer-Encoding: gzip, chunked\r\n" + CLOSE, 400),
        (GET + b"Transfer-Encoding: gzip\r\n" + CHUNKED + CLOSE, 400),
        (GET + b"Transfer-Encoding : chunked\r\n" + CLOSE, 400),
        (GET + b"X\x00Y: z\r\n" + CLOSE, 400),
        (GET + b"X: a\x00b\r\n" + CLOSE, 400),
        (GET + b"X: a\r\n folded\r\n" + CLOSE, 400),
        (GET + b"X Y: z\r\n" + CLOSE, 400),
        (GET + b": z\r\n" + CLOSE, 400),
        (GET + b"no colon\r\n" + CLOSE, 400),
        (b"GET /quick HTTP/1.1\r\n Host: here\r\n" + CLOSE, 400),
        (b"GET /qu\x00ick HTTP/1.1\r\n" + HOST + CLOSE, 400),
        (b"GET /qu\xffick HTTP/1.1\r\n" + HOST + CLOSE, 400),
        (b"GET quick HTTP/1.1\r\n" + HOST + CLOSE, 400),
        (b"GET http://[x/quick HTTP/1.1\r\n" + HOST + CLOSE, 400),
        (b"GET /quick HTTP/2.0\r\n" + HOST + CLOSE, 505),
        (b"GET /quick HTTP/0.9\r\n" + HOST + CLOSE, 505),
        (b"GET /quick HTTP/1.10\r\n" + HOST + CLOSE, 400),
        (b"GET /quick HTTP/1.1 x\r\n" + HOST + CLOSE, 400),
        (b"G\xc9T /quick HTTP/1.1\r\n" + HOST + CLOSE, 400),
        (POST + CHUNKED + b"\r\n-1\r\n", 400),
        (POST + CHUNKED + b"\r\nZ\r\n", 400),
        (POST + CHUNKED + b"\r\nFFFFFFFFFFFFFFFFF\r\n", 400),
        (POST + CHUNKED + b"\r\n5\r\nhelloGET /quick", 400),
        (POST + CHUNKED + b"\r\n5 \r\nhello\r\n0\r\n\r\n", 400),
    ],
)
def test_what_is_too_large_or_says_two_things_at_once_is_refused_before_anybody_reads_it(
    patient: Open, raw: bytes, status: int
) -> None:
    answer = patient.send(raw)
    assert statuses(answer) in ([status], [])
    if len(raw) < MOST_URL:
        assert statuses(answer) == [status]
        assert b"connection: close" in answer
    assert patient.app.asked == []


@pytest.mark.security("S34")
@pytest.mark.parametrize(
    ("raw", "path", "body"),
    [
        (b"GET http://elsewhere.example/quick?x HTTP/1.1\r\n" + HOST + CLOSE, "/quick", b""),
        (b"GET /quick HTTP/1.0\r\n" + HOST + b"\r\n", "/quick", b""),
        (b"GET /qu%2Fi%00ck HTTP/1.1\r\n" + HOST + CLOSE, "/qu/i\x00ck", b""),
        (b"GET /%ff%fe%C0%AF HTTP/1.1\r\n" + HOST + CLOSE, "/\ufffd\ufffd\ufffd\ufffd", b""),
        (b"GET /%zz%2 HTTP/1.1\r\n" + HOST + CLOSE, "/%zz%2", b""),
        (b"\r\n\r\nGET /quick HTTP/1.1\r\n" + HOST + CLOSE, "/quick", b""),
        (
            b"POST /read HTTP/1.1\r\n" + HOST + CHUNKED + b"Connection: close\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n",
            "/read",
            b"hello",
        ),
    ],
)
def test_what_is_odd_and_right_reaches_its_place(patient: Open, raw: bytes, path: str, body: bytes) -> None:
    assert statuses(patient.send(raw)) == [200]
    ((_, found, _, sent),) = patient.app.asked
    assert (found, sent) == (path, body)


@pytest.mark.security("S34")
def test_headers_behind_a_body_never_become_headers_of_the_request(patient: Open) -> None:
    trailer = b"0\r\nAuthorization: Bearer stolen\r\nHost: elsewhere\r\nX-Forwarded-For: x\r\n\r\n"
    raw = POST + CHUNKED + b"Connection: close\r\n\r\n2\r\nhi\r\n" + trailer
    assert statuses(patient.send(raw)) == [200]
    ((_, _, headers, body),) = patient.app.asked
    assert body == b"hi"
    assert set(headers) == {b"host", b"transfer-encoding", b"connection"}
    assert headers[b"host"] == b"here"
    endless = POST + CHUNKED + b"\r\n0\r\n" + b"X: x\r\n" * (MOST_HEADERS + 1) + b"\r\n"
    assert statuses(patient.send(endless)) in ([431], [])


@pytest.mark.security("S34")
def test_requests_sent_at_once_are_answered_in_their_order_and_nothing_after_a_broken_one(patient: Open) -> None:
    both = GET + b"\r\n" + POST + b"Content-Length: 2\r\n\r\nhi" + GET + CLOSE
    assert statuses(patient.send(both)) == [200, 200, 200]
    assert [path for _, path, _, _ in patient.app.asked] == ["/quick", "/read", "/quick"]
    patient.app.asked.clear()
    answer = patient.send(GET + b"\r\n" + b"BROKEN\x00\r\n\r\n" + GET + CLOSE)
    assert statuses(answer) in ([200, 400], [400], [200], [])
    assert len(patient.app.asked) <= 1


@pytest.mark.security("S34")
def test_no_refusal_is_taken_for_the_answer_of_a_request_that_still_runs(hasty: Open) -> None:
    with hasty.connect() as one:
        one.sendall(b"GET /slow HTTP/1.1\r\n" + HOST + b"\r\n" + b"BROKEN\x00\r\n\r\n")
        threading.Timer(0.5, hasty.app.go_on.set).start()
        assert 400 not in statuses(rest(one))


@pytest.mark.security("S34", "L3")
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x00\x01\x02\r\n\r\n", 400),
        (GET + HOST + CLOSE, 400),
        (b"GET /" + b"a" * MOST_URL + b" HTTP/1.1\r\n" + HOST + CLOSE, 414),
        (GET + b"X-Big: " + b"a" * MOST_HEAD + b"\r\n" + CLOSE, 431),
        (b"GET / HTTP/2.0\r\n" + HOST + CLOSE, 505),
        (b"GET / HTTP/1.1\r\n", 408),
    ],
)
def test_what_is_refused_at_the_door_is_inert_too(hasty: Open, sent: bytes, status: int) -> None:
    answer = hasty.send(sent)
    head, _, text = answer.partition(b"\r\n\r\n")
    assert statuses(answer) == [status]
    for name, value in ON_ALL:
        assert head.count(name + b": " + value + b"\r\n") == 1, name
    assert text.endswith(b".")
    assert int(re.findall(rb"content-length: (\d+)", head)[0]) == len(text)
