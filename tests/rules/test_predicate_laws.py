"""What every test for `when` keeps: its three answers are true, name what they used, and depend on nothing else."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.facts import Facts, Verdict
from fhir_tracker.rules.catalog import PREDICATES
from fhir_tracker.rules.engine import evaluate, look
from fhir_tracker.rules.quick import compiled
from tests.rules.situations import (
    LAST,
    LEAVES,
    answered,
    asking,
    conditions,
    flips,
    moments,
    poisoned,
    situations,
)

TICK = timedelta(microseconds=1)
NAMES = sorted(LEAVES)
FIELDS = ("owner", "priority", "code", "status", "due_at", "hold_until")


def subject_of(name: str, data: st.DataObject) -> str:
    return data.draw(st.sampled_from(PREDICATES[name].subjects))


def drawn(name: str, data: st.DataObject) -> tuple[str, str, Facts, datetime]:
    subject = subject_of(name, data)
    when = f"{{{name}: {data.draw(LEAVES[name])}}}"
    return when, subject, data.draw(situations(subject=subject, about=name)), data.draw(moments)


def told(*answers: tuple[Verdict, ...]) -> str:
    return " ".join(text for answer in answers for one in answer for pair in one.facts.items() for text in pair)


def test_every_predicate_is_tried() -> None:
    assert set(LEAVES) == set(PREDICATES)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_nothing_flips_before_next_change(name: str, data: st.DataObject) -> None:
    when, subject, known, now = drawn(name, data)
    found = answered(when, known, now, subject)
    change = min((one.next_change for one in found if one.next_change), default=None)
    assert change is None or change > now
    until = change or now + timedelta(days=90)
    shares = data.draw(st.lists(st.floats(0, 1, exclude_max=True), min_size=4, max_size=4))
    for later in (*(now + (until - now) * share for share in shares), until - TICK):
        if now < later < until:
            assert not flips(found, answered(when, known, later, subject)), (found, later)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_what_flips_the_answer_is_named(name: str, data: st.DataObject) -> None:
    when, subject, known, now = drawn(name, data)
    found = answered(when, known, now, subject)
    assert all(one.why for one in found)
    for event in known.events:
        without = answered(
            when, replace(known, events=tuple(one for one in known.events if one != event)), now, subject
        )
        assert not flips(found, without) or event.ref in told(found, without), event
    for row in known.log:
        without = answered(when, replace(known, log=tuple(one for one in known.log if one != row)), now, subject)
        assert not flips(found, without) or told(found) != told(without), row
    for field in FIELDS:
        value = getattr(known.item, field)
        changed = {"priority": "stat", "code": "touch", "status": "calling"}.get(field)
        other = answered(when, replace(known, item=known.item.having(**{field: changed})), now, subject)
        name_ = instant(value) if isinstance(value, datetime) else str(value or changed or "none")
        assert not flips(found, other) or name_ in told(found, other), field


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data(), seed=st.integers(0, 99))
@settings(max_examples=12, deadline=None)
def test_the_order_of_facts_has_no_meaning_and_closed_work_never_holds(
    name: str, data: st.DataObject, seed: int
) -> None:
    when, subject, known, now = drawn(name, data)
    chance = random.Random(seed)
    mixed = replace(
        known,
        events=tuple(chance.sample(known.events, len(known.events))),
        log=tuple(chance.sample(known.log, len(known.log))),
        fired=tuple(chance.sample(known.fired, len(known.fired))),
    )
    assert answered(when, mixed, now, subject) == answered(when, known, now, subject)
    closed = replace(known, item=replace(known.item, open=False))
    assert not any(one.holds for one in answered(when, closed, now, subject))
    twice = answered(f"{{not: {{not: {when}}}}}", known, now, subject)[0]
    once = answered(when, known, now, subject)
    changes = [one.next_change for one in once if one.next_change]
    assert (twice.holds, twice.next_change) == (once[0].holds, min(changes, default=None))


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_no_date_is_so_odd_that_asking_fails(name: str, data: st.DataObject) -> None:
    subject = subject_of(name, data)
    when = f"{{{name}: {data.draw(LEAVES[name])}}}"
    known, now = data.draw(situations(poisoned, subject=subject, about=name)), data.draw(moments)
    found = answered(when, known, now, subject)
    assert found
    assert all(one.why and (one.next_change is None or now < one.next_change <= LAST) for one in found)


@given(known=situations(), when=conditions, now=moments, shares=st.lists(st.floats(0, 1, exclude_max=True), max_size=3))
@settings(max_examples=100, deadline=None)
def test_nothing_flips_in_any_tree_before_next_change(
    known: Facts, when: str, now: datetime, shares: list[float]
) -> None:
    found = answered(when, known, now)
    change = min((one.next_change for one in found if one.next_change), default=None)
    assert change is None or change > now
    until = change or now + timedelta(days=90)
    for later in (*(now + (until - now) * share for share in shares), until - TICK):
        if now < later < until:
            assert not flips(found, answered(when, known, later))


@given(known=situations(), when=conditions, now=moments, seed=st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_the_engine_answers_the_same_in_whatever_order_it_is_told(
    known: Facts, when: str, now: datetime, seed: int
) -> None:
    chance, demo = random.Random(seed), asking(when)
    mixed = replace(
        known,
        events=tuple(chance.sample(known.events, len(known.events))),
        log=tuple(chance.sample(known.log, len(known.log))),
        fired=tuple(chance.sample(known.fired, len(known.fired))),
    )
    assert evaluate(demo, mixed, now) == evaluate(demo, known, now)


@given(known=situations(), when=conditions, now=moments)
@settings(max_examples=120, deadline=None)
def test_a_quick_look_wants_what_the_whole_evaluation_wants_and_looks_again_no_later(
    known: Facts, when: str, now: datetime
) -> None:
    demo = asking(when)
    whole, brief = evaluate(demo, known, now), look(demo, known, now)
    assert brief.effects == whole.effects
    assert [one for one in whole.findings if one.verdict.holds] == [one for one in brief.findings if one.verdict.holds]
    assert whole.next_at is None or (brief.next_at is not None and brief.next_at <= whole.next_at)
    answer = compiled(demo, "task")[0].quick(known, now)
    found = answered(when, known, now)
    assert answer is None or answer[0] == found[0].holds
    assert answer is None or answer[1] is None or answer[1] > now


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_a_quick_no_is_no_until_the_moment_it_names(name: str, data: st.DataObject) -> None:
    when, subject, known, now = drawn(name, data)
    answer = compiled(asking(when, subject), subject)[0].quick(known, now)
    if answer is None or answer[0]:
        return
    until = answer[1] or now + timedelta(days=90)
    shares = data.draw(st.lists(st.floats(0, 1, exclude_max=True), min_size=2, max_size=2))
    for moment in (now, *(now + (until - now) * share for share in shares), until - TICK):
        if now <= moment < until:
            assert not answered(when, known, moment, subject)[0].holds
