"""Answers written in one piece are, byte for byte, those that uvicorn writes in two, and whatever is odd is left to it."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest
import uvicorn
from starlette.types import Message, Receive, Scope, Send

from api.door import Server
from api.serve import listen
from api.tally import Tally

Words = tuple[Message, ...]
_DATE = re.compile(rb"date: [^\r]+\r\n")
GET = b"GET /x HTTP/1.1\r\nHost: h\r\n"
LAST = b"Connection: close\r\n\r\n"


def begun(status: int = 200, *headers: tuple[bytes, bytes]) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def length(number: int) -> tuple[bytes, bytes]:
    return b"content-length", str(number).encode()


def part(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


ANSWERS: dict[str, Words] = {
    "whole": (begun(200, (b"content-type", b"text/plain"), length(5)), part(b"hello")),
    "empty": (begun(200, length(0)), part(b"")),
    "without a body key": (begun(200, length(0)), {"type": "http.response.body"}),
    "created": (begun(201, (b"Location", b"/y"), (b"ETag", b'W/"1"'), length(2)), part(b"{}")),
    "no content": (begun(204), part(b"")),
    "not modified": (begun(304, (b"etag", b'"1"')), part(b"")),
    "not modified with a length": (begun(304, length(0)), part(b"")),
    "unknown length": (begun(200), part(b"hello")),
    "unknown length in parts": (begun(200), part(b"hel", more=True), part(b"lo")),
    "known length in parts": (begun(200, length(5)), part(b"hel", more=True), part(b"lo")),
    "known length and a last empty part": (begun(200, length(5)), part(b"hello", more=True), part(b"")),
    "chunked in words": (begun(200, (b"transfer-encoding", b"chunked")), part(b"hello")),
    "both": (begun(200, length(5), (b"transfer-encoding", b"chunked")), part(b"hello")),
    "closing": (begun(200, (b"connection", b"close"), length(5)), part(b"hello")),
    "keeping": (begun(200, (b"Connection", b"Keep-Alive"), length(5)), part(b"hello")),
    "a length in capitals": (begun(200, (b"Content-Length", b"5")), part(b"hello")),
    "two lengths": (begun(200, length(5), length(5)), part(b"hello")),
    "an error": (begun(503, (b"retry-after", b"1"), length(4)), part(b"busy")),
    "large": (begun(200, length(300_000)), part(b"x" * 300_000)),
    "a header of every byte": (begun(200, (b"x-odd", bytes(range(0x80, 0x100))), length(1)), part(b"x")),
    "one name several times": (begun(200, (b"vary", b"a"), (b"vary", b"b"), length(1)), part(b"x")),
}
BROKEN: dict[str, Words] = {
    "too short": (begun(200, length(9)), part(b"hello")),
    "too long": (begun(200, length(2)), part(b"hello")),
    "a length in words": (begun(200, (b"content-length", b"five")), part(b"hello")),
    "nothing at all": (),
    "a body without a head": (part(b"hello"),),
    "two heads": (begun(200, length(5)), begun(200, length(5)), part(b"hello")),
    "words after the end": (begun(200, length(5)), part(b"hello"), part(b"more")),
    "another kind of word": ({"type": "http.response.trailers", "headers": []},),
}
FORBIDDEN: dict[str, Words] = {
    "a line break in a value": (begun(200, (b"x", b"a\r\nset-cookie: b"), length(1)), part(b"x")),
    "half a line break": (begun(200, (b"x", b"a\nb"), length(1)), part(b"x")),
    "nought in a value": (begun(200, (b"x", b"a\0b"), length(1)), part(b"x")),
    "a line break in a name": (begun(200, (b"x\r\ny", b"a"), length(1)), part(b"x")),
    "a space in a name": (begun(200, (b"x y", b"a"), length(1)), part(b"x")),
}
REQUESTS: dict[str, bytes] = {
    "get": GET + LAST,
    "head": b"HEAD /x HTTP/1.1\r\nHost: h\r\n" + LAST,
    "old": b"GET /x HTTP/1.0\r\nHost: h\r\n\r\n",
    "two on one connection": GET + b"\r\n" + GET + LAST,
    "with a body": b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n" + LAST + b"abc",
}


def app_of(words: Words, *, fails: bool = False) -> object:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "POST":
            await receive()
        for word in words:
            await send(dict(word))
        if fails:
            raise ZeroDivisionError

    return app


async def heard(server: uvicorn.Server, listening: socket.socket, requests: Iterable[bytes]) -> list[bytes]:
    """What comes back for each, on a connection of its own, without the date."""
    running = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started:
        await asyncio.sleep(0.01)
    answers = []
    for raw in requests:
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        writer.write(raw)
        answers.append(_DATE.sub(b"", await asyncio.wait_for(reader.read(), 20)))
        writer.close()
    server.should_exit = True
    await running
    return answers


def answered(app: object, requests: Iterable[bytes], *, ours: bool) -> list[bytes]:
    """By our server, or by uvicorn's own, in a thread of its own: a browser that is open has a loop in this one."""
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        http="httptools", loop="asyncio", ws="none", lifespan="off", log_config=None, server_header=False,
    )  # fmt: skip
    server = Server(config, Tally(), None, 30.0) if ours else uvicorn.Server(config)
    with listen("127.0.0.1", 0) as listening, ThreadPoolExecutor(1) as beside:
        return beside.submit(asyncio.run, heard(server, listening, requests)).result()


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_in_one_piece_is_the_one_that_uvicorn_writes(name: str) -> None:
    app = app_of(ANSWERS[name])
    ours, theirs = (answered(app, REQUESTS.values(), ours=one) for one in (True, False))
    assert dict(zip(REQUESTS, ours, strict=True)) == dict(zip(REQUESTS, theirs, strict=True))
    assert all(one.startswith(b"HTTP/1.1 ") for one in ours)


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_answer_ends_as_it_does_with_uvicorn(name: str) -> None:
    app = app_of(BROKEN[name])
    ours, theirs = (answered(app, [GET + LAST], ours=one) for one in (True, False))
    assert ours == theirs
    assert ours[0].count(b"HTTP/1.1 ") <= 1


@pytest.mark.security("S34")
@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_header_that_would_be_taken_for_more_is_never_sent(name: str) -> None:
    (told,) = answered(app_of(FORBIDDEN[name]), [GET + LAST], ours=True)
    assert told.startswith(b"HTTP/1.1 500 ")
    assert told.endswith(b"\r\n\r\nInternal Server Error")
    assert b"set-cookie" not in told


def test_an_answer_that_was_not_finished_when_something_went_wrong_is_an_error() -> None:
    (told,) = answered(app_of((begun(200, length(5)),), fails=True), [GET + LAST], ours=True)
    assert told.startswith(b"HTTP/1.1 500 ")
    (told,) = answered(app_of((begun(200, length(5)), part(b"hel", more=True)), fails=True), [GET + LAST], ours=True)
    assert told.startswith(b"HTTP/1.1 200 ")
    assert told.endswith(b"hel")
