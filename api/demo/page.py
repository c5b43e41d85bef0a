"""The demo's own page: left what happens in the EHR, right the tracker's queue. Served in demo mode only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from api.demo.board import Board, Happening
from api.demo.ehr import FhirApi
from fhir_tracker.errors import TrackerError
from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.reading import objects_at, text_at

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
KINDS = {"demo.html": "text/html", "demo.css": "text/css", "demo.js": "text/javascript"}
RECENT = 10


@dataclass(frozen=True, kw_only=True)
class DemoPage:
    """What the page shows: the day's board and what was written to the EHR since `since`."""

    board: Board
    ehr: FhirApi
    since: datetime

    def routes(self) -> list[BaseRoute]:
        """`/demo`, its two assets and `/demo/state.json`."""
        return [
            Route("/demo", lambda _: _asset("demo.html")),
            Route("/demo/demo.css", lambda _: _asset("demo.css")),
            Route("/demo/demo.js", lambda _: _asset("demo.js")),
            Route("/demo/state.json", self._state),
        ]

    def _state(self, _: Request) -> Response:
        return JSONResponse(self.state(), headers=HEADERS)

    def state(self) -> dict[str, Json]:
        """`phase`, `steps` and `recent` as the page's script reads them."""
        steps = [_step(one) for one in self.board.happenings()]
        return {"phase": self.board.phase, "steps": steps, "recent": list(self._recent())}

    def _recent(self) -> Iterator[dict[str, Json]]:
        try:
            history = self.ehr.call("GET", f"_history?_since={instant(self.since)}&_count={RECENT}")
        except TrackerError:
            return
        for entry in objects_at(history, "entry"):
            resource: Resource = entry.get("resource") or {}
            yield {"text": _words(resource), "at": text_at(resource, "meta", "lastUpdated") or instant(self.since)}


def _asset(name: str) -> Response:
    text = files("api.demo").joinpath("static", name).read_bytes()
    return Response(text, media_type=f"{KINDS[name]}; charset=utf-8", headers=HEADERS)


def _words(resource: Resource) -> str:
    kind = text_at(resource, "resourceType") or "Deleted"
    about = (
        text_at(resource, "description") or text_at(resource, "type", "text") or text_at(resource, "type", 0, "text")
    )
    return " · ".join(part for part in (kind, about, text_at(resource, "status")) if part)


def _step(one: Happening) -> dict[str, Json]:
    return {
        "title": one.title,
        "patient": one.patient,
        "page": one.page,
        "why": one.detail or one.why,
        "call": one.call,
        "planned_for": one.planned_for,
        "at": instant(one.at) if one.at else None,
        "state": one.state,
        "sights": [
            {"title": sight.title, "state": sight.state, "after": sight.after, "detail": sight.detail}
            for sight in one.sights
        ],
    }
