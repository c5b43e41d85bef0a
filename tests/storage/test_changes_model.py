"""The change log against a model: writers commit, roll back and overlap, readers crash and go on, nothing is lost or doubled."""

from __future__ import annotations

import itertools
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from fhir_tracker.storage import changes
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.tables import change, consumer
from tests.storage.samples import VIEWER, put, task

READERS = ("rules", "outbox")
IDS = itertools.count()


class Crash(Exception):
    """What a killed process leaves: its transaction rolled back."""


@dataclass(kw_only=True)
class Writer:
    """One open transaction and what it wrote."""

    manager: AbstractContextManager[Tx]
    tx: Tx
    wrote: list[str] = field(default_factory=list)


steps = st.one_of(
    st.tuples(st.just("open"), st.integers(0, 2)),
    st.tuples(st.just("write"), st.integers(0, 2)),
    st.tuples(st.just("write"), st.integers(0, 2)),
    st.tuples(st.just("close"), st.integers(0, 2), st.booleans()),
    st.tuples(st.just("read"), st.sampled_from(READERS), st.integers(1, 4), st.booleans()),
    st.tuples(st.just("read"), st.sampled_from(READERS), st.integers(1, 4), st.just(True)),
)


class Player:
    """Plays writers and readers; SQLite has one writer at a time, so a second waits its turn by closing the first."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.open_ones: dict[int, Writer] = {}
        self.committed: list[str] = []
        self.read_by: dict[str, list[str]] = {name: [] for name in READERS}
        with database.begin() as tx:
            tx.execute(delete(change))
            tx.execute(delete(consumer))

    def open(self, which: int) -> None:
        if which in self.open_ones:
            return
        if self.database.dialect == "sqlite":
            self.close_all()
        manager = self.database.begin()
        self.open_ones[which] = Writer(manager=manager, tx=manager.__enter__())

    def write(self, which: int) -> None:
        if which in self.open_ones:
            writer = self.open_ones[which]
            name = f"c{next(IDS)}"
            put(writer.tx, task(name))
            writer.wrote.append(name)

    def close(self, which: int, commits: bool) -> None:
        writer = self.open_ones.pop(which, None)
        if writer is None:
            return
        if commits:
            writer.manager.__exit__(None, None, None)
            self.committed += writer.wrote
            return
        try:
            writer.manager.__exit__(Crash, Crash(), None)
        except Crash:
            return

    def close_all(self) -> None:
        for which in list(self.open_ones):
            self.close(which, True)

    def read(self, name: str, limit: int, commits: bool) -> None:
        if self.database.dialect == "sqlite":
            self.close_all()
        got: list[str] = []
        try:
            with self.database.begin() as tx:
                some = changes.read_since(tx, VIEWER, name, limit)
                got = [one.id for one in some]
                if some:
                    changes.advance(tx, name, some[-1])
                if not commits:
                    raise Crash
        except Crash:
            return
        assert len(got) <= limit
        self.read_by[name] += got

    def finish(self) -> None:
        self.close_all()
        for name in READERS:
            with self.database.read() as tx:
                left = changes.lag(tx, name)
            assert left == len(self.committed) - len(self.read_by[name])
            for _ in range(left + 1):
                self.read(name, 3, True)
            assert sorted(self.read_by[name]) == sorted(self.committed)
            with self.database.read() as tx:
                assert changes.lag(tx, name) == 0


@given(played=st.lists(steps, max_size=30))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_reader_gets_what_was_committed_exactly_once(database: Database, played: list[tuple[Any, ...]]) -> None:
    player = Player(database)
    try:
        for step in played:
            getattr(player, step[0])(*step[1:])
            assert len(set(player.read_by["rules"])) == len(player.read_by["rules"])
        player.finish()
    finally:
        player.close_all()
