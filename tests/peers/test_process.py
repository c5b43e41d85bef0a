"""Asking whether a server is there: yes by its status alone, and no failure however it answers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.peers.process import answers, free_port

WORDS = {
    "/there": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "/there?really=yes": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "/": b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    "/away": b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
    "/mad": b"these words are no HTTP\r\n\r\n",
    "/mute": b"",
}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A server that answers each path in its own way and closes the connection."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(WORDS[connection.recv(4096).split()[1].decode()])

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("path", "status", "is_so"),
    [
        ("/there", 200, True),
        ("/there?really=yes", 200, True),
        ("/there", 404, False),
        ("", 404, True),
        ("/away", 200, False),
        ("/away", 503, True),
        ("/mad", 200, False),
        ("/mute", 200, False),
    ],
)
def test_a_server_answers_with_the_status_that_is_awaited_or_not(
    address: str, path: str, status: int, is_so: bool
) -> None:
    assert answers(f"{address}{path}", status=status)() is is_so


def test_where_nobody_listens_nobody_answers() -> None:
    assert answers(f"http://127.0.0.1:{free_port()}/readyz")() is False
