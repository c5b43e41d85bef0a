"""Queues in order and page by page, and operations figures each of which lists exactly what it counts."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from fhir_tracker.errors import Incorrect
from fhir_tracker.model.work import Firing, FiringKey
from fhir_tracker.storage import figures, firings, patients, queue, work_items
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.patients import PatientSummary
from fhir_tracker.storage.queue import AGES, QueueFilter
from tests.storage.samples import NOW, VIEWER, item, locked

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ITEMS = [
    item("Task/late", due_at=NOW - HOUR, role="rn", program="tcm", escalation_level=1, escalation_reason="late call"),
    item("Task/later", due_at=NOW - DAY, role="rn", owner="Practitioner/n", program="ccm"),
    item("Task/today", due_at=NOW + HOUR, role="rn", program="tcm", status="calling", status_since=NOW - 5 * DAY),
    item("Task/soon", due_at=NOW + 3 * DAY, role="front-desk", patient="bob", title="Book the Visit"),
    item("Task/none", role="rn", patient="bob"),
    item("Task/held", due_at=NOW - DAY, clock="paused", hold_until=NOW + DAY, role="rn"),
    item("Task/done", due_at=NOW - DAY, clock="stopped", open=False, role="rn"),
    item("CarePlan/p", kind="plan", due_at=NOW - DAY),
]
PEOPLE = [
    PatientSummary(patient="ann", name="Ann Müller", mrn="M-1"),
    PatientSummary(patient="bob", name="Bob 100%", mrn="M-2"),
]


@pytest.fixture
def filled(database: Database) -> Database:
    with database.begin() as tx:
        for one in ITEMS:
            work_items.save(tx, one)
        for person in PEOPLE:
            patients.save(tx, person)
        patients.set_flags(tx, "bob", ["high-risk", "frail"])
    return database


def listed(database: Database, wanted: QueueFilter) -> list[str]:
    with database.read() as tx:
        return [row.item.ref.partition("/")[2] for row in queue.queue(tx, VIEWER, wanted, NOW, limit=999).rows]


def test_a_queue_is_late_first_then_by_due_time_then_without(filled: Database) -> None:
    assert listed(filled, QueueFilter()) == ["later", "late", "today", "held", "soon", "none"]


def test_an_escalation_stands_among_what_is_late_without_counting_as_late(filled: Database) -> None:
    with filled.begin() as tx:
        work_items.save(tx, item("Task/climbed", kind="escalation", created_at=NOW - 2 * HOUR, role="rn"))
    assert listed(filled, QueueFilter(role="rn")) == ["later", "climbed", "late", "today", "held", "none"]
    assert listed(filled, QueueFilter(role="rn", state="late")) == ["later", "late"]
    assert listed(filled, QueueFilter(role="rn", state="escalated")) == ["late"]
    assert listed(filled, QueueFilter(role="rn", state="answers")) == ["climbed", "late"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (QueueFilter(role="rn"), ["later", "late", "today", "held", "none"]),
        (QueueFilter(roles=("front-desk", "provider")), ["soon"]),
        (QueueFilter(owner="Practitioner/n"), ["later"]),
        (QueueFilter(unassigned=False), ["later"]),
        (QueueFilter(role="rn", unassigned=True), ["late", "today", "held", "none"]),
        (QueueFilter(state="late"), ["later", "late"]),
        (QueueFilter(state="hold"), ["held"]),
        (QueueFilter(state="escalated"), ["late"]),
        (QueueFilter(state="due-today"), ["late", "today"]),
        (QueueFilter(state="due-today", zone="Pacific/Auckland"), ["late", "today"]),
        (QueueFilter(state="due-week"), ["late", "today", "soon"]),
        (QueueFilter(state="done"), ["done"]),
        (QueueFilter(state="any", role="rn", patient="ann"), ["later", "done", "late", "today", "held"]),
        (QueueFilter(program="tcm"), ["late", "today"]),
        (QueueFilter(no_program=True, role="rn"), ["held", "none"]),
        (QueueFilter(status="calling"), ["today"]),
        (QueueFilter(age="3-7d"), ["today"]),
        (QueueFilter(flag="frail"), ["soon", "none"]),
        (QueueFilter(flag="fra"), []),
        (QueueFilter(patient="bob"), ["soon", "none"]),
        (QueueFilter(text="muller"), ["later", "late", "today", "held"]),
        (QueueFilter(text="m-2 visit"), ["soon"]),
        (QueueFilter(text="%"), ["soon", "none"]),
        (QueueFilter(reason="late call"), ["late"]),
        (QueueFilter(kind="plan"), ["p"]),
    ],
)
def test_a_filter_lets_through_what_it_says(filled: Database, wanted: QueueFilter, expected: list[str]) -> None:
    assert listed(filled, wanted) == expected


def test_a_row_shows_the_patient_with_flags(filled: Database) -> None:
    with filled.read() as tx:
        row = queue.queue(tx, VIEWER, QueueFilter(role="front-desk"), NOW).rows[0]
    assert row.item == ITEMS[3]
    assert row.patient == replace(PEOPLE[1], flags=("frail", "high-risk"))


def test_pages_of_a_queue_give_each_item_once(filled: Database) -> None:
    seen: list[str] = []
    after: str | None = None
    with filled.read() as tx:
        while True:
            page = queue.queue(tx, VIEWER, QueueFilter(), NOW, after, 2)
            seen += [row.item.ref for row in page.rows]
            after = page.next
            assert page.total == 6
            if after is None:
                break
    assert seen == [f"Task/{one}" for one in ("later", "late", "today", "held", "soon", "none")]


@pytest.mark.parametrize("after", ["", "x", "1.", "9" * 30 + ".1"])
def test_a_place_no_queue_gave_is_refused(filled: Database, after: str) -> None:
    with filled.read() as tx, pytest.raises(Incorrect):
        queue.queue(tx, VIEWER, QueueFilter(), NOW, after)


def test_a_viewer_locked_to_a_patient_sees_and_counts_their_items_only(filled: Database) -> None:
    with filled.read() as tx:
        page = queue.queue(tx, locked("bob"), QueueFilter(), NOW)
        assert ({row.item.patient for row in page.rows}, page.total) == ({"bob"}, 2)
        assert queue.counts(tx, locked("bob"), QueueFilter(), NOW).open == 2
        assert figures.overdue(tx, locked("bob"), NOW, "role") == []
        assert sum(one.count for one in figures.aging(tx, locked("bob"), NOW)) == 2
        assert figures.totals(tx, locked("zed"), NOW).open == 0


def test_counts_for_badges_agree_with_the_lists(filled: Database) -> None:
    with filled.read() as tx:
        counted = queue.counts(tx, VIEWER, QueueFilter(role="rn"), NOW)
    states = {"open": 5, "late": 2, "due_today": 2, "escalated": 1, "answers": 1, "hold": 1}
    assert vars(counted) == states | {"unassigned": 4}


def test_the_total_stops_at_a_thousand_and_one(database: Database) -> None:
    with database.begin() as tx:
        for number in range(1010):
            work_items.save(tx, item(f"Task/{number}"))
    with database.read() as tx:
        assert queue.queue(tx, VIEWER, QueueFilter(), NOW, limit=1).total == 1001


def test_every_figure_is_the_length_of_the_list_it_opens(database: Database) -> None:
    chance = random.Random(4)
    with database.begin() as tx:
        for number in range(150):
            ref = f"Task/{number}"
            made = item(
                ref,
                kind=chance.choice(["task", "escalation", "plan"]),
                due_at=chance.choice([None, NOW - DAY, NOW, NOW + HOUR, NOW + DAY]),
                status=chance.choice(["to-call", "calling"]),
                clock=chance.choice(["running", "paused"]),
                open=chance.random() < 0.8,
                role=chance.choice([None, "rn", "front-desk"]),
                owner=chance.choice([None, None, "Practitioner/n"]),
                program=chance.choice([None, "tcm", "ccm"]),
                status_since=NOW - timedelta(hours=chance.choice([0, 1, 24, 25, 72, 100, 168, 200, 336, 900])),
                escalation_level=chance.choice([0, 0, 1]),
            )
            work_items.save(tx, made)
            if chance.random() < 0.4:
                key = FiringKey(item=ref, rule=chance.choice(["r1", "r2"]), cycle="0", level=1)
                fired_at = NOW - chance.choice([1, 29, 31]) * DAY
                kind = chance.choice([firings.ESCALATE, "create_task"])
                firings.fire(tx, Firing(key=key, fired_at=fired_at, kind=kind), "ann")
    with database.read() as tx:
        shown = figures.overdue(tx, VIEWER, NOW, "owner") + figures.overdue(tx, VIEWER, NOW, "role")
        shown += figures.aging(tx, VIEWER, NOW) + figures.escalations(tx, VIEWER, NOW)
        totals = vars(figures.totals(tx, VIEWER, NOW))
    assert len(shown) > 20
    assert [one for one in shown if len(listed(database, one.opens)) != one.count] == []
    assert {name: len(listed(database, one)) for name, one in figures.total_filters().items()} == totals
    assert sum(one.count for one in shown if one.column in AGES) == totals["open"]
