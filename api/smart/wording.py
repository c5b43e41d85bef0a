"""What pages of logins call whom people were sent to: their EHR, or, for staff outside one, their login provider."""

from __future__ import annotations

from dataclasses import replace

from api.smart.login_pages import Problem
from fhir_tracker.storage.issuers import Issuer

_OUTSIDE = (
    ("Open the tracker again from your EHR.", "Begin again at the login page: /login."),
    ("Open the tracker again", "Begin again at the login page"),
    ("open the tracker again", "begin again at the login page"),
    *((f"{the} EHR", f"{the} login provider") for the in ("The", "the", "Your", "your", "This", "this")),
)


def said_of(issuer: Issuer, problem: Problem) -> Problem:
    """The problem in words that fit who was asked."""
    if issuer.connection is not None:
        return problem
    return replace(
        problem,
        heading=_outside(problem.heading),
        text=_outside(problem.text),
        steps=tuple(_outside(one) for one in problem.steps),
        told=tuple(_outside(one) for one in problem.told),
    )


def _outside(text: str) -> str:
    for ehr, provider in _OUTSIDE:
        text = text.replace(ehr, provider)
    return text
