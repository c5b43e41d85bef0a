"""Resources against a model: any sequence of writes, deletions and returns keeps every version, its owner and its index."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, select

from fhir_tracker.errors import VersionConflict
from fhir_tracker.storage import changes, resources
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.resources import NewVersion
from fhir_tracker.storage.tables import change, ix, ixd, ixn, ixs, remote_body, resource, resource_version
from tests.storage.samples import NOW, VIEWER, found, locked, new_version, put, task

IDS, PEOPLE, STATUSES = ("a", "b"), ("ann", "bob"), ("requested", "completed")
TABLES = (resource, resource_version, remote_body, change, ix, ixd, ixn, ixs)


@dataclass(kw_only=True)
class Version:
    """One version as the model knows it; no body for a deletion."""

    body: str | None
    patient: str
    at: datetime


@dataclass(kw_only=True)
class Model:
    versions: dict[str, list[Version]] = field(default_factory=dict)
    order: list[tuple[str, int]] = field(default_factory=list)

    def current(self, id_: str) -> Version | None:
        return self.versions[id_][-1] if id_ in self.versions else None

    def fitting(self, status: str, patient: str | None = None) -> list[str]:
        return sorted(
            id_
            for id_, rows in self.versions.items()
            if (body := rows[-1].body) is not None
            and json.loads(body)["status"] == status
            and patient in (None, rows[-1].patient)
        )


steps = st.one_of(
    st.tuples(
        st.just("write"), st.sampled_from(IDS), st.sampled_from(PEOPLE), st.sampled_from(STATUSES), st.integers(-1, 2)
    ),
    st.tuples(st.just("write"), st.sampled_from(IDS), st.sampled_from(PEOPLE), st.sampled_from(STATUSES), st.just(1)),
    st.tuples(st.just("delete"), st.sampled_from(IDS)),
    st.tuples(st.just("crash"), st.sampled_from(IDS)),
    st.tuples(st.just("reindex")),
)


class Crash(Exception):
    """What a killed writer leaves: its transaction rolled back."""


class Player:
    """Plays steps on the database and on the model at once."""

    def __init__(self, database: Database) -> None:
        self.database, self.model, self.now = database, Model(), NOW
        with database.begin() as tx:
            for table in TABLES:
                tx.execute(delete(table))

    def write(self, id_: str, patient: str, status: str, ahead: int) -> None:
        """A write `ahead` of the stored version: only the next one is taken."""
        held = len(self.model.versions.get(id_, []))
        new = new_version(task(id_, patient, status=status), held + ahead, updated_at=self._tick())
        if ahead == 1:
            with self.database.begin() as tx:
                put(tx, json.loads(new.body), new.version, updated_at=new.updated_at)
            self._wrote(new)
            return
        if new.version < 1:
            return
        try:
            with self.database.begin() as tx:
                put(tx, json.loads(new.body), new.version, updated_at=new.updated_at)
        except VersionConflict:
            return
        raise AssertionError(f"version {new.version} was taken after {held}")

    def delete(self, id_: str) -> None:
        current = self.model.current(id_)
        if current is None or current.body is None:
            return
        version = len(self.model.versions[id_]) + 1
        new = new_version(task(id_, current.patient), version, updated_at=self._tick(), op="delete", patient=None)
        with self.database.begin() as tx:
            put(tx, task(id_), version, updated_at=new.updated_at, op="delete", patient=None)
        self.model.versions[id_].append(Version(body=None, patient=current.patient, at=new.updated_at))
        self.model.order.append((id_, version))

    def crash(self, id_: str) -> None:
        """A write that never commits leaves nothing, in no table."""
        try:
            with self.database.begin() as tx:
                put(tx, task(id_, status="on-hold"), len(self.model.versions.get(id_, [])) + 1)
                raise Crash
        except Crash:
            return

    def reindex(self) -> None:
        with self.database.begin() as tx:
            before = _index(tx)
            resources.clear_index(tx)
            assert _index(tx) == set()
            after: int | None = 0
            while after is not None:
                after = resources.reindex(tx, after, 1)
            assert _index(tx) == before

    def check(self) -> None:
        for status in STATUSES:
            assert found(self.database, "Task", f"status={status}") == self.model.fitting(status)
            for patient in PEOPLE:
                mine = found(self.database, "Task", f"status={status}", locked(patient))
                assert mine == self.model.fitting(status, patient)
        with self.database.read() as tx:
            log = [(one.id, one.version) for one in changes.read_since(tx, VIEWER, "test", 999)]
            assert log == self.model.order
            assert tx.value(select(func.count()).select_from(resource_version)) == len(log)
            for id_, rows in self.model.versions.items():
                self._check_one(tx, id_, rows)

    def _check_one(self, tx: Any, id_: str, rows: list[Version]) -> None:
        stored = resources.find(tx, VIEWER, "Task", id_)
        assert stored is not None
        assert (stored.version, stored.deleted, stored.body, stored.patient, stored.updated_at) == (
            len(rows), rows[-1].body is None, rows[-1].body or "", rows[-1].patient, rows[-1].at,
        )  # fmt: skip
        told = resources.history(tx, VIEWER, "Task", id_, count=99)
        expected = [(number, one.body, one.at) for number, one in enumerate(rows, 1)]
        assert [(one.version, one.body, one.updated_at) for one in told] == expected[::-1]
        for patient in PEOPLE:
            seen = resources.history(tx, locked(patient), "Task", id_, count=99)
            theirs = [number for number, one in enumerate(rows, 1) if one.patient == patient]
            assert [one.version for one in seen] == (theirs[::-1] if rows[-1].patient == patient else [])
        for number, one in enumerate(rows, 1):
            version = resources.find_version(tx, VIEWER, "Task", id_, number)
            assert version is not None
            assert (version.body, version.op) == (one.body, _op(number, one))

    def _wrote(self, new: NewVersion) -> None:
        assert new.patient is not None
        kept = Version(body=new.body, patient=new.patient, at=new.updated_at)
        self.model.versions.setdefault(new.id, []).append(kept)
        self.model.order.append((new.id, new.version))

    def _tick(self) -> datetime:
        self.now += timedelta(microseconds=1001)
        return self.now


def _op(number: int, one: Version) -> str:
    return "delete" if one.body is None else "create" if number == 1 else "update"


def _index(tx: Any) -> set[tuple[Any, ...]]:
    return {(table.name, *row.values()) for table in (ix, ixd, ixs, ixn) for row in tx.rows(select(table))}


@given(played=st.lists(steps, max_size=15))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_store_keeps_what_the_model_keeps(database: Database, played: list[tuple[Any, ...]]) -> None:
    player = Player(database)
    for step in played:
        getattr(player, step[0])(*step[1:])
    player.check()
