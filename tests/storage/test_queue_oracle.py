"""Random queues against a naive look at every item: what is in, in which order, counted and page by page under writes."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from fhir_tracker.model.viewer import Viewer
from fhir_tracker.model.work import WorkItem
from fhir_tracker.storage import patients, queue, work_items
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.patients import PatientSummary
from fhir_tracker.storage.queue import AGES, STATES, QueueFilter
from tests.storage.samples import NOW, VIEWER, item, locked

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NEVER = datetime(9999, 1, 1, tzinfo=UTC)
PEOPLE = {"ann": "Ann Müller", "bob": "Bob 100%", "cyd": "Cyd O_Neil"}
ZONES = ("UTC", "America/New_York", "Pacific/Auckland", "Australia/Lord_Howe")


def some_item(chance: random.Random, number: int) -> WorkItem:
    clock = chance.choice(["running", "running", "paused", "stopped"])
    return item(
        f"Task/{number}",
        kind=chance.choice(["task", "task", "task", "escalation", "plan", "outside"]),
        title=chance.choice(["Call about MÜLLER", "Book 100%", "Write_note"]),
        patient=chance.choice([*PEOPLE, None]),
        plan=chance.choice([None, "CarePlan/p"]),
        program=chance.choice([None, "tcm", "ccm"]),
        status=chance.choice(["to-call", "calling"]),
        clock=clock,
        open=clock != "stopped",
        role=chance.choice([None, "rn", "front-desk"]),
        owner=chance.choice([None, None, "Practitioner/n", "Practitioner/m"]),
        due_at=chance.choice([None, *(NOW + hours * HOUR for hours in (-200, -24, -1, 0, 1, 8, 23, 24, 100, 180))]),
        hold_until=NOW + 9 * HOUR if clock == "paused" and chance.random() < 0.6 else None,
        created_at=NOW - chance.randint(0, 50) * HOUR,
        status_since=NOW - chance.choice([0, 1, 23, 24, 25, 72, 100, 168, 200, 336, 900]) * HOUR,
        escalation_level=chance.choice([0, 0, 1, 3]),
        escalation_reason=chance.choice([None, "late call"]),
    )


def place(one: WorkItem) -> datetime:
    """Where it stands in a queue, in words of the help page: by due time, the end of a hold, last without either."""
    if one.kind == "escalation":
        return one.due_at or one.created_at
    if one.clock == "paused":
        return one.hold_until or NEVER
    return one.due_at or NEVER


def in_state(one: WorkItem, state: str, zone: str) -> bool:
    today = NOW.astimezone(ZoneInfo(zone)).date()
    days = (place(one).astimezone(ZoneInfo(zone)).date() - today).days if place(one) != NEVER else 99
    running = one.open and one.clock == "running" and one.due_at is not None
    answers = {
        "open": one.open,
        "late": running and place(one) < NOW,
        "hold": one.open and one.clock == "paused",
        "escalated": one.open and one.escalation_level > 0,
        "answers": one.open and (one.escalation_level > 0 or one.kind == "escalation"),
        "due-today": running and days == 0,
        "due-week": running and 0 <= days < 7,
        "done": not one.open,
        "any": True,
    }
    return answers[state]


def folded(text: str) -> str:
    return text.replace("Ü", "u").replace("ü", "u").casefold()


def lets_through(one: WorkItem, wanted: QueueFilter) -> bool:
    name = PEOPLE.get(one.patient or "", "")
    flags = {"bob": {"frail"}}.get(one.patient or "", set())
    least, most = AGES[wanted.age] if wanted.age else (None, None)
    spent = NOW - one.status_since
    tests = [
        one.kind == wanted.kind if wanted.kind else one.kind != "plan",
        *(
            getattr(wanted, field) is None or getattr(one, field) == getattr(wanted, field)
            for field in ("role", "owner", "program", "status", "patient", "plan")
        ),
        not wanted.roles or one.role in wanted.roles,
        wanted.unassigned is None or (one.owner is None) is wanted.unassigned,
        not wanted.no_role or one.role is None,
        not wanted.no_program or one.program is None,
        wanted.reason is None or one.escalation_reason == wanted.reason,
        wanted.flag is None or wanted.flag in flags,
        least is None or spent >= least,
        most is None or spent < most,
        all(word in folded(name) or word in folded(one.title) for word in folded(wanted.text or "").split()),
    ]
    return in_state(one, wanted.state, wanted.zone) and all(tests)


def some_filter(chance: random.Random) -> QueueFilter:
    options: dict[str, Sequence[Any]] = {
        "role": ["rn", "front-desk", "nobody"],
        "roles": [("rn",), ("rn", "front-desk"), ("nobody",)],
        "owner": ["Practitioner/n"],
        "unassigned": [True, False],
        "no_role": [True],
        "program": ["tcm", "ccm"],
        "no_program": [True],
        "status": ["to-call", "calling"],
        "flag": ["frail", "fra"],
        "patient": ["ann", "bob"],
        "plan": ["CarePlan/p"],
        "text": ["muller", "100%", "_", "ann call", "%", "book bob"],
        "reason": ["late call"],
        "kind": ["plan", "task", "escalation", "outside"],
        "age": list(AGES),
    }
    chosen = {name: chance.choice(options[name]) for name in chance.sample(list(options), chance.randint(0, 3))}
    return QueueFilter(state=chance.choice(STATES), zone=chance.choice(ZONES), **chosen)


def ordered(items: Sequence[WorkItem], wanted: QueueFilter) -> list[str]:
    """As a queue shows them: `items` stand in the order they were made."""
    if wanted.state == "done":
        newest_first = items[::-1]
        return [one.ref for one in sorted(newest_first, key=lambda one: one.status_since, reverse=True)]
    return [one.ref for one in sorted(items, key=place)]


def fill(database: Database, items: Sequence[WorkItem]) -> None:
    with database.begin() as tx:
        for one in items:
            work_items.save(tx, one)
        for patient, name in PEOPLE.items():
            patients.save(tx, PatientSummary(patient=patient, name=name))
        patients.set_flags(tx, "bob", ["frail"])


def walked(
    database: Database,
    wanted: QueueFilter,
    limit: int,
    viewer: Viewer = VIEWER,
    between: Callable[[], None] | None = None,
) -> list[str]:
    seen: list[str] = []
    after: str | None = None
    while True:
        with database.read() as tx:
            page = queue.queue(tx, viewer, wanted, NOW, after, limit)
        seen += [row.item.ref for row in page.rows]
        after = page.next
        if after is None:
            return seen
        if between is not None:
            between()


@pytest.mark.parametrize("seed", range(2))
def test_random_queues_show_count_and_order_what_a_naive_look_does(database: Database, seed: int) -> None:
    chance = random.Random(seed)
    items = [some_item(chance, number) for number in range(150)]
    fill(database, items)
    for _ in range(60):
        wanted = some_filter(chance)
        viewer = chance.choice([VIEWER, VIEWER, locked("ann")])
        seen = [one for one in items if viewer.patient is None or one.patient == viewer.patient]
        mine = [one for one in seen if lets_through(one, wanted)]
        assert walked(database, wanted, chance.choice([4, 50]), viewer) == ordered(mine, wanted), wanted
        open_ones = [one for one in seen if lets_through(one, replace(wanted, state="open"))]
        with database.read() as tx:
            assert queue.queue(tx, viewer, wanted, NOW, limit=1).total == len(mine)
            counted = vars(queue.counts(tx, viewer, wanted, NOW))
        expected = {
            name: sum(in_state(one, name.replace("_", "-"), wanted.zone) for one in open_ones)
            for name in ("open", "late", "due_today", "escalated", "answers", "hold")
        }
        assert counted == expected | {"unassigned": sum(one.owner is None for one in open_ones)}, wanted


@pytest.mark.parametrize("state", ["open", "done", "any"])
def test_who_stays_in_a_queue_is_shown_once_while_others_come_and_go(database: Database, state: str) -> None:
    chance = random.Random(9)
    items = [some_item(chance, number) for number in range(60)]
    fill(database, items)
    wanted = QueueFilter(state=state)  # type: ignore[arg-type]
    before = ordered([one for one in items if lets_through(one, wanted)], wanted)
    touched: set[str] = set()
    number = 1000

    def write() -> None:
        nonlocal number
        number += 1
        one = chance.choice(items)
        touched.add(one.ref)
        with database.begin() as tx:
            if chance.random() < 0.3:
                work_items.drop(tx, one.ref)
            else:
                work_items.save(tx, replace(some_item(chance, 0), ref=one.ref))
            work_items.save(tx, some_item(chance, number))

    seen = walked(database, wanted, 3, between=write)
    stayed = [ref for ref in before if ref not in touched]
    assert len(stayed) > 3
    assert [ref for ref in seen if ref in set(stayed)] == stayed


@pytest.mark.parametrize("text", ["ann", "ANN", "müller", "MULLER", "mu ann", "ann  müller", "\tann"])
def test_a_word_finds_a_patient_however_it_is_written(database: Database, text: str) -> None:
    fill(database, [item("Task/1", title="x", patient="ann"), item("Task/2", title="x", patient="bob")])
    assert walked(database, QueueFilter(text=text), 5) == ["Task/1"]


@pytest.mark.parametrize("text", ["'; DROP TABLE work_item; --", "\\", "%%", "x" * 2000, "\u202eann", "💥", "ann\\"])
def test_a_hostile_word_finds_nobody(database: Database, text: str) -> None:
    fill(database, [item("Task/1", title="x", patient="ann")])
    assert walked(database, QueueFilter(text=text), 5) == []
    assert walked(database, QueueFilter(), 5) == ["Task/1"]
