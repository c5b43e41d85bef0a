"""What the demo day has done and what it has seen, shared by the day, the page and the check."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

StepState = Literal["planned", "done", "failed"]
SightState = Literal["waiting", "seen", "missed"]


@dataclass(frozen=True, kw_only=True)
class Sight:
    """One expected reaction of the tracker: `after` is seconds from the step to when it was seen."""

    title: str
    state: SightState = "waiting"
    after: float | None = None
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Happening:
    """One step of the day: `patient` and the EHR's `chart` say who it is about, `call` is the request, `at` when that was."""

    number: int
    title: str
    why: str
    planned_for: float
    patient: str = ""
    chart: str = ""
    call: str = ""
    detail: str = ""
    at: datetime | None = None
    state: StepState = "planned"
    sights: tuple[Sight, ...] = ()

    @property
    def is_settled(self) -> bool:
        """Whether nothing more is to come of it."""
        return self.state == "failed" or (
            self.state == "done" and all(sight.state != "waiting" for sight in self.sights)
        )


class Board:
    """The happenings in order; safe to read and write from several threads."""

    def __init__(self, happenings: tuple[Happening, ...]) -> None:
        self._lock = threading.Lock()
        self._happenings = happenings
        self._phase = "loading"

    @property
    def phase(self) -> str:
        """`loading` (the tracker's first pull), `running` or `over`."""
        with self._lock:
            return self._phase

    def enter(self, phase: str) -> None:
        """Move on to `phase`."""
        with self._lock:
            self._phase = phase

    def happenings(self) -> tuple[Happening, ...]:
        """Every step as it stands now."""
        with self._lock:
            return self._happenings

    def note(self, number: int, change: Callable[[Happening], Happening]) -> None:
        """Replace the step `number` by what `change` makes of it."""
        with self._lock:
            self._happenings = tuple(change(one) if one.number == number else one for one in self._happenings)

    def note_sight(self, number: int, title: str, *, state: SightState, after: float, detail: str = "") -> None:
        """Say what became of the expected reaction `title` of step `number`."""
        self.note(
            number,
            lambda one: replace(
                one,
                sights=tuple(
                    replace(sight, state=state, after=after, detail=detail) if sight.title == title else sight
                    for sight in one.sights
                ),
            ),
        )

    @property
    def all_seen(self) -> bool:
        """Whether every step was done and every expected reaction seen."""
        steps = self.happenings()
        return all(one.state == "done" and all(sight.state == "seen" for sight in one.sights) for one in steps)
