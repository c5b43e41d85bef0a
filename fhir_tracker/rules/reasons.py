"""Coded reasons: which a program offers on an occasion, and whether the one given is among them."""

from __future__ import annotations

from collections.abc import Mapping

from fhir_tracker.errors import Issue
from fhir_tracker.model.program import Program, Reason
from fhir_tracker.rules.words import listed

CODE = "reason.code"


def offered(program: Program | None, kind: str) -> tuple[Reason, ...]:
    """The reasons to choose from on an occasion; none outside programs."""
    return program.reasons_for(kind) if program else ()


def wrong_code(reasons: tuple[Reason, ...], fields: Mapping[str, str], expression: str) -> tuple[Issue, ...]:
    """The issue of a code that is not offered; none where no code is given."""
    code = fields.get(CODE, "").strip()
    if not code or any(one.code == code for one in reasons):
        return ()
    known = f"choose {listed([one.code for one in reasons], 'or')}" if reasons else "none is offered here"
    text = f'"{code}" is not a coded reason for this: {known}.'
    return (Issue(message=text, code="code-invalid", expression=expression),)


def with_words(program: Program | None, fields: Mapping[str, str]) -> dict[str, str]:
    """The fields with the words of a coded reason where nobody wrote any."""
    code = fields.get(CODE, "").strip()
    chosen = next((one for one in program.reasons if one.code == code), None) if program else None
    if chosen is None or fields.get("reason", "").strip():
        return dict(fields)
    return {**fields, "reason": chosen.title}
