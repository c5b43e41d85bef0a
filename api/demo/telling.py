"""Tells the EHR's frame how the demo day stands, so that it is shown beside the charts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from api.demo.board import Board, Happening
from api.demo.ehr import FhirApi
from fhir_tracker.errors import TrackerError
from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.reading import objects_at, text_at

RECENT = 10
EVERY = 1.0


@dataclass(frozen=True, kw_only=True)
class Teller:
    """What is told: the day's board, and what was written to the EHR since `since`."""

    board: Board
    ehr: FhirApi
    since: datetime

    def follow(self, tell: Callable[[Mapping[str, Json]], None], stop: threading.Event) -> None:
        """Tell the day again whenever it has changed, until `stop`."""
        told: dict[str, Json] = {}
        while not stop.is_set():
            state = self.state()
            if state != told:
                tell(state)
                told = state
            stop.wait(EVERY)

    def state(self) -> dict[str, Json]:
        """`phase`, `steps` and `recent` as the frame's script reads them."""
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
        "chart": one.chart,
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
