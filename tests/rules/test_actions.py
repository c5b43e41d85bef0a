"""What rules do: read from the file, told in words, refused with line and column, and made into effects."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from fhir_tracker.errors import Incorrect
from fhir_tracker.model import effects as kinds
from fhir_tracker.model.effects import Effect
from fhir_tracker.model.facts import Facts
from fhir_tracker.model.program import Action, Ownership, Program
from fhir_tracker.rules.action_section import ACTIONS
from fhir_tracker.rules.action_words import describe_action
from fhir_tracker.rules.engine import evaluate
from fhir_tracker.rules.program_file import read_program
from fhir_tracker.rules.summary import program_summary
from tests.rules.samples import item
from tests.support.clinic import MONDAY

HEAD = """program: p
stages: [{code: in, is: active}, {code: more, is: active}, {code: out, is: revoked}]
statuses:
  - {code: a, is: requested, means: A}
  - {code: w, is: on-hold, clock: paused, means: W}
  - {code: b, is: completed, means: B}
transitions: [{from: [a], to: w}, {from: [a, w], to: b}]
tasks: [{code: call, role: rn}, {code: visit, role: provider}]
"""


def rule(do: str, *, subject: str = "task", head: str = HEAD) -> str:
    return f"{head}rules:\n  - id: r\n    subject: {subject}\n    when: {{stage: in}}\n    do: {do}\n"


def read(do: str, subject: str = "task") -> Action:
    (action,) = read_program(rule(do, subject=subject)).rules[0].do
    return action


GOOD = {
    "{create_task: {task: call, role: role/rn, priority: stat, due: 4 hours}}": (
        "create task call for rn with priority stat due within 4 hours"
    ),
    "{create_task: {task: call, owner: same}}": "create task call for the owner of this work",
    "{clear_flag: {code: x, cause: r}}": "clear flag x as far as the rule r raised it",
    "{return_to_queue: {reason: untouched}}": 'return to queue because "untouched"',
    "{set_stage: more}": "set stage more",
    "{reassign: role/provider}": "reassign to provider",
    "{reassign: {to: primary, reason: theirs}}": 'reassign to the primary owner of the plan because "theirs"',
    "{reassign: substitute}": "reassign to the owner's substitute",
    "{hold: {for: 3 business days}}": "hold as w for 3 business days",
    "{hold: {for: 2 days, or: document.arrived, reason: x}}": 'hold as w for 2 days or until document.arrived because "x"',
    "{enrol: other}": "enrol into other",
    "{disenrol: {stage: out, reason: moved}}": 'end the plan as out and close its open tasks because "moved"',
    "{close_tasks: b}": "close all open tasks of the plan as b",
    "{close_tasks: {status: b, tasks: [call, visit]}}": "close the plan's open call and visit tasks as b",
    "{notify: {to: owner, by: [email, webhook]}}": "notify the owner by email, webhook",
    "{notify: primary}": "notify the primary owner of the plan by in-app",
}

BAD = {
    "{create_task: {task: cal}}": 'did you mean "call"',
    "{create_task: {role: rn}}": '"task" is missing',
    "{create_task: {task: call, role: rn, owner: same}}": 'say "role" or "owner", not both',
    "{create_task: {task: call, owner: me}}": 'unknown "me"',
    "{create_task: {task: call, due: soon}}": "soon",
    "{create_task: {task: call, when: now}}": 'unknown key "when"',
    "{clear_flag: {code: x, cause: rr}}": 'did you mean "r"',
    "{return_to_queue: no}": 'write "return_to_queue: true"',
    "{set_stage: mor}": 'did you mean "more"',
    "{reassign: {reason: x}}": '"to" is missing',
    "{reassign: a/b}": "is not a role",
    "{hold: {status: w}}": '"for" is missing',
    "{hold: {for: 1 day, status: a}}": '"a" does not pause the clock',
    "{hold: {for: 1 day, or: document.arrive}}": 'did you mean "document.arrived"',
    "{enrol: p}": "the patient is in this program already",
    "{enrol: Not A Code}": "Not A Code",
    "{disenrol: more}": 'the stage "more" does not end a plan',
    "{disenrol: {reason: x}}": '"stage" is missing',
    "{close_tasks: a}": '"a" closes nothing',
    "{close_tasks: {status: b, tasks: [cal]}}": 'did you mean "call"',
    "{notify: {to: owner, by: [fax]}}": "fax",
    "{reasign: primary}": 'did you mean "reassign"',
    "[{set_stage: more}, {set_stage: more}]": "this is done already",
}


@pytest.mark.parametrize("do", GOOD)
def test_an_action_is_read_and_told_in_words(do: str) -> None:
    action = read(do)
    assert describe_action(action) == GOOD[do]
    told = program_summary(read_program(rule(do)))
    assert any(GOOD[do] in line for line in told)


@pytest.mark.parametrize("do", BAD)
def test_a_wrong_action_is_refused_where_it_stands(do: str) -> None:
    with pytest.raises(Incorrect) as caught:
        read_program(rule(do))
    messages = [one.message for one in caught.value.issues]
    assert any(BAD[do] in one for one in messages), messages
    assert all(one.startswith("line 13, column ") for one in messages), messages
    assert all((one.expression or "").startswith("rules[0].do") for one in caught.value.issues)


@pytest.mark.parametrize("do", ["{hold: {for: 1 day}}", "{reassign: primary}", "{return_to_queue: true}"])
def test_what_changes_a_task_is_refused_in_a_rule_about_plans(do: str) -> None:
    with pytest.raises(Incorrect) as caught:
        read(do, subject="plan")
    assert "subject is the plan" in str(caught.value.issues)


def test_a_hold_names_its_status_where_none_or_several_pause() -> None:
    two = HEAD.replace("  - {code: b,", "  - {code: v, is: on-hold, clock: paused, means: V}\n  - {code: b,").replace(
        "to: w}", "to: w}, {from: [a], to: v}"
    )
    with pytest.raises(Incorrect) as caught:
        read_program(rule("{hold: {for: 1 day}}", head=two))
    assert 'say which "status" it waits in: one of w, v' in str(caught.value.issues)
    none = HEAD.replace(", clock: paused", ", clock: running")
    with pytest.raises(Incorrect) as caught:
        read_program(rule("{hold: {for: 1 day}}", head=none))
    assert "no status pauses the clock" in str(caught.value.issues)


def wanted(do: str) -> tuple[Program, tuple[Effect, ...]]:
    program = replace(read_program(rule(do).replace("{stage: in}", "{task: call}")), version=1)
    facts = Facts(item=item(program="p", program_version=1, code="call", status="a", created_at=MONDAY))
    return program, evaluate(program, facts, MONDAY).effects


def test_every_action_but_escalate_becomes_its_effect_under_a_key_of_its_own() -> None:
    actions = [
        "{create_task: {task: visit, due: 2 hours, owner: same}}",
        "{raise_flag: x}",
        "{clear_flag: {code: y, cause: r}}",
        "{set_status: b}",
        "{set_priority: stat}",
        "{notify: {to: owner, by: [email]}}",
        "{return_to_queue: true}",
        "{set_stage: more}",
        "{reassign: {to: substitute, reason: away}}",
        "{hold: {for: 3 hours, or: document.arrived}}",
        "{enrol: other}",
        "{disenrol: out}",
        "{close_tasks: {status: b, tasks: visit}}",
    ]
    _, found = wanted(f"[{', '.join(actions)}]")
    by_level = {one.key.level: one for one in found}
    assert sorted(by_level) == list(range(-12, 1))
    assert [type(by_level[-n]).__name__ for n in range(13)] == [
        "CreateTask",
        "RaiseFlag",
        "ClearFlag",
        "SetStatus",
        "SetPriority",
        "Notify",
        "ReturnToQueue",
        "SetStage",
        "Reassign",
        "Hold",
        "EnrolInto",
        "Disenrol",
        "CloseTasks",
    ]
    made, raised, cleared, hold, moved = (by_level[-n] for n in (0, 1, 2, 9, 8))
    assert isinstance(made, kinds.CreateTask)
    assert (made.due_at, made.owner) == (MONDAY + timedelta(hours=2), "same")
    assert isinstance(raised, kinds.RaiseFlag)
    assert isinstance(cleared, kinds.ClearFlag)
    assert (raised.cause, cleared.cause) == ("p#r", "p#r")
    assert isinstance(hold, kinds.Hold)
    assert (hold.until, hold.event, hold.status) == (MONDAY + timedelta(hours=3), "document.arrived", "w")
    assert moved.reason.startswith("away: ")
    assert len(ACTIONS) == len(actions) + 1


def test_who_gets_the_work_is_read_told_and_refused_where_it_is_wrong() -> None:
    given = "ownership: {assign: least-loaded, cap: 25, roles: {provider: {assign: primary}, rn: {cap: 5}}}\n"
    program = read_program(HEAD + given)
    assert program.ownership.of("rn") == Ownership(assign="least-loaded", cap=5)
    assert program.ownership.of("provider") == Ownership(assign="primary", cap=25)
    assert program.ownership.of("front-desk").cap == 25
    assert any(
        line.startswith("Ownership: given to whoever of its role has least") for line in program_summary(program)
    )
    assert not any(line.startswith("Ownership") for line in program_summary(read_program(HEAD)))
    for wrong, word in {
        "{assign: leest-loaded}": 'did you mean "least-loaded"',
        "{cap: 0}": "whole number from 1",
        "{cap: many}": "whole number",
        "{roles: [rn]}": "must map roles",
        "{roles: {rn: {roles: {}}}}": 'unknown key "roles"',
        "round-robin": "must be a mapping",
    }.items():
        with pytest.raises(Incorrect) as caught:
            read_program(f"{HEAD}ownership: {wrong}\n")
        assert word in str(caught.value.issues)
        assert all(one.message.startswith("line 9, column ") for one in caught.value.issues)
    warned = read_program(f"{HEAD}ownership: {{roles: {{front-desk: {{cap: 2}}}}}}\n").warnings
    assert any('no task of this program is for the role "front-desk"' in one for one in warned)


def test_a_length_of_working_time_in_an_action_is_checked_against_the_calendar() -> None:
    sparse = HEAD + 'calendar: {hours: "Mon 08:00-08:01"}\n'
    with pytest.raises(Incorrect) as caught:
        read_program(rule("{hold: {for: 200 business hours}}", head=sparse))
    assert "200 business hours would take" in str(caught.value.issues)
