"""What program files may say, and every way to say it wrong with its line and column."""

# ruff: noqa: E501 - one wrong file a line reads better than five lines each

from __future__ import annotations

import re
from datetime import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_tracker.errors import Incorrect, Issue
from fhir_tracker.model.program import Duration, Move
from fhir_tracker.rules.program_file import read_program
from fhir_tracker.rules.starters import starter_programs
from tests.rules.samples import BASE, LADDERS, program

SKETCH = """program: tcm
title: Transitional care management
calendar: {zone: America/New_York, hours: "Mon-Fri 08:00-17:00", holidays: US}
eligible: {any: [{Encounter: {status: finished, class: IMP}}, {Flag: high-risk}]}      # who comes in; `discharge` below is the end of that Encounter
statuses:
  - {code: to-call,   is: requested,   clock: running, means: "Nobody has tried the patient yet"}
  - {code: calling,   is: in-progress, clock: running, means: "At least one attempt, not reached"}
  - {code: awaiting-records, is: on-hold, clock: paused, means: "Waiting for the discharge summary", hold: {until: required, or: document.arrived}}
  - {code: reached,   is: completed,   clock: stopped, means: "Two-way contact made and written down"}
  - {code: unreachable, is: failed,    clock: stopped, means: "Attempts exhausted by policy"}
transitions:
  - {from: [to-call, calling], to: reached, by: [care-coordinator, rn], require: [outreach.outcome, note]}
  - {from: [to-call, calling], to: awaiting-records, require: [hold.until, reason]}
tasks:
  - code: first-call
    role: care-coordinator
    due: {after: discharge, within: 2 business days}
    outreach: {attempts: 2, over: 2 business days, channels: [phone, sms]}
  - code: visit
    role: front-desk
    due: {after: discharge, within: 14 days}
    done_by: {appointment: fulfilled, service: tcm-visit}
documents:
  - {code: tcm-note, after: appointment.fulfilled, within: 48 hours, satisfied_by: {DocumentReference: {type: "http://loinc.org|11506-3"}}}
rules:
  - id: first-call-late
    when: {all: [{task: first-call}, {overdue_by: 0 hours}]}
    do: {escalate: late-call}
  - id: no-contact
    when: {outreach_failed: {attempts: 3, over: 2 business days, channels: 2}}
    do: [{raise_flag: unreachable}, {create_task: letter}]
ladders:
  late-call:
    stop_when: [task.closed, acknowledged]
    levels:
      - {to: role/rn}
      - {after: 4 business hours, to: role/provider, notify: [in-app, email], priority: urgent}
      - {after: 1 business day, to: role/clinic-admin}
"""


def test_the_sketch_of_the_design_is_a_program() -> None:
    tcm = read_program(SKETCH)
    assert tcm.code == "tcm"
    assert tcm.calendar.hours[4] == ((time(8), time(17)),)
    assert tcm.eligible is not None
    assert tcm.eligible.anchor == "discharge"
    assert [one.code for one in tcm.stages] == ["enrolled", "completed", "withdrawn"]
    hold = tcm.status("awaiting-records")
    assert hold is not None
    assert (hold.fhir, hold.clock, hold.holds, hold.hold_event) == ("on-hold", "paused", True, "document.arrived")
    visit = tcm.task("visit")
    assert visit is not None
    assert visit.initial == "to-call"
    assert visit.done_by is not None
    assert (visit.done_by.status, visit.done_by.match.codes) == ("reached", ("tcm-visit",))
    ladder = tcm.ladder("late-call")
    assert ladder is not None
    assert [(one.number, one.to) for one in ladder.levels] == [(1, "rn"), (2, "provider"), (3, "clinic-admin")]
    assert [one.priority for one in ladder.levels] == [None, "urgent", "urgent"]
    assert [(rule.id, rule.subject) for rule in tcm.rules] == [("first-call-late", "task"), ("no-contact", "plan")]


def test_what_the_sketch_leaves_out_gets_a_default_and_a_warning() -> None:
    tcm = read_program(SKETCH)
    letter = tcm.task("letter")
    assert letter is not None
    assert (letter.on, letter.role, letter.title) == ("rule", "care-coordinator", "Letter")
    assert Move(sources=("awaiting-records",), to="to-call") in tcm.moves
    assert [warning.split(":")[0] for warning in tcm.warnings] == [
        "line 12, column 3",
        "line 12, column 3",
        "line 31, column 51",
    ]


@pytest.mark.parametrize("code", ["tcm", "ccm"])
def test_a_starter_program_is_read_without_a_warning(code: str) -> None:
    assert read_program(starter_programs()[code]).warnings == ()


def test_the_shortest_program_has_defaults_for_the_rest() -> None:
    short = read_program(
        "program: p\nstatuses: [{code: a, is: requested, means: A}, {code: b, is: completed, means: B}]\n"
        "tasks: [{code: t, role: rn}]"
    )
    assert (short.title, short.calendar.zone, short.calendar.holidays) == ("P", "America/New_York", "US")
    assert short.moves == (Move(sources=("a",), to="b"),)


def test_the_program_is_the_same_however_the_yaml_is_laid_out() -> None:
    flow = """
program: p
statuses: [{code: a, is: requested, means: A}, {code: b, is: completed, means: B}]
tasks: [{code: t, role: rn, on: rule}]
"""
    block = """
program: p
statuses:
- code: a
  is: requested
  means: A
- {code: "b", is: 'completed', means: B}
tasks:
- code: t
  role: rn
  on: rule
"""
    assert read_program(flow) == read_program(block)


def test_a_transition_without_require_asks_a_reason_where_fhir_does() -> None:
    assert next(move for move in program().moves if move.to == "failed").require == ("reason",)


def test_rules_find_their_subject_by_what_they_look_at() -> None:
    rules = """
  - {id: a, when: {flag: x}, do: {raise_flag: y}}
  - {id: b, when: {any: [{flag: x}, {due_within: 1 day}]}, do: {raise_flag: y}}"""
    assert [rule.subject for rule in program(rules).rules] == ["plan", "task"]


def test_a_role_no_one_has_is_a_warning() -> None:
    warnings = read_program(BASE.replace("role: rn", "role: nurse")).warnings
    assert any('no one here has the role "nurse"' in one for one in warnings)


def change(old: str, new: str) -> str:
    text = BASE + LADDERS
    assert old in text
    return text.replace(old, new, 1)


def rule(line: str) -> str:
    return f"{BASE}rules:\n  - {line}\n{LADDERS}"


def position(text: str, where: str) -> tuple[int, int]:
    """`3:7`, or the place of the only text that `@...` names (after `<`, of what follows)."""
    if not where.startswith("@"):
        line, column = where.split(":")
        return int(line), int(column)
    before, _, token = where[1:].rpartition("<")
    assert text.count(before + token) == 1, where
    start = text.index(before + token) + len(before)
    return text.count("\n", 0, start) + 1, start - text.rfind("\n", 0, start)


BAD: list[tuple[str, str, str, str | None]] = [
    ("", "1:1", "the file is empty", None),
    ("[]", "1:1", "must be a mapping with program, statuses, tasks", None),
    ("just words", "1:1", "must be a mapping", None),
    ("program: p\n", "1:1", '"statuses" is missing', None),
    ("a: [1, 2\nb: 3", "2:2", "not YAML", None),
    ("a: 1\n---\nb: 2", "2:1", "second document", None),
    ("a: &x 1\nb: *x", "1:4", "anchors and aliases", "a"),
    ("a: !!python/object:os.system x", "1:4", "tags such as", "a"),
    ("? [a]\n: b", "1:3", "a key must be a plain word", None),
    ("program: p\x00", "1:11", "a character that YAML does not allow", None),
    ("[" * 50 + "]" * 50, "1:22", "nested deeper than 20", "[0]" * 21),
    (change("title: Demo", "title: Demo\ntitle: Again"), "4:1", '"title" is given twice (first on line 3)', "title"),
    (change("title: Demo", "titel: Demo"), "3:1", 'unknown key "titel" (did you mean "title"?)', "titel"),
    (change("title: Demo", "title: [Demo]"), "3:8", "must be a text", "title"),
    (change("title: Demo", "title:"), "3:7", "must not be empty", "title"),
    (change("program: demo", "program: My Demo"), "2:10", '"My Demo" is not a code', "program"),
    (change("America/New_York", "America/New_Yrok"), "4:18", '(did you mean "America/New_York"?)', "calendar.zone"),
    (change("Mon-Fri 08", "Mon-Fry 08"), "4:43", '"Mon-Fry" is not a day', "calendar.hours"),
    (change("08:00-17:00", "17:00-08:00"), "4:43", "ends before it starts", "calendar.hours"),
    (change("08:00-17:00", "08:00-25:00"), "4:43", "not a time of day", "calendar.hours"),
    (change("08:00-17:00", "08:00-12:00 11:00-17:00"), "4:43", "the hours of Mon overlap", "calendar.hours"),
    (change("holidays: US", "holidays: UZZ"), "4:76", 'unknown country or region "UZZ"', "calendar.holidays"),
    (change("holidays: US}", "holidays: US, closed: 24 Dec}"), "4:88", "is not a date", "calendar.closed"),
    (change("Encounter: {st", "Encuonter: {st"), "@Encuonter", '(did you mean "Encounter"?)', None),
    (change("class: IMP", "clas: IMP"), "@clas: IMP", '(did you mean "class"?)', None),
    (change("class: IMP", "class: IMP, type: x"), "@type: x", '"class" is already given', None),
    (change("within: 30 days", "within: 30 dayz"), "@30 dayz", '"dayz" is not a unit of time', None),
    (change("any: [{Enc", "not: {any: [{Enc").replace("30 days}}]}", "30 days}}]}}", 1), "5:11", "who stays out", "eligible"),
    (change("is: requested", "is: requestd"), "@requestd", '(did you mean "requested"?)', "statuses[0].is"),
    (change("is: requested", "is: completed"), "8:3", '"to-call" is closed', "statuses"),
    (change("is: completed", "is: cancelled"), "8:3", "work could never be done", "statuses"),
    (change("code: failed", "code: reached"), "@code: <reached, is: failed", "already defined on line 11", "statuses[4].code"),
    (change("is: completed,", "is: completed, clock: running,"), "@clock: running", 'its clock is "stopped"', "statuses[3].clock"),
    (change("is: requested,", "is: requested, clock: stopped,"), "@clock: stopped", "is open", "statuses[0].clock"),
    (change("or: document.arrived", "or: document.arived"), "@document.arived", '(did you mean "document.arrived"?)', "statuses[2].hold.or"),
    (change("to: reached, by", "to: reeched, by"), "@reeched", 'unknown status "reeched" (did you mean "reached"?)', "transitions[0].to"),
    (change("require: [outreach.outcome", "require: [outcome"), "@[<outcome", 'unknown field "outcome"', "transitions[0].require[0]"),
    (change("{from: to-call, to: calling}", "{from: calling, to: calling}"), "@from: calling, to: <calling", "changes nothing", "transitions[2].to"),
    (change("{code: failed, is: failed", "{code: failed, is: draft"), "12:5", "no task can ever leave", "statuses[4]"),
    (
        change("{from: to-call, to: calling}", "{from: failed, to: calling}")
        .replace("[to-call, calling], to: failed", "[calling], to: failed")
        .replace("[to-call, calling], to: waiting", "[to-call], to: waiting"),
        "9:5",
        'no task can ever reach the status "calling"',
        "statuses[1]",
    ),
    (change("role: care-coordinator, due", "role: my role, due"), "19:30", "is not a role", "tasks[0].role"),
    (change("2 business days}}\n  - {code: visit", "2 busy days}}\n  - {code: visit"), "19:80", "is not a duration", "tasks[0].due.within"),
    (change("after: discharge, within: 14", "after: dischrage, within: 14"), "20:50", 'did you mean "discharge"', "tasks[1].due.after"),
    (change("within: 14 days", "within: 14 days, by: x"), "20:78", 'unknown key "by"', "tasks[1].due.by"),
    (change("appointment: fulfilled", "appointment: fullfilled"), "@fullfilled", 'did you mean "fulfilled"', "tasks[1].done_by.appointment"),
    (change("fulfilled, service: visit}", "fulfilled, service: visist}"), "@visist", 'unknown service "visist"', "tasks[1].done_by.service"),
    (change("fulfilled, service: visit}}\n  - {code: rebook", "fulfilled, document: note}}\n  - {code: rebook"), "@done_by: <{appointment: fulfilled, document", "exactly one thing", "tasks[1].done_by"),
    (change("fulfilled, service: visit}}", "fulfilled, to: calling}}"), "@to: <calling}}", "must be closed", "tasks[1].done_by.to"),
    (change("every: 1 month", "on: cadence"), "@on: cadence", 'needs "every"', "tasks[3].on"),
    (change("every: 1 month", "every: 0 days"), "@every: 0 days", "longer than nothing", "tasks[3].every"),
    (change("every: 1 month", "every: 9999 months"), "@9999 months", "is too long", "tasks[3].every"),
    (change("every: 1 month", "every: 2 business weeks"), "@2 business weeks", "means nothing here", "tasks[3].every"),
    (change("every: 1 month", "initial: reached"), "@initial: <reached", "cannot start in the closed status", "tasks[3].initial"),
    (change("satisfied_by: {DocumentReference", "satisfied_by: {DocumentRef"), "@DocumentRef: ", 'did you mean "DocumentReference"', None),
    (change("to: role/rn}", "to: role/rn, after}"), "@rn, after<}", "must not be empty", "ladders.late.levels[0].after"),
    (change("after: 4 business hours, ", ""), "@{to: role/provider", 'level 2 needs "after"', "ladders.late.levels[1]"),
    (change("[in-app, email]", "[in-app, pager]"), "@pager", 'unknown channel "pager"', None),
    (BASE + "ladders:\n  late: {levels: []}\n", "27:18", "has no level", "ladders.late.levels"),
    (rule("{id: r, when: {overdue: 0 hours}, do: {raise_flag: x}}"), "@overdue: 0", 'unknown test "overdue" (did you mean "overdue_by"?)', "rules[0].when.overdue"),
    (rule("{id: r, when: {overdue_by: soon}, do: {raise_flag: x}}"), "27:32", '"soon" is not a duration', "rules[0].when.overdue_by"),
    (rule("{id: r, when: {task: first-cal}, do: {raise_flag: x}}"), "27:26", 'did you mean "first-call"', "rules[0].when.task"),
    (rule("{id: r, when: {task: visit, flag: x}, do: {raise_flag: x}}"), "27:19", "one test each", "rules[0].when"),
    (rule("{id: r, when: {all: []}, do: {raise_flag: x}}"), "27:25", "at least one test", "rules[0].when.all"),
    (rule("{id: r, when: {outreach_failed: {attempts: 2, channels: 3}}, do: {raise_flag: x}}"), "27:37", "cannot be tried", None),
    (rule("{id: r, when: {outreach_failed: {attempts: none}}, do: {raise_flag: x}}"), "27:48", "is not a whole number", None),
    (rule("{id: r, when: {flag: x}, do: {escalate: lat}}"), "27:45", 'unknown ladder "lat" (did you mean "late"?)', "rules[0].do.escalate"),
    (rule("{id: r, when: {flag: x}, do: {create_task: first-cal}}"), "27:48", 'did you mean "first-call"', "rules[0].do.create_task"),
    (rule("{id: r, when: {flag: x}, do: {raise_flog: x}}"), "27:35", 'did you mean "raise_flag"', "rules[0].do.raise_flog"),
    (rule("{id: r, when: {flag: x}, do: {set_status: calling}}"), "27:35", "changes a task", "rules[0].do.set_status"),
    (rule("{id: r, subject: plan, when: {task: visit}, do: {raise_flag: x}}"), "27:34", "looks at a task", "rules[0].when"),
    (rule("{id: r, when: {task: visit}, do: [{escalate: late}, {escalate: late}]}"), "27:57", "climbs one ladder", "rules[0].do[1]"),
    (rule("{id: r, when: {flag: x}}"), "27:5", '"do" is missing', "rules[0]"),
    (rule("{id: r, when: {document_missing: nota}, do: {raise_flag: x}}"), "27:38", 'did you mean "note"', None),
    (rule("{id: r, when: {in_status_for: {status: callng, for: 1 day}}, do: {raise_flag: x}}"), "27:44", 'did you mean "calling"', None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "where", "says", "path"), BAD, ids=range(len(BAD)))
def test_a_wrong_file_is_refused_with_line_column_and_what_would_be_right(
    text: str, where: str, says: str, path: str | None
) -> None:
    with pytest.raises(Incorrect) as caught:
        read_program(text, name="bad.yaml")
    line, column = position(text, where)
    found = {issue.message: issue.expression for issue in caught.value.issues}
    matching = [one for one in found if says in one and one.startswith(f"line {line}, column {column}: ")]
    assert matching, "\n".join(found)
    if path is not None:
        assert found[matching[0]] == path


def test_all_problems_are_reported_together_in_the_order_of_the_file() -> None:
    text = change("title: Demo", "titel: Demo").replace("is: requested", "is: requestd").replace("1 month", "1 moon")
    with pytest.raises(Incorrect) as caught:
        read_program(text, name="bad.yaml")
    lines = [int(issue.message.split(" ")[1].rstrip(",")) for issue in caught.value.issues]
    assert lines == sorted(lines)
    assert {3, 8, 22} <= set(lines)
    assert caught.value.message == f"bad.yaml: {len(lines)} problems"


def test_a_huge_file_is_refused_before_it_is_read() -> None:
    with pytest.raises(Incorrect, match="the most is 256000"):
        raise _first(_refusal("x" * 300_000))


def test_a_file_of_too_many_entries_is_refused() -> None:
    assert "more than 20000 entries" in _refusal("[" + "1," * 30_000 + "1]").issues[0].message


def _refusal(text: str) -> Incorrect:
    with pytest.raises(Incorrect) as caught:
        read_program(text)
    return caught.value


def _first(error: Incorrect) -> Incorrect:
    return Incorrect(error.issues[0].message)


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_no_text_at_all_gives_anything_but_a_program_or_a_refusal(text: str) -> None:
    with pytest.raises(Incorrect):
        read_program(text)


@given(
    st.integers(0, len(BASE) - 1),
    st.integers(1, 12),
    st.sampled_from(["", "{", "]", ":", "\t", "- ", "~", "\n", "é", "'"]),
)
@settings(max_examples=300, deadline=None)
def test_a_damaged_file_gives_a_program_or_located_problems(start: int, length: int, put: str) -> None:
    issues: tuple[Issue, ...] = ()
    try:
        read_program(BASE[:start] + put + BASE[start + length :])
    except Incorrect as error:
        issues = error.issues
    assert all(re.match(r"line \d+, column \d+: .", issue.message) for issue in issues)


def test_durations_say_what_they_are() -> None:
    assert str(Duration(amount=1, unit="days", working=True)) == "1 business day"
    assert str(Duration(amount=48, unit="hours")) == "48 hours"


def test_a_text_read_twice_is_the_same_program_and_a_wrong_one_is_wrong_each_time_under_its_own_name() -> None:
    text = starter_programs()["tcm"]
    assert read_program(text) is read_program(text)
    assert read_program(text, name="other.yaml") == read_program(text)
    assert read_program(f"{text}\n# said more\n") == read_program(text)
    for name in ("first.yaml", "first.yaml", "second.yaml"):
        with pytest.raises(Incorrect, match=name):
            read_program("program: [", name=name)


def test_many_texts_between_two_readings_change_nothing() -> None:
    text = starter_programs()["ccm"]
    before = read_program(text)
    for number in range(70):
        assert read_program(f"{BASE}# {number}\n").code != before.code
    assert read_program(text) == before
