"""`outreach_failed` and `outreach_reached`: which tries count, when a policy is used up, and that it can be again."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import permutations

import pytest

from fhir_tracker.errors import Incorrect
from fhir_tracker.model.facts import Facts
from fhir_tracker.model.work import Event
from fhir_tracker.rules.outreach_failed import attempts, failed_since_reached, last_reached
from tests.rules.samples import MONDAY, attempt, event, facts, hours, item, ny, plan_item, verdict, with_rule

SECOND = timedelta(seconds=1)
LONG_AFTER = MONDAY + timedelta(days=90)
POLICY = "{outreach_failed: {attempts: 2, over: 1 day, channels: 2}}"
FIRST, TEXT = attempt("a", MONDAY), attempt("b", MONDAY + hours(1), "left-message", "sms")


@pytest.mark.parametrize(
    ("policy", "tries", "edge"),
    [
        ("attempts: 1", (FIRST,), MONDAY),
        ("attempts: 1, over: 2 hours", (FIRST,), MONDAY + hours(2)),
        ("attempts: 2, over: 1 day, channels: 2", (FIRST, TEXT), MONDAY + timedelta(days=1)),
        ("attempts: 2, over: 0 hours", (FIRST, TEXT), MONDAY + hours(1)),
        ("attempts: 2, over: 30 minutes", (FIRST, TEXT), MONDAY + hours(1)),
        ("attempts: 2, over: 2 business days", (FIRST, TEXT), ny("2026-03-11 17:00")),
        ("attempts: 2, over: 10 business hours", (FIRST, TEXT), ny("2026-03-10 10:00")),
        ("attempts: 3, over: 1 day, channels: 3",
         (FIRST, TEXT, attempt("c", MONDAY + hours(40), "bounced", "email")), MONDAY + hours(40)),
        ("attempts: 2, over: 1 day", (attempt("z", MONDAY + hours(9)), FIRST), MONDAY + timedelta(days=1)),
        ("attempts: 1", (attempt("a", MONDAY, "wrong-number"),), MONDAY),
        ("attempts: 1", (attempt("a", MONDAY, "declined"),), MONDAY),
        ("attempts: 1", (attempt("a", MONDAY, ""),), MONDAY),
        ("attempts: 1", (attempt("a", MONDAY, "reached"), attempt("b", MONDAY + hours(5))), MONDAY + hours(5)),
    ],
)  # fmt: skip
def test_a_policy_is_used_up_at_its_second(policy: str, tries: tuple[Event, ...], edge: datetime) -> None:
    when = f"{{outreach_failed: {{{policy}}}}}"
    late = verdict(when, facts(events=tries), edge)
    assert (late.holds, late.since, late.next_change) == (True, edge, None)
    early = verdict(when, facts(events=tries), edge - SECOND)
    assert (early.holds, early.next_change) == (False, edge)


@pytest.mark.parametrize(
    "tries",
    [
        (),
        (FIRST,),
        (FIRST, attempt("b", MONDAY + hours(1))),
        (FIRST, TEXT, attempt("c", MONDAY + hours(2), "reached")),
        (FIRST, attempt("b", MONDAY, channel="sms", about="Task/other")),
        (FIRST, event("Communication/b", "completed", MONDAY, detail={"channel": "sms"})),
        (FIRST, event("Communication/b", "preparation", MONDAY, about=("Task/t1",), detail={"channel": "sms"})),
        (FIRST, event("Communication/b", "entered-in-error", MONDAY, about=("Task/t1",), detail={"channel": "sms"})),
        (FIRST, event("Appointment/b", "completed", MONDAY, about=("Task/t1",), detail={"channel": "sms"})),
        (attempt("a", MONDAY, channel=""), attempt("b", MONDAY, channel="")),
        (FIRST, event("Communication/b", "not-done", MONDAY, about=("Task/t1",), detail={"outcome": "no-answer"})),
    ],
    ids=["none", "too few", "one channel", "reached since", "other work", "about nothing", "being prepared",
         "entered in error", "no communication", "no channel", "one channel not told"],
)  # fmt: skip
def test_a_policy_is_not_used_up_however_long_it_lasts(tries: tuple[Event, ...]) -> None:
    found = verdict(POLICY, facts(events=tries), LONG_AFTER)
    assert (found.holds, found.next_change) == (False, None)
    assert found.why.endswith("since the patient was last reached; the policy is 2 on 2")


def test_why_counts_the_tries_and_their_channels() -> None:
    found = verdict(POLICY, facts(events=(FIRST, TEXT)), MONDAY + hours(24))
    assert found.why == (
        "2 failed attempts on 2 channels since the patient was last reached, first on Mon 9 Mar 2026 09:00;"
        " the policy was 2 on 2 channels"
    )
    assert found.facts == {
        "failed attempts": "2",
        "channels": "phone, sms",
        "attempts": f"{FIRST.ref}, {TEXT.ref}",
        "first attempt": "2026-03-09T13:00:00.000Z",
    }


def test_being_reached_starts_a_new_case() -> None:
    tries = (FIRST, TEXT)
    assert verdict(POLICY, facts(events=tries), LONG_AFTER).occurrence == ""
    answered = (*tries, attempt("r", MONDAY + hours(30), "reached"))
    assert not verdict(POLICY, facts(events=answered), LONG_AFTER).holds
    later = (*answered, attempt("c", MONDAY + hours(40)), attempt("d", MONDAY + hours(41), channel="sms"))
    again = verdict(POLICY, facts(events=later), LONG_AFTER)
    assert (again.holds, again.occurrence, again.since) == (True, "Communication/r", MONDAY + hours(64))


def test_tries_are_counted_in_the_order_they_were_made_however_they_arrive() -> None:
    tries = (FIRST, TEXT, attempt("r", MONDAY + hours(2), "reached"), attempt("c", MONDAY + hours(3)))
    answers = {
        (verdict(POLICY, facts(events=order), LONG_AFTER).holds, len(failed_since_reached(facts(events=order))))
        for order in permutations(tries)
    }
    assert answers == {(False, 1)}


def test_at_one_moment_the_reference_decides() -> None:
    same = (attempt("a", MONDAY, "reached"), attempt("b", MONDAY))
    assert [one.ref for one in failed_since_reached(facts(events=same))] == ["Communication/b"]
    other = (attempt("c", MONDAY, "reached"), attempt("b", MONDAY))
    assert failed_since_reached(facts(events=other)) == ()


@pytest.mark.parametrize(
    ("about", "counts"),
    [("CarePlan/p1", True), ("Task/t1", True), ("Task/t2", True), ("Task/of-another-plan", False), ("", False)],
)
def test_a_plan_counts_the_tries_of_all_its_tasks_open_or_closed(about: str, counts: bool) -> None:
    tries = (attempt("a", MONDAY), attempt("b", MONDAY + hours(1), channel="sms", about=about))
    tasks = (item(), item(ref="Task/t2", open=False))
    known = facts(plan_item(), events=tries, tasks=tasks)
    assert verdict(POLICY, known, MONDAY + hours(30), "plan").holds is counts
    assert (last_reached(known), len(attempts(known))) == (None, 2 if counts else 1)


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("{}", '"attempts" is missing'),
        ("{attempts: 0}", "is not a whole number from 1"),
        ("{attempts: 101}", "is not a whole number from 1 to 100"),
        ("{attempts: -1}", "is not a whole number"),
        ("{attempts: 2.5}", "is not a whole number"),
        ("{attempts: 2, channels: 3}", "3 channels cannot be tried in 2 attempts"),
        ("{attempts: 2, channels: 0}", "is not a whole number from 1 to 10"),
        ("{attempts: 2, over: 2}", "is not a duration"),
        ("{attempts: 2, outcome: busy}", 'unknown key "outcome"'),
        ("3", "must be a mapping with attempts"),
    ],
)
def test_the_policy_is_read_strictly(argument: str, says: str) -> None:
    with pytest.raises(Incorrect) as caught:
        with_rule(f"{{outreach_failed: {argument}}}")
    assert any(says in issue.message for issue in caught.value.issues)


REACHED = "{outreach_reached: true}"


@pytest.mark.parametrize(
    ("known", "holds", "occurrence", "why"),
    [
        (facts(), False, "", "nobody has tried to reach the patient"),
        (facts(events=(FIRST,)), False, "", "the last try did not reach the patient"),
        (facts(events=(attempt("r", MONDAY, "reached"),)), True, "Communication/r", "the patient was reached on"),
        (facts(events=(attempt("r", MONDAY, "reached"), attempt("z", MONDAY + hours(1)))), False, "", "the last try"),
        (facts(events=(attempt("r", MONDAY, "reached", about="Task/o"),)), False, "", "nobody has tried"),
        (facts(events=(attempt("q", MONDAY, "reached"), attempt("r", MONDAY + hours(1), "reached"))), True,
         "Communication/r", "the patient was reached on Mon 9 Mar 2026 10:00"),
    ],
)  # fmt: skip
def test_the_last_try_reached_the_patient_or_not(known: Facts, holds: bool, occurrence: str, why: str) -> None:
    found = verdict(REACHED, known, MONDAY + hours(9))
    assert (found.holds, found.occurrence, found.next_change) == (holds, occurrence, None)
    assert found.why.startswith(why)


@pytest.mark.parametrize("argument", ["false", "yes", "{}", "[true]", "1"])
def test_reached_takes_true_and_nothing_else(argument: str) -> None:
    with pytest.raises(Incorrect):
        with_rule(f"{{outreach_reached: {argument}}}")


@pytest.mark.parametrize(
    ("days", "since"),
    [
        ({"phone": (0, 1), "sms": (4,)}, 4),
        ({"phone": (0, 3, 5), "sms": (1,)}, 3),
        ({"phone": (0,), "sms": (0,), "letter": (0.25,)}, 1),
        ({"sms": (0, 1, 2), "phone": (9,)}, 9),
    ],
)
def test_it_holds_since_the_try_with_which_everything_was_done(
    days: dict[str, tuple[float, ...]], since: float
) -> None:
    """Three tries on two channels over one day: a ladder counts from then, and not from the third call."""
    tries = [
        attempt(f"{channel}{day}", MONDAY + hours(24 * day), channel=channel)
        for channel, some in days.items()
        for day in some
    ]
    policy = f"{{outreach_failed: {{attempts: {min(3, len(tries))}, over: 1 day, channels: 2}}}}"
    wanted = MONDAY + hours(24 * since)
    assert verdict(policy, facts(events=tuple(tries)), MONDAY + hours(400)).since == wanted
