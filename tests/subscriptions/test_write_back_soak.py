"""Both sides change the same Tasks at random while writes get lost, refused and cut off: in the end both hold the same, once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from random import Random

import httpx
import pytest

from fhir_tracker import conflicts
from fhir_tracker.errors import RuleBroken
from fhir_tracker.storage.database import Database
from tests.subscriptions.fake_ehr import BASE
from tests.subscriptions.writer import VIEWER, Writer
from tests.subscriptions.writing_ehr import Fault, WritingEhr, writing_ehr

STATUSES = ("requested", "received", "accepted", "ready", "in-progress")
STEPS = 70
ROUNDS = 30


@pytest.fixture
def ehr() -> Iterator[WritingEhr]:
    with writing_ehr() as made:
        yield made


class Soak:
    """One run; `told` are the texts of all notes ever made on either side, by Task."""

    def __init__(self, writer: Writer, ehr: WritingEhr, seed: int) -> None:
        self.writer = writer
        self.ehr = ehr
        self.random = Random(seed)
        self.told: dict[str, set[str]] = {}

    def step(self) -> None:
        acts = (self.file, self.change, self.change, self.change_there, self.change_there, self.fault, self.poll)
        self.random.choice((*acts, self.write, self.write, self.decide))()

    def file(self) -> None:
        if len(self.told) < 4:
            self.told[self.writer.file(description="new")] = set()

    def change(self) -> None:
        if not self.told:
            return
        id_ = self.random.choice(sorted(self.told))
        what = self.random.choice(("description", "status", "note"))
        fresh = self._value(what, id_, self.writer.held("Task", id_))
        with suppress(RuleBroken):  # Not every status may follow every other here.
            self.writer.change("Task", id_, **{what: fresh})

    def change_there(self) -> None:
        there = self.ehr.of("Task")
        if not there:
            return
        one = self.random.choice(there)
        what = self.random.choice(("status", "note", "performerType"))
        self.ehr.pass_time(1)
        self.ehr.change("Task", one["id"], **{what: self._value(what, one["identifier"][0]["value"], one)})

    def _value(self, what: str, id_: str, task: dict[str, object]) -> object:
        text = f"{what} {self.random.randrange(10**6)}"
        if what == "status":
            return self.random.choice(STATUSES)
        if what == "performerType":
            return [{"text": text}]
        if what == "note":
            self.told[id_].add(text)
            held = task.get("note", [])
            assert isinstance(held, list)
            return [*held, {"text": text}]
        return text

    def fault(self) -> None:
        def lost(_: httpx.Request) -> httpx.Response:
            raise httpx.ReadTimeout("no answer")

        self.ehr.conditional = self.random.random() < 0.5
        before: tuple[list[Fault], ...] = ([], [], [lost], [_broken], [_stale])
        after: tuple[list[Fault], ...] = ([], [], [lost])
        self.ehr.before, self.ehr.after = self.random.choice(before), self.random.choice(after)

    def poll(self) -> None:
        self.writer.sync()

    def write(self) -> None:
        self.writer.write(self.random.choice((1, 10, 100, 1000)))

    def decide(self) -> None:
        for row in self.writer.rows():
            if row.state == "conflict":
                side: conflicts.Choice = self.random.choice(("ours", "theirs"))
                with self.writer.database.begin() as tx:
                    fresh = conflicts.get(tx, VIEWER, row.id)
                    chosen = {one.field: side for one in conflicts.differences(fresh)}
                    conflicts.resolve(tx, fresh, chosen, self.writer.author)

    def calm(self) -> None:
        """No more faults; everything is polled, decided and written."""
        self.ehr.before, self.ehr.after = [], []
        for _ in range(ROUNDS):
            self.writer.sync()
            self.writer.write(1000)
            self.decide()
            if all(row.state == "done" for row in self.writer.rows()):
                return
        raise AssertionError([(row.state, row.reason) for row in self.writer.rows()])


def _broken(_: httpx.Request) -> httpx.Response:
    return httpx.Response(500)


def _stale(_: httpx.Request) -> httpx.Response:
    return httpx.Response(409)


@pytest.mark.parametrize("seed", range(4))
def test_in_the_end_both_sides_hold_the_same_and_each_task_once(database: Database, ehr: WritingEhr, seed: int) -> None:
    writer = Writer(database, BASE, types=("Patient", "Task"))
    writer.sync()
    soak = Soak(writer, ehr, seed)
    for _ in range(STEPS):
        soak.step()
    soak.calm()
    soak.calm()
    assert soak.told
    there = {one["identifier"][0]["value"]: one for one in ehr.of("Task")}
    assert len(ehr.of("Task")) == len(there) == len(soak.told)
    for id_, notes in soak.told.items():
        here = writer.held("Task", id_)
        for name in ("status", "description"):
            assert here[name] == there[id_][name]
        assert {one["text"] for one in here.get("note", [])} == notes
        assert {one["text"] for one in there[id_].get("note", [])} == notes
    others = {one.id for one in writer.stored("Task")} - set(soak.told)
    assert others <= {conflicts.task_id(row) for row in writer.rows()}
