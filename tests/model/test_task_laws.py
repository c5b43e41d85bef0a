"""Laws of a Task's rows: they tell the whole way, the cycle never falls, and history adds and takes nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.sight import EVERYTHING
from fhir_tracker.model.task import changes_between, next_cycle, with_history
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.model.vocabulary import CLOSED_TASK
from fhir_tracker.model.work import Event, Firing, FiringKey, FiringState, ItemKind, Transition, WorkItem

START = datetime(2026, 3, 9, 14, tzinfo=UTC)
HOUR = timedelta(hours=1)
BY = Author(viewer=Viewer(who="Practitioner/nurse", sight=EVERYTHING), origin="staff", at=START)
TOLD: Mapping[str, str] = {
    "status": "status",
    "owner": "owner",
    "role": "role",
    "due": "due_at",
    "priority": "priority",
}
"""What a row says it is about, and the field of the item it follows."""

FHIR = st.sampled_from(["draft", "requested", "in-progress", "on-hold", "completed", "cancelled", "failed"])
MOMENTS = st.integers(0, 20).map(lambda hours: START + hours * HOUR)
ITEMS = st.builds(
    lambda fhir, status, owner, role, due, priority: WorkItem(
        ref="Task/t",
        kind="task",
        title="Work",
        status=f"{fhir}-{status}",
        fhir_status=fhir,
        open=fhir not in CLOSED_TASK,
        owner=owner,
        role=role,
        due_at=due,
        priority=priority,
        created_at=START,
        status_since=START,
    ),
    FHIR,
    st.sampled_from(["a", "b", "c"]),
    st.none() | st.sampled_from(["Practitioner/x", "Practitioner/y"]),
    st.none() | st.sampled_from(["rn", "provider"]),
    st.none() | MOMENTS,
    st.sampled_from(["routine", "urgent"]),
)
WAYS = st.lists(ITEMS, min_size=1, max_size=8)


def walked(way: list[WorkItem]) -> tuple[list[Transition], WorkItem]:
    """The rows of a way through versions of one item, and the last version with its history."""
    rows: list[Transition] = []
    before: WorkItem | None = None
    for number, step in enumerate(way):
        rows += changes_between(before, step, replace(BY, at=START + number * HOUR))
        before = with_history(step, rows, (), ())
    assert before is not None
    return rows, before


def shown(item: WorkItem, what: str) -> str | None:
    value = getattr(item, TOLD[what])
    return value.isoformat() if isinstance(value, datetime) else value


@given(WAYS)
@settings(max_examples=300, deadline=None)
def test_the_rows_of_each_kind_are_a_chain_from_nothing_to_now(way: list[WorkItem]) -> None:
    rows, last = walked(way)
    for what in TOLD:
        chain = [row for row in rows if row.what == what]
        for earlier, later in pairwise(chain):
            assert later.before == earlier.after
            assert later.recorded_at > earlier.recorded_at
        assert all(row.before != row.after for row in chain)
        if what == "priority":
            assert chain == [] or chain[0].before == way[0].priority
        else:
            assert chain == [] or chain[0].before is None
        assert shown(last, what) == (chain[-1].after if chain else (last.priority if what == "priority" else None))


@given(WAYS)
@settings(max_examples=200, deadline=None)
def test_the_cycle_never_falls_and_grows_by_one_for_a_new_due_time_or_a_reopening(way: list[WorkItem]) -> None:
    rows, last = walked(way)
    assert [row.cycle for row in rows] == sorted(row.cycle for row in rows)
    assert last.cycle == sum(
        one.due_at != other.due_at or (other.open and not one.open) for one, other in pairwise(way)
    )


@pytest.mark.parametrize(("kind", "what"), [("task", "status"), ("plan", "status")])
def test_work_closed_and_opened_again_under_one_business_status_has_its_rows_and_its_cycle(
    kind: ItemKind, what: str
) -> None:
    is_open = replace(PLAIN, kind=kind, status="same", fhir_status="in-progress")
    closed = replace(is_open, fhir_status="completed", open=False)
    rows, last = walked([is_open, closed, is_open])
    assert [(row.what, row.before, row.after, row.cycle) for row in rows[1:]] == [
        (what, "in-progress", "completed", 0),
        (what, "completed", "in-progress", 1),
    ]
    assert (last.cycle, last.status_since) == (1, START + 2 * HOUR)


@given(ITEMS)
@settings(max_examples=100, deadline=None)
def test_nothing_changed_makes_no_row_and_no_cycle(item: WorkItem) -> None:
    assert changes_between(item, item, BY) == ()
    assert next_cycle(item, item) == item.cycle
    other = replace(item, title="Renamed", focus="Task/z", hold_until=START, attempts=9, next_action_at=START)
    assert changes_between(item, other, BY) == ()


@given(ITEMS, ITEMS)
@settings(max_examples=200, deadline=None)
def test_the_way_there_and_back_is_the_same_rows_turned_round(one: WorkItem, other: WorkItem) -> None:
    there, back = changes_between(one, other, BY), changes_between(other, one, BY)
    assert {(row.what, row.before, row.after) for row in there} == {(row.what, row.after, row.before) for row in back}


@given(ITEMS, ITEMS, st.text(max_size=9), st.text(max_size=9), st.none() | MOMENTS)
@settings(max_examples=100, deadline=None)
def test_each_row_carries_who_why_and_when(
    one: WorkItem, other: WorkItem, reason: str, note: str, since: datetime | None
) -> None:
    why = Why(reason=reason, note=note, rule="ring|1#late", effective_at=since)
    for row in changes_between(one, other, BY, why):
        assert (row.item, row.who, row.recorded_at) == ("Task/t", "Practitioner/nurse", START)
        assert (row.reason, row.note, row.rule, row.effective_at) == (reason, note, "ring|1#late", since or START)
    for row in changes_between(one, other, BY):
        assert (row.reason, row.note, row.rule, row.effective_at) == (None, None, None, START)


@given(WAYS)
@settings(max_examples=150, deadline=None)
def test_history_changes_only_what_rows_know(way: list[WorkItem]) -> None:
    rows, last = walked(way)
    own = {
        "status_since",
        "assigned_since",
        "cycle",
        "escalation_level",
        "escalation_reason",
        "attempts",
        "last_attempt_at",
        "last_attempt_outcome",
    }
    for field in fields(WorkItem):
        if field.name not in own:
            assert getattr(last, field.name) == getattr(way[-1], field.name)
    assert with_history(last, rows, (), ()) == last


@given(WAYS)
@settings(max_examples=150, deadline=None)
def test_since_when_is_the_last_row_of_the_status_and_of_the_owner(way: list[WorkItem]) -> None:
    rows, last = walked(way)
    statuses = [row for row in rows if row.what == "status"]
    assert last.status_since == statuses[-1].recorded_at
    owners = [row for row in rows if row.what == "owner" and row.after]
    assert last.assigned_since == (owners[-1].recorded_at if last.owner else None)


def fired(level: int, state: FiringState, kind: str = "escalate", reason: str = "late") -> Firing:
    key = FiringKey(item="Task/t", rule="late", cycle="0", level=level)
    return replace(Firing(key=key, fired_at=START, kind=kind, reason=reason), state=state)


PLAIN = WorkItem(ref="Task/t", kind="task", title="Work", created_at=START, status_since=START)


@pytest.mark.parametrize(
    ("firings", "level", "reason"),
    [
        ((), 0, None),
        ((fired(1, "open"),), 1, "late"),
        ((fired(1, "open"), fired(2, "open", reason="later")), 2, "later"),
        ((fired(2, "open"), fired(1, "open", reason="again")), 2, "again"),
        ((fired(1, "resolved"),), 0, None),
        ((fired(1, "open"), fired(2, "resolved")), 1, "late"),
        ((fired(1, "acknowledged"),), 1, "late"),
        ((fired(1, "taken-over"),), 1, "late"),
        ((fired(1, "sent-back"),), 1, "late"),
        ((fired(3, "open", kind="raise-flag"),), 0, None),
        ((fired(3, "open", kind="create-task"), fired(1, "open")), 1, "late"),
    ],
)
def test_the_level_shown_is_the_highest_that_is_not_resolved(
    firings: tuple[Firing, ...], level: int, reason: str | None
) -> None:
    found = with_history(PLAIN, (), firings, ())
    assert (found.escalation_level, found.escalation_reason) == (level, reason)
    closed = with_history(replace(PLAIN, open=False), (), firings, ())
    assert (closed.escalation_level, closed.escalation_reason) == (0, None)


@pytest.mark.parametrize("number", [0, 1, 2, 5])
def test_attempts_are_counted_and_the_last_is_shown(number: int) -> None:
    tries = [
        Event(
            ref=f"Communication/{n}",
            type="Communication",
            status="not-done",
            patient="ann",
            start=START + n * HOUR,
            seen_at=START,
            detail={"outcome": f"outcome-{n}"},
        )
        for n in range(number)
    ]
    found = with_history(PLAIN, (), (), tries)
    assert found.attempts == number
    assert found.last_attempt_at == (tries[-1].start if tries else None)
    assert found.last_attempt_outcome == (f"outcome-{number - 1}" if tries else None)


@pytest.mark.parametrize(
    ("before", "after", "cycle"),
    [
        (None, PLAIN, 0),
        (replace(PLAIN, cycle=3), PLAIN, 3),
        (replace(PLAIN, cycle=3), replace(PLAIN, due_at=START), 4),
        (replace(PLAIN, cycle=3, due_at=START), PLAIN, 4),
        (replace(PLAIN, cycle=3, due_at=START), replace(PLAIN, due_at=START), 3),
        (replace(PLAIN, cycle=3, open=False), PLAIN, 4),
        (replace(PLAIN, cycle=3), replace(PLAIN, open=False), 3),
        (replace(PLAIN, cycle=3, open=False), replace(PLAIN, due_at=START), 4),
        (replace(PLAIN, cycle=3, owner="x"), replace(PLAIN, role="rn", priority="stat"), 3),
    ],
)
def test_the_next_cycle(before: WorkItem | None, after: WorkItem, cycle: int) -> None:
    assert next_cycle(before, after) == cycle
