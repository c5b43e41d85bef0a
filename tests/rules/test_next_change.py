"""`next_change` never lies: between now and it, the passing of time alone changes no answer."""

from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fhir_tracker.model.effects import SetStatus
from fhir_tracker.model.facts import Facts, PlanFacts
from fhir_tracker.model.program import Program
from fhir_tracker.model.work import Event, Firing, FiringKey, Transition, WorkItem
from fhir_tracker.rules.conditions import judge
from fhir_tracker.rules.engine import evaluate
from tests.rules.samples import MONDAY, PATIENT, attempt, event, facts, item, moved, plan, plan_item, program, visit

moments = st.integers(-5 * 24 * 60, 15 * 24 * 60).map(lambda m: MONDAY + timedelta(minutes=m))
durations = st.one_of(
    st.builds("{} {}".format, st.integers(0, 90), st.sampled_from(("seconds", "minutes", "hours"))),
    st.builds("{} {}".format, st.integers(0, 6), st.sampled_from(("days", "business days", "business hours", "weeks"))),
)
some = st.integers(1, 3)
leaves = st.one_of(
    st.builds("{{task: {}}}".format, st.sampled_from(("first-call", "visit"))),
    st.builds("{{overdue_by: {}}}".format, durations),
    st.builds("{{due_within: 1 minute}}".format),
    st.builds("{{due_within: {} business days}}".format, some),
    st.builds("{{unassigned_for: {}}}".format, durations),
    st.builds("{{in_status_for: {{status: [to-call, waiting], for: {}}}}}".format, durations),
    st.builds("{{outreach_failed: {{attempts: {}, over: {}}}}}".format, some, durations),
    st.builds("{{appointment_missed: {{service: visit, grace: {}}}}}".format, durations),
    st.sampled_from(
        (
            "{document_missing: note}",
            "{document_missing: summary}",
            "{flag: risk}",
            "{stage: enrolled}",
            "{priority: urgent}",
        )
    ),
)
conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds("{{not: {}}}".format, inner),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"{{all: [{', '.join(parts)}]}}"),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"{{any: [{', '.join(parts)}]}}"),
    ),
    max_leaves=5,
)
plan_leaves = ("outreach_failed", "appointment_missed", "document_missing", "flag", "stage")


def events(draw: st.DrawFn) -> tuple[Event, ...]:
    found: list[Event] = []
    for number in range(draw(st.integers(0, 5))):
        at, seen, name = draw(moments), draw(moments), f"e{number}"
        kind = draw(st.integers(0, 3))
        if kind == 0:
            status = draw(st.sampled_from(("booked", "noshow", "cancelled", "fulfilled", "arrived")))
            found.append(visit(name, status, at, seen_at=seen))
        elif kind == 1:
            found.append(event(f"DocumentReference/{name}", "current", at, codes=("urn:l|note",), seen_at=seen))
        elif kind == 2:
            found.append(
                attempt(name, at, draw(st.sampled_from(("no-answer", "reached"))), draw(st.sampled_from("ab")))
            )
        else:
            end = draw(st.none() | moments)
            found.append(event(f"Flag/{name}", "active", at, codes=("risk",), end=end, seen_at=seen))
    return tuple(found)


def log(draw: st.DrawFn, created: datetime) -> tuple[Transition, ...]:
    at, status, rows = created, "to-call", []
    for _ in range(draw(st.integers(0, 3))):
        at += timedelta(minutes=draw(st.integers(1, 3000)))
        after = draw(st.sampled_from(("to-call", "waiting", "calling")))
        rows.append(moved(status, after, at))
        status = after
    return tuple(rows)


@st.composite
def any_facts(draw: st.DrawFn) -> Facts:
    created = draw(moments)
    rows = log(draw, created)
    status = rows[-1].after if rows else "to-call"
    work: WorkItem = item(
        created_at=created,
        status=status,
        status_since=rows[-1].effective_at if rows else created,
        due_at=draw(st.none() | moments),
        owner=draw(st.sampled_from((None, "Practitioner/a"))),
        hold_until=draw(st.none() | moments),
        priority=draw(st.sampled_from(("routine", "urgent"))),
        code=draw(st.sampled_from(("first-call", "visit", "rebook"))),
        patient=PATIENT,
    )
    known_plan: PlanFacts = plan(draw(moments), discharge=draw(moments))
    return facts(work, plan=known_plan, log=rows, events=events(draw))


def answers(demo: Program, known: Facts, now: datetime) -> list[tuple[bool, str]]:
    return [(one.holds, one.occurrence) for one in judge(demo, known, demo.rules[0].when, now)]


@given(known=any_facts(), when=conditions, now=moments, share=st.floats(0, 1, exclude_max=True))
@settings(max_examples=250, deadline=None)
def test_nothing_flips_between_now_and_next_change(known: Facts, when: str, now: datetime, share: float) -> None:
    demo = program(f"  - {{id: r, subject: task, when: {when}, do: {{raise_flag: x}}}}")
    verdict = judge(demo, known, demo.rules[0].when, now)[0]
    assert verdict.next_change is None or verdict.next_change > now
    assert verdict.why
    until = verdict.next_change or now + timedelta(days=60)
    last = until - timedelta(microseconds=1)
    for later in (now + (until - now) * share, last):
        if now < later < until:
            assert answers(demo, known, later) == answers(demo, known, now)


@given(known=any_facts(), when=conditions, now=moments, share=st.floats(0, 1, exclude_max=True))
@settings(max_examples=120, deadline=None)
def test_the_engine_wants_nothing_new_before_it_asked_to_look_again(
    known: Facts, when: str, now: datetime, share: float
) -> None:
    demo = program(f"  - {{id: r, subject: task, when: {when}, do: [{{raise_flag: x}}, {{escalate: late}}]}}")
    found = evaluate(demo, known, now)
    assume(not any(isinstance(one, SetStatus) for one in found.effects))
    done = tuple(Firing(key=one.key, fired_at=now, kind="") for one in found.effects)
    after = Facts(item=known.item, plan=known.plan, log=known.log, events=known.events, fired=done)
    again = evaluate(demo, after, now)
    assert again.effects == ()
    until = again.next_at or now + timedelta(days=60)
    later = now + (until - now) * share
    if now < later < until:
        assert evaluate(demo, after, later).effects == ()


@given(started=moments, now=moments, share=st.floats(0, 1, exclude_max=True), made=st.sets(st.integers(0, 20)))
@settings(max_examples=100, deadline=None)
def test_recurring_work_comes_no_sooner_than_said(
    started: datetime, now: datetime, share: float, made: set[int]
) -> None:
    demo = program()
    keys = [FiringKey(item="CarePlan/p1", rule="cadence:touch", cycle=str(one), level=0) for one in made]
    known = facts(plan_item(), plan=plan(started), fired=tuple(Firing(key=key, fired_at=now, kind="") for key in keys))
    found = evaluate(demo, known, now)
    if not found.effects and found.next_at:
        later = min(now + (found.next_at - now) * share, found.next_at - timedelta(microseconds=1))
        assert evaluate(demo, known, later).effects == ()
