"""Who is told outside: a mailbox behind SMTP and a receiver of webhook calls, both real and on the loopback interface."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.subscriptions.mail_server import Mailbox, serving


class Hook:
    """A real receiver of webhook calls on the loopback interface; `answers` are given in turn, then 204."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.calls: list[tuple[dict[str, str], str]] = []
        self.silent = threading.Event()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                hook.calls.append((dict(self.headers), body))
                status = hook.answers.pop(0) if hook.answers else 204
                if status == 0:
                    hook.silent.wait(60)
                    return
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("location", f"http://127.0.0.1:{hook.port}/elsewhere")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Nothing on the terminal."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def close(self) -> None:
        self.silent.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(30)


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.close()


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def smtp(mailbox: Mailbox) -> Iterator[str]:
    with serving(mailbox) as address:
        yield address
