"""Histories compared with a plain list of what was written, on both databases."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from itertools import product

import pytest

from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage import history
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.history import PastVersion, Place, Span
from tests.storage.samples import NOW, VIEWER, locked, put, task

Written = tuple[datetime, int, int, str, str, str, str | None]


def minutes(number: float) -> datetime:
    return NOW + timedelta(minutes=number)


def walk(database: Database, span: Span, viewer: Viewer = VIEWER, count: int = 3) -> list[PastVersion]:
    """Every version of a history, over all pages."""
    found: list[PastVersion] = []
    after: Place | None = None
    while True:
        with database.read() as tx:
            page = history.page(tx, viewer, span, count=count, after=after)
        assert len(page.versions) <= count
        found += page.versions
        if page.next is None:
            return found
        after = page.next


def make_log(database: Database, seed: int) -> list[Written]:
    """Random writes of a few resources: (time, k, version, type, id, op, patient)."""
    generator = random.Random(seed)
    log: list[Written] = []
    versions: dict[tuple[str, str], tuple[int, str]] = {}
    for step in range(60):
        type_, id_ = generator.choice(["Task", "Goal"]), generator.choice("abcd")
        version, before = versions.get((type_, id_), (0, "delete"))
        op = "create" if before == "delete" else generator.choice(["update", "update", "delete"])
        patient = generator.choice(["ann", "bob"])
        at = minutes(step // 3)
        if version and at <= max(row[0] for row in log if row[3:5] == (type_, id_)):
            continue
        versions[type_, id_] = (version + 1, op)
        sample = task(id_, patient) | {"resourceType": type_}
        with database.begin() as tx:
            given = None if op == "delete" else patient
            stored = put(tx, sample, version + 1, op=op, updated_at=at, patient=given)
        log.append((at, stored.k, version + 1, type_, id_, op, stored.patient))
    return sorted(log, reverse=True)


def expected(log: list[Written], span: Span) -> list[tuple[str, str, int]]:
    """What the definition of a history says, by looking at every row."""
    chosen = []
    for at, _, version, type_, id_, _, _ in log:
        ends = [row[0] for row in log if row[3:5] == (type_, id_) and row[2] == version + 1]
        if span.type not in (None, type_) or span.id not in (None, id_):
            continue
        if span.since is not None and at < span.since:
            continue
        if span.high is not None and at >= span.high:
            continue
        if span.low is not None and ends and ends[0] <= span.low:
            continue
        chosen.append((type_, id_, version))
    return chosen


@pytest.mark.requirement(44)
@pytest.mark.parametrize("seed", range(3))
def test_every_history_is_what_a_walk_over_all_writes_gives(database: Database, seed: int) -> None:
    log = make_log(database, seed)
    times = (None, minutes(4), minutes(9.5))
    for (type_, id_), since, (low, high) in product(
        ((None, None), ("Task", None), ("Goal", "b")),
        times,
        ((None, None), (minutes(5), minutes(8)), (minutes(6), None), (None, minutes(7))),
    ):
        span = Span(type=type_, id=id_, since=since, low=low, high=high)
        assert [(one.type, one.id, one.version) for one in walk(database, span)] == expected(log, span), span


@pytest.mark.requirement(44)
def test_a_walk_gives_each_version_once_while_others_write(database: Database) -> None:
    for number in range(10):
        with database.begin() as tx:
            put(tx, task(f"t{number}"), updated_at=minutes(number // 4))
    first: list[str] = []
    after: Place | None = None
    for number in range(20):
        with database.begin() as tx:
            page = history.page(tx, VIEWER, Span(type="Task"), count=2, after=after)
            put(tx, task(f"late{number}"), updated_at=minutes(60))
            put(tx, task(f"t{number % 10}"), 2 + number // 10, updated_at=minutes(61 + number))
        first += [one.id for one in page.versions]
        after = page.next
        if after is None:
            break
    assert sorted(first) == sorted(f"t{number}" for number in range(10))


def test_deletions_have_no_body_and_other_versions_the_text_they_were_stored_with(database: Database) -> None:
    with database.begin() as tx:
        stored = put(tx, task("a"))
        put(tx, task("a", priority="stat"), 2, updated_at=minutes(1))
        put(tx, task("a"), 3, op="delete", updated_at=minutes(2))
    found = walk(database, Span())
    assert [(one.version, one.op) for one in found] == [(3, "delete"), (2, "update"), (1, "create")]
    assert found[0].body is None
    assert '"stat"' in (found[1].body or "")
    assert found[2].body == stored.body


def test_a_viewer_locked_to_a_patient_sees_that_patient_s_versions_only(database: Database) -> None:
    with database.begin() as tx:
        put(tx, task("a", "ann"))
        put(tx, task("b", "bob"))
        put(tx, task("moved", "ann"))
        put(tx, task("moved", "bob"), 2, updated_at=minutes(1))
    seen = [(one.id, one.version) for one in walk(database, Span(), locked("bob"))]
    assert seen == [("moved", 2), ("b", 1)]
    assert [(one.id, one.version) for one in walk(database, Span(), locked("ann"))] == [("a", 1)]
    with database.read() as tx:
        assert history.page(tx, locked("ann"), Span(type="Task"), count=5).total == 1


@pytest.mark.parametrize("few", [0, 3, 2000])
def test_the_two_ways_through_a_type_give_the_same(
    database: Database, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    log = make_log(database, 11)
    monkeypatch.setattr(history, "FEW", few)
    span = Span(type="Task", since=minutes(3))
    assert [(one.type, one.id, one.version) for one in walk(database, span)] == expected(log, span)


def test_a_total_beyond_what_is_counted_is_left_out(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    make_log(database, 5)
    with database.read() as tx:
        whole = history.page(tx, VIEWER, Span(), count=0)
        assert whole.total is not None
        assert (whole.versions, whole.next) == ((), None)
        monkeypatch.setattr(history, "MOST_COUNTED", whole.total)
        assert history.page(tx, VIEWER, Span(), count=1).total == whole.total
        monkeypatch.setattr(history, "MOST_COUNTED", whole.total - 1)
        assert history.page(tx, VIEWER, Span(), count=1).total is None
