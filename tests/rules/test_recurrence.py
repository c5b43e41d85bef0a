"""Recurring work over months, leap days and both changes of the clock: each occurrence once, on the wall clock, ahead in time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from fhir_tracker.model.facts import Facts
from fhir_tracker.model.program import Program
from fhir_tracker.model.work import Firing, WorkItem
from fhir_tracker.rules.cadence import recurrence, rhythm_of
from fhir_tracker.rules.program_file import read_program
from tests.rules.samples import facts, item, plan, plan_item

DAY = timedelta(days=1)
TEXT = """
program: again
calendar: {zone: ZONE, hours: "Mon-Fri 08:00-17:00", holidays: US}
statuses:
  - {code: to-do, is: requested, means: Not yet done}
  - {code: done, is: completed, means: Done}
tasks:
  - {code: touch, role: rn, every: EVERY, due: {after: created, within: 1 day}}
"""


def program(every: str, zone: str = "America/New_York") -> Program:
    """The program with one recurring task; `every` may say `horizon` and `zone` as well."""
    return read_program(TEXT.replace("EVERY", every).replace("ZONE", zone))


def wall(text: str, zone: str = "America/New_York", fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)


def of_plan(start: datetime, zone: str | None = None) -> Facts:
    own = plan_item(program="again", created_at=start, status_since=start)
    return replace(facts(own, plan=plan(start)), zone=zone)


def begins(every: str, start: datetime, count: int, zone: str = "America/New_York") -> list[str]:
    """When the first occurrences begin, on the wall clock."""
    demo = program(every, zone)
    template = demo.tasks[0]
    assert template.every is not None
    rhythm = rhythm_of(demo, of_plan(start), template, template.every)
    moments = [rhythm.begins(index) for index in range(count)]
    assert moments == sorted(set(moments)), "each after the one before"
    return [f"{one.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}" for one in moments]


@pytest.mark.parametrize(
    ("every", "start", "expected"),
    [
        ("1 month", "2028-01-31 09:00", ["2028-01-31 09:00", "2028-02-29 09:00", "2028-03-31 09:00", "2028-04-30 09:00"]),
        ("1 month", "2027-01-30 09:00", ["2027-01-30 09:00", "2027-02-28 09:00", "2027-03-30 09:00"]),
        ("12 months", "2028-02-29 09:00", ["2028-02-29 09:00", "2029-02-28 09:00", "2030-02-28 09:00", "2031-02-28 09:00",
                                            "2032-02-29 09:00"]),
        ("1 day", "2028-02-28 23:30", ["2028-02-28 23:30", "2028-02-29 23:30", "2028-03-01 23:30"]),
        ("1 week", "2026-03-01 09:00", ["2026-03-01 09:00", "2026-03-08 09:00", "2026-03-15 09:00"]),
        ("1 week", "2026-10-25 09:00", ["2026-10-25 09:00", "2026-11-01 09:00", "2026-11-08 09:00"]),
        ("3 months", "2026-11-30 08:00", ["2026-11-30 08:00", "2027-02-28 08:00", "2027-05-30 08:00", "2027-08-30 08:00"]),
    ],
)  # fmt: skip
def test_occurrences_keep_the_wall_clock_and_never_drift_from_the_day_they_began_on(
    every: str, start: str, expected: list[str]
) -> None:
    assert begins(every, wall(start), len(expected)) == expected


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("2026-03-06 02:30", ["2026-03-06 02:30", "2026-03-07 02:30", "2026-03-08 03:00", "2026-03-09 02:30"]),
        ("2026-10-30 01:30", ["2026-10-30 01:30", "2026-10-31 01:30", "2026-11-01 01:30", "2026-11-02 01:30"]),
    ],
    ids=["hour-skipped", "hour-twice"],
)
def test_an_hour_that_is_skipped_or_comes_twice_gives_one_occurrence_that_day(start: str, expected: list[str]) -> None:
    assert begins("1 day", wall(start), 4) == expected


def test_hours_are_hours_whatever_the_clock_does() -> None:
    start = wall("2026-10-31 22:00")
    demo = program("6 hours")
    template = demo.tasks[0]
    assert template.every is not None
    rhythm = rhythm_of(demo, of_plan(start), template, template.every)
    assert [rhythm.begins(index) - start for index in range(5)] == [timedelta(hours=6 * index) for index in range(5)]


def walked(demo: Program, known: Facts, moments: list[datetime], *, closing: bool = False) -> Facts:
    """The facts after looking at all these moments, each twice; `closing`: each piece of work is done before the next."""
    template = demo.tasks[0]
    for moment in moments:
        for again in (False, True):
            found = recurrence(demo, known, template, moment)
            assert not (again and (found.effects or found.withdrawn)), f"made again at {moment}"
            fired, tasks = list(known.fired), {one.ref: one for one in known.tasks}
            for one in found.withdrawn:
                tasks[one.task] = replace(tasks[one.task], open=False, fhir_status="cancelled")
                fired.append(Firing(key=one.key, fired_at=moment, kind="withdraw-task"))
            for effect in found.effects:
                ref = f"Task/{len(tasks)}"
                tasks[ref] = made(ref, effect.starts_at, effect.due_at, moment)
                fired.append(Firing(key=effect.key, fired_at=moment, kind="create-task", task=ref))
            known = replace(known, fired=tuple(fired), tasks=tuple(tasks.values()))
        if closing:
            known = replace(known, tasks=tuple(replace(one, open=False) for one in known.tasks))
    assert len({one.key for one in known.fired}) == len(known.fired), "one firing a case"
    return known


def made(ref: str, starts: datetime | None, due: datetime | None, now: datetime) -> WorkItem:
    return item(ref=ref, program="again", code="touch", created_at=now, starts_at=starts, due_at=due)


@pytest.mark.parametrize("zone", ["America/New_York", "America/Phoenix", "Pacific/Auckland", "Asia/Kathmandu"])
@pytest.mark.parametrize("every", ["1 week", "1 month", "10 days"])
def test_a_horizon_that_rolls_for_a_year_makes_each_occurrence_once_and_in_time(every: str, zone: str) -> None:
    """A leap year, looked at each day and a half, at odd hours."""
    start = wall("2027-12-31 23:30", zone)
    demo = program(f"{every}, horizon: 45 days", zone)
    template = demo.tasks[0]
    assert template.every is not None
    known = of_plan(start)
    rhythm = rhythm_of(demo, known, template, template.every)
    moments = [start + timedelta(hours=35 * step) for step in range(260)]
    after = walked(demo, known, moments)
    starts = sorted(one.starts_at for one in after.tasks if one.starts_at)
    wanted = [rhythm.begins(index) for index in range(len(starts))]
    assert starts == wanted
    assert rhythm.begins(len(starts)) > moments[-1] + 44 * DAY
    assert all(
        one.created_at <= one.starts_at - 43 * DAY
        for one in after.tasks
        if one.starts_at and one.starts_at > start + 60 * DAY
    )


@pytest.mark.parametrize("gap", [1, 9, 40, 400])
def test_after_a_long_stop_without_a_horizon_there_is_one_task_and_not_a_backlog(gap: int) -> None:
    start = wall("2026-01-05 09:00")
    demo = program("1 week")
    after = walked(
        demo, of_plan(start), [start, start + gap * DAY, start + gap * DAY + timedelta(hours=1)], closing=True
    )
    assert len(after.tasks) == (1 if gap < 7 else 2)


def test_looking_at_any_moment_in_any_order_makes_what_looking_in_order_makes() -> None:
    start = wall("2026-02-20 09:00")
    demo = program("1 week, horizon: 30 days")
    moments = [start + timedelta(hours=hours) for hours in (0, 500, 30, 499, 700, 701, 20)]
    mixed, ordered = walked(demo, of_plan(start), moments), walked(demo, of_plan(start), sorted(moments))
    found = [one.starts_at for one in mixed.tasks if one.open]
    assert set(found) == {one.starts_at for one in ordered.tasks if one.open}
    assert len(set(found)) == len(found) == len(mixed.tasks), "a clock that jumps back takes nothing away"


def test_a_patient_who_moves_to_and_fro_has_one_of_each_and_in_the_end_those_of_home() -> None:
    """The site in New York, the patient in Phoenix and back, over the change of the clock."""
    start = wall("2026-10-20 09:00")
    demo = program("1 week, horizon: 30 days, zone: patient")
    known, moment = of_plan(start, "America/New_York"), start
    for zone in ("America/Phoenix", "America/New_York", "Pacific/Honolulu", "America/New_York"):
        known = walked(demo, known, [moment])
        moment += timedelta(hours=7)
        known = walked(demo, replace(known, zone=zone), [moment])
        ahead_now = [one.starts_at for one in known.tasks if one.open]
        assert len(set(ahead_now)) == len(ahead_now)
    fresh = walked(demo, of_plan(start, "America/New_York"), [moment])
    later = {one.starts_at for one in fresh.tasks if one.starts_at and one.starts_at > moment}
    assert {one.starts_at for one in known.tasks if one.open and one.starts_at and one.starts_at > moment} == later


@pytest.mark.parametrize(("first", "then"), [("1 week", "10 days"), ("10 days", "1 week"), ("1 month", "1 week")])
def test_a_rhythm_that_is_changed_midway_keeps_what_fits_and_takes_back_what_does_not(first: str, then: str) -> None:
    start, now = wall("2026-02-20 09:00"), wall("2026-03-12 12:00")
    before = walked(program(f"{first}, horizon: 40 days"), of_plan(start), [start, now])
    demo = program(f"{then}, horizon: 40 days")
    after = walked(demo, before, [now])
    fresh = walked(demo, of_plan(start), [now])
    ahead = {one.starts_at for one in fresh.tasks if one.starts_at and one.starts_at > now}
    mine = [one.starts_at for one in after.tasks if one.open and one.starts_at and one.starts_at > now]
    assert (set(mine), len(mine)) == (ahead, len(ahead))
    begun = {one.ref for one in before.tasks if one.starts_at and one.starts_at <= now}
    assert {one.ref for one in after.tasks if one.open} >= begun, "what has begun is nobody's to take back"


def test_what_a_person_cancelled_is_not_made_again_by_moving_to_and_fro() -> None:
    start = wall("2026-10-20 09:00")
    demo = program("1 week, horizon: 30 days, zone: patient")
    known = walked(demo, of_plan(start, "America/New_York"), [start])
    (dropped,) = [one for one in known.tasks if one.starts_at == wall("2026-11-03 09:00")]
    cancelled = replace(dropped, open=False, fhir_status="cancelled")
    known = replace(known, tasks=tuple(cancelled if one.ref == dropped.ref else one for one in known.tasks))
    for hours, zone in ((1, "America/Phoenix"), (2, "America/New_York")):
        known = walked(demo, replace(known, zone=zone), [start + timedelta(hours=hours)])
    assert [one.ref for one in known.tasks if one.starts_at == dropped.starts_at] == [dropped.ref]


def test_what_could_not_be_taken_back_is_not_made_a_second_time() -> None:
    """Somebody has begun it, so that it stays; when the clock comes back, it is the one."""
    start = wall("2026-10-20 09:00")
    demo = program("1 week, horizon: 30 days, zone: patient")
    known = walked(demo, of_plan(start, "America/New_York"), [start])
    away = replace(known, zone="America/Phoenix")
    found = recurrence(demo, away, demo.tasks[0], start + timedelta(hours=1))
    assert found.withdrawn
    skipped = tuple(
        Firing(key=one.key, fired_at=start, kind="withdraw-task", state="skipped") for one in found.withdrawn
    )
    back = replace(known, fired=(*known.fired, *skipped))
    assert recurrence(demo, back, demo.tasks[0], start + timedelta(hours=2)).effects == ()


def test_a_horizon_that_is_made_shorter_takes_nothing_back() -> None:
    start = wall("2026-02-20 09:00")
    known = walked(program("1 week, horizon: 60 days"), of_plan(start), [start])
    shorter = walked(program("1 week, horizon: 10 days"), known, [start, start + 20 * DAY])
    assert shorter.tasks == known.tasks
