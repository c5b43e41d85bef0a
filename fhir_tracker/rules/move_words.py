"""Transitions in plain words: what they need, who may make them, what follows; for refusals, pages and approvers alike."""

from __future__ import annotations

from collections.abc import Sequence

from fhir_tracker.errors import Issue
from fhir_tracker.model.moves import named
from fhir_tracker.model.program import Move, Program
from fhir_tracker.rules.action_words import describe_action
from fhir_tracker.rules.words import listed


def field_words(name: str, move: Move | None = None) -> str:
    """A required field in words: `a note`, `an attempt to reach the patient within 24 hours`."""
    if name == "attempt" and move and move.attempt_within:
        return f"{named(name)} within {move.attempt_within}"
    return named(name)


def needs_words(move: Move) -> str:
    """`a note and a reason`; "" for a move that needs nothing."""
    return listed([field_words(name, move) for name in move.require])


def who_words(move: Move) -> str:
    """`care-coordinator or rn, as owner`; `anyone` where the program names nobody."""
    by = listed(move.by, "or") if move.by else "anyone"
    return f"{by} as {listed(move.parties, 'or')}" if move.parties else by


def describe_move(move: Move) -> str:
    """A transition as one line of a program's summary."""
    needs = listed([_short(name, move) for name in move.require])
    then = listed([describe_action(one) for one in move.do])
    return (
        f"{listed(move.sources, 'or')} -> {move.to} by {who_words(move)}"
        + (f", with {needs}" if needs else "")
        + (f"; then {then}" if then else "")
    )


def status_words(program: Program | None, code: str) -> str:
    """A status by title and code; outside programs by its code."""
    status = program.status(code) if program else None
    return f'"{status.title}" ({code})' if status else code if program is None else f'"{code}"'


def stage_words(program: Program, code: str) -> str:
    """A stage by title and code."""
    stage = program.stage(code)
    return f'"{stage.title}" ({code})' if stage else f'"{code}"'


def next_issue(moves: Sequence[Move], names: Sequence[str]) -> tuple[Issue, ...]:
    """What the caller may do instead, each with what it needs; `names` are the words for where each of `moves` leads."""
    told = [
        f"{name} with {needs}" if (needs := needs_words(move)) else name
        for name, move in zip(names, moves, strict=True)
    ]
    if not told:
        return ()
    text = f"What you may do next: {'; '.join(told)}."
    return (Issue(message=text, code="informational", severity="information"),)


def _short(name: str, move: Move) -> str:
    return f"attempt within {move.attempt_within}" if name == "attempt" and move.attempt_within else name
