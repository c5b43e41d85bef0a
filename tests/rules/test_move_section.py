"""Reasons, transitions, moves of plans and what completes one: as written, and what is told of a file that is wrong."""

from __future__ import annotations

import pytest

from fhir_tracker.errors import Incorrect
from fhir_tracker.model.program import Completion, Duration, Program
from fhir_tracker.rules.occasions import kind_of
from fhir_tracker.rules.program_file import read_program
from fhir_tracker.rules.summary import program_summary

BASE = """program: p
statuses:
  - {code: to-do, is: requested, means: A}
  - {code: done, is: completed, means: D}
  - {code: dropped, is: cancelled, means: C}
tasks: [{code: call, role: rn}]
"""
REASONS = "reasons: [{code: insurer, means: The insurer, for: hold}, {code: other, means: Another}]\n"


def program(text: str) -> Program:
    return read_program(BASE + text)


def problems(text: str) -> list[str]:
    """Each problem as `line L: words`, the lines counted below BASE."""
    with pytest.raises(Incorrect) as caught:
        program(text)
    return [one.message for one in caught.value.issues]


def test_a_transition_says_who_with_what_and_what_follows() -> None:
    found = program(
        REASONS
        + "transitions:\n"
        + "  - {from: any, to: done, by: rn, as: [owner, requester], require: [reason.code, field.location, field.owner, "
        + "{attempt: {within: 2 business days}}], do: {raise_flag: seen}}\n"
    )
    move = next(one for one in found.moves if one.to == "done")
    assert move.sources == ("to-do",)
    assert (move.by, move.parties) == (("rn",), ("owner", "requester"))
    assert move.require == ("reason.code", "field.location", "owner", "attempt")
    assert move.attempt_within == Duration(amount=2, unit="days", working=True)
    assert [(one.kind, one.value) for one in move.do] == [("raise_flag", "seen")]


def test_an_approver_reads_all_of_it_in_words() -> None:
    found = program(
        REASONS
        + "transitions: [{from: to-do, to: done, as: owner, require: {attempt: {within: 24 hours}}, do: {raise_flag: seen}}]\n"
        + "stage_transitions: [{from: enrolled, to: withdrawn, by: rn, require: reason.code, do: {close_tasks: dropped}}]\n"
        + "completes: {when: all_tasks_closed, stage: completed, tasks: call}\n"
    )
    text = "\n".join(program_summary(found))
    assert "to-do -> done by anyone as owner, with attempt within 24 hours; then raise flag seen" in text
    assert "enrolled -> withdrawn by rn, with reason.code; then close all open tasks of the plan as dropped" in text
    assert "Completes: when call tasks are closed, the plan becomes completed" in text
    assert "insurer (hold): The insurer" in text


def test_what_is_left_out_is_as_it_always_was() -> None:
    found = program("")
    assert (found.reasons, found.completes) == ((), None)
    assert [(one.sources, one.to, one.require) for one in found.stage_moves] == [
        (("enrolled",), "completed", ()),
        (("enrolled",), "withdrawn", ()),
    ]
    assert program("completes: {when: all_tasks_closed, stage: completed}\n").completes == Completion(stage="completed")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "transitions: [{from: to-do, to: done, as: boss}]",
            'column 43: unknown party "boss" (known: owner, requester)',
        ),
        ("transitions: [{from: to-do, to: done, require: field.place}]", 'a Task has no "place"'),
        ("transitions: [{from: to-do, to: done, require: field.locaton}]", '"locaton" (did you mean "location"?)'),
        (
            "transitions: [{from: to-do, to: done, require: field.status}]",
            '"status" is written by the transition itself',
        ),
        ("transitions: [{from: to-do, to: done, require: reson}]", 'unknown field "reson" (did you mean "reason"?)'),
        ("transitions: [{from: to-do, to: done, require: {attempt: {within: soon}}}]", "column 67"),
        ("transitions: [{from: to-do, to: done, require: {attempt: 24 hours}}]", "must be a mapping with within"),
        ("transitions: [{from: to-do, to: done, require: {atempt: {within: 1 hour}}}]", '(did you mean "attempt"?)'),
        ("transitions: [{from: to-do, to: done, require: reason.code}]", 'there is no coded reason for "exception"'),
        (
            "transitions: [{from: to-do, to: done, do: {escalate: x}}]\nladders: {x: {levels: [{to: rn}]}}",
            "a rule climbs a ladder",
        ),
        ("transitions: [{from: to-do, to: done, do: {set_status: dropped}}]", "one transition cannot make another"),
        ("transitions: [{from: to-do, to: done, do: {rase_flag: x}}]", 'unknown action "rase_flag"'),
        ("reasons: [{code: a, means: A, for: holds}]", 'unknown occasion "holds" (did you mean "hold"?)'),
        ("reasons: [{code: a}]", '"means" is missing'),
        ("reasons: [{code: a, means: A}, {code: a, means: B}]", '"a" is already defined on line 7'),
        ("stage_transitions: [{from: enroled, to: withdrawn}]", 'unknown stage "enroled" (did you mean "enrolled"?)'),
        ("stage_transitions: [{from: enrolled, to: enrolled}]", "to itself changes nothing"),
        ("stage_transitions: [{from: enrolled, to: withdrawn, require: owner}]", 'unknown field "owner"'),
        ("stage_transitions: [{from: enrolled, to: withdrawn, do: {set_stage: completed}}]", "cannot make another"),
        ("stage_transitions: [{from: enrolled, to: withdrawn, do: {set_status: done}}]", "changes a task"),
        ("completes: {when: never, stage: completed}", 'unknown "never"'),
        ("completes: {when: all_tasks_closed, stage: done}", 'unknown stage "done"'),
        ("completes: {when: all_tasks_closed, stage: completed, tasks: cal}", '(did you mean "call"?)'),
        ("completes: all", "must be a mapping with when, stage"),
    ],
)
def test_each_mistake_is_told_where_it_stands(text: str, said: str) -> None:
    found = problems(text + "\n")
    assert any(one.startswith("line 7, column ") and said in one for one in found), found


@pytest.mark.parametrize(
    ("sources", "to", "kind"),
    [
        ({"requested"}, "on-hold", "hold"),
        ({"requested"}, "rejected", "decline"),
        ({"completed"}, "on-hold", "hold"),
        ({"active"}, "revoked", "stop"),
        ({"in-progress"}, "failed", "stop"),
        ({"completed", "failed"}, "in-progress", "reopen"),
        ({"completed", "requested"}, "in-progress", "exception"),
        ({"requested"}, "completed", "exception"),
    ],
)
def test_the_occasion_of_a_reason_follows_from_where_a_move_leads(sources: set[str], to: str, kind: str) -> None:
    assert kind_of(sources, to) == kind
