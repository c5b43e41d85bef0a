"""Outreach at the edges: quiet hours and spacing over both changes of the clock where the patient lives, and the best time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from fhir_tracker.model.contact import Contact, contact_of
from fhir_tracker.model.facts import Facts
from fhir_tracker.model.program import Program
from fhir_tracker.model.work import Event
from fhir_tracker.rules.best_time import best_time
from fhir_tracker.rules.conditions import judge
from fhir_tracker.rules.outreach_standing import objection, standing
from fhir_tracker.rules.program_file import read_program
from tests.rules.samples import BASE, attempt, facts, item, ny

ALL_DAY = 'calendar: {zone: America/New_York, hours: "Mon-Sun 00:00-24:00", holidays: none}'
QUIET = '{from: "20:00", to: "09:00"}'
ZONES = {"NY": "America/New_York", "CA": "America/Los_Angeles", "AZ": "America/Phoenix", "HI": "Pacific/Honolulu"}


def demo(policy: str) -> Program:
    """The demo program, at work around the clock, so that only the policy says when."""
    first = "role: care-coordinator, due: {after: discharge, within: 2 business days}"
    text = BASE.replace(first, f"{first}, outreach: {policy}")
    head, _, rest = text.partition("calendar: ")
    return read_program(f"{head}{ALL_DAY}\n{rest.partition(chr(10))[2]}" + RULES)


RULES = """
rules:
  - {id: now, when: {next_contact: {due: 0 hours}}, do: {notify: role/rn}}
  - {id: failed, when: {outreach_failed: {attempts: 2, over: 2 days, channels: 2}}, do: {notify: role/rn}}
"""


def lives(state: str) -> Contact:
    record = {"resourceType": "Patient", "id": "x", "address": [{"state": state, "line": ["1 Synthetic Street"]}]}
    return contact_of(record | {"telecom": [{"system": "phone", "value": "555-0100"}]})


def known(state: str, made: datetime, *tries: Event) -> Facts:
    contact = lives(state)
    assert contact.zone == ZONES[state]
    return facts(item(created_at=made), events=tries, contact=contact, zone=contact.zone)


def wall(text: str, state: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(ZONES[state])).astimezone(UTC)


@pytest.mark.parametrize("state", ["NY", "CA", "AZ", "HI"])
@pytest.mark.parametrize(
    ("made", "expected"),
    [
        ("2026-03-07 19:59", "2026-03-07 19:59"),
        ("2026-03-07 20:00", "2026-03-08 09:00"),
        ("2026-03-08 01:59", "2026-03-08 09:00"),
        ("2026-03-08 08:59", "2026-03-08 09:00"),
        ("2026-03-08 09:00", "2026-03-08 09:00"),
        ("2026-10-31 20:00", "2026-11-01 09:00"),
        ("2026-11-01 00:30", "2026-11-01 09:00"),
        ("2026-12-31 23:59", "2027-01-01 09:00"),
        ("2028-02-28 22:00", "2028-02-29 09:00"),
    ],
)
def test_quiet_hours_end_on_the_clock_of_the_patients_home(state: str, made: str, expected: str) -> None:
    program = demo(f"{{attempts: 3, over: 2 days, channels: [phone], quiet: {QUIET}}}")
    found = standing(program, known(state, wall(made, state)))
    assert found is not None
    assert found.next_at == wall(expected, state)
    policy = replace(found.policy, outside="refuse")
    assert objection(program, policy, known(state, wall(made, state)), "phone", wall(expected, state)) == ""
    edge = wall(expected, state) - timedelta(seconds=1)
    is_quiet = expected.endswith("09:00")
    assert bool(objection(program, policy, known(state, wall(made, state)), "phone", edge)) is is_quiet


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ("2026-03-07 15:00", "2026-03-08 15:00"),
        ("2026-10-31 15:00", "2026-11-01 15:00"),
        ("2026-03-07 02:30", "2026-03-08 03:00"),
        ("2028-02-28 10:00", "2028-02-29 10:00"),
        ("2026-12-31 10:00", "2027-01-01 10:00"),
    ],
)
def test_a_day_between_tries_is_a_day_of_the_wall_clock(first: str, expected: str) -> None:
    program = demo("{attempts: 3, over: 5 days, channels: [phone], spacing: 1 day}")
    tried = attempt("a", ny(first))
    found = standing(program, known("NY", ny(first) - timedelta(hours=1), tried))
    assert found is not None
    assert found.next_at == ny(expected)
    (early,) = judge(program, known("NY", ny(first), tried), program.rules[0].when, ny(expected) - timedelta(seconds=1))
    (late,) = judge(program, known("NY", ny(first), tried), program.rules[0].when, ny(expected))
    assert (early.holds, early.next_change, late.holds) == (False, ny(expected), True)


@pytest.mark.parametrize(
    ("start", "edge"), [("2026-03-07 10:00", "2026-03-09 10:00"), ("2026-10-31 10:00", "2026-11-02 10:00")]
)
def test_two_days_of_trying_are_over_at_the_same_time_of_the_clock(start: str, edge: str) -> None:
    program = demo("{attempts: 2, over: 2 days, channels: [phone, sms], on_channels: 2}")
    tries = (attempt("a", ny(start)), attempt("b", ny(start) + timedelta(hours=3), channel="sms"))
    (before,) = judge(program, known("CA", ny(start), *tries), program.rules[1].when, ny(edge) - timedelta(seconds=1))
    (after,) = judge(program, known("CA", ny(start), *tries), program.rules[1].when, ny(edge))
    assert (before.holds, before.next_change, after.holds, after.since) == (False, ny(edge), True, ny(edge))


@pytest.mark.parametrize(
    ("at", "part"),
    [
        ("2026-03-09 04:59", "nights"),
        ("2026-03-09 05:00", "mornings"),
        ("2026-03-09 11:59", "mornings"),
        ("2026-03-09 12:00", "afternoons"),
        ("2026-03-09 16:59", "afternoons"),
        ("2026-03-09 17:00", "evenings"),
        ("2026-03-09 21:59", "evenings"),
        ("2026-03-09 22:00", "nights"),
        ("2026-03-08 04:59", "nights"),
        ("2026-03-08 05:00", "mornings"),
        ("2026-11-01 05:00", "mornings"),
        ("2026-11-01 01:30", "nights"),
    ],
)
@pytest.mark.parametrize("state", ["NY", "AZ"])
def test_the_part_of_the_day_is_that_of_the_patients_clock(at: str, part: str, state: str) -> None:
    tried = attempt("a", wall(at, state), "reached")
    assert str(best_time([tried], ZONES[state])) == f"{part} (reached 1 of 1 times then)"


def test_the_best_time_counts_what_still_stands_and_only_who_was_spoken_to() -> None:
    morning, evening = wall("2026-03-10 09:00", "NY"), wall("2026-03-10 18:00", "NY")
    reached = [attempt(str(day), morning + timedelta(days=7 * day), "reached") for day in range(2)]
    wrong = replace(attempt("x", evening, "reached"), status="entered-in-error")
    letters = [attempt(f"l{number}", evening, "reached", channel="letter") for number in range(5)]
    texts = [attempt(f"s{number}", evening + timedelta(days=number), "no-answer", channel="sms") for number in range(9)]
    found = best_time([*reached, wrong, *letters, *texts], ZONES["NY"])
    assert str(found) == "Tue mornings (reached 2 of 2 times then)"
    more = [attempt(f"p{number}", evening + timedelta(days=number), "reached", channel="sms") for number in range(3)]
    assert str(best_time([*reached, *texts, *more], ZONES["NY"])) == "evenings (reached 3 of 12 times then)"
