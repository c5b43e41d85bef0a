"""What a move brought about, taken back with it where nobody has built on it, and named where it has to stay.

Nothing is erased: work is cancelled, an attempt is entered in error, a flag ends; what was told has been told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from fhir_tracker import flags, programs, provenance, records, withdrawing
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.program import Action
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.model.work import Firing, WorkItem
from fhir_tracker.rules.action_words import describe_action
from fhir_tracker.storage import events, firings, resources, transitions, work_items
from fhir_tracker.storage.database import Tx

_SYSTEM = worker_viewer("undo")
_ON_THE_ITEM = ("set_status", "set_priority", "return_to_queue", "reassign", "hold")
"""What changes the item alone goes back with its body."""


def take_back(tx: Tx, item: WorkItem, at: datetime, author: Author, why: Why) -> list[str]:
    """Take back what the act of that moment brought about besides the move; for each a sentence, `undone: ...` or `left: ...`.

    `at` is the moment as resources keep it.
    """
    told = [_told(f"the attempt {ref}", left) for ref, left in _attempts(tx, item, at, author, why)]
    for one in firings.of_items(tx, _SYSTEM, [item.ref])[item.ref]:
        if one.key.rule.startswith("move:") and records.moment_of(one.fired_at) == at:
            told += _effect(tx, item, one, author, why)
    return told + [f"left: {ref} stays resolved, its rule asks anew" for ref in _resolved(tx, item, at)]


def _told(what: str, left: str | None) -> str:
    return f"left: {what}, for {left}" if left else f"undone: {what}"


def _attempts(tx: Tx, item: WorkItem, at: datetime, author: Author, why: Why) -> Iterator[tuple[str, str | None]]:
    """Each attempt that was written down with the move; one that was changed since stays."""
    patients = [item.patient] if item.patient else []
    for event in (
        one for some in events.of_patients(tx, _SYSTEM, patients, ["Communication"]).values() for one in some
    ):
        stored = resources.find(tx, _SYSTEM, *event.ref.split("/")) if item.ref in event.about else None
        first = resources.find_version(tx, _SYSTEM, stored.type, stored.id, 1) if stored else None
        if stored is None or first is None or records.moment_of(first.updated_at) != at:
            continue
        if stored.version > 1:
            yield stored.ref, "it was changed since"
            continue
        body = records.resource_of(stored) | {"status": "entered-in-error"}
        provenance.record(tx, [records.save(tx, body, author, if_match=stored.version, why=why)], author, why)
        yield stored.ref, None


def _effect(tx: Tx, item: WorkItem, fired: Firing, author: Author, why: Why) -> list[str]:
    action = _action(tx, item, fired)
    if action is None or action.kind in _ON_THE_ITEM:
        return []
    what = describe_action(action)
    if fired.state == "skipped":
        return []
    if fired.task:
        made = work_items.find(tx, _SYSTEM, fired.task)
        name = f"{made.title} ({fired.task})" if made else fired.task
        return [_told(name, withdrawing.withdraw(tx, fired.task, author, why, quietly=True))]
    if action.kind == "raise_flag":
        return [_told(what, _lower(tx, item, action.value, fired, author, why))]
    return [f"left: {what}"]


def _lower(tx: Tx, item: WorkItem, code: str, fired: Firing, author: Author, why: Why) -> str | None:
    """Take down the flag that this very act put up, or the cause that it added; None when that was done, else why not."""
    flag = flags.active(tx, item.patient, code) if item.patient else None
    if flag is not None and not records.is_of_act(flag.updated_at, records.moment_of(fired.fired_at)):
        return "it stands for something else too"
    return flags.take_down(tx, item.patient, code, (f"{fired.program}#{fired.key.rule}",), author, why)


def _action(tx: Tx, item: WorkItem, fired: Firing) -> Action | None:
    """What the transition asked for that fired there."""
    program = programs.load(tx, fired.program, fired.program_version) if fired.program else None
    before, _, after = fired.key.rule.removeprefix("move:").partition(">")
    moves = (program.stage_moves if item.kind == "plan" else program.moves) if program else ()
    asked: list[Sequence[Action]] = [
        [action for action in one.do if action.kind != "escalate"]
        for one in moves
        if before in one.sources and one.to == after
    ]
    found = (action for do in asked for action in do[-fired.key.level : 1 - fired.key.level])
    return next((one for one in found if one.kind.replace("_", "-") == fired.kind), None)


def _resolved(tx: Tx, item: WorkItem, at: datetime) -> list[str]:
    """The escalations that closing the work resolved."""
    about = [one.ref for one in work_items.about(tx, _SYSTEM, item.ref) if one.kind == "escalation" and not one.open]
    logs = transitions.of_items(tx, _SYSTEM, about)
    return [ref for ref in about if logs[ref] and records.moment_of(logs[ref][-1].recorded_at) == at]
