"""Work items against a model: sweeps claim, settle and postpone while others write, wake, close and drop."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from fhir_tracker.storage import work_items
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.work_items import Claim
from fhir_tracker.storage.work_tables import work_item
from tests.storage.samples import NOW, VIEWER, item

MINUTE = timedelta(minutes=1)
LEASE = 5 * MINUTE
REFS = ("Task/a", "Task/b", "Task/c", "CarePlan/p")
PATIENTS = {"Task/a": "ann", "Task/b": "ann", "Task/c": "bob", "CarePlan/p": "ann"}
RULED = {"Task/a": "tcm", "Task/b": None, "Task/c": "tcm", "CarePlan/p": "tcm"}


@dataclass(kw_only=True)
class Row:
    """One item as the model knows it; `made` orders those whose time is the same."""

    made: int
    open: bool
    next_at: datetime | None
    token: str | None = None
    until: datetime | None = None

    def sooner(self, at: datetime) -> None:
        self.next_at = at if self.next_at is None else min(at, self.next_at)

    def let_go(self) -> None:
        self.token = self.until = None


@dataclass(kw_only=True)
class Model:
    rows: dict[str, Row] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)
    made: int = 0

    def due(self, now: datetime, limit: int) -> list[str]:
        free = [
            (row.next_at, row.made, ref)
            for ref, row in self.rows.items()
            if row.open
            and row.next_at is not None
            and row.next_at <= now
            and (row.token is None or (row.until is not None and row.until < now))
        ]
        return [ref for _, _, ref in sorted(free)][:limit]


refs, times = st.sampled_from(REFS), st.integers(-10, 20)
steps = st.one_of(
    st.tuples(st.just("save"), refs, st.booleans(), st.none() | times),
    st.tuples(st.just("drop"), refs),
    st.tuples(st.just("wake"), refs, times),
    st.tuples(st.just("wake_all"), times),
    st.tuples(st.just("due_now"), st.sampled_from(("ann", "bob", "nobody")), times),
    st.tuples(st.just("look_at"), refs, st.none() | times),
    st.tuples(st.just("claim"), st.integers(1, 4)),
    st.tuples(st.just("claim"), st.integers(1, 4)),
    st.tuples(st.just("settle"), st.integers(0, 5), refs, st.none() | times),
    st.tuples(st.just("work"), st.integers(0, 5), refs, st.booleans(), st.none() | times, st.none() | times),
    st.tuples(st.just("postpone"), st.integers(0, 5), refs, times),
    st.tuples(st.just("wait"), st.integers(1, 12)),
    st.tuples(st.just("crash"), st.integers(1, 4)),
)


class Crash(Exception):
    """What a killed sweep leaves: its transaction rolled back."""


class Player:
    """Plays steps on the database and on the model at once."""

    def __init__(self, database: Database) -> None:
        self.database, self.model, self.now = database, Model(), NOW
        with database.begin() as tx:
            tx.execute(delete(work_item))

    def play(self, step: tuple[Any, ...]) -> None:
        getattr(self, step[0])(*step[1:])
        self.check()

    def at(self, minutes: int | None) -> datetime | None:
        return None if minutes is None else self.now + minutes * MINUTE

    def save(self, ref: str, open_: bool, minutes: int | None) -> None:
        with self.database.begin() as tx:
            work_items.save(tx, self._item(ref, open_, self.at(minutes)))
        self._saved(ref, open_, self.at(minutes))

    def drop(self, ref: str) -> None:
        with self.database.begin() as tx:
            work_items.drop(tx, ref)
        self.model.rows.pop(ref, None)

    def wake(self, ref: str, minutes: int) -> None:
        moment = self.now + minutes * MINUTE
        with self.database.begin() as tx:
            work_items.wake(tx, ref, moment)
        self._woken([ref], moment)

    def wake_all(self, minutes: int) -> None:
        moment = self.now + minutes * MINUTE
        with self.database.begin() as tx:
            work_items.wake_all(tx, moment)
        self._woken([ref for ref in self.model.rows if RULED[ref]], moment)

    def due_now(self, patient: str, minutes: int) -> None:
        moment = self.now + minutes * MINUTE
        with self.database.begin() as tx:
            work_items.due_now(tx, patient, moment)
        self._woken([ref for ref in self.model.rows if PATIENTS[ref] == patient], moment)

    def look_at(self, ref: str, minutes: int | None) -> None:
        with self.database.begin() as tx:
            work_items.look_at(tx, ref, self.at(minutes))
        if ref in self.model.rows:
            self.model.rows[ref].next_at = self.at(minutes)

    def claim(self, limit: int) -> None:
        expected = self.model.due(self.now, limit)
        with self.database.begin() as tx:
            claim = work_items.claim_due(tx, self.now, limit, LEASE)
        assert [one.ref for one in claim.items] == expected
        for ref in expected:
            self.model.rows[ref].token, self.model.rows[ref].until = claim.token, claim.until
        self.model.claims.append(claim)

    def crash(self, limit: int) -> None:
        """A claim that never commits is no claim."""
        try:
            with self.database.begin() as tx:
                work_items.claim_due(tx, self.now, limit, LEASE)
                raise Crash
        except Crash:
            return

    def settle(self, which: int, ref: str, minutes: int | None) -> None:
        if claim := self._claim(which):
            held = self._is_held(claim, ref)
            with self.database.begin() as tx:
                assert work_items.settle(tx, claim, ref, self.at(minutes)) == held
            if held:
                self.model.rows[ref].next_at = self.at(minutes)
                self.model.rows[ref].let_go()

    def work(self, which: int, ref: str, open_: bool, planned: int | None, looked: int | None) -> None:
        """A sweep that changes the item and settles it in the same transaction, and rolls back when it may not."""
        if not (claim := self._claim(which)):
            return
        held, planned_at, next_at = self._is_held(claim, ref), self.at(planned), self.at(looked)
        try:
            with self.database.begin() as tx:
                work_items.save(tx, self._item(ref, open_, planned_at))
                if not work_items.settle(tx, claim, ref, next_at):
                    raise Crash
        except Crash:
            assert not held
            return
        assert held
        self._saved(ref, open_, planned_at)
        if next_at is not None:
            self.model.rows[ref].sooner(next_at)

    def postpone(self, which: int, ref: str, minutes: int) -> None:
        if claim := self._claim(which):
            held, until = self._is_held(claim, ref), self.now + minutes * MINUTE
            with self.database.begin() as tx:
                assert work_items.postpone(tx, claim, ref, until) == held
            if held:
                self.model.rows[ref].next_at = until
                self.model.rows[ref].let_go()

    def wait(self, minutes: int) -> None:
        self.now += minutes * MINUTE

    def check(self) -> None:
        with self.database.read() as tx:
            stored = {one.ref: (one.open, one.next_action_at) for _, one in work_items.scan(tx, VIEWER)}
            assert work_items.open_count(tx, VIEWER) == sum(row.open for row in self.model.rows.values())
        assert stored == {ref: (row.open, row.next_at) for ref, row in self.model.rows.items()}

    def _item(self, ref: str, open_: bool, next_at: datetime | None) -> Any:
        return item(ref, patient=PATIENTS[ref], program=RULED[ref], open=open_, next_action_at=next_at)

    def _saved(self, ref: str, open_: bool, next_at: datetime | None) -> None:
        self.model.made += 1
        before = self.model.rows.get(ref)
        made = before.made if before else self.model.made
        self.model.rows[ref] = Row(made=made, open=open_, next_at=next_at)

    def _woken(self, wanted: list[str], moment: datetime) -> None:
        for ref in wanted:
            row = self.model.rows.get(ref)
            if row and row.open:
                row.sooner(moment)
                row.let_go()

    def _claim(self, which: int) -> Claim | None:
        return self.model.claims[which % len(self.model.claims)] if self.model.claims else None

    def _is_held(self, claim: Claim, ref: str) -> bool:
        row = self.model.rows.get(ref)
        return row is not None and row.token == claim.token


@given(played=st.lists(steps, max_size=25))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_claims_do_what_the_model_says(database: Database, played: list[tuple[Any, ...]]) -> None:
    player = Player(database)
    for step in played:
        player.play(step)
