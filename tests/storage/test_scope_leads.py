"""Who sees little is answered from that little: nothing of it is missed, and what others have does not make it slower."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, insert, select, text

from fhir_tracker.fhir.query import parse_query
from fhir_tracker.model.grants import grants_of
from fhir_tracker.model.policy import Policy
from fhir_tracker.model.sight import lock_of, sight_of
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage import history, search, work_items
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.history import Span
from fhir_tracker.storage.scope import row_scope
from fhir_tracker.storage.scope_leads import few_seen
from fhir_tracker.storage.tables import resource, resource_version
from tests.storage.samples import NOW, VIEWER, item, locked, pairs, put, put_all, task
from tests.storage.test_work_sight_oracle import Ward, somebody

MANY = 2_100
"""More than are listed of one type."""
KINDS: tuple[tuple[str, ...], ...] = (
    (), ("Task",), ("CarePlan",), ("Task", "CarePlan"), ("Patient",), ("Practitioner",), ("Observation",),
    ("Observation", "Task"), ("Location", "Patient", "CarePlan"), ("AuditEvent",),
)  # fmt: skip
NOBODYS = (
    {"resourceType": "Practitioner", "id": "doc"},
    {"resourceType": "Location", "id": "north", "name": "North"},
    {"resourceType": "Observation", "id": "water", "status": "final", "code": {"text": "of no patient"}},
    {"resourceType": "Observation", "id": "bobs", "status": "final", "code": {"text": "x"}, "subject": {"reference": "Patient/bob"}},
    task("unknown", "bob"),
)  # fmt: skip


def visible(tx: Tx, viewer: Viewer, right: str, types: Sequence[str]) -> set[int]:
    """What the row scope shows, found by looking at everything."""
    chosen = select(resource.c.k).where(row_scope(viewer, resource, right=right))
    if types:
        chosen = chosen.where(resource.c.type.in_(types))
    return {row["k"] for row in tx.rows(chosen)}


def bounded(*programs: str, places: Sequence[str] = (), scopes: str = "user/*.rs") -> Viewer:
    policy = Policy(
        grants=grants_of(scopes.split()),
        programs=frozenset(programs) if programs else None,
        locations=frozenset(places) if places else None,
    )
    return Viewer(who="Practitioner/p", sight=sight_of(None, policy, None))


def token(scopes: str, patient: str | None = None) -> Viewer:
    grants = grants_of(scopes.split())
    return Viewer(who="Device/d", patient=lock_of(grants, patient), sight=sight_of(grants, None, patient))


@pytest.mark.requirement(89)
@pytest.mark.security("A3", "S40", "S44")
@pytest.mark.parametrize("seed", [5, 6])
def test_nothing_that_is_seen_is_left_out_of_what_is_listed(database: Database, seed: int) -> None:
    chance, ward = random.Random(seed), Ward()
    put_all(database, NOBODYS)
    ward.fill(database, chance)
    with database.begin() as tx:
        put(tx, task("unknown", "bob"), 2, op="delete", body="")
    with database.read() as tx:
        for _ in range(25):
            viewer = somebody(chance, ward).viewer
            for types in KINDS:
                check_listing(tx, viewer, chance.choice("rs"), types, chance.randint(0, 30))
            seen = visible(tx, viewer, "s", ())
            page = history.page(tx, viewer, Span(), count=99)
            told = {one.k for one in page.versions}
            assert told <= seen
            if not any(way.filters for ways in viewer.sight.named("s").values() for way in ways):
                assert told == seen
            assert page.total == len(page.versions)


def check_listing(tx: Tx, viewer: Viewer, right: str, types: Sequence[str], most: int) -> None:
    seen, listed = visible(tx, viewer, right, types), few_seen(tx, viewer, right, types, 99)
    if viewer.sight.is_bounded:
        assert listed is not None
    assert listed is None or seen <= set(listed), (right, types)
    fewer = few_seen(tx, viewer, right, types, most)
    assert fewer is None or (seen <= set(fewer) and len(fewer) <= most), (right, types)
    assert fewer is None or len(fewer) <= most


@pytest.mark.security("S40")
@pytest.mark.parametrize(
    ("viewer", "right", "types"),
    [
        (VIEWER, "s", ("Task",)),
        (token("system/*.rs"), "s", ()),
        (token("system/Task.rs"), "r", ("Task",)),
        (token("patient/Task.rs system/Patient.rs", "ann"), "r", ("Task", "Patient")),
        (token("patient/*.rs user/*.r", "ann"), "r", ()),
        (bounded(), "s", ("Task",)),
    ],
    ids=["open", "everything", "a whole type", "one type whole", "more than one patient", "a role without bounds"],
)
def test_where_nothing_bounds_what_is_seen_nothing_is_listed(
    database: Database, viewer: Viewer, right: str, types: Sequence[str]
) -> None:
    put_all(database, [task("a", "ann")])
    with database.read() as tx:
        assert few_seen(tx, viewer, right, types, 99) is None


@pytest.mark.security("S40", "S44")
@pytest.mark.parametrize(
    ("viewer", "types", "ids"),
    [
        (locked("ann"), ("Task",), {"a", "draft"}),
        (locked("ann"), ("Practitioner", "Task"), {"a", "draft", "doc"}),
        (locked("ann"), ("Observation",), set()),
        (locked("' OR true --"), ("Task",), set()),
        (token("patient/*.rs", "bob"), (), {"unknown", "bobs", "doc", "north"}),
        (token("system/Task.rs?status=draft"), ("Task",), {"draft"}),
        (token("system/Task.rs?status=on-hold"), ("Task",), set()),
        (token("system/Task.r?status=draft system/Task.s"), ("Task",), None),
        (bounded("x'; DROP TABLE work_item; --"), ("Task", "CarePlan"), set()),
    ],
)
def test_what_is_listed_is_of_the_patient_the_filter_or_the_work(
    database: Database, viewer: Viewer, types: Sequence[str], ids: set[str] | None
) -> None:
    put_all(database, [*NOBODYS, task("a", "ann"), task("draft", "ann", status="draft")])
    with database.read() as tx:
        listed = few_seen(tx, viewer, "s", types, 99)
        names = {row["k"]: row["id"] for row in tx.rows(select(resource.c.k, resource.c.id))}
    assert (None if listed is None else {names[k] for k in listed}) == ids


Ask = Callable[[Tx, Viewer], object]


def in_history(span: Span) -> Ask:
    return lambda tx, viewer: history.page(tx, viewer, span, count=20)


def searched(type_: str, words: str) -> Ask:
    query = parse_query(type_, pairs(words), strict=True, own_base="http://here/fhir")
    return lambda tx, viewer: search.search(tx, viewer, query)


ASKS: dict[str, Ask] = {
    "history of Tasks": in_history(Span(type="Task")),
    "history of Observations": in_history(Span(type="Observation")),
    "history of everything": in_history(Span()),
    "page of Tasks": searched("Task", "_count=20"),
    "page of Observations": searched("Observation", "_count=20"),
    "count of Tasks": searched("Task", "_summary=count"),
    "count of Observations": searched("Observation", "_summary=count"),
    "Tasks with their patients": searched("Task", "_count=20&_include=Task:patient"),
    "patients with their Tasks": searched("Patient", "_count=20&_revinclude=Task:patient"),
}
SEE_LITTLE = {
    "a role of a small program": bounded("rare"),
    "a role of a small place": bounded(places=["Location/small"]),
    "a role of both": bounded("rare", "none", places=["Location/small", "Location/none"]),
    "a role of a program without work": bounded("none"),
    "a token of one patient": token("patient/*.rs", "p0"),
    "somebody locked to a patient": locked("p0"),
}


def more_of_others(database: Database, start: int) -> None:
    """Tasks and Observations of other patients, in bulk; some of the Tasks are work of a large program."""
    rows, versions = [], []
    for number in range(start, start + MANY):
        patient = f"p{1 + number % 97}"
        for place, type_ in enumerate(("Task", "Observation")):
            k = (1 << 40) + 2 * number + place
            told = json.dumps(task(f"t{number}", patient) | {"resourceType": type_})
            rows.append(
                {
                    "k": k,
                    "type": type_,
                    "id": f"t{number}",
                    "version": 1,
                    "updated_at": NOW,
                    "deleted": False,
                    "body": told,
                    "patient": patient,
                }
            )
            versions.append(
                {
                    "k": k,
                    "version": 1,
                    "updated_at": NOW,
                    "op": "create",
                    "origin": "api",
                    "who": "me",
                    "patient": patient,
                }
            )
    with database.begin() as tx:
        tx.connection.execute(insert(resource), rows)
        tx.connection.execute(insert(resource_version), versions)
        for number in range(start, start + 200):
            work_items.save(
                tx, item(f"Task/t{number}", patient=f"p{1 + number % 97}", program="large", site="Location/large")
            )
    with database.begin() as tx:
        tx.execute(text("ANALYZE"))


def little(database: Database) -> None:
    """One patient with a few records, whose work is all that there is of a small program and a small place."""
    with database.begin() as tx:
        put(tx, {"resourceType": "Patient", "id": "p0"})
        for number in range(6):
            put(tx, task(f"own{number}", "p0"))
            put(
                tx,
                {
                    "resourceType": "Observation",
                    "id": f"own{number}",
                    "status": "final",
                    "code": {"text": "x"},
                    "subject": {"reference": "Patient/p0"},
                },
            )
            work_items.save(tx, item(f"Task/own{number}", patient="p0", program="rare", site="Location/small"))


@contextmanager
def steps(tx: Tx) -> Iterator[list[int]]:
    """What the statements of the block take: operations of SQLite's machine, or rows that pass between PostgreSQL's nodes."""
    counted = [0]
    if tx.dialect == "sqlite":
        driver: Any = tx.connection.connection.driver_connection

        def heard() -> None:
            counted[0] += 1

        driver.set_progress_handler(heard, 1)
        yield counted
        driver.set_progress_handler(None, 0)
        return
    asked: list[tuple[str, Any]] = []

    def keep(_c: object, _cursor: object, sql: str, given: object, _context: object, _many: bool) -> None:
        asked.append((sql, given))

    event.listen(tx.connection, "before_cursor_execute", keep)
    yield counted
    event.remove(tx.connection, "before_cursor_execute", keep)
    for sql, given in asked:
        told = tx.connection.exec_driver_sql(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {sql}", given).scalar_one()
        counted[0] += passed(told[0]["Plan"])


def passed(node: dict[str, Any]) -> int:
    """The rows that a node and those below it gave or took away, in all their loops."""
    names = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck", "Rows Removed by Join Filter")
    own = sum(node.get(name, 0) for name in names) * node["Actual Loops"]
    return int(own) + sum(passed(one) for one in node.get("Plans", ()))


def taken(database: Database) -> dict[tuple[str, str], int]:
    """What each asks for takes; PostgreSQL, for which tables of a test are small, is kept from reading them whole."""
    found: dict[tuple[str, str], int] = {}
    with database.read() as tx:
        if tx.dialect == "postgresql":
            tx.connection.execute(text("SET LOCAL enable_seqscan = off"))
        for who, viewer in SEE_LITTLE.items():
            for what, ask in ASKS.items():
                with steps(tx) as counted:
                    ask(tx, viewer)
                found[who, what] = counted[0]
    return found


@pytest.mark.requirement(89)
def test_what_others_have_makes_nothing_slower_for_who_sees_little(database: Database) -> None:
    little(database)
    more_of_others(database, 0)
    before = taken(database)
    more_of_others(database, MANY)
    after = taken(database)
    grown = {one: (before[one], after[one]) for one in before if after[one] > 1.1 * before[one] + 20}
    assert not grown
    room = 6_000 if database.dialect == "sqlite" else 600
    assert max(after.values()) < room, max(after.items(), key=lambda one: one[1])
