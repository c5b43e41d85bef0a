"""Runs the demo day against the EHR and watches, through the tracker's FHIR API, for what the tracker makes of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from api.demo.board import Board, Happening, Sight
from api.demo.day import Scene, Step, written
from api.demo.ehr import FhirApi
from api.demo.people import CONNECTION
from api.demo.sights import Work, work_of
from api.demo.visitor import ChartReader
from fhir_tracker import clock
from fhir_tracker.errors import TrackerError
from fhir_tracker.fhir.identity import local_id

LOOK_EVERY = 0.5
PATIENCE = 75.0
SECONDS_TO_LOAD = 90.0


def board_of(steps: Sequence[Step], names: Mapping[str, str], cast: Mapping[str, str]) -> Board:
    """A board with every step planned; `names` and `cast` give the patients' names and remote ids by their part."""
    return Board(
        tuple(
            Happening(
                number=number,
                title=step.title,
                why=step.why,
                planned_for=step.at,
                patient=names.get(step.who, ""),
                chart=cast.get(step.who, ""),
                sights=tuple(Sight(title=title) for title in step.expect),
            )
            for number, step in enumerate(steps)
        )
    )


@dataclass(kw_only=True)
class Director:
    """One run of `steps`; `pace` 2.0 plays them twice as fast. `stop` ends it early.

    `load` makes the tracker read the EHR for the first time and begin to follow it.
    """

    steps: Sequence[Step]
    board: Board
    ehr: FhirApi
    tracker: FhirApi
    reader: ChartReader
    cast: Mapping[str, str]
    stop: threading.Event
    load: Callable[[], None]
    now: Callable[[], datetime] = clock.now
    pace: float = 1.0
    _before: dict[int, Work] = field(default_factory=dict)
    _acted: dict[int, float] = field(default_factory=dict)

    def run(self) -> None:
        """Let the tracker load, play every step at its time, watch until all is settled."""
        self.load()
        self._await_work()
        start = clock.monotonic()
        self.board.enter("running")
        while not self.stop.is_set():
            passed = (clock.monotonic() - start) * self.pace
            for number, step in enumerate(self.steps):
                if number not in self._acted and passed >= step.at:
                    self._play(number, step)
            self._watch()
            if all(one.is_settled for one in self.board.happenings()):
                break
            self.stop.wait(LOOK_EVERY)
        self.board.enter("over")

    def _await_work(self) -> None:
        end = clock.monotonic() + SECONDS_TO_LOAD
        while not self.stop.is_set() and clock.monotonic() < end and not self._is_loaded():
            self.stop.wait(LOOK_EVERY)

    def _is_loaded(self) -> bool:
        """Whether the rules have made the work that the records as loaded lead to."""
        try:
            return all(self._work(step).tasks for step in self.steps if step.needs_work)
        except TrackerError:
            return False

    def _work(self, step: Step) -> Work:
        id_ = local_id(CONNECTION, self.cast[step.who])
        page = self.reader.page(self.cast[step.who], f"/patients/{id_}")
        return work_of(self.tracker, f"Patient/{id_}", page)

    def _play(self, number: int, step: Step) -> None:
        self._acted[number] = clock.monotonic()
        try:
            self._before[number] = self._work(step)
            made = step.act(Scene(ehr=self.ehr, cast=self.cast, now=self.now()), self.cast[step.who])
        except TrackerError as problem:
            text = problem.message
            self.board.note(number, lambda one: replace(one, state="failed", detail=text, at=self.now()))
            return
        self._acted[number] = clock.monotonic()
        self.board.note(number, lambda one: replace(one, state="done", call=written(made), at=self.now()))

    def _watch(self) -> None:
        for one in self.board.happenings():
            waiting = [sight.title for sight in one.sights if sight.state == "waiting"]
            if one.state == "done" and waiting:
                self._look(one.number, self.steps[one.number], waiting)

    def _look(self, number: int, step: Step, waiting: Sequence[str]) -> None:
        after = clock.monotonic() - self._acted[number]
        try:
            work = self._work(step)
        except TrackerError:
            return
        for title in waiting:
            found = step.expect[title](self._before[number], work)
            if found is not None:
                self.board.note_sight(number, title, state="seen", after=after, detail=found)
            elif after > PATIENCE:
                self.board.note_sight(number, title, state="missed", after=after)
