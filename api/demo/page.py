"""The demo's own page: left what happens in the EHR, right the tracker's queue. Served in demo mode only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

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

    def router(self) -> APIRouter:
        """`/demo`, its two assets and `/demo/state.json`."""
        router = APIRouter(prefix="/demo", include_in_schema=False)
        router.add_api_route("", lambda: _asset("demo.html"))
        router.add_api_route("/demo.css", lambda: _asset("demo.css"))
        router.add_api_route("/demo.js", lambda: _asset("demo.js"))
        router.add_api_route("/state.json", lambda: JSONResponse(self.state(), headers=HEADERS))
        return router

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
