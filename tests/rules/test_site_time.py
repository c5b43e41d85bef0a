"""Whose calendar counts, and what pauses clocks besides statuses; against a walk minute by minute."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_tracker.errors import Incorrect
from fhir_tracker.model.facts import Facts
from fhir_tracker.model.program import Calendar
from fhir_tracker.model.work import Event, Transition
from fhir_tracker.rules.calendar import add, working_between
from fhir_tracker.rules.durations import parse_duration
from fhir_tracker.rules.engine import evaluate
from fhir_tracker.rules.program_file import read_program
from fhir_tracker.rules.sla import clock_of, pauses, sla_due
from fhir_tracker.rules.summary import program_summary
from tests.rules.samples import BASE, MONDAY, event, facts, hours, item, moved, ny, plan
from tests.rules.slow_time import slow_after, slow_between, slow_due, slow_runs
from tests.rules.test_calendar_laws import CALENDARS

SITES: Final = """calendar:
  zone: America/New_York
  hours: "Mon-Fri 08:00-17:00"
  holidays: US
  closed: [2026-03-11]
  sites:
    north: {zone: America/Chicago, hours: "Mon-Fri 08:00-12:00 13:00-17:00, Sat 09:00-12:00", locations: [Location/n1, "urn:s|n"]}
    west: {zone: America/Los_Angeles, holidays: US-CA, closed: [2026-03-12]}
    night: {zone: Europe/Berlin, hours: "Mon-Sun 00:00-06:00 20:00-24:00", holidays: none}
    island: {zone: Australia/Lord_Howe, hours: "Mon-Sun 00:00-03:30 21:15-24:00", holidays: none, locations: Location/i1}
pauses: [hospital, plan-hold]
"""
OLD: Final = 'calendar: {zone: America/New_York, hours: "Mon-Fri 08:00-17:00", holidays: US}\n'
TEXT: Final = BASE.replace(OLD, SITES)
DEMO: Final = read_program(TEXT)
WORKING, CALENDAR = "first-call", "visit"
PLACES: Final = {
    (None, None): "",
    ("north", None): "north",
    (None, "west"): "west",
    ("Location/n1", "west"): "north",
    ("urn:s|n", None): "north",
    ("Location/home", "Location/i1"): "island",
    ("Location/home", None): "",
    ("night", "north"): "night",
}


@pytest.mark.parametrize(("places", "site"), PLACES.items(), ids=str)
def test_the_first_place_with_a_calendar_counts(places: tuple[str | None, str | None], site: str) -> None:
    assert DEMO.at(*places).calendar.site == site


def test_a_site_takes_what_it_leaves_out_from_the_practice() -> None:
    west = DEMO.calendar.sites["west"]
    assert (west.hours, west.closed) == (DEMO.calendar.hours, tuple(sorted({*DEMO.calendar.closed, *west.closed})))


def test_a_program_without_sites_is_itself_everywhere() -> None:
    plain = read_program(BASE)
    assert plain.at("north", "Location/n1") is plain


def test_business_days_are_those_of_the_site() -> None:
    two = parse_duration("2 business days")
    friday = ny("2026-03-06 20:00")
    assert add(DEMO.at("west").calendar, friday, two) == datetime(2026, 3, 11, 0, tzinfo=UTC)
    assert add(DEMO.calendar, friday, two) == ny("2026-03-10 17:00")


def test_approvers_read_the_sites_and_what_pauses() -> None:
    said = "\n".join(program_summary(DEMO))
    assert "north: America/Chicago" in said
    assert "for Location/n1 or urn:s|n" in said
    assert "clocks pause while the patient is in hospital and while the plan is on hold" in said


@pytest.mark.parametrize(
    ("old", "new", "at", "told"),
    [
        (
            "zone: America/Chicago",
            "zone: America/Chicgo",
            "calendar.sites.north.zone",
            'did you mean "America/Chicago"',
        ),
        ("holidays: US-CA", "holidays: US-XX", "calendar.sites.west.holidays", "unknown country or region"),
        ("2026-03-12", "someday", "calendar.sites.west.closed[0]", "is not a date"),
        ("    west:", "    West Side:", "calendar.sites.West Side", "is not a code"),
        ("locations: Location/i1", "locations: Location/n1", "calendar.sites.island.locations", "of north already"),
        ("20:00-24:00", "05:00-24:00", "calendar.sites.night.hours", "overlap"),
        ("{zone: America/Los_Angeles,", "{zoone: America/Los_Angeles,", "calendar.sites.west.zoone", "unknown key"),
        ("[hospital, plan-hold]", "[hospital, none]", "pauses", "stands alone"),
        ("[hospital, plan-hold]", "[hospitals]", "pauses[0]", 'did you mean "hospital"'),
    ],
    ids=lambda text: text if len(text) < 16 else "",
)
def test_a_wrong_word_is_told_with_its_place(old: str, new: str, at: str, told: str) -> None:
    with pytest.raises(Incorrect) as caught:
        read_program(TEXT.replace(old, new))
    found = [one for one in caught.value.issues if one.expression == at]
    assert [told in one.message and one.message.startswith("line ") for one in found] == [True]


def stay(name: str, start: datetime, end: datetime | None, *, code: str = "IMP", seen: datetime | None = None) -> Event:
    status = "finished" if end else "in-progress"
    return event(f"Encounter/{name}", status, start, end=end, codes=(f"x|{code}",), seen_at=seen or end or start)


def known(**changes: object) -> Facts:
    """A visit due in eight hours."""
    return facts(item(code=CALENDAR, due_at=MONDAY + hours(8)), **changes)


def test_a_clock_stands_still_in_hospital_and_goes_on_after() -> None:
    inside = known(events=(stay("a", MONDAY + hours(2), None),))
    assert clock_of(DEMO, inside, MONDAY + hours(1)) == "running"
    assert clock_of(DEMO, inside, MONDAY + hours(2)) == "paused"
    out = known(events=(stay("a", MONDAY + hours(2), MONDAY + hours(7)),))
    assert clock_of(DEMO, out, MONDAY + hours(7)) == "running"
    assert sla_due(DEMO, out) == MONDAY + hours(13)
    assert sla_due(DEMO, out, MONDAY + hours(5)) == MONDAY + hours(8)


def test_a_program_that_does_not_say_so_is_not_paused_by_a_stay() -> None:
    plain = read_program(BASE)
    held = known(events=(stay("a", MONDAY + hours(2), MONDAY + hours(7)),))
    assert (sla_due(plain, held), clock_of(plain, held, MONDAY + hours(3))) == (MONDAY + hours(8), "running")


def test_one_kind_of_work_can_have_its_own_pauses() -> None:
    text = TEXT.replace("{code: visit, role: front-desk,", "{code: visit, role: front-desk, pauses: none,")
    held = known(events=(stay("a", MONDAY + hours(2), MONDAY + hours(7)),))
    assert sla_due(read_program(text), held) == MONDAY + hours(8)


def test_a_stay_that_is_heard_of_late_moves_the_clock_as_if_it_had_been_known() -> None:
    late = stay("a", MONDAY + hours(2), MONDAY + hours(7), seen=MONDAY + hours(500))
    soon = replace(late, seen_at=MONDAY + hours(7))
    assert sla_due(DEMO, known(events=(late,))) == sla_due(DEMO, known(events=(soon,))) == MONDAY + hours(13)


def test_a_start_written_down_later_counts_from_when_it_was() -> None:
    row = moved("to-call", "waiting", MONDAY + hours(1))
    told = replace(row, recorded_at=MONDAY + hours(90))
    back = moved("waiting", "to-call", MONDAY + hours(3))
    assert sla_due(DEMO, known(log=(back, told))) == sla_due(DEMO, known(log=(row, back))) == MONDAY + hours(10)


def test_a_plan_on_hold_holds_the_clock_of_its_work() -> None:
    log = (
        moved("enrolled", "on-hold", MONDAY + hours(1), "stage"),
        moved("on-hold", "enrolled", MONDAY + hours(4), "stage"),
    )
    held = known(plan=replace(plan(), log=log))
    assert sla_due(DEMO, held) == MONDAY + hours(11)
    assert clock_of(DEMO, held, MONDAY + hours(2)) == "paused"


def test_pauses_that_overlap_count_once() -> None:
    log = (moved("to-call", "waiting", MONDAY + hours(1)), moved("waiting", "to-call", MONDAY + hours(4)))
    both = known(
        log=log,
        events=(stay("a", MONDAY + hours(3), MONDAY + hours(6)), stay("b", MONDAY + hours(6), MONDAY + hours(7))),
    )
    assert pauses(DEMO, both) == ((MONDAY + hours(1), MONDAY + hours(7)),)
    assert sla_due(DEMO, both) == MONDAY + hours(14)


def test_nothing_is_late_in_hospital_and_the_look_after_it_is_planned() -> None:
    late = read_program(TEXT + "rules:\n  - {id: late, when: {overdue_by: 0 hours}, do: {raise_flag: late}}\n")
    until = MONDAY + hours(50)
    held = known(events=(event("Encounter/a", "in-progress", MONDAY + hours(1), end=until, codes=("x|IMP",)),))
    found = evaluate(late, held, MONDAY + hours(20))
    assert (found.effects, found.next_at) == ((), until)
    assert "while the patient is in hospital" in found.findings[0].verdict.why
    after = evaluate(late, held, until)
    assert (after.effects, after.next_at) == ((), MONDAY + hours(57))
    assert evaluate(late, held, MONDAY + hours(57)).effects


Gaps = list[tuple[int, int]]
gaps = st.lists(st.tuples(st.integers(1, 700), st.integers(1, 1800)), max_size=2)
starts = st.sampled_from(
    (
        datetime(2026, 3, 6, 12, tzinfo=UTC),
        datetime(2026, 10, 30, 18, tzinfo=UTC),
        datetime(2026, 10, 23, 15, tzinfo=UTC),
        datetime(2026, 4, 3, 11, tzinfo=UTC),
        datetime(2028, 2, 27, 20, tzinfo=UTC),
        datetime(2026, 12, 31, 3, tzinfo=UTC),
    )
)
"""A little before the clocks change in each zone, a leap day and a new year."""


def spans(start: datetime, found: Gaps) -> list[tuple[datetime, datetime | None]]:
    made: list[tuple[datetime, datetime | None]] = []
    at = start
    for run, rest in found:
        begin = at + timedelta(minutes=run)
        at = begin + timedelta(minutes=rest)
        made.append((begin, at))
    return made


def rows(before: str, during: str, what: str, found: list[tuple[datetime, datetime | None]]) -> list[Transition]:
    made = []
    for begin, end in found:
        assert end is not None
        made += [moved(before, during, begin, what), moved(during, before, end, what)]
    return made


@given(
    start=starts,
    code=st.sampled_from((WORKING, CALENDAR)),
    places=st.sampled_from(tuple(PLACES)),
    due_in=st.integers(0, 4000),
    status=gaps,
    hospital=gaps,
    held=gaps,
    going_on=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_sites_stays_holds_and_late_news_agree_with_a_walk_minute_by_minute(
    start: datetime,
    code: str,
    places: tuple[str | None, str | None],
    due_in: int,
    status: Gaps,
    hospital: Gaps,
    held: Gaps,
    going_on: bool,
    seed: int,
) -> None:
    by_status, by_stay, by_plan = spans(start, status), spans(start, hospital), spans(start, held)
    now = start + timedelta(minutes=9000)
    if going_on:
        by_stay.append((start + timedelta(minutes=8000), None))
    log = rows("to-call", "waiting", "status", by_status)
    chance = random.Random(seed)
    log = [replace(one, recorded_at=one.effective_at + timedelta(minutes=chance.randrange(5000))) for one in log]
    events = [stay(f"s{n}", begin, end, seen=now) for n, (begin, end) in enumerate(by_stay)]
    events.append(stay("visit", start, start + hours(5), code="AMB"))
    chance.shuffle(log)
    chance.shuffle(events)
    known_ = facts(
        item(code=code, created_at=start, due_at=start + timedelta(minutes=due_in), site=places[0]),
        plan=replace(plan(start), site=places[1], log=tuple(rows("enrolled", "on-hold", "stage", by_plan))),
        log=tuple(log),
        events=tuple(events),
    )
    there = DEMO.at(*known_.places)
    runs = slow_runs(start, now, by_status, by_stay, by_plan)
    expected = slow_due(there.calendar, start + timedelta(minutes=due_in), runs, code == WORKING)
    assert sla_due(there, known_, now) == expected
    assert (clock_of(there, known_, now) == "paused") == going_on


@given(
    site=st.sampled_from(tuple(DEMO.calendar.sites)),
    start=starts,
    length=st.integers(0, 8 * 24 * 60),
    amount=st.integers(0, 900),
)
@settings(max_examples=40, deadline=None)
def test_each_site_counts_what_a_walk_minute_by_minute_counts(
    site: str, start: datetime, length: int, amount: int
) -> None:
    calendar, end = DEMO.at(site).calendar, start + timedelta(minutes=length)
    assert working_between(calendar, start, end) == timedelta(minutes=slow_between(calendar, start, end))
    assert add(calendar, start, parse_duration(f"{amount} business minutes")) == slow_after(calendar, start, amount)


@pytest.mark.parametrize("calendar", CALENDARS, ids=lambda one: one.zone)
def test_two_years_with_a_leap_day_agree_with_a_walk_by_quarters_of_an_hour(calendar: Calendar) -> None:
    start, quarter = datetime(2027, 1, 4, 5, tzinfo=UTC), timedelta(minutes=15)
    end = datetime(2028, 12, 30, 5, tzinfo=UTC)
    counted, moment = 0, start
    while moment < end:
        counted += slow_between(calendar, moment, moment + timedelta(minutes=1))
        moment += quarter
    assert working_between(calendar, start, end) == counted * quarter
