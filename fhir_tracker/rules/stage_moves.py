"""Which moves of a plan are allowed, to whom, and what they need; the same words for pages and API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fhir_tracker.errors import Issue, RuleBroken
from fhir_tracker.model.moves import MoveRequest
from fhir_tracker.model.program import Move, Program, Reason
from fhir_tracker.model.work import WorkItem
from fhir_tracker.rules.move_words import field_words, next_issue, stage_words
from fhir_tracker.rules.occasions import kind_of
from fhir_tracker.rules.reasons import offered, wrong_code
from fhir_tracker.rules.words import listed

PATHS: Final[Mapping[str, str]] = {
    "note": "CarePlan.note",
    "reason": "CarePlan.extension",
    "reason.code": "CarePlan.extension",
}
"""Where each required field lives in FHIR."""


def check_stage_move(
    program: Program, item: WorkItem, request: MoveRequest, *, roles: frozenset[str], given: Mapping[str, str]
) -> None:
    """Raise RuleBroken unless someone with `roles` may move the plan to the stage asked for, with what is given."""
    if request.to == item.status:
        return
    instead = _instead(program, item, roles)
    wanted = stage_words(program, request.to)
    if program.stage(request.to) is None:
        known = listed([one.code for one in program.stages], "or")
        raise _broken(f'"{request.to}" is not a stage of {program.title}; it has {known}.', instead)
    if program.stage(item.status) is None:
        return  # A client filed it in a status that is none of the program's stages, such as draft: it may enter any.
    ways = [move for move in program.stage_moves if item.status in move.sources and move.to == request.to]
    if not ways:
        raise _broken(f"{stage_words(program, item.status)} cannot become {wanted}{_next(program, item)}", instead)
    open_ways = [move for move in ways if not move.by or roles.intersection(move.by)]
    if not open_ways:
        who = listed(sorted({role for move in ways for role in move.by}), "or")
        raise _broken(f"Only {who} may move this to {wanted}.", instead)
    reasons = stage_reasons(program, item, request.to)
    fields = {**given, **{name: text for name, text in request.fields.items() if text.strip()}}
    issues = min((_lacking(move, fields, reasons) for move in open_ways), key=len)
    if issues:
        what = listed([one.message.removesuffix(" is missing.") for one in issues if one.code == "required"])
        wrong = [one.message for one in issues if one.code != "required"]
        must = f"To move this to {wanted}: {what} must be given." if what else f"This cannot move to {wanted}."
        raise RuleBroken(" ".join([must, *wrong]), issues=(*issues, *instead))


def allowed_stages(program: Program, item: WorkItem, roles: frozenset[str]) -> tuple[Move, ...]:
    """The moves someone with `roles` may make with a plan, one for each next stage (the one asking for least)."""
    best: dict[str, Move] = {}
    for move in program.stage_moves:
        may = item.status in move.sources and (not move.by or roles.intersection(move.by))
        if may and (move.to not in best or len(move.require) < len(best[move.to].require)):
            best[move.to] = move
    return tuple(best.values())


def stage_reasons(program: Program, item: WorkItem, to: str) -> tuple[Reason, ...]:
    """The coded reasons offered for moving the plan to a stage."""
    stage = program.stage(to)
    return offered(program, kind_of({item.fhir_status}, stage.fhir if stage else to))


def _lacking(move: Move, fields: Mapping[str, str], reasons: tuple[Reason, ...]) -> tuple[Issue, ...]:
    issues = []
    for name in move.require:
        if not fields.get(name, "").strip():
            what = field_words(name, move)
            if name == "reason.code" and reasons:
                what = f"{what} ({', '.join(one.code for one in reasons)})"
            issues.append(Issue(message=f"{what} is missing.", code="required", expression=PATHS.get(name)))
    return (*issues, *wrong_code(reasons, fields, PATHS["reason.code"]))


def _next(program: Program, item: WorkItem) -> str:
    targets = dict.fromkeys(move.to for move in program.stage_moves if item.status in move.sources)
    return f"; allowed next: {listed(list(targets), 'or')}." if targets else "; nothing may follow."


def _instead(program: Program, item: WorkItem, roles: frozenset[str]) -> tuple[Issue, ...]:
    moves = allowed_stages(program, item, roles)
    return next_issue(moves, [stage_words(program, move.to) for move in moves])


def _broken(message: str, instead: tuple[Issue, ...]) -> RuleBroken:
    issue = Issue(message=message, code="business-rule", expression="CarePlan.extension")
    return RuleBroken(message, issues=(issue, *instead))
