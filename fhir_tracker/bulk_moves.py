"""One step on many tasks, each with its own result: some at a time share a transaction and what it reads.

Where one of them fails, that transaction is taken back and each is done in one of its own, so that none spoils another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from fhir_tracker import batching, consequences, effects, reach, records, transitions
from fhir_tracker.errors import Busy, Incorrect, Issue, TooLarge, TrackerError, Unavailable
from fhir_tracker.model.author import Author
from fhir_tracker.model.moves import MoveRequest
from fhir_tracker.rules.priority import PRIORITIES
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.slices import slices
from fhir_tracker.transitions import OpenTask

MOST: Final = 1000
"""How many tasks one bulk step takes."""
BATCH: Final = 25
"""How many share a transaction: for as long as it lasts others wait for these."""
Outcome = Literal["done", "skipped", "failed"]
Step = Callable[[Tx, OpenTask, Author], str | None]
"""Does something to one task; a sentence when there was nothing to do."""
Noted = Callable[[Tx, OpenTask], None]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One task of a bulk step; `version` is the one that the caller saw, where it says so."""

    ref: str
    version: int | None = None


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of one task; `why` is empty for one that was done, `issues` say what is wrong with one that failed."""

    ref: str
    outcome: Outcome
    why: str = ""
    title: str = ""
    issues: tuple[Issue, ...] = ()


def each(
    database: Database,
    wanted: Sequence[Wanted],
    step: Step,
    author: Author,
    noted: Noted | None = None,
    *,
    at_a_time: int = BATCH,
) -> list[Result]:
    """The step on every task, in order; `noted` writes the audit row of one that was done, in its transaction.

    So many `at_a_time` share one. One that fails changes nothing and stops no other. Raises TooLarge for more than MOST,
    Incorrect for a task named twice, and Unavailable when the database is not there.
    """
    if len(wanted) > MOST:
        raise TooLarge(f"{len(wanted)} tasks are too many for one step: at most {MOST}.")
    if len({one.ref for one in wanted}) < len(wanted):
        raise Incorrect("A task is named more than once.")
    found: list[Result] = []
    for some in slices(wanted, at_a_time):
        done = _together(database, some, step, author, noted) if len(some) > 1 else None
        found += done or [_one(database, one, step, author, noted) for one in some]
    return found


def _together(
    database: Database, some: Sequence[Wanted], step: Step, author: Author, noted: Noted | None
) -> list[Result] | None:
    """The results of all in one transaction; None when any of them failed, and then nothing was done."""
    found = []
    try:
        with database.begin() as tx, batching.together(tx, [one.ref for one in some], author.at):
            for wanted in some:
                task = _to_change(tx, wanted.ref, author)
                records.check_match(task.stored, wanted.version)
                found.append(_done(tx, task, step, author, noted))
    except Unavailable:
        raise
    except TrackerError:
        return None
    return found


def _to_change(tx: Tx, ref: str, author: Author) -> OpenTask:
    """The task, where the author may change it: of others not even the title or the status is told."""
    reach.require(tx, author, "u", ref)
    return transitions.find_task(tx, author.viewer, ref)


def _done(tx: Tx, task: OpenTask, step: Step, author: Author, noted: Noted | None) -> Result:
    """The step on one task that was found, and what follows from it."""
    skipped = step(tx, task, author)
    if skipped is not None:
        return Result(ref=task.item.ref, outcome="skipped", why=skipped, title=task.item.title)
    consequences.draw(tx, effects.apply)
    if noted is not None:
        noted(tx, task)
    return Result(ref=task.item.ref, outcome="done", title=task.item.title)


def _one(database: Database, wanted: Wanted, step: Step, author: Author, noted: Noted | None) -> Result:
    title = ""
    try:
        with database.begin() as tx:
            task = _to_change(tx, wanted.ref, author)
            title = task.item.title
            records.check_match(task.stored, wanted.version)
            return _done(tx, task, step, author, noted)
    except Unavailable:
        raise
    except Busy:
        return Result(ref=wanted.ref, outcome="failed", why="Others are changing it: try again.", title=title)
    except TrackerError as error:
        return Result(ref=wanted.ref, outcome="failed", why=error.message, title=title, issues=error.issues)


def moving(request: MoveRequest) -> Step:
    """Move each task to a status, with the same fields for all of them."""

    def step(tx: Tx, task: OpenTask, author: Author) -> str | None:
        if request.to in (task.item.status, task.item.fhir_status if task.program is None else task.item.status):
            return f"It is {request.to} already."
        transitions.move(tx, task.item.ref, request, author)
        return None

    return step


def assigning(owner: str | None, reason: str | None = None) -> Step:
    """Give each task to a person, or with None back to its queue."""

    def step(tx: Tx, task: OpenTask, author: Author) -> str | None:
        if task.item.owner == owner:
            return "They have it already." if owner else "Nobody has it already."
        transitions.assign(tx, task.item.ref, owner, author, reason=reason)
        return None

    return step


def giving(role: str, reason: str | None = None) -> Step:
    """Give each task to the queue of a role, owned by nobody."""

    def step(tx: Tx, task: OpenTask, author: Author) -> str | None:
        if task.item.role == role and task.item.owner is None:
            return f"It waits for {role} already."
        transitions.give_role(tx, task.item.ref, role, author, reason=reason)
        return None

    return step


def ranking(priority: str, reason: str | None = None) -> Step:
    """Give each task a priority; raises Incorrect for one that FHIR does not know."""
    if priority not in PRIORITIES:
        raise Incorrect(f"The priority must be one of {', '.join(PRIORITIES)}.", expression="Task.priority")

    def step(tx: Tx, task: OpenTask, author: Author) -> str | None:
        if task.item.priority == priority:
            return f"Its priority is {priority} already."
        transitions.prioritise(tx, task.item.ref, priority, author, reason=reason)
        return None

    return step
