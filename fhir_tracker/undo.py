"""Taking back what one just did: a transition that leads back, never one that is erased.

What was moved by the same act goes back with it: the plan that it completed, the tasks that a plan's end cancelled; and what
it made, where nobody has built on that (`undo_effects`). What stays is said, in the row of the undoing and to who asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fhir_tracker import consequences, effects, moved, provenance, reach, records, task_resources, undo_effects
from fhir_tracker.errors import Gone, NotFound, RuleBroken
from fhir_tracker.fhir.body import read_stored
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.viewer import Viewer, worker_viewer
from fhir_tracker.model.work import Transition, WorkItem
from fhir_tracker.storage import resources, transitions, work_items
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.resources import Stored, StoredVersion

REASON = "Undone"
_SYSTEM = worker_viewer("undo")
_KEPT = ("note", "meta", "text")
"""What stays as it is now: what was written down is not taken back."""
_FOLLOWS = "#move:"
"""In the name of what follows from a transition, in the same act."""


@dataclass(frozen=True, kw_only=True)
class Undoable:
    """One thing that goes back: what is stored, how it was before, and the rows of the act."""

    stored: Stored
    before: Resource
    item: WorkItem


@dataclass(frozen=True, kw_only=True)
class Undone:
    """What was taken back, as it is stored now, and what became of all that the act brought about, a sentence each."""

    stored: Stored
    told: tuple[str, ...] = ()


def last_act(tx: Tx, viewer: Viewer, ref: str, now: datetime, within: timedelta) -> tuple[Transition, ...]:
    """The rows of what the viewer did last with a task or plan, if it can be undone still; else none."""
    try:
        rows = _act(tx, viewer, ref, now, within)
        _undoable(tx, viewer, ref, rows)
    except (RuleBroken, NotFound):
        return ()
    return rows


def undo(tx: Tx, ref: str, author: Author, within: timedelta, *, if_match: int | None = None) -> Undone:
    """Take back what the author did last with `Task/<id>` or `CarePlan/<id>`, and draw what follows from that.

    Raises RuleBroken when it was somebody else, or too long ago, or when something has changed since.
    """
    reach.require(tx, author, "u", ref)
    rows = _act(tx, author.viewer, ref, author.at, within)
    first = _undoable(tx, author.viewer, ref, rows)
    records.check_match(first.stored, if_match)
    others = [_undoable(tx, author.viewer, one, rows) for one in _others(tx, first, rows)]
    why = Why(reason=REASON)
    told = undo_effects.take_back(tx, first.item, records.moment_of(rows[0].recorded_at), author, why)
    told += [f"undone: {one.item.title} ({one.stored.ref})" for one in others]
    stored = _back(tx, first, author, Why(reason=REASON, note="; ".join(told) or None))
    for one in others:
        _back(tx, one, author, why)
    reach.require_still(tx, author, "u", ref)
    consequences.draw(tx, effects.apply)
    return Undone(stored=stored, told=tuple(told))


def _act(tx: Tx, viewer: Viewer, ref: str, now: datetime, within: timedelta) -> tuple[Transition, ...]:
    """The rows written at once when the viewer last changed the item."""
    log = transitions.of_items(tx, viewer, [ref])[ref]
    rows = tuple(row for row in log if row.recorded_at == log[-1].recorded_at) if log else ()
    if not rows or _is_birth(rows):
        raise RuleBroken("There is nothing to undo.")
    others = [row for row in rows if row.who != viewer.who or row.rule is not None]
    if len(others) == len(rows) or not all(_FOLLOWS in (row.rule or "") for row in others):
        changed = _changed(others[-1])
        raise RuleBroken(f"Only who made the last change can undo it, and this was somebody else: {changed}.")
    if rows[-1].reason == REASON:
        raise RuleBroken("This was taken back already: a step that is asked for twice is taken back once.")
    if now - rows[-1].recorded_at > within:
        raise RuleBroken(f"It can be undone within {int(within.total_seconds())} seconds, and that is over.")
    return rows


def _since(tx: Tx, viewer: Viewer, stored: Stored, at: datetime) -> str:
    """What changed after that moment, in a few words: the last rows, else who wrote."""
    log = transitions.of_items(tx, viewer, [stored.ref])[stored.ref]
    now = resources.find_version(tx, viewer, stored.type, stored.id, stored.version)
    wrote = f"{now.who if now else 'somebody'} wrote version {stored.version}"
    later = [row for row in log if records.moment_of(row.recorded_at) > at]
    return "; ".join(_changed(row) for row in later[-3:]) or wrote


def _changed(row: Transition) -> str:
    """What changed and who did it, in a few words."""
    return f"{row.rule or row.who} changed {row.what} from {row.before} to {row.after}"


def _is_birth(rows: Sequence[Transition]) -> bool:
    return any(row.what in ("status", "stage") and row.before is None for row in rows)


def _undoable(tx: Tx, viewer: Viewer, ref: str, rows: Sequence[Transition]) -> Undoable:
    stored = resources.find(tx, viewer, *ref.split("/"))
    item = work_items.find(tx, viewer, ref)
    if stored is None or item is None:
        raise NotFound(f"There is no {ref}.")
    if stored.deleted:
        raise Gone(f"{ref} was deleted.")
    at = records.moment_of(rows[0].recorded_at)
    before = _version_before(tx, viewer, stored, at)
    if not records.is_of_act(stored.updated_at, at):
        raise RuleBroken(
            f"{item.title} has changed since ({_since(tx, viewer, stored, at)}): it can no longer be undone."
        )
    if before is None or not before.body:
        raise RuleBroken("There is nothing to undo.")
    return Undoable(stored=stored, before=read_stored(before.body), item=item)


def _version_before(tx: Tx, viewer: Viewer, stored: Stored, at: datetime) -> StoredVersion | None:
    """The last version from before the act, which may have written several."""
    for version in range(stored.version - 1, 0, -1):
        found = resources.find_version(tx, viewer, stored.type, stored.id, version)
        if found is None or found.updated_at < at:
            return found
    return None


def _others(tx: Tx, first: Undoable, rows: Sequence[Transition]) -> list[str]:
    """What the same act moved besides, of the same plan; escalations that it resolved come anew by their rules."""
    plan = first.item.plan
    if plan is None:
        return []
    items = {one.ref: one for one in work_items.of_plan(tx, _SYSTEM, plan)}
    if plan_item := work_items.find(tx, _SYSTEM, plan):
        items[plan] = plan_item
    others = [ref for ref, one in items.items() if ref != first.item.ref and one.kind in ("task", "plan")]
    logs = transitions.of_items(tx, _SYSTEM, sorted(others))
    return [ref for ref, log in logs.items() if any(_is_of(row, rows[0]) for row in log)]


def _is_of(row: Transition, act: Transition) -> bool:
    by_the_way = row.rule is None or row.rule.endswith("#completes")
    same = row.recorded_at == act.recorded_at and row.who == act.who
    return same and by_the_way and row.what in ("status", "stage") and row.before is not None


def _back(tx: Tx, one: Undoable, author: Author, why: Why) -> Stored:
    now = records.resource_of(one.stored)
    body = {name: value for name, value in one.before.items() if name not in _KEPT}
    body |= {name: now[name] for name in _KEPT if name in now}
    if one.stored.type == "Task":
        body = task_resources.stamped(body, author.at)
    saved = records.save(tx, body, author, if_match=one.stored.version, why=why)
    provenance.record(tx, [saved], author, why)
    moved.note(tx, moved.Moved(before=one.item, author=author, why=why, quietly=True))
    return saved
