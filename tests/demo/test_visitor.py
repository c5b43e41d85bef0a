"""A browser without a window: cookies by host, redirects, and charts opened by a launch."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from api.demo.visitor import ChartReader, Visitor
from fhir_tracker.errors import RemoteFailure
from tests.support.simulated_ehr import NURSE, app_at, simulated_ehr


class Tracker:
    """A tracker as far as a launch goes: every launch a session of its own, whose cookie opens its pages."""

    def __init__(self) -> None:
        self.launches = 0
        self.is_over = False

    def launch(self, request: Request) -> Response:
        self.launches += 1
        response = RedirectResponse("/callback", status_code=302)
        if request.query_params["launch"]:
            response.headers.append("set-cookie", "pre=1; Path=/; HttpOnly")
        return response

    def callback(self, request: Request) -> Response:
        assert request.cookies["pre"] == "1"
        response = PlainTextResponse("in")
        response.headers.append("set-cookie", "pre=; Max-Age=0; Path=/")
        response.headers.append("set-cookie", f"__Host-l-s{self.launches}=secret; Path=/; Secure; HttpOnly")
        return response

    def page(self, request: Request) -> Response:
        launch = request.path_params["launch"]
        is_in = request.cookies.get(f"__Host-l-{launch}") == "secret" and "pre" not in request.cookies
        if not is_in or (self.is_over and launch == "s1"):
            return PlainTextResponse("no", status_code=401)
        return PlainTextResponse(f"page of {launch}")


def round_and_round(request: Request) -> Response:
    return RedirectResponse("/round", status_code=302)


@contextmanager
def served(tracker: Tracker) -> Iterator[str]:
    routes = [
        Route("/launch", tracker.launch),
        Route("/callback", tracker.callback),
        Route("/l/{launch}/patients/{id}", tracker.page),
        Route("/round", round_and_round),
    ]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(Starlette(routes=routes), log_config=None, access_log=False, lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(60)


def test_a_chart_is_launched_once_and_again_when_its_session_is_over() -> None:
    tracker = Tracker()
    with served(tracker) as address, simulated_ehr(host="localhost") as ehr:
        ehr.simulator.register(app_at(address))
        reader = ChartReader(ehr.simulator.origin, address, NURSE.id, "care-tracker")
        assert [reader.page("ada", "/patients/ehr-ada") for _ in range(2)] == ["page of s1"] * 2
        assert reader.page("ben", "/patients/ehr-ben") == "page of s2"
        tracker.is_over = True
        assert reader.page("ada", "/patients/ehr-ada") == "page of s3"
        with pytest.raises(RemoteFailure, match="404"):
            reader.page("ada", "/elsewhere")
        with pytest.raises(RemoteFailure, match="did not launch"):
            reader.page("zoe", "/patients/ehr-zoe")


def test_somebody_who_is_refused_says_so_and_a_circle_ends() -> None:
    tracker = Tracker()
    with served(tracker) as address, simulated_ehr(host="localhost") as ehr:
        ehr.simulator.register(app_at(f"{address}/nowhere"))
        reader = ChartReader(ehr.simulator.origin, address, NURSE.id, "care-tracker")
        with pytest.raises(RemoteFailure, match="refused: 404"):
            reader.page("ada", "/patients/ehr-ada")
        with pytest.raises(RemoteFailure, match="redirects"):
            Visitor().get(f"{address}/round")


def test_an_address_that_nobody_answers_is_a_failure() -> None:
    with pytest.raises(RemoteFailure, match="/x"):
        Visitor().get("http://127.0.0.1:9/x")
