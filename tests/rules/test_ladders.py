"""Ladders: every state of every level, what stops a climb, what lets it go on, and from when each level counts."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_tracker.errors import Incorrect
from fhir_tracker.model.facts import Verdict
from fhir_tracker.model.program import Ladder, Program
from fhir_tracker.model.work import Firing
from fhir_tracker.rules.ladders import ACKNOWLEDGED, next_step
from fhir_tracker.rules.program_file import read_program
from tests.rules.samples import BASE, MONDAY, fired, hours, ny, program

STATES = ("open", "acknowledged", "taken-over", "sent-back", "resolved")
ANSWERS = ("acknowledged", "taken-over", "resolved")
DEMO = program()
HOLDS, FAILS = Verdict(holds=True, why="late", since=MONDAY), Verdict(holds=False, why="not late")


def ladder(demo: Program = DEMO, code: str = "late") -> Ladder:
    found = demo.ladder(code)
    assert found is not None
    return found


DEAF = program(
    "  - {id: r, when: {overdue_by: 0 hours}, do: {escalate: late}}",
    "\nladders:\n  late: {stop_when: task.closed, levels: [{to: rn}, {to: provider, after: 1 hour}]}\n",
)


@pytest.mark.parametrize("states", [states for n in range(4) for states in product(STATES, repeat=n)])
@pytest.mark.parametrize("holds", [True, False])
def test_every_combination_of_states_stops_or_climbs(states: tuple[str, ...], holds: bool) -> None:
    rows = [fired(level, MONDAY + hours(level), state=state) for level, state in enumerate(states, start=1)]
    step = next_step(DEMO, ladder(), HOLDS if holds else FAILS, rows, MONDAY, MONDAY + timedelta(days=90))
    answered = [f"level {n} was {state.replace('-', ' ')}" for n, state in enumerate(states, 1) if state in ANSWERS]
    if not holds:
        expected = (None, "the rule does not hold now" if states else None)
    elif answered:
        expected = (None, answered[0])
    elif len(states) == 3:
        expected = (None, "every level has fired")
    else:
        expected = (len(states) + 1, None)  # type: ignore[assignment]
    assert (step.due.number if step.due else None, step.stopped) == expected


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("level", [1, 2])
def test_a_ladder_that_stops_only_at_the_tasks_end_climbs_whatever_is_answered(state: str, level: int) -> None:
    rows = [fired(n, MONDAY, state=state) for n in range(1, level + 1)]
    step = next_step(DEAF, ladder(DEAF), HOLDS, rows, MONDAY, MONDAY + hours(1))
    assert (step.due.number if step.due else step.stopped) == (2 if level == 1 else "every level has fired")


@pytest.mark.parametrize(
    ("last_level", "at", "due_from"),
    [
        (0, "2026-03-09 17:00", "2026-03-09 17:00"),
        (1, "2026-03-09 17:00", "2026-03-10 12:00"),
        (1, "2026-03-09 10:00", "2026-03-09 14:00"),
        (1, "2026-03-06 16:30", "2026-03-09 11:30"),
        (1, "2026-03-07 12:00", "2026-03-09 12:00"),
        (1, "2026-07-02 16:00", "2026-07-06 11:00"),
        (2, "2026-03-10 12:00", "2026-03-11 17:00"),
        (2, "2026-03-06 09:00", "2026-03-09 17:00"),
    ],
)
def test_a_level_is_due_from_its_second_on(last_level: int, at: str, due_from: str) -> None:
    rows = [fired(level, ny(at)) for level in range(1, last_level + 1)]
    holds = Verdict(holds=True, why="late", since=ny(at))
    edge = ny(due_from)
    early = next_step(DEMO, ladder(), holds, rows, MONDAY, edge - timedelta(seconds=1))
    assert early.upcoming is not None
    assert (early.due, early.upcoming.number, early.upcoming.at) == (None, last_level + 1, edge)
    late = next_step(DEMO, ladder(), holds, rows, MONDAY, edge)
    assert late.due is not None
    assert late.due.number == last_level + 1


def test_a_first_level_without_a_beginning_counts_from_when_the_work_began() -> None:
    late = program(
        "  - {id: r, when: {overdue_by: 0 hours}, do: {escalate: late}}",
        "\nladders:\n  late: {levels: [{to: rn, after: 2 hours}]}\n",
    )
    without = Verdict(holds=True, why="always")
    step = next_step(late, ladder(late), without, [], MONDAY, MONDAY)
    assert step.upcoming is not None
    assert step.upcoming.at == MONDAY + hours(2)


def test_the_next_level_after_one_that_fires_late_counts_from_now() -> None:
    late = MONDAY + timedelta(days=30)
    step = next_step(DEMO, ladder(), HOLDS, [], MONDAY, late)
    assert step.upcoming is not None
    assert (step.due and step.due.number, step.upcoming.number) == (1, 2)
    assert step.upcoming.at > late


def test_the_highest_level_counts_however_the_firings_are_ordered() -> None:
    rows = [fired(2, MONDAY + hours(5)), fired(1, MONDAY)]
    step = next_step(DEMO, ladder(), HOLDS, rows, MONDAY, MONDAY + timedelta(days=9))
    assert step.due is not None
    assert step.due.number == 3


def test_a_ladder_cut_short_since_has_nothing_more_to_fire() -> None:
    rows = [fired(level, MONDAY) for level in (1, 2, 3, 4)]
    assert next_step(DEMO, ladder(), HOLDS, rows, MONDAY, MONDAY + hours(99)).stopped == "every level has fired"


@given(
    states=st.lists(st.sampled_from(STATES), max_size=3),
    gaps=st.lists(st.integers(0, 5000), min_size=3, max_size=3),
    now=st.integers(0, 20_000),
)
@settings(max_examples=100, deadline=None)
def test_a_step_is_one_of_three_and_what_comes_is_later(states: list[str], gaps: list[int], now: int) -> None:
    rows: list[Firing] = []
    at = MONDAY
    for level, (state, gap) in enumerate(zip(states, gaps, strict=False), start=1):
        at += timedelta(minutes=gap)
        rows.append(fired(level, at, state=state))
    moment: datetime = at + timedelta(minutes=now)
    step = next_step(DEMO, ladder(), HOLDS, rows, MONDAY, moment)
    assert (step.stopped is None) != (step.due is None and step.upcoming is None)
    if step.upcoming is not None:
        assert step.upcoming.at > moment
        assert step.upcoming.number > len(rows)
    assert set(ANSWERS) == set(ACKNOWLEDGED)


@pytest.mark.parametrize(
    ("levels", "priorities"),
    [
        ("[{to: rn}]", [None]),
        ("[{to: rn, priority: urgent}, {to: provider, after: 1 hour}]", ["urgent", "urgent"]),
        ("[{to: rn}, {to: provider, after: 1 hour, priority: asap}, {to: rn, after: 1 day}]", [None, "asap", "asap"]),
        ("[{to: rn, priority: asap}, {to: provider, after: 1 hour, priority: stat}]", ["asap", "stat"]),
    ],
)
def test_a_level_that_names_no_priority_keeps_the_one_before(levels: str, priorities: list[str | None]) -> None:
    demo = program(
        "  - {id: r, when: {overdue_by: 0 hours}, do: {escalate: late}}",
        f"\nladders:\n  late: {{levels: {levels}}}\n",
    )
    assert [level.priority for level in ladder(demo).levels] == priorities
    assert [level.number for level in ladder(demo).levels] == list(range(1, len(priorities) + 1))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ladders: []", "must map each ladder's name"),
        ("ladders: late", "must map each ladder's name"),
        ("ladders: {late: []}", "must be a mapping with levels"),
        ("ladders: {late: {}}", '"levels" is missing'),
        ("ladders: {late: {levels: {to: rn}}}", "must be a list"),
        ("ladders: {late: {levels: [rn]}}", "must be a mapping with to"),
        ("ladders: {late: {levels: [{}]}}", '"to" is missing'),
        ("ladders: {late: {levels: [{to: rn, priority: high}]}}", 'unknown "high"'),
        ("ladders: {late: {levels: [{to: rn, after: 5}]}}", "is not a duration"),
        ("ladders: {late: {levels: [{to: rn, notify: fax}]}}", 'unknown channel "fax"'),
        ("ladders: {late: {levels: [{to: rn, notify: [in-app, [email]]}]}}", "must be a text"),
        ("ladders: {late: {levels: [{to: rn}, {to: rn}]}}", 'level 2 needs "after"'),
        ("ladders: {late: {stop_when: tired, levels: [{to: rn}]}}", 'unknown stop "tired"'),
        ("ladders: {late: {stops: [acknowledged], levels: [{to: rn}]}}", 'unknown key "stops"'),
        ("ladders: {late: {levels: [{to: 'role/rn/x'}]}}", "is not a role"),
        ("ladders: {late: {levels: [{to: 'role/'}]}}", "is not a role"),
    ],
)
def test_a_wrong_ladder_says_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(Incorrect) as caught:
        read_program(f"{BASE}\n{text}\n")
    assert any(says in issue.message for issue in caught.value.issues), caught.value.issues
