"""What a payer said: queued, decided item by item, decided in words, or failed."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_tracker.model.authorizations import REVIEW_ACTION, authorization_of


def asked(**members: Any) -> dict[str, Any]:
    return {"resourceType": "ClaimResponse", "use": "preauthorization", "outcome": "complete"} | members


def reviewed(*codes: str) -> dict[str, Any]:
    """Items with X12 review actions as Da Vinci PAS writes them."""
    said = [
        {"url": REVIEW_ACTION, "extension": [{"url": "code", "valueCodeableConcept": {"coding": [{"code": code}]}}]}
        for code in codes
    ]
    return {"item": [{"adjudication": [{"extension": [one]}]} for one in said]}


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (asked(outcome="queued"), "pending"),
        (asked(), "approved"),
        (asked(outcome="error"), "denied"),
        (asked(outcome="partial"), "partial"),
        (asked(**reviewed("A1")), "approved"),
        (asked(**reviewed("A3")), "denied"),
        (asked(**reviewed("A4")), "pending"),
        (asked(**reviewed("A6")), "partial"),
        (asked(**reviewed("A1", "A3")), "partial"),
        (asked(**reviewed("A1", "A4")), "pending"),
        (asked(outcome="queued", **reviewed("A3")), "denied"),
        (asked(disposition="Request denied: not medically necessary"), "denied"),
        (asked(disposition="Not approved"), "denied"),
        (asked(disposition="Approved in part, rest denied"), "denied"),
        (asked(disposition="Prior authorization approved"), "approved"),
        (asked(disposition="Pended for review"), "pending"),
        (asked(use="claim"), ""),
        (asked(use="claim", preAuthRef="AUTH-1"), "approved"),
    ],
)
def test_an_answer_is_one_word(response: dict[str, Any], answer: str) -> None:
    assert authorization_of(response) == answer
