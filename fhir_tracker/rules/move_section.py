"""Reads `reasons`, `transitions`, `stage_transitions` and `completes` of a program file: who may move what, with what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from fhir_tracker.model import task_fields
from fhir_tracker.model.moves import FIELDS, SAME, TASK_FIELD
from fhir_tracker.model.program import REASON_KINDS, Action, Completion, Duration, Move, Reason, Stage, Status
from fhir_tracker.rules.action_section import read_actions
from fhir_tracker.rules.draft import Draft, refuse_doubles, role_of, title_of
from fhir_tracker.rules.occasions import kind_of
from fhir_tracker.rules.source import Fields, Node, Table, Text, choice_of, fields, items_of, suggestion, text_of
from fhir_tracker.rules.status_section import DEFAULT_MOVES, NEEDS_REASON, OPEN

PARTIES: Final = ("owner", "requester")
OPEN_PLAN: Final = ("draft", "active", "on-hold")
"""The CarePlan.status values of a plan that is being worked."""
_PLAN_FIELDS: Final = ("note", "reason", "reason.code")
_NEVER: Final = {
    "task": ("escalate", "set_status", "hold"),
    "plan": ("escalate", "set_stage", "disenrol"),
}
"""What a transition cannot do: climb a ladder, which rules do, or make another transition of the same thing."""
_Kind = Literal["task", "plan"]


def read_reasons(node: Node | None, draft: Draft) -> tuple[Reason, ...]:
    """The coded reasons; absent gives none."""
    reasons = [one for item in items_of(node, draft.problems) if (one := _reason(item, draft))]
    if node is not None:
        refuse_doubles(node, draft)
    return tuple(reasons)


def _reason(node: Node, draft: Draft) -> Reason | None:
    given = fields(node, draft.problems, ("code", "means"), ("title", "for"))
    code = given.code("code") if given else ""
    if given is None or not code:
        return None
    kinds = tuple(choice_of(text, REASON_KINDS, draft.problems, "occasion") for text in given.texts("for"))
    title = given.text("title", title_of(code))
    return Reason(code=code, title=title, means=given.text("means"), kinds=tuple(one for one in kinds if one))


def read_moves(node: Node | None, statuses: tuple[Status, ...], draft: Draft) -> tuple[Move, ...]:
    """The allowed transitions, then the R4 ones into statuses that none names, and the way back out of holds."""
    moves = [move for item in items_of(node, draft.problems) if (move := _move(item, statuses, draft))]
    named = {move.to for move in moves}
    moves.extend(_resumptions(moves, statuses))
    for status in statuses[1:]:
        if status.code not in named:
            moves.extend(_default_moves(status, statuses, draft, node))
    return tuple(moves)


def read_stage_moves(node: Node | None, stages: tuple[Stage, ...], draft: Draft) -> tuple[Move, ...]:
    """The allowed moves of a plan; absent gives from every stage of an open plan to every other."""
    if node is None:
        return default_stage_moves(stages)
    return tuple(move for item in items_of(node, draft.problems) if (move := _stage_move(item, stages, draft)))


def default_stage_moves(stages: Sequence[Stage]) -> tuple[Move, ...]:
    """What may be done with plans where the program says nothing: see `read_stage_moves`."""
    open_ = tuple(one.code for one in stages if one.fhir in OPEN_PLAN)
    return tuple(
        Move(sources=sources, to=one.code)
        for one in stages
        if (sources := tuple(code for code in open_ if code != one.code))
    )


def read_completion(node: Node | None, stages: tuple[Stage, ...], draft: Draft) -> Completion | None:
    """The stage a plan takes when its tasks are closed; absent gives none: plans are then ended by people or rules."""
    given = fields(node, draft.problems, ("when", "stage"), ("tasks",)) if node is not None else None
    stage_node = given.node("stage") if given else None
    if given is None or stage_node is None:
        return None
    given.choice("when", ("all_tasks_closed",), "")
    stage = draft.reference(stage_node, "stage", draft.stages)
    if any(one.code == stage and one.fhir == "draft" for one in stages):
        draft.problems.add(stage_node.place, f'the stage "{stage}" is where a plan has not begun')
    tasks = tuple(draft.reference(text, "task", draft.tasks) for text in given.texts("tasks"))
    return Completion(stage=stage, tasks=tuple(one for one in tasks if one)) if stage else None


def _move(node: Node, statuses: tuple[Status, ...], draft: Draft) -> Move | None:
    given = fields(node, draft.problems, ("from", "to"), ("by", "as", "require", "do"))
    found = _ends(given, "status", tuple(one.code for one in statuses if one.fhir in OPEN), draft)
    if given is None or found is None:
        return None
    sources, to = found
    status = next((one for one in statuses if one.code == to), None)
    do = _followed_by(given, "task", draft)
    if status is None or not all(sources):
        return None
    froms = {one.fhir for one in statuses if one.code in sources}
    kind = kind_of(froms, status.fhir)
    names, within = _required(given, ["reason"] if status.fhir in NEEDS_REASON else [], kind, draft)
    if status.holds and "hold.until" not in names:
        names = (*names, "hold.until")
    return Move(
        sources=sources,
        to=to,
        by=tuple(role_of(text, draft) for text in given.texts("by")),
        parties=tuple(p for text in given.texts("as") if (p := choice_of(text, PARTIES, draft.problems, "party"))),
        require=names,
        attempt_within=within,
        do=do,
    )


def _ends(
    given: Fields | None, what: Literal["status", "stage"], open_codes: tuple[str, ...], draft: Draft
) -> tuple[tuple[str, ...], str] | None:
    """Where a move leads from and to; `any` is each of `open_codes` but its end. None where either is missing."""
    target = given.node("to") if given else None
    if given is None or target is None or given.node("from") is None:
        return None
    known = draft.statuses if what == "status" else draft.stages
    to = draft.reference(target, what, known)
    sources = tuple(_source(text, what, known, draft) for text in given.texts("from"))
    if "any" in sources:
        sources = tuple(code for code in open_codes if code != to)
    if to and to in sources:
        draft.problems.add(target.place, f'a transition from "{to}" to itself changes nothing')
    return sources, to


def _stage_move(node: Node, stages: tuple[Stage, ...], draft: Draft) -> Move | None:
    given = fields(node, draft.problems, ("from", "to"), ("by", "require", "do"))
    found = _ends(given, "stage", tuple(one.code for one in stages if one.fhir in OPEN_PLAN), draft)
    if given is None or found is None:
        return None
    sources, to = found
    stage = next((one for one in stages if one.code == to), None)
    do = _followed_by(given, "plan", draft)
    if stage is None or not all(sources):
        return None
    froms = {one.fhir for one in stages if one.code in sources}
    usual = ["reason"] if stage.fhir in ("revoked", "on-hold", "entered-in-error") else []
    names, _ = _required(given, usual, kind_of(froms, stage.fhir), draft, _PLAN_FIELDS)
    by = tuple(role_of(text, draft) for text in given.texts("by"))
    return Move(sources=sources, to=to, by=by, require=names, do=do)


def _followed_by(given: Fields, kind: _Kind, draft: Draft) -> tuple[Action, ...]:
    node = given.node("do")
    if node is None:
        return ()
    actions = read_actions(node, kind, draft)
    for action in actions:
        if action.kind in _NEVER[kind]:
            why = "a rule climbs a ladder" if action.kind == "escalate" else "one transition cannot make another"
            draft.problems.add(node.place, f'a transition cannot do "{action.kind}": {why}')
    return actions


def _required(
    given: Fields, usual: list[str], kind: str, draft: Draft, known: Sequence[str] = ()
) -> tuple[tuple[str, ...], Duration | None]:
    """The names of the required fields, and how fresh a required attempt must be."""
    node = given.node("require")
    if node is None:
        return tuple(usual), None
    names: list[str] = []
    within: Duration | None = None
    for item in (node,) if isinstance(node, Text | Table) else items_of(node, draft.problems):
        if isinstance(item, Table) and not known:
            within = _attempt(item, draft) or within
            names.append("attempt")
        else:
            names.append(_field(item, kind, draft, known))
    return tuple(dict.fromkeys(name for name in names if name)), within


def _attempt(node: Table, draft: Draft) -> Duration | None:
    """`attempt: {within: 24 hours}`."""
    outer = fields(node, draft.problems, ("attempt",))
    inner = outer.node("attempt") if outer else None
    given = fields(inner, draft.problems, ("within",)) if inner is not None else None
    return given.duration("within") if given else None


def _field(node: Node, kind: str, draft: Draft, known: Sequence[str]) -> str:
    text = text_of(node, draft.problems)
    name = SAME.get(text, text)
    if name.startswith(TASK_FIELD) and not known:
        return name if _is_element(node, name.removeprefix(TASK_FIELD), draft) else ""
    allowed = known or FIELDS
    if name and name not in allowed:
        ways = (*allowed, *(() if known else ("field.location",)))
        draft.problems.add(node.place, f'unknown field "{name}"{suggestion(name, ways)}')
        return ""
    if name == "reason.code" and not any(not one.kinds or kind in one.kinds for one in draft.reasons):
        draft.problems.add(node.place, f'there is no coded reason for "{kind}": add one under "reasons"')
    return name


def _is_element(node: Node, path: str, draft: Draft) -> bool:
    """Whether a Task has the element; its status and what the tracker writes by itself cannot be asked for."""
    if path.split(".")[0] in ("status", "businessStatus", "lastModified", "id", "meta"):
        draft.problems.add(node.place, f'"{path}" is written by the transition itself')
        return False
    if task_fields.type_of(path) is not None:
        return True
    draft.problems.add(node.place, f'a Task has no "{path}"{suggestion(path, task_fields.names())}')
    return False


def _source(text: Text, what: str, known: tuple[str, ...], draft: Draft) -> str:
    return "any" if text.value == "any" else draft.reference(text, what, known)


def _resumptions(moves: list[Move], statuses: tuple[Status, ...]) -> list[Move]:
    """From each hold that no transition leaves, back to where it was entered from."""
    left = {source for move in moves for source in move.sources}
    holds = {one.code for one in statuses if one.fhir == "on-hold" and one.code not in left}
    back = {(move.to, source): None for move in moves if move.to in holds for source in move.sources}
    return [Move(sources=(hold,), to=source) for hold, source in back]


def _default_moves(status: Status, statuses: tuple[Status, ...], draft: Draft, node: Node | None) -> list[Move]:
    sources = tuple(
        one.code
        for one in statuses
        if one.code != status.code and status.fhir in (*DEFAULT_MOVES.get(one.fhir, ()), _error_of(one))
    )
    if not sources:
        return []
    if node is not None:
        message = f'no transition leads to "{status.code}": anyone may enter it from {", ".join(sources)}'
        draft.problems.warn(node.place, message)
    require = (("reason",) if status.fhir in NEEDS_REASON else ()) + (("hold.until",) if status.holds else ())
    return [Move(sources=sources, to=status.code, require=require)]


def _error_of(status: Status) -> str:
    return "entered-in-error" if status.fhir in OPEN else ""
