"""A plan that one order opened (a referral) is about that order: what names another order is not its business.

What names no order counts for every plan, since many EHRs do not say for which order a visit or a report is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from fhir_tracker.model.facts import Facts
from fhir_tracker.model.work import Event

ORDER = "ServiceRequest/"


def of_this_order(facts: Facts) -> Facts:
    """The facts without the events that name other orders, where an order opened the plan; else the same facts."""
    order = facts.plan.trigger if facts.plan else ""
    if not order.startswith(ORDER):
        return facts
    others = {one.ref for one in facts.events if _is_of_another(one, order)}
    if not others:
        return facts
    return replace(facts, events=tuple(one for one in facts.events if one.ref not in others))


def _is_of_another(event: Event, order: str) -> bool:
    if event.ref.startswith(ORDER):
        return event.ref != order
    named = _orders(event.about)
    return bool(named) and order not in named


def _orders(refs: Iterable[str]) -> set[str]:
    return {ref for ref in refs if ref.startswith(ORDER)}
