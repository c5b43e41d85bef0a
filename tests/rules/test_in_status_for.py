"""`in_status_for`: too long in a status, counted from when the work entered it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from fhir_tracker.errors import Incorrect
from tests.rules.samples import MONDAY, facts, hours, item, moved, ny, verdict, with_rule

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("wanted", "status", "applies"),
    [
        ("status: calling, ", "calling", True),
        ("status: [waiting, calling], ", "calling", True),
        ("status: [waiting, calling], ", "waiting", True),
        ("", "calling", True),
        ("", "mystery", True),
        ("status: to-call, ", "calling", False),
        ("status: [to-call, waiting], ", "calling", False),
        ("status: to-call, ", "mystery", False),
    ],
)
@pytest.mark.parametrize("allowed", ["0 hours", "90 seconds", "3 hours", "1 business day"])
def test_it_holds_from_the_second_on_in_the_statuses_named(
    wanted: str, status: str, applies: bool, allowed: str
) -> None:
    edge = {"0 hours": MONDAY, "90 seconds": MONDAY + timedelta(seconds=90), "3 hours": MONDAY + hours(3)}.get(
        allowed, ny("2026-03-10 17:00")
    )
    when, known = f"{{in_status_for: {{{wanted}for: {allowed}}}}}", facts(item(status=status))
    early, late = verdict(when, known, edge - SECOND), verdict(when, known, edge)
    assert (early.holds, late.holds) == (False, applies)
    assert early.next_change == (edge if applies else None)
    assert (late.since, late.next_change) == (edge if applies else None, None)


def test_the_time_runs_from_the_last_entry_and_other_changes_do_not_start_it_again() -> None:
    log = (moved("to-call", "calling", MONDAY), moved(None, "Practitioner/a", MONDAY + hours(2), "owner"))
    known = facts(item(status="calling", status_since=MONDAY), log=log)
    assert verdict("{in_status_for: {status: calling, for: 3 hours}}", known, MONDAY + hours(3)).holds
    again = facts(item(status="calling", status_since=MONDAY + hours(2)), log=log)
    assert not verdict("{in_status_for: {status: calling, for: 3 hours}}", again, MONDAY + hours(3)).holds


def test_a_paused_status_is_too_long_all_the_same() -> None:
    known = facts(item(status="waiting", clock="paused", hold_until=MONDAY + hours(1)))
    found = verdict("{in_status_for: {status: waiting, for: 2 hours}}", known, MONDAY + hours(2))
    assert (found.holds, found.why) == (True, "First call has been waiting for 2 h, since Mon 9 Mar 2026 09:00")


def test_a_status_entered_in_the_future_waits_for_its_time() -> None:
    known = facts(item(status="calling", status_since=MONDAY + hours(50)))
    found = verdict("{in_status_for: {for: 1 hour}}", known, MONDAY)
    assert (found.holds, found.next_change) == (False, MONDAY + hours(51))


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("{status: calling}", '"for" is missing'),
        ("{for: 1 day, status: []}", None),
        ("{for: 1 day, status: callng}", 'did you mean "calling"'),
        ("{for: 1 day, status: {a: b}}", "must be a text"),
        ("{for: soon}", "is not a duration"),
        ("{for: 1 day, since: now}", 'unknown key "since"'),
        ("2 hours", "must be a mapping with for"),
        ("[2 hours]", "must be a mapping with for"),
    ],
)
def test_its_argument_is_read_strictly(argument: str, says: str | None) -> None:
    when = f"{{in_status_for: {argument}}}"
    if says is None:
        assert with_rule(when).rules[0].when.args["status"] == ()
        return
    with pytest.raises(Incorrect) as caught:
        with_rule(when)
    assert any(says in issue.message for issue in caught.value.issues)
