"""What follows from a move, in its own transaction: the transition's effects, parts that wait, and the plan's progress.

`transitions` and `plan_changes` note what they move; whoever opened the transaction draws the consequences before it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from fhir_tracker import gathering, moved, plan_changes, plan_progress, programs, suspension
from fhir_tracker.errors import RuleBroken
from fhir_tracker.model.author import Why
from fhir_tracker.model.effects import Effect
from fhir_tracker.model.facts import Facts
from fhir_tracker.model.program import Move, Program
from fhir_tracker.model.viewer import RULE_WORKER
from fhir_tracker.model.work import WorkItem
from fhir_tracker.moved import Moved
from fhir_tracker.rules.acts import Case, effects_of
from fhir_tracker.rules.moves import may
from fhir_tracker.storage import resources, work_items
from fhir_tracker.storage.database import Tx

Apply = Callable[[Tx, Program, Facts, Effect, datetime], bool]
MOST: Final = 5000
"""How much may follow from one act; more is a program whose transitions go round in circles."""
_DRAWING: Final = "drawing consequences"
_ENDS_WORK: Final = frozenset({"revoked", "entered-in-error"})


@contextmanager
def drawn_after(tx: Tx, apply: Apply, acts: int) -> Iterator[None]:
    """Draw what follows from so many acts when all of them are done, unless somebody draws already."""
    if tx.here.get(_DRAWING):
        yield
        return
    tx.here[_DRAWING] = True
    try:
        yield
    finally:
        tx.here.pop(_DRAWING, None)
    draw(tx, apply, acts=acts)


def draw(tx: Tx, apply: Apply, *, acts: int = 1, even_within: bool = False) -> None:
    """Let everything follow that the moves of this transaction ask for; `apply` carries out an effect.

    What an effect moves in turn is drawn by the call that is running already, `even_within` draws at once all the same.
    Raises RuleBroken when it never ends.
    """
    within = tx.here.get(_DRAWING, False)
    if within and not even_within:
        return
    tx.here[_DRAWING] = True
    try:
        for _ in range(MOST * max(1, acts)):
            one = moved.take(tx)
            if one is None:
                return
            _follow(tx, one, apply)
    finally:
        tx.here[_DRAWING] = within
    raise RuleBroken("The transitions of this program go round in circles.")


def _follow(tx: Tx, one: Moved, apply: Apply) -> None:
    item = work_items.find(tx, RULE_WORKER, one.before.ref)
    if item is None:
        return
    program = programs.load(tx, item.program, item.program_version) if item.program else None
    if program is not None and not one.quietly and one.before.status != item.status:
        _effects(tx, one, item, program, apply)
    if item.kind == "plan":
        _after_plan(tx, one, item)
    elif item.kind == "task":
        _after_task(tx, one, item, program)


def _effects(tx: Tx, one: Moved, item: WorkItem, program: Program, apply: Apply) -> None:
    moves = program.stage_moves if item.kind == "plan" else program.moves
    move = _made(moves, one, item)
    stored = resources.find(tx, RULE_WORKER, *item.ref.split("/"))
    if move is None or not move.do or stored is None:
        return
    (facts,) = gathering.gather(tx, RULE_WORKER, [item])
    case = Case(
        rule=f"move:{one.before.status}>{item.status}",
        cycle=f"{item.cycle}:{stored.version}",
        why=f"{item.title} became {item.status}",
        since=one.author.at,
    )
    for effect in effects_of(program, facts, move.do, case, one.author.at):
        apply(tx, program, facts, effect, one.author.at)


def _made(moves: tuple[Move, ...], one: Moved, item: WorkItem) -> Move | None:
    """The transition that was made: of several, one that this author may make, and one that something follows from."""
    ways = [move for move in moves if one.before.status in move.sources and move.to == item.status]
    roles = one.author.viewer.roles
    return min(ways, key=lambda move: (not may(move, roles, frozenset(move.parties)), not move.do), default=None)


def _after_task(tx: Tx, one: Moved, item: WorkItem, program: Program | None) -> None:
    before, author = one.before, one.author
    waited, waits = before.open and before.clock == "paused", item.open and item.clock == "paused"
    if one.is_new:
        suspension.join(tx, item.ref, author)
    elif waits and not waited:
        suspension.suspend(tx, item, author)
    elif waits and before.hold_until != item.hold_until:
        suspension.follow_end(tx, item, author)
    elif waited and not waits:
        suspension.resume(tx, item, author)
    if before.open and not item.open and item.plan:
        _after_closing(tx, one, item)


def _after_closing(tx: Tx, one: Moved, item: WorkItem) -> None:
    """Tell the plan once nothing of it is open, and complete it as its program says; one closing at a time."""
    moved.one_at_a_time(tx, item.plan or "")
    plan = work_items.find(tx, RULE_WORKER, item.plan or "")
    if plan is None or plan.kind != "plan":
        return
    program = programs.load(tx, plan.program, plan.program_version) if plan.program else None
    tasks = [task for task in work_items.of_plan(tx, RULE_WORKER, plan.ref) if task.kind == "task"]
    completes = program is not None and program.completes is not None and plan_progress.is_complete(program, tasks)
    if completes or not any(task.open for task in tasks):
        plan_progress.tell(tx, plan.ref, program, one.author, one.why)
    if completes and plan.open and program and program.completes and plan.status != program.completes.stage:
        named = f"{program.code}|{program.version}#completes"
        why = Why(reason="All its work is closed", rule=named)
        plan_changes.set_stage(tx, plan.ref, program.completes.stage, one.author, why)


def _after_plan(tx: Tx, one: Moved, item: WorkItem) -> None:
    """A plan that is revoked takes its open work with it, for the same reason."""
    if not one.before.open or item.open or item.fhir_status not in _ENDS_WORK:
        return
    words, rule = (one.why.reason, one.why.rule) if one.why else (None, None)
    reason = f"The plan ended ({item.status}){f': {words}' if words else ''}"
    code = one.why.code if one.why else None
    why = Why(reason=reason, rule=rule, code=code)
    plan_changes.close_open(tx, item.ref, "cancelled", one.author, why, quietly=True)
