"""A program in plain words: everything that counts is said, and what is said can be told apart."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from fhir_tracker.model.program import Action, Calendar, Condition, Duration, Match, Program
from fhir_tracker.rules.action_words import describe_action
from fhir_tracker.rules.catalog import PREDICATES
from fhir_tracker.rules.durations import parse_duration, parse_hours
from fhir_tracker.rules.match_words import describe_match
from fhir_tracker.rules.program_file import read_program
from fhir_tracker.rules.summary import describe, program_summary
from fhir_tracker.rules.words import event_named, listed, moment, named, span, status_named
from tests.rules.samples import BASE, LADDERS, MONDAY, event, item, program, with_rule


@pytest.mark.parametrize(
    ("when", "says"),
    [
        ("{task: visit}", "the task is visit"),
        ("{task: [visit, touch]}", "the task is visit or touch"),
        ("{overdue_by: 0 hours}", "it is overdue"),
        ("{overdue_by: 1 business day}", "it is overdue by 1 business day or more"),
        ("{due_within: 2 hours}", "it is due within 2 hours"),
        ("{unassigned_for: 4 business hours}", "nobody has owned it for 4 business hours"),
        ("{in_status_for: {status: calling, for: 2 days}}", "it has been calling for 2 days"),
        ("{in_status_for: {status: [calling, waiting], for: 2 days}}", "it has been calling or waiting for 2 days"),
        ("{in_status_for: {for: 2 days}}", "it has been in one status for 2 days"),
        ("{outreach_failed: {attempts: 3}}", "3 outreach attempts have failed"),
        ("{outreach_failed: {attempts: 3, over: 2 days}}", "3 outreach attempts over 2 days have failed"),
        ("{outreach_failed: {attempts: 3, channels: 2}}", "3 outreach attempts on 2 channels have failed"),
        ("{outreach_reached: true}", "the patient was reached"),
        ("{appointment_missed: visit}", "an appointment for visit was missed"),
        ("{appointment_missed: {grace: 1 day}}", "an appointment was missed"),
        ("{document_missing: note}", "the document note is missing"),
        ("{flag: risk}", "the patient has the flag risk"),
        ("{flag: [risk, fall]}", "the patient has the flag risk or fall"),
        ("{all: [{task: visit}, {overdue_by: 0 hours}]}", "the task is visit and it is overdue"),
        ("{any: [{task: visit}, {flag: a}, {flag: b}]}",
         "the task is visit, the patient has the flag a or the patient has the flag b"),
        ("{not: {flag: risk}}", "not (the patient has the flag risk)"),
        ("{all: [{task: visit}, {any: [{flag: a}, {flag: b}]}]}",
         "the task is visit and (the patient has the flag a or the patient has the flag b)"),
        ("{all: [{any: [{flag: a}]}, {task: visit}]}", "the patient has the flag a and the task is visit"),
    ],
)  # fmt: skip
def test_a_condition_is_a_clause(when: str, says: str) -> None:
    assert describe(with_rule(when).rules[0].when) == says


def test_every_predicate_is_said_without_a_gap() -> None:
    for rule in read_program(BASE + LADDERS).rules:
        assert "  " not in describe(rule.when)
    assert set(PREDICATES) >= {"task", "flag", "stage", "priority"}
    assert describe(with_rule("{stage: enrolled}", subject="plan").rules[0].when)
    assert describe(with_rule("{priority: [urgent, stat]}").rules[0].when)


@pytest.mark.parametrize(
    ("match", "says"),
    [
        (Match(type="Encounter"), "Encounter"),
        (Match(type="Encounter", status=("finished",), codes=("urn:a|IMP",)), "Encounter finished with code IMP"),
        (Match(type="Flag", codes=("a", "b")), "Flag with code a or b"),
        (Match(type="Flag", codes=tuple("abcdef")), "Flag with code a, b, c or d or 2 more"),
        (Match(type="Encounter", within=Duration(amount=30, unit="days")), "Encounter within 30 days"),
        (Match(type="Condition", codes=("a", "b"), count=2), "at least 2 different Condition with code a or b"),
        (Match(type="Communication", outcomes=("reached",)), "Communication reached"),
    ],
)
def test_a_test_on_a_resource_is_said(match: Match, says: str) -> None:
    assert describe_match(match) == says
    assert describe(Condition(op="match", match=match)) == says


@pytest.mark.parametrize(
    ("action", "says"),
    [
        (Action(kind="escalate", value="late"), "escalate late"),
        (Action(kind="create_task", value="letter"), "create task letter"),
        (Action(kind="raise_flag", value="x"), "raise flag x"),
        (Action(kind="return_to_queue"), "return to queue"),
        (Action(kind="notify", value="rn"), "notify rn by in-app"),
        (Action(kind="notify", value="rn", args={"by": "in-app,email"}), "notify rn by in-app, email"),
    ],
)
def test_an_action_is_said(action: Action, says: str) -> None:
    assert describe_action(action) == says


DEMO = program("  - {id: r, when: {overdue_by: 0 hours}, do: [{escalate: late}, {notify: rn}]}")
CHANGES: list[tuple[str, Program]] = [
    ("title", replace(DEMO, title="Other")),
    ("version", replace(DEMO, version=3)),
    ("description", replace(DEMO, description="More")),
    ("zone", replace(DEMO, calendar=replace(DEMO.calendar, zone="America/Chicago"))),
    ("holidays", replace(DEMO, calendar=replace(DEMO.calendar, holidays=None))),
    ("hours", replace(DEMO, calendar=replace(DEMO.calendar, hours=parse_hours("Mon 08:00-09:00")))),
    ("closed", replace(DEMO, calendar=replace(DEMO.calendar, closed=(date(2026, 12, 24),)))),
    ("eligible", replace(DEMO, eligible=None)),
    ("a status", replace(DEMO, statuses=(replace(DEMO.statuses[0], clock="paused"), *DEMO.statuses[1:]))),
    ("a meaning", replace(DEMO, statuses=(replace(DEMO.statuses[0], means="x"), *DEMO.statuses[1:]))),
    ("a move", replace(DEMO, moves=DEMO.moves[1:])),
    ("a moves roles", replace(DEMO, moves=(replace(DEMO.moves[0], by=()), *DEMO.moves[1:]))),
    ("a moves fields", replace(DEMO, moves=(replace(DEMO.moves[0], require=()), *DEMO.moves[1:]))),
    ("a task", replace(DEMO, tasks=DEMO.tasks[1:])),
    ("a role", replace(DEMO, tasks=(replace(DEMO.tasks[0], role="rn"), *DEMO.tasks[1:]))),
    ("a due time", replace(DEMO, tasks=(replace(DEMO.tasks[0], due=None), *DEMO.tasks[1:]))),
    ("a closing", replace(DEMO, tasks=(DEMO.tasks[0], replace(DEMO.tasks[1], done_by=None), *DEMO.tasks[2:]))),
    ("a cadence", replace(DEMO, tasks=(*DEMO.tasks[:3], replace(DEMO.tasks[3], every=parse_duration("2 months"))))),
    ("a document", replace(DEMO, documents=DEMO.documents[1:])),
    ("a rule", replace(DEMO, rules=())),
    ("an action", replace(DEMO, rules=(replace(DEMO.rules[0], do=DEMO.rules[0].do[:1]),))),
    ("a ladder", replace(DEMO, ladders=())),
    ("a level", replace(DEMO, ladders=(replace(DEMO.ladders[0], levels=DEMO.ladders[0].levels[:2]),))),
    ("a stop", replace(DEMO, ladders=(replace(DEMO.ladders[0], stop_when=("task.closed",)),))),
    ("a warning", replace(DEMO, warnings=("line 1, column 1: odd",))),
]


@pytest.mark.parametrize("changed", [row[1] for row in CHANGES], ids=[row[0] for row in CHANGES])
def test_a_change_of_anything_that_counts_changes_the_words(changed: Program) -> None:
    assert program_summary(changed) != program_summary(DEMO)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (timedelta(), "0 s"), (timedelta(seconds=59), "59 s"), (timedelta(seconds=60), "1 min"),
        (timedelta(minutes=59, seconds=59), "59 min"), (timedelta(hours=1), "1 h"), (timedelta(hours=2, minutes=5), "2 h 5 min"),
        (timedelta(days=1), "1 day"), (timedelta(days=1, hours=4), "1 day 4 h"), (timedelta(days=3, minutes=9), "3 days"),
        (timedelta(days=7, hours=5), "7 days"), (timedelta(seconds=-5), "0 s"), (timedelta(days=9000), "9000 days"),
    ],
)  # fmt: skip
def test_a_span_is_said_in_its_largest_units(value: timedelta, says: str) -> None:
    assert span(value) == says


@pytest.mark.parametrize(
    ("zone", "at", "says"),
    [
        ("America/New_York", datetime(2026, 3, 9, 21, tzinfo=UTC), "Mon 9 Mar 2026 17:00"),
        ("America/New_York", datetime(2026, 3, 8, 7, tzinfo=UTC), "Sun 8 Mar 2026 03:00"),
        ("Australia/Lord_Howe", datetime(2026, 1, 1, tzinfo=UTC), "Thu 1 Jan 2026 11:00"),
        ("UTC", datetime(2026, 1, 1, 0, 0, 7, tzinfo=UTC), "Thu 1 Jan 2026 00:00:07"),
        ("America/New_York", datetime(1, 1, 1, tzinfo=UTC), "Mon 1 Jan 1 00:00"),
        ("Asia/Tokyo", datetime(9999, 12, 31, 23, tzinfo=UTC), "Fri 31 Dec 9999 23:00"),
    ],
)
def test_a_moment_is_said_on_the_sites_clock(zone: str, at: datetime, says: str) -> None:
    assert moment(Calendar(zone=zone), at).replace("0001", "1") == says


@pytest.mark.parametrize(
    ("words", "says"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_words_are_listed(words: list[str], says: str) -> None:
    assert listed(words) == says


def test_names_fall_back_to_what_is_known() -> None:
    assert named(DEMO, item(title="Given")) == "Given"
    assert named(DEMO, item(title="")) == "First call"
    assert named(DEMO, item(title="", code="odd")) == "odd"
    assert named(DEMO, item(title="", code="")) == "the work"
    assert [status_named(DEMO, code) for code in ("to-call", "odd", "")] == ["to call", "odd", "unknown"]
    assert event_named(event("Flag/f", "", MONDAY)) == "Flag/f"
