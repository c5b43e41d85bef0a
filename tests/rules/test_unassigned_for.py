"""`unassigned_for`: counted from when nobody owned it, not from when it was made."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from fhir_tracker.model.work import Transition
from tests.rules.samples import MONDAY, facts, hours, item, moved, ny, verdict

SECOND = timedelta(seconds=1)
NURSE = "Practitioner/nurse"


def owned(after: str | None, at: datetime) -> Transition:
    return moved(None if after else NURSE, after, at, "owner")


@pytest.mark.parametrize(
    ("log", "since"),
    [
        ((), MONDAY),
        ((owned(None, MONDAY + hours(2)),), MONDAY + hours(2)),
        ((owned(NURSE, MONDAY), owned(None, MONDAY + hours(2))), MONDAY + hours(2)),
        ((owned(None, MONDAY + hours(5)), owned(None, MONDAY + hours(2))), MONDAY + hours(5)),
        ((owned("", MONDAY + hours(3)),), MONDAY + hours(3)),
        ((owned(None, MONDAY - hours(9)),), MONDAY),
        ((moved("to-call", "calling", MONDAY + hours(6)),), MONDAY),
        ((moved("rn", None, MONDAY + hours(6), "role"),), MONDAY),
    ],
    ids=["never owned", "released", "taken and released", "out of order", "emptied", "before it was made", "status",
         "role"],
)  # fmt: skip
def test_the_time_runs_from_the_last_release(log: tuple[Transition, ...], since: datetime) -> None:
    edge = since + hours(4)
    early = verdict("{unassigned_for: 4 hours}", facts(log=log), edge - SECOND)
    assert (early.holds, early.next_change) == (False, edge)
    late = verdict("{unassigned_for: 4 hours}", facts(log=log), edge)
    assert (late.holds, late.since, late.next_change) == (True, edge, None)


@pytest.mark.parametrize(
    ("made", "allowed", "edge"),
    [
        ("2026-03-09 09:00", "0 hours", "2026-03-09 09:00"),
        ("2026-03-09 16:00", "2 business hours", "2026-03-10 09:00"),
        ("2026-03-06 18:00", "4 business hours", "2026-03-09 12:00"),
        ("2026-03-07 12:00", "0 business hours", "2026-03-09 08:00"),
        ("2026-03-06 10:00", "1 business day", "2026-03-09 17:00"),
        ("2026-03-07 23:00", "4 hours", "2026-03-08 04:00"),
    ],
)
def test_the_allowance_is_calendar_or_working_time(made: str, allowed: str, edge: str) -> None:
    known = facts(item(created_at=ny(made), status_since=ny(made)))
    when = f"{{unassigned_for: {allowed}}}"
    assert verdict(when, known, ny(edge)).holds
    assert not verdict(when, known, ny(edge) - SECOND).holds


@pytest.mark.parametrize("status", ["to-call", "calling", "waiting"])
def test_owned_work_is_never_unassigned(status: str) -> None:
    found = verdict("{unassigned_for: 0 hours}", facts(item(owner=NURSE, status=status)), MONDAY + timedelta(days=900))
    assert (found.holds, found.why, found.next_change) == (False, "First call has an owner", None)
    assert found.facts == {"owner": NURSE}


def test_paused_work_without_an_owner_still_has_none() -> None:
    assert verdict("{unassigned_for: 1 hour}", facts(item(status="waiting", clock="paused")), MONDAY + hours(1)).holds


def test_closed_work_needs_no_owner() -> None:
    assert not verdict("{unassigned_for: 0 hours}", facts(item(open=False)), MONDAY + hours(1)).holds


@pytest.mark.parametrize(
    ("role", "why"),
    [
        ("care-coordinator", "First call has had no owner for 5 h in the queue of care-coordinator"),
        (None, "First call has had no owner for 5 h"),
    ],
)
def test_why_names_the_queue(role: str | None, why: str) -> None:
    found = verdict("{unassigned_for: 4 hours}", facts(item(role=role)), MONDAY + hours(5))
    assert (found.why, found.facts["role"]) == (why, role or "none")
