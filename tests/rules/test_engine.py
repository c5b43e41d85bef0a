"""The engine: effects once, order without meaning, and when to look again."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from fhir_tracker.model.effects import CreateTask, Effect, Escalate, Notify, RaiseFlag, SetPriority, SetStatus
from fhir_tracker.model.facts import Facts
from fhir_tracker.model.program import Program
from fhir_tracker.model.work import Firing
from fhir_tracker.rules.engine import evaluate
from tests.rules.samples import (
    MONDAY,
    attempt,
    event,
    facts,
    fired,
    hours,
    item,
    moved,
    ny,
    plan,
    plan_item,
    program,
    visit,
    with_rule,
)

DUE = ny("2026-03-09 17:00")
LATE = with_rule("{all: [{task: first-call}, {overdue_by: 0 hours}]}", "{escalate: late}")


def keys(effects: tuple[Effect, ...]) -> list[tuple[str, str, int]]:
    return [(one.key.rule, one.key.cycle, one.key.level) for one in effects]


def run(demo: Program, known: Facts, start: datetime, end: datetime) -> list[tuple[datetime, Effect]]:
    """Look, apply, look again at `next_at`, as a sweep does."""
    done: list[tuple[datetime, Effect]] = []
    now: datetime | None = start
    for _ in range(1000):
        if now is None or now > end:
            return done
        found = evaluate(demo, known, now)
        for effect in found.effects:
            done.append((now, effect))
            firing = Firing(key=effect.key, fired_at=now, kind=type(effect).__name__)
            known = replace(known, fired=(*known.fired, firing))
        assert found.next_at is None or found.next_at > now or found.effects
        now = found.next_at
    raise AssertionError("the engine never comes to rest")


def test_a_ladder_climbs_level_by_level_at_its_times() -> None:
    done = run(LATE, facts(item(due_at=DUE)), MONDAY, MONDAY + timedelta(days=30))
    climbed = [(now, effect.level, effect.to_role) for now, effect in done if isinstance(effect, Escalate)]
    assert climbed == [
        (DUE, 1, "rn"),
        (ny("2026-03-10 12:00"), 2, "provider"),
        (ny("2026-03-11 17:00"), 3, "clinic-admin"),
    ]
    second = done[1][1]
    assert isinstance(second, Escalate)
    assert (second.notify, second.priority, second.ladder) == (("in-app", "email"), "urgent", "late")


def test_a_late_sweep_fires_one_level_and_waits_for_the_next() -> None:
    late = DUE + timedelta(days=10)
    found = evaluate(LATE, facts(item(due_at=DUE)), late)
    assert keys(found.effects) == [("r", "0", 1)]
    assert found.findings[0].next_level is not None
    assert found.next_at == found.findings[0].next_level.at > late


def test_the_same_facts_give_the_same_effects_and_fired_ones_never_come_back() -> None:
    known = facts(item(due_at=DUE))
    first = evaluate(LATE, known, DUE)
    assert evaluate(LATE, known, DUE) == first
    replayed = replace(known, fired=(fired(1, DUE),))
    assert evaluate(LATE, replayed, DUE).effects == ()
    assert evaluate(LATE, replayed, DUE - timedelta(days=3)).effects == ()


def test_replaying_from_any_moment_fires_each_level_once() -> None:
    known = facts(item(due_at=DUE))
    rng = random.Random(7)
    seen: list[tuple[str, str, int]] = []
    for _ in range(200):
        now = DUE + timedelta(minutes=rng.randint(-600, 20_000))
        for effect in evaluate(LATE, known, now).effects:
            seen.append((effect.key.rule, effect.key.cycle, effect.key.level))
            known = replace(known, fired=(*known.fired, Firing(key=effect.key, fired_at=now, kind="escalate")))
    assert sorted(seen) == [("r", "0", 1), ("r", "0", 2), ("r", "0", 3)]


@pytest.mark.parametrize("state", ["acknowledged", "taken-over", "resolved"])
def test_an_answered_escalation_stops_the_ladder(state: str) -> None:
    known = facts(item(due_at=DUE), fired=(fired(1, DUE, state=state),))
    found = evaluate(LATE, known, DUE + timedelta(days=9))
    assert found.effects == ()
    assert found.findings[0].stopped == f"level 1 was {state.replace('-', ' ')}"


def test_an_escalation_sent_back_lets_the_ladder_climb_on() -> None:
    known = facts(item(due_at=DUE), fired=(fired(1, DUE, state="sent-back"),))
    assert keys(evaluate(LATE, known, DUE + timedelta(days=9)).effects) == [("r", "0", 2)]


def test_a_ladder_that_does_not_stop_at_acknowledged_climbs_on() -> None:
    deaf = "\nladders:\n  late: {stop_when: task.closed, levels: [{to: rn}, {to: provider, after: 1 hour}]}\n"
    demo = program("  - {id: r, when: {overdue_by: 0 hours}, do: {escalate: late}}", deaf)
    known = facts(item(due_at=DUE), fired=(fired(1, DUE, state="acknowledged"),))
    assert keys(evaluate(demo, known, DUE + hours(1)).effects) == [("r", "0", 2)]


def test_a_pause_keeps_the_ladder_where_it_is() -> None:
    paused = facts(item(due_at=DUE, status="waiting", clock="paused"), fired=(fired(1, DUE),))
    found = evaluate(LATE, paused, DUE + timedelta(days=9))
    assert (found.effects, found.findings[0].stopped) == ((), "the rule does not hold now")


def test_a_new_cycle_climbs_again() -> None:
    known = facts(item(due_at=DUE, cycle=1), fired=(fired(1, DUE), fired(2, DUE)))
    assert keys(evaluate(LATE, known, DUE).effects) == [("r", "1", 1)]


@pytest.mark.parametrize(
    "known",
    [
        facts(item(due_at=DUE, open=False)),
        facts(item(due_at=DUE, kind="escalation")),
        facts(item(due_at=DUE, kind="outside")),
        facts(item(due_at=DUE, program="other")),
    ],
)
def test_what_is_closed_or_not_of_the_program_wants_nothing(known: Facts) -> None:
    found = evaluate(LATE, known, DUE + hours(9))
    assert (found.effects, found.next_at) == ((), None)


def test_every_action_of_a_rule_fires_once_under_a_key_of_its_own() -> None:
    demo = with_rule(
        "{overdue_by: 0 hours}",
        "[{escalate: late}, {raise_flag: a}, {create_task: rebook}, {set_priority: urgent}, {set_status: calling},"
        " {notify: {to: rn, by: [in-app, email]}}, {return_to_queue: true}, {clear_flag: b}]",
    )
    found = evaluate(demo, facts(item(due_at=DUE)), DUE)
    assert sorted(one.key.level for one in found.effects) == [-6, -5, -4, -3, -2, -1, 0, 1]
    kinds = {type(one).__name__ for one in found.effects}
    assert len(kinds) == 8
    told = next(one for one in found.effects if isinstance(one, Notify))
    assert (told.to_role, told.channels) == ("rn", ("in-app", "email"))
    priority = next(one for one in found.effects if isinstance(one, SetPriority))
    assert priority.priority == "urgent"


def test_the_order_of_rules_events_and_firings_has_no_meaning() -> None:
    lines = [
        "  - {id: a, when: {overdue_by: 0 hours}, do: {escalate: late}}",
        "  - {id: b, when: {unassigned_for: 1 hour}, do: {raise_flag: x}}",
        "  - {id: c, when: {flag: risk}, subject: task, do: [{set_priority: urgent}, {notify: rn}]}",
        "  - {id: d, subject: task, when: {appointment_missed: visit}, do: {create_task: rebook}}",
    ]
    events = [
        visit("a", "noshow", MONDAY),
        visit("b", "noshow", MONDAY),
        event("Flag/f", "active", MONDAY, codes=("risk",)),
        event("Flag/g", "active", MONDAY, codes=("risk",)),
    ]
    history = [fired(1, DUE, "a"), fired(2, DUE, "a")]
    rng = random.Random(1)
    answers = set()
    for _ in range(20):
        for one in (lines, events, history):
            rng.shuffle(one)
        known = facts(item(due_at=DUE), events=tuple(events), fired=tuple(history))
        answers.add(evaluate(program("\n".join(lines)), known, DUE + hours(1)).effects)
    assert len(answers) == 1


def test_a_missed_visit_makes_work_that_a_new_booking_closes() -> None:
    demo = with_rule("{appointment_missed: visit}", "{create_task: rebook}", subject="plan")
    missed = visit("a", "noshow", MONDAY + hours(1), seen_at=MONDAY + hours(2))
    (made,) = evaluate(demo, facts(plan_item(), events=(missed,)), MONDAY + hours(3)).effects[:1] or (None,)
    made = next(
        one
        for one in evaluate(demo, facts(plan_item(), events=(missed,)), MONDAY + hours(3)).effects
        if isinstance(one, CreateTask) and one.template == "rebook"
    )
    assert (made.about, made.key.cycle) == ("Appointment/a", "0:Appointment/a")
    assert made.due_at == MONDAY + hours(3) + timedelta(days=1)
    work = item(ref="Task/r", code="rebook", created_at=MONDAY + hours(3), focus="Appointment/a")
    assert evaluate(demo, facts(work, events=(missed,)), MONDAY + hours(4)).effects == ()
    booked = visit("b", "booked", MONDAY + hours(99), seen_at=MONDAY + hours(5))
    (closed,) = evaluate(demo, facts(work, events=(missed, booked)), MONDAY + hours(6)).effects
    assert isinstance(closed, SetStatus)
    assert (closed.status, closed.evidence, closed.key.rule) == ("reached", ("Appointment/b",), "done-by")


def test_evidence_from_before_the_work_does_not_close_it() -> None:
    work = item(code="visit")
    old = visit("a", "fulfilled", MONDAY - hours(1))
    assert evaluate(LATE, facts(work, events=(old,)), MONDAY + hours(1)).effects == ()
    other = visit("b", "fulfilled", MONDAY + hours(1), codes=("urn:x|dental",))
    assert evaluate(LATE, facts(work, events=(other,)), MONDAY + hours(1)).effects == ()


def test_a_visit_between_discharge_and_enrolment_closes_the_visit_task() -> None:
    work = item(code="visit", created_at=MONDAY + timedelta(days=5))
    known = facts(
        work, plan=plan(work.created_at, discharge=MONDAY), events=(visit("a", "fulfilled", MONDAY + hours(50)),)
    )
    assert keys(evaluate(LATE, known, work.created_at).effects) == [("done-by", "0:Appointment/a", 0)]


def test_reopened_work_is_not_closed_by_the_old_evidence() -> None:
    seen = visit("a", "fulfilled", MONDAY + hours(1), seen_at=MONDAY + hours(2))
    log = (moved("to-call", "reached", MONDAY + hours(3)), moved("reached", "to-call", MONDAY + hours(4)))
    work = item(code="visit", cycle=1)
    assert evaluate(LATE, facts(work, log=log, events=(seen,)), MONDAY + hours(5)).effects == ()
    again = replace(seen, seen_at=MONDAY + hours(6))
    assert evaluate(LATE, facts(work, log=log, events=(again,)), MONDAY + hours(7)).effects != ()


HELD = item(status="waiting", clock="paused", status_since=MONDAY + hours(1), hold_until=MONDAY + hours(9), due_at=DUE)
HELD_LOG = (
    moved(None, "to-call", MONDAY),
    moved("to-call", "calling", MONDAY),
    moved("calling", "waiting", MONDAY + hours(1)),
)


def test_a_hold_ends_at_its_time_and_goes_back_to_where_it_came_from() -> None:
    known = facts(HELD, log=HELD_LOG)
    waiting = evaluate(LATE, known, MONDAY + hours(8))
    assert (waiting.effects, waiting.next_at) == ((), MONDAY + hours(9))
    (ended,) = evaluate(LATE, known, MONDAY + hours(9)).effects
    assert isinstance(ended, SetStatus)
    assert (ended.status, ended.key.rule, ended.evidence) == ("calling", "hold-end", ())


@pytest.mark.parametrize(("seen", "ends"), [(0.5, False), (2, True)])
def test_a_hold_ends_sooner_when_what_it_waits_for_arrives(seen: float, ends: bool) -> None:
    filed = event("DocumentReference/d", "current", MONDAY, seen_at=MONDAY + hours(seen))
    found = evaluate(LATE, facts(HELD, log=HELD_LOG, events=(filed,)), MONDAY + hours(3))
    assert [one.evidence for one in found.effects if isinstance(one, SetStatus)] == (
        [("DocumentReference/d",)] if ends else []
    )


def test_a_second_hold_in_the_same_cycle_ends_too() -> None:
    (first,) = evaluate(LATE, facts(HELD, log=HELD_LOG), MONDAY + hours(9)).effects
    again = replace(HELD, status_since=MONDAY + hours(10), hold_until=MONDAY + hours(12))
    done = Firing(key=first.key, fired_at=MONDAY + hours(9), kind="set-status")
    assert len(evaluate(LATE, facts(again, log=HELD_LOG, fired=(done,)), MONDAY + hours(12)).effects) == 1


def test_recurring_work_comes_one_at_a_time_on_the_wall_clock() -> None:
    started = ny("2026-01-31 09:00")
    known = facts(plan_item(created_at=started), plan=plan(started))
    done = run(LATE, known, started, started + timedelta(days=100))
    made = [(now, effect.key.cycle, effect.due_at) for now, effect in done if isinstance(effect, CreateTask)]
    assert made == [
        (ny("2026-01-31 09:00"), "0", ny("2026-02-28 09:00")),
        (ny("2026-02-28 09:00"), "1", ny("2026-03-31 09:00")),
        (ny("2026-03-31 09:00"), "2", ny("2026-04-30 09:00")),
        (ny("2026-04-30 09:00"), "3", ny("2026-05-31 09:00")),
    ]


def test_recurring_work_waits_for_the_open_one_and_catches_up_with_one() -> None:
    started = ny("2026-01-31 09:00")
    open_one = item(ref="Task/x", code="touch")
    known = facts(plan_item(created_at=started), plan=plan(started), tasks=(open_one,))
    waiting = evaluate(LATE, known, started + timedelta(days=80))
    assert (waiting.effects, waiting.next_at) == ((), ny("2026-04-30 09:00"))
    free = replace(known, tasks=(replace(open_one, open=False),))
    assert keys(evaluate(LATE, free, started + timedelta(days=80)).effects) == [("cadence:touch", "2", 0)]


def test_a_document_case_and_a_second_one_each_make_their_own_work() -> None:
    demo = with_rule("{document_missing: note}", "[{create_task: rebook}, {raise_flag: x}]", subject="plan")
    visits = (visit("a", "fulfilled", MONDAY), visit("b", "fulfilled", MONDAY + hours(24)))
    found = evaluate(demo, facts(plan_item(), events=visits), MONDAY + hours(99))
    made = [one for one in found.effects if isinstance(one, CreateTask | RaiseFlag) and one.key.rule == "r"]
    assert sorted({one.key.cycle for one in made}) == ["0:Appointment/a", "0:Appointment/b"]
    assert len(made) == 4


def test_work_that_closes_by_itself_is_not_escalated_in_the_same_look() -> None:
    demo = with_rule("{all: [{task: visit}, {overdue_by: 0 hours}]}", "{escalate: late}")
    work = item(code="visit", due_at=DUE)
    late = evaluate(demo, facts(work), DUE)
    assert [type(one) for one in late.effects] == [Escalate]
    kept = facts(work, events=(visit("v", "fulfilled", MONDAY),))
    assert [type(one) for one in evaluate(demo, kept, DUE).effects] == [SetStatus]


def test_a_case_named_by_an_attempt_makes_work_that_is_about_nothing() -> None:
    demo = with_rule("{outreach_failed: {attempts: 1}}", "{create_task: rebook}", subject="plan")
    tries = (attempt("a", MONDAY, "reached"), attempt("b", MONDAY + hours(1)))
    (made,) = [
        one
        for one in evaluate(demo, facts(plan_item(), events=tries, tasks=(item(),)), MONDAY + hours(2)).effects
        if isinstance(one, CreateTask) and one.key.rule == "r"
    ]
    assert (made.template, made.about) == ("rebook", None)
