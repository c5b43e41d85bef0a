"""The browser that the walks in the frame use blocks cookies of others, which one that is not told to does not."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
import uvicorn
from playwright.sync_api import Browser
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.peers.chromium.browser import person_at

pytestmark = [pytest.mark.peer, pytest.mark.security("S20", "S21")]
ORDINARY = "ordinary=1; Path=/; Secure; SameSite=None"
KEPT_APART = "__Host-apart=1; Path=/; Secure; HttpOnly; SameSite=None; Partitioned"


@contextmanager
def other_site() -> Iterator[int]:
    """A site that sets an ordinary cookie and one kept apart by site, and shows those that come back; its port."""

    def give(request: Request) -> Response:
        response = RedirectResponse("/shown", status_code=303)
        for text in (ORDINARY, KEPT_APART):
            response.headers.append("set-cookie", text)
        return response

    def shown(request: Request) -> Response:
        return HTMLResponse(f"<p id=shown>{json.dumps(sorted(request.cookies))}</p>")

    def frame(request: Request) -> Response:
        return HTMLResponse(f"<iframe src='http://127.0.0.1:{request.url.port}/give'></iframe>")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        app = Starlette(routes=[Route("/give", give), Route("/shown", shown), Route("/frame", frame)])
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join(60)


@pytest.mark.parametrize(
    ("blocked", "come_back"),
    [("none", ["__Host-apart", "ordinary"]), ("third-party", ["__Host-apart"]), ("all", [])],
)
def test_what_comes_back_in_a_frame_of_another_site(
    blocked: Literal["none", "third-party", "all"], come_back: list[str], chromium: Browser, tmp_path: Path
) -> None:
    with other_site() as port, person_at(chromium, tmp_path / "profile", blocked) as context:
        page = context.new_page()
        page.goto(f"http://localhost:{port}/frame")
        found = page.frame_locator("iframe").locator("#shown")
        assert json.loads(found.inner_text()) == come_back
