"""The EHR itself as its staff see it: choose who you are, open charts in tabs, and launch an app inside each."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from api.demo.simulator.answers import Handler
from api.demo.simulator.ledger import Context
from api.demo.simulator.pages import BROWSER, asset, headers, origin_of, page
from api.demo.simulator.simulator import Simulator
from api.demo.simulator.world import Member
from fhir_tracker.fhir.json_types import Json

INTENTS = ("", "work-queue", "operations")


class EhrFrame:
    """The pages under `/ehr`; `tell` puts the demo day's state beside the charts."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._lock = threading.Lock()
        self._day: Mapping[str, Json] = {}

    def tell(self, day: Mapping[str, Json]) -> None:
        """What happens in the EHR today, as the page's script reads it."""
        with self._lock:
            self._day = day

    def routes(self) -> list[BaseRoute]:
        """The frame, its assets, and what its script calls."""
        return [
            Route("/", lambda _: RedirectResponse("/ehr", status_code=302)),
            Route("/ehr", self._frame),
            Route("/ehr/login", self._posted(self._login), methods=["POST"]),
            Route("/ehr/logout", self._posted(self._logout), methods=["POST"]),
            Route("/ehr/launch", self._posted(self._launch), methods=["POST"]),
            Route("/ehr/day.json", self._told),
            Route("/favicon.ico", lambda _: Response(status_code=204)),
            Route("/ehr/ehr.css", lambda _: asset("ehr.css")),
            Route("/ehr/ehr.js", lambda _: asset("ehr.js")),
        ]

    def _posted(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
                return page("problem.html", status=403, text="This form was sent from another site.")
            pairs = dict(parse_qsl((await request.body()).decode("utf-8", "replace")))
            return await run_in_threadpool(handler, request, pairs)

        return answer

    def _member(self, request: Request) -> Member | None:
        sitting = self._simulator.ledger.sitting(request.cookies.get(BROWSER, ""))
        return self._simulator.world.member(sitting or "")

    def _frame(self, request: Request) -> Response:
        member, world = self._member(request), self._simulator.world
        if member is None:
            return page("who.html", key="", action="/ehr/login", members=world.members, app="")
        frames = [origin_of(app.launch_url) for app in world.apps]
        return page("ehr.html", frames=frames, member=member, charts=world.charts, apps=world.apps, intents=INTENTS)

    def _login(self, request: Request, given: Mapping[str, str]) -> Response:
        member = self._simulator.world.member(given.get("member", ""))
        response = RedirectResponse("/ehr", status_code=303, headers=headers())
        if member:
            secret = self._simulator.ledger.sit_down(member.id)
            response.set_cookie(BROWSER, secret, path="/", httponly=True, samesite="lax")
        return response

    def _logout(self, request: Request, given: Mapping[str, str]) -> Response:
        self._simulator.ledger.stand_up(request.cookies.get(BROWSER, ""))
        response = RedirectResponse("/ehr", status_code=303, headers=headers())
        response.delete_cookie(BROWSER, path="/")
        return response

    def _launch(self, request: Request, given: Mapping[str, str]) -> Response:
        """The address that the frame of an app begins at; 400 for a chart or app that is not here."""
        member, world = self._member(request), self._simulator.world
        patient, app = given.get("patient", ""), world.app(given.get("app", ""))
        if member is None or app is None or (patient and world.chart(patient) is None):
            return JSONResponse({"error": "nobody, no such app or no such chart"}, status_code=400, headers=headers())
        item = given.get("item", "")
        context = Context(
            patient=patient or None,
            intent=given.get("intent") or None,
            fhir_context=({"reference": item},) if item else (),
            needs_banner=given.get("banner", "yes") == "yes",
        )
        launch = self._simulator.launch(member.id, context)
        return JSONResponse({"address": self._simulator.launch_address(app.client_id, launch)}, headers=headers())

    def _told(self, request: Request) -> Response:
        with self._lock:
            day = self._day
        return JSONResponse(dict(day), headers=headers())
