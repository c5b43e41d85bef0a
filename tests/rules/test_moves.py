"""Who may move what to where, and what it needs; in words."""

from __future__ import annotations

import pytest

from fhir_tracker.errors import RuleBroken
from fhir_tracker.model.moves import MoveRequest
from fhir_tracker.rules.moves import allowed_moves, check_default_move, check_move, default_moves
from tests.rules.samples import item, program

DEMO = program()
RN = frozenset({"rn"})
DESK = frozenset({"front-desk"})


def refused(
    to: str, *, roles: frozenset[str] = RN, status: str = "to-call", given: dict[str, str] | None = None, **fields: str
) -> RuleBroken:
    request = MoveRequest(to=to, fields={name.replace("_", "."): text for name, text in fields.items()})
    with pytest.raises(RuleBroken) as caught:
        check_move(DEMO, item(status=status), request, roles=roles, given=given or {})
    return caught.value


def test_an_illegal_move_lists_what_may_follow() -> None:
    error = refused("to-call", status="calling")
    assert (
        error.message
        == '"Calling" (calling) cannot become "To call" (to-call); allowed next: reached, waiting or failed.'
    )
    assert error.issues[0].code == "business-rule"


def test_nothing_follows_a_closed_status() -> None:
    assert refused("calling", status="reached").message.endswith("nothing may follow.")


def test_an_unknown_status_lists_the_known_ones() -> None:
    assert "to-call, calling, waiting, reached or failed" in refused("done").message


def test_a_role_that_may_not_hears_who_may() -> None:
    assert refused("reached", roles=DESK, note="x", outreach_outcome="reached").message == (
        'Only care-coordinator or rn may move this to "Reached" (reached).'
    )


def test_each_missing_field_is_an_issue_with_its_place() -> None:
    error = refused("reached", note="  ")
    assert [(one.code, one.expression) for one in error.issues if one.severity == "error"] == [
        ("required", "Communication.statusReason"),
        ("required", "Task.note"),
    ]
    assert error.message == (
        'To move this to "Reached" (reached): an outreach attempt with its outcome and a note must be given.'
    )


def test_a_hold_needs_a_moment_that_can_be_read() -> None:
    assert refused("waiting", reason="x", hold_until="next week").issues[0].code == "value"
    assert refused("waiting", reason="x").issues[0].message == "when the hold ends is missing."


@pytest.mark.parametrize(
    ("to", "given", "fields"),
    [
        ("to-call", {}, {}),
        ("calling", {}, {}),
        ("reached", {"outreach.outcome": "reached"}, {"note": "spoke to the patient"}),
        ("waiting", {}, {"reason": "records", "hold.until": "2026-03-12T09:00:00-04:00"}),
        ("failed", {}, {"reason": "moved away"}),
    ],
)
def test_a_legal_and_complete_move_passes(to: str, given: dict[str, str], fields: dict[str, str]) -> None:
    check_move(DEMO, item(), MoveRequest(to=to, fields=fields), roles=RN, given=given)


def test_allowed_moves_are_those_of_the_roles_held() -> None:
    assert [move.to for move in allowed_moves(DEMO, item(), RN)] == ["reached", "waiting", "calling", "failed"]
    assert [move.to for move in allowed_moves(DEMO, item(), DESK)] == ["waiting", "calling"]
    assert [move.to for move in allowed_moves(DEMO, item(status="waiting"), DESK)] == ["to-call", "calling"]
    assert allowed_moves(DEMO, item(status="reached"), RN) == ()


@pytest.mark.requirement(125)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("draft", "requested"),
        ("requested", "completed"),
        ("on-hold", "in-progress"),
        ("completed", "completed"),
        ("failed", "entered-in-error"),
    ],
)
def test_the_default_table_allows(before: str, after: str) -> None:
    check_default_move(before, after)


@pytest.mark.requirement(124, 125)
@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("draft", "completed", "allowed next: requested or cancelled"),
        ("completed", "in-progress", "nothing may follow"),
        ("received", "ready", "allowed next: accepted, rejected"),
        ("requested", "done", "is not a Task.status"),
    ],
)
def test_the_default_table_refuses(before: str, after: str, says: str) -> None:
    with pytest.raises(RuleBroken, match=says):
        check_default_move(before, after)


def test_default_moves_ask_a_reason_where_fhir_does() -> None:
    needs = {move.to: move.require for move in default_moves("in-progress")}
    assert needs["failed"] == ("reason",)
    assert needs["completed"] == ()
    assert default_moves("completed") == ()
