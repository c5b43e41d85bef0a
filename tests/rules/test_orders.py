"""A plan opened by an order sees what is about that order, and what names none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fhir_tracker.model.work import Event
from fhir_tracker.rules.engine import evaluate
from fhir_tracker.rules.orders import of_this_order
from tests.rules.samples import MONDAY, event, facts, hours, item, plan, program, visit

MINE, OTHER = "ServiceRequest/a", "ServiceRequest/b"
AFTER = MONDAY + hours(1)


def kept(one: Event, trigger: str = MINE) -> bool:
    known = facts(events=(one,))
    return of_this_order(replace(known, plan=replace(plan(), trigger=trigger))).events == (one,)


@pytest.mark.parametrize(
    ("about", "trigger", "is_kept"),
    [
        ((), MINE, True),
        ((MINE,), MINE, True),
        ((OTHER,), MINE, False),
        ((OTHER, MINE), MINE, True),
        (("Encounter/e",), MINE, True),
        ((OTHER,), "Encounter/e", True),
        ((OTHER,), "", True),
        ((OTHER,), "by-hand:1", True),
    ],
)
def test_what_names_only_other_orders_is_left_out(about: tuple[str, ...], trigger: str, is_kept: bool) -> None:
    assert kept(visit("v", "booked", AFTER, about=about), trigger) is is_kept


def test_another_order_is_left_out_itself() -> None:
    assert kept(event(MINE, "active", MONDAY))
    assert not kept(event(OTHER, "active", MONDAY))


def test_a_visit_for_another_referral_closes_nothing_here_and_one_for_this_does() -> None:
    known = facts(item(code="visit"), plan=replace(plan(), trigger=MINE))
    other = replace(known, events=(visit("v", "fulfilled", AFTER, about=(OTHER,)),))
    assert evaluate(program(), other, AFTER).effects == ()
    mine = replace(known, events=(visit("v", "fulfilled", AFTER, about=(MINE,)),))
    assert [one.key.rule for one in evaluate(program(), mine, AFTER).effects] == ["done-by"]
