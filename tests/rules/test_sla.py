"""The SLA clock: pauses move the due time, in the time it was given in; against a slow second implementation."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_tracker.model.facts import Facts
from fhir_tracker.model.work import Transition
from fhir_tracker.rules.calendar import working_between
from fhir_tracker.rules.sla import clock_of, sla_due
from tests.rules.samples import MONDAY, facts, hours, item, moved, ny, program, verdict
from tests.rules.slow_time import slow_after, slow_between

DEMO = program()
CALENDAR, WORKING = "visit", "first-call"
"""Templates due in calendar time (14 days) and in working time (2 business days)."""


def paused(*pauses: tuple[datetime, datetime]) -> tuple[Transition, ...]:
    rows = [moved(None, "to-call", MONDAY)]
    for start, end in pauses:
        rows += [moved("to-call", "waiting", start), moved("waiting", "calling", end)]
    return tuple(rows)


def due(code: str, at: datetime, *log: Transition) -> datetime | None:
    return sla_due(DEMO, facts(item(code=code, due_at=at), log=log))


@pytest.mark.parametrize(
    ("pauses", "shift"),
    [
        ([], 0),
        ([(2, 5)], 3),
        ([(2, 5), (6, 7)], 4),
        ([(7.5, 20), (21, 22)], 12.5),
        ([(7, 12), (13, 14)], 5),
        ([(9, 12)], 0),
        ([(8, 12)], 0),
        ([(7.999, 8)], 0.001),
        ([(2, 2)], 0),
        ([(0, 1), (1, 2), (2, 3)], 3),
        ([(1, 9), (10, 15.5), (16, 17)], 14.5),
    ],
)
def test_work_due_in_calendar_time_moves_by_the_length_of_each_pause(
    pauses: list[tuple[float, float]], shift: float
) -> None:
    log = paused(*((MONDAY + hours(start), MONDAY + hours(end)) for start, end in pauses))
    assert due(CALENDAR, MONDAY + hours(8), *log) == MONDAY + hours(8 + shift)


@pytest.mark.parametrize(
    ("start", "end", "was_due", "is_due"),
    [
        ("2026-03-09 10:00", "2026-03-09 12:00", "2026-03-11 17:00", "2026-03-12 10:00"),
        ("2026-03-09 10:00", "2026-03-10 10:00", "2026-03-11 17:00", "2026-03-12 17:00"),
        ("2026-03-09 16:00", "2026-03-10 09:00", "2026-03-10 12:00", "2026-03-10 14:00"),
        ("2026-03-09 18:00", "2026-03-10 07:00", "2026-03-10 12:00", "2026-03-10 12:00"),
        ("2026-03-06 16:00", "2026-03-09 09:00", "2026-03-09 17:00", "2026-03-10 10:00"),
        ("2026-03-07 01:00", "2026-03-08 23:00", "2026-03-09 17:00", "2026-03-09 17:00"),
        ("2026-07-02 16:00", "2026-07-06 09:00", "2026-07-06 12:00", "2026-07-06 14:00"),
        ("2026-03-09 10:00", "2026-03-09 12:00", "2026-03-14 12:00", "2026-03-16 10:00"),
        ("2026-03-12 10:00", "2026-03-13 10:00", "2026-03-11 17:00", "2026-03-11 17:00"),
        ("2026-03-09 16:59:30", "2026-03-10 08:00:15", "2026-03-10 12:00", "2026-03-10 12:00:45"),
    ],
    ids=["two hours", "a day", "over a night", "a night", "over a weekend", "a weekend", "over a holiday",
         "due on a Saturday", "late already", "seconds"],
)  # fmt: skip
def test_work_due_in_business_time_moves_by_the_business_time_lost(
    start: str, end: str, was_due: str, is_due: str
) -> None:
    log = (moved("to-call", "waiting", ny(start)), moved("waiting", "to-call", ny(end)))
    known = facts(item(code=WORKING, due_at=ny(was_due), created_at=ny("2026-03-02 09:00")), log=log)
    assert sla_due(DEMO, known) == ny(is_due)


def test_a_pause_moves_late_and_soon_together() -> None:
    log = paused((ny("2026-03-09 16:00"), ny("2026-03-10 09:00")))
    known = facts(item(code=WORKING, due_at=ny("2026-03-10 12:00"), status="calling"), log=log)
    edge = ny("2026-03-10 14:00")
    assert verdict("{overdue_by: 0 hours}", known, edge - hours(1)).next_change == edge
    assert verdict("{due_within: 1 hour}", known, edge - hours(1)).holds
    assert verdict("{overdue_by: 0 hours}", known, edge).holds


@pytest.mark.parametrize("code", [CALENDAR, WORKING])
def test_a_new_due_time_forgets_the_pauses_before_it(code: str) -> None:
    at = ny("2026-03-11 17:00")
    log = (*paused((MONDAY, MONDAY + hours(2))), moved("x", "y", MONDAY + hours(3), "due"))
    assert due(code, at, *log) == at
    half = (*paused((MONDAY, MONDAY + hours(4))), moved("x", "y", MONDAY + hours(3), "due"))
    shifted = due(code, at, *half)
    assert shifted == (ny("2026-03-11 18:00") if code == CALENDAR else ny("2026-03-12 09:00"))


@pytest.mark.parametrize("code", [CALENDAR, WORKING])
def test_an_open_pause_moves_nothing_yet(code: str) -> None:
    at = ny("2026-03-11 17:00")
    log = (moved(None, "to-call", MONDAY), moved("to-call", "waiting", MONDAY + hours(1)))
    assert due(code, at, *log) == at


def test_work_without_a_due_time_has_none_after_a_pause() -> None:
    assert sla_due(DEMO, facts(log=paused((MONDAY, MONDAY + hours(2))))) is None


def test_one_pause_under_two_statuses_and_a_close_in_between() -> None:
    log = (
        moved("to-call", "waiting", MONDAY),
        moved("waiting", "waiting", MONDAY + hours(1)),
        moved("waiting", "reached", MONDAY + hours(2)),
        moved("reached", "to-call", MONDAY + hours(6)),
    )
    assert due(CALENDAR, MONDAY + hours(8), *log) == MONDAY + hours(10)


def test_a_status_that_is_no_longer_known_does_not_pause() -> None:
    log = (moved("to-call", "gone", MONDAY), moved("gone", "to-call", MONDAY + hours(2)))
    assert due(CALENDAR, MONDAY + hours(8), *log) == MONDAY + hours(8)


@pytest.mark.parametrize(
    ("status", "own", "clock"),
    [
        ("to-call", "paused", "running"),
        ("waiting", "running", "paused"),
        ("reached", "running", "stopped"),
        ("gone", "paused", "paused"),
        ("", "running", "running"),
    ],
)
def test_the_programs_word_on_the_clock_counts_where_it_has_one(status: str, own: str, clock: str) -> None:
    assert clock_of(DEMO, facts(item(status=status, clock=own))) == clock


@pytest.mark.parametrize("code", [CALENDAR, WORKING])
def test_the_order_of_the_rows_has_no_meaning(code: str) -> None:
    log = list(paused((MONDAY + hours(1), MONDAY + hours(2)), (MONDAY + hours(3), MONDAY + hours(30))))
    answers = set()
    for seed in range(8):
        random.Random(seed).shuffle(log)
        answers.add(due(code, MONDAY + hours(20), *log))
    assert len(answers) == 1


def test_a_pause_of_a_century_is_no_crash() -> None:
    long_ago = datetime(1900, 1, 1, tzinfo=UTC)
    log = (moved("to-call", "waiting", long_ago), moved("waiting", "to-call", MONDAY))
    known = facts(item(code=WORKING, due_at=MONDAY + hours(8), created_at=long_ago), log=log)
    assert sla_due(DEMO, known) == MONDAY + hours(8) + (MONDAY - long_ago)


@pytest.mark.parametrize("code", [CALENDAR, WORKING])
def test_a_due_time_at_the_end_of_the_calendar_is_no_crash(code: str) -> None:
    last = datetime(9999, 12, 31, 23, 59, tzinfo=UTC)
    assert due(code, last, *paused((MONDAY, MONDAY + hours(24)))) == last


steps = st.lists(st.tuples(st.integers(1, 900), st.integers(1, 2000)), max_size=3)
starts = st.integers(0, 200 * 24 * 60).map(lambda m: datetime(2026, 1, 5, tzinfo=UTC) + timedelta(minutes=m))


def pauses_of(start: datetime, gaps: list[tuple[int, int]]) -> list[tuple[datetime, datetime]]:
    found, at = [], start
    for run, rest in gaps:
        begin = at + timedelta(minutes=run)
        at = begin + timedelta(minutes=rest)
        found.append((begin, at))
    return found


def known_work(code: str, start: datetime, due_in: int, pauses: list[tuple[datetime, datetime]]) -> Facts:
    work = item(code=code, created_at=start, due_at=start + timedelta(minutes=due_in))
    return facts(work, log=paused(*pauses)[1:])


@given(start=starts, gaps=steps, due_in=st.integers(0, 6000))
@settings(max_examples=40, deadline=None)
def test_a_minute_by_minute_walk_agrees_in_business_time(
    start: datetime, gaps: list[tuple[int, int]], due_in: int
) -> None:
    pauses = pauses_of(start, gaps)
    expected = start + timedelta(minutes=due_in)
    for begin, end in pauses:
        lost = slow_between(DEMO.calendar, begin, end) if begin < expected else 0
        expected = slow_after(DEMO.calendar, expected, lost) if lost else expected
    assert sla_due(DEMO, known_work(WORKING, start, due_in, pauses)) == expected


@given(start=starts, gaps=steps, due_in=st.integers(0, 6000))
@settings(max_examples=100, deadline=None)
def test_a_pause_never_makes_work_due_sooner_and_business_time_left_is_kept(
    start: datetime, gaps: list[tuple[int, int]], due_in: int
) -> None:
    pauses = pauses_of(start, gaps)
    plain = start + timedelta(minutes=due_in)
    working = sla_due(DEMO, known_work(WORKING, start, due_in, pauses))
    elapsed = sla_due(DEMO, known_work(CALENDAR, start, due_in, pauses))
    assert working is not None
    assert elapsed is not None
    assert plain <= working
    assert plain <= elapsed <= plain + sum((end - begin for begin, end in pauses), timedelta())
    spent = sum((working_between(DEMO.calendar, *one) for one in pauses if one[0] < working), timedelta())
    had = working_between(DEMO.calendar, start, plain)
    assert working_between(DEMO.calendar, start, working) == had + spent
