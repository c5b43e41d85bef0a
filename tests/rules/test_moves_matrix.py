"""Every status to every status for every role: what is offered is what is allowed, and a refusal says what would be."""

from __future__ import annotations

import re
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_tracker.errors import Issue, RuleBroken
from fhir_tracker.model.moves import FIELDS, MoveRequest
from fhir_tracker.model.program import Move, Program
from fhir_tracker.model.viewer import ROLES
from fhir_tracker.rules.moves import (
    MOMENTS,
    PATHS,
    allowed_moves,
    check_default_move,
    check_move,
    default_moves,
    missing_fields,
)
from fhir_tracker.rules.program_file import read_program
from fhir_tracker.rules.starters import starter_programs
from fhir_tracker.rules.status_section import CLOSED, NEEDS_REASON, OPEN, TASK_STATUSES
from tests.rules.samples import item, program

PROGRAMS: dict[str, Program] = {"demo": program()} | {
    code: read_program(text) for code, text in starter_programs().items()
}
MOMENT = "2026-03-12T09:00:00-04:00"
EVERYTHING = {name: MOMENT if name in MOMENTS else "given" for name in FIELDS if name != "reason.code"}


def may(demo: Program, source: str, to: str, role: str, fields: dict[str, str]) -> RuleBroken | None:
    """The refusal of one move, None when it is allowed."""
    try:
        check_move(demo, item(status=source), MoveRequest(to=to, fields=fields), roles=frozenset({role}), given={})
    except RuleBroken as error:
        return error
    return None


def wrong(refusal: RuleBroken) -> list[Issue]:
    """What is wrong, without what may be done instead."""
    return [one for one in refusal.issues if one.severity == "error"]


@pytest.mark.parametrize("code", PROGRAMS)
@pytest.mark.parametrize("role", [*ROLES, "stranger"])
def test_what_is_offered_is_exactly_what_is_allowed(code: str, role: str) -> None:
    demo = PROGRAMS[code]
    names = [one.code for one in demo.statuses]
    for source, to in product(names, names):
        offered = [move for move in allowed_moves(demo, item(status=source), frozenset({role})) if move.to == to]
        refusal = may(demo, source, to, role, EVERYTHING)
        assert (refusal is None) == (bool(offered) or source == to), (source, to)
        assert len(offered) <= 1


@pytest.mark.parametrize("code", PROGRAMS)
@pytest.mark.parametrize("role", ROLES)
def test_an_offered_move_needs_what_it_says_and_nothing_more(code: str, role: str) -> None:
    demo = PROGRAMS[code]
    for source in (one.code for one in demo.statuses):
        for move in allowed_moves(demo, item(status=source), frozenset({role})):
            needed = {name: EVERYTHING[name] for name in move.require}
            assert may(demo, source, move.to, role, needed) is None
            for name in move.require:
                less = {key: text for key, text in needed.items() if key != name}
                refusal = may(demo, source, move.to, role, less)
                assert refusal is not None
                assert [(one.code, one.expression) for one in wrong(refusal)] == [("required", PATHS[name])]
                assert FIELDS[name] in refusal.message


@pytest.mark.parametrize("code", PROGRAMS)
def test_a_refused_move_names_the_next_states_or_the_roles(code: str) -> None:
    demo = PROGRAMS[code]
    names = [one.code for one in demo.statuses]
    for source, to in product(names, names):
        refusal = may(demo, source, to, "stranger", EVERYTHING)
        if refusal is None:
            continue
        nexts = {move.to for move in demo.moves if source in move.sources}
        roles = {one for move in demo.moves if source in move.sources and move.to == to for one in move.by}
        if to in nexts:
            assert set(re.findall(r"[a-z]+(?:-[a-z]+)*", refusal.message.split(" may move")[0])) >= roles
        elif nexts:
            assert all(one in refusal.message for one in nexts)
        else:
            assert refusal.message.endswith("nothing may follow.")
        assert refusal.issues[0].code == "business-rule"


@pytest.mark.parametrize("code", PROGRAMS)
def test_every_named_field_has_a_place_in_fhir(code: str) -> None:
    demo = PROGRAMS[code]
    assert {name for move in demo.moves for name in move.require} <= set(FIELDS)
    assert set(PATHS) == set(FIELDS)


def test_the_way_that_asks_for_least_is_taken() -> None:
    demo = read_program(
        "program: p\nstatuses: [{code: a, is: requested, means: A}, {code: b, is: completed, means: B}]\n"
        "transitions:\n"
        "  - {from: a, to: b, by: [rn], require: [note]}\n"
        "  - {from: a, to: b, by: [rn, provider], require: [note, output]}\n"
        "tasks: [{code: t, role: rn}]\n"
    )
    assert may(demo, "a", "b", "rn", {"note": "x"}) is None
    refusal = may(demo, "a", "b", "provider", {"note": "x"})
    assert refusal is not None
    assert refusal.message == 'To move this to "B" (b): what came out of it must be given.'
    assert [len(move.require) for move in allowed_moves(demo, item(status="a"), frozenset({"rn"}))] == [1]


@pytest.mark.parametrize("text", ["", " ", "\t\n"])
def test_blank_is_missing(text: str) -> None:
    move = Move(sources=("a",), to="b", require=("note", "reason"))
    assert missing_fields(move, {"note": text, "reason": "r"}) == ("note",)
    assert missing_fields(move, {}) == ("note", "reason")


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        (MOMENT, True), ("2026-03-12T09:00:00Z", True), (" 2026-03-12T09:00:00Z ", True),
        ("tomorrow", False), ("2026-13-12T09:00:00Z", False), ("9999999", False),
    ],
)  # fmt: skip
def test_a_hold_ends_at_a_moment_that_can_be_read(text: str, fits: bool) -> None:
    refusal = may(PROGRAMS["demo"], "to-call", "waiting", "rn", {"reason": "x", "hold.until": text})
    assert (refusal is None) is fits
    if refusal is not None:
        assert (refusal.issues[0].code, refusal.issues[0].expression) == ("value", "Task.extension")


@given(before=st.sampled_from(TASK_STATUSES), after=st.sampled_from(TASK_STATUSES))
@settings(max_examples=144, deadline=None)
def test_outside_programs_the_offered_moves_are_the_allowed_ones(before: str, after: str) -> None:
    offered = {move.to: move for move in default_moves(before)}
    try:
        check_default_move(before, after)
        allowed = True
    except RuleBroken:
        allowed = False
    if after not in ("entered-in-error", before):
        assert allowed == (after in offered)
    if after in offered:
        assert (offered[after].require == ("reason",)) == (after in NEEDS_REASON)
    if before in CLOSED:
        assert not offered


def test_the_r4_table_of_tasks_outside_programs_leads_everywhere_and_out_of_everything() -> None:
    reached, edge = {"draft"}, {"draft"}
    while edge:
        edge = {move.to for one in edge for move in default_moves(one)} - reached
        reached |= edge
    assert reached == set(TASK_STATUSES)
    assert all(default_moves(one) for one in OPEN)
