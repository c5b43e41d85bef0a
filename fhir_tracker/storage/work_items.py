"""Work items: the read model that queues and sweeps read, and the claims of a sweep on what is due.

A claim is a token on the row. Whoever changes an item takes the token away, so that a sweep which looked at the item
before the change cannot put its answer over it; only the transaction that took the token away may still settle.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from sqlalchemy import ColumnElement, case, delete, func, literal, or_, select, tuple_, update

from fhir_tracker.fhir.folding import fold
from fhir_tracker.model.viewer import Viewer, worker_viewer
from fhir_tracker.model.work import WorkItem
from fhir_tracker.storage import many
from fhir_tracker.storage.bulks import ITEM
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.keyed import Keyed
from fhir_tracker.storage.records import from_row, to_row
from fhir_tracker.storage.scope import row_scope
from fhir_tracker.storage.slices import SIZE, slices
from fhir_tracker.storage.titles import titled
from fhir_tracker.storage.types import Moment, microseconds, moment
from fhir_tracker.storage.work_tables import work_item

NEVER = datetime(9999, 1, 1, tzinfo=UTC)
_ANYBODY = worker_viewer("foresight")


_ROWS = Keyed(WorkItem, work_item, order="created_at, k")
_FIELDS = tuple(one.name for one in fields(WorkItem))
_SAVED = (*_FIELDS[1:], "due_order", "folded_title")
_MOMENTS = frozenset(name for name in _FIELDS if isinstance(work_item.c[name].type, Moment))


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Items that one sweep may work on until `until`; empty when nothing is due."""

    token: str
    items: tuple[WorkItem, ...]
    until: datetime


@dataclass(frozen=True, kw_only=True)
class Span:
    """A stretch of what is due, from one place to another, each (microseconds of the due look, key); names no work."""

    first: tuple[int, int]
    last: tuple[int, int]
    items: int = 0


_PLACE = tuple_(work_item.c.next_action_at, work_item.c.k)


def _placed(place: tuple[int, int]) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    return literal(moment(place[0]), work_item.c.next_action_at.type), literal(place[1], work_item.c.k.type)


def _is_free(now: datetime) -> ColumnElement[bool]:
    return or_(work_item.c.claim_token.is_(None), work_item.c.claimed_until < now)


def save(tx: Tx, item: WorkItem) -> None:
    """Write the item as it is now, in place of what was there; a sweep's claim on it ends."""
    tx.woken.clear()
    forget(tx, item)
    _let_go(tx, work_item.c.ref == item.ref)
    row: dict[str, object] = to_row(item)
    row |= {"due_order": due_order(item), "folded_title": fold(item.title), "claim_token": None, "claimed_until": None}
    new = tx.insert(work_item).values(row | {"k": tx.keys.take()})
    tx.execute(new.on_conflict_do_update(index_elements=["ref"], set_=row))


def add(tx: Tx, item: WorkItem) -> None:
    """Write an item that was never there."""
    tx.woken.clear()
    forget(tx, item)
    tx.added.add(ITEM, (tx.keys.take(), *_values(item), None, None))


def save_many(tx: Tx, items: Sequence[WorkItem]) -> None:
    """As `save` for items that are there, with one statement for many; each is named once."""
    tx.woken.clear()
    for some in slices(items):
        forget(tx, *some)
        _let_go(tx, work_item.c.ref.in_([item.ref for item in some]))
        rows = [_values(item) for item in some]
        many.change(tx, work_item, ("ref",), _SAVED, rows, emptied=("claim_token", "claimed_until"))


def drop(tx: Tx, ref: str) -> None:
    """Take the item away; nothing happens when there is none."""
    if tx.foresight is not None:
        tx.foresight.forget([ref])
        tx.foresight.about.clear()
    tx.execute(delete(work_item).where(work_item.c.ref == ref))


def forget(tx: Tx, *items: WorkItem) -> None:
    """These are written, or will be: the transaction's foresight knows them no more."""
    if tx.foresight is not None:
        tx.foresight.forget([item.ref for item in items])
        if any(item.focus for item in items):
            tx.foresight.about.clear()


def find(tx: Tx, viewer: Viewer, ref: str) -> WorkItem | None:
    """The item of `Task/<id>` or `CarePlan/<id>`."""
    if tx.foresight is not None and viewer.sees_all and ref in tx.foresight.items:
        return tx.foresight.items[ref]
    in_step(tx, [ref])
    return next(iter(_items(tx, viewer, "ref", [ref])), None)


def foresee(tx: Tx, refs: Sequence[str]) -> list[WorkItem]:
    """Read these items, and those that are about them, for all that is to come in the transaction's foresight."""
    ahead = tx.foresight
    if ahead is None:
        return []
    found = find_many(tx, _ANYBODY, refs)
    about_them: dict[str, list[WorkItem]] = {ref: [] for ref in refs}
    for some in slices(refs):
        for item in _items(tx, _ANYBODY, "focus", some):
            about_them[item.focus or ""].append(item)
    ahead.items |= found
    ahead.about |= about_them
    return list(found.values())


def find_many(tx: Tx, viewer: Viewer, refs: Iterable[str]) -> dict[str, WorkItem]:
    """Reference -> item, for those there are."""
    wanted = sorted(set(refs))
    if tx.foresight is not None and viewer.sees_all and all(ref in tx.foresight.items for ref in wanted):
        return {ref: tx.foresight.items[ref] for ref in wanted}
    in_step(tx, wanted)
    return {item.ref: item for some in slices(wanted) for item in _items(tx, viewer, "ref", some)}


def of_plan(tx: Tx, viewer: Viewer, plan: str) -> list[WorkItem]:
    """All items of a plan (`CarePlan/<id>`), oldest first, without the plan's own."""
    return _items(tx, viewer, "plan", [plan], " AND ref <> %s", plan)


def of_plans(tx: Tx, viewer: Viewer, plans: Sequence[str]) -> dict[str, list[WorkItem]]:
    """Plan -> its items, in one query for a batch of plans."""
    found: dict[str, list[WorkItem]] = {plan: [] for plan in plans}
    for item in _items(tx, viewer, "plan", plans):
        if item.plan is not None and item.ref != item.plan:
            found[item.plan].append(item)
    return found


def of_patient(tx: Tx, viewer: Viewer, patient: str) -> list[WorkItem]:
    """All items of a patient, open and closed, oldest first."""
    return _items(tx, viewer, "patient", [patient])


def plans_of(tx: Tx, viewer: Viewer, program: str, patients: Sequence[str]) -> dict[str, list[WorkItem]]:
    """Patient -> their plans of a program, open and closed, oldest first; patients without any are left out."""
    found: dict[str, list[WorkItem]] = {}
    for some in slices(patients):
        for item in _items(tx, viewer, "patient", some, " AND kind = 'plan' AND program = %s", program):
            found.setdefault(item.patient or "", []).append(item)
    return found


def about(tx: Tx, viewer: Viewer, focus: str) -> list[WorkItem]:
    """The items whose focus is `focus`, such as the escalations of a late task; oldest first."""
    if tx.foresight is not None and viewer.sees_all and focus in tx.foresight.about:
        return tx.foresight.about[focus]
    return _items(tx, viewer, "focus", [focus])


def open_count(tx: Tx, viewer: Viewer) -> int:
    """How many items are open."""
    in_step(tx)
    return int(tx.value(select(func.count()).where(work_item.c.open, row_scope(viewer, work_item))))


def open_up_to(tx: Tx, viewer: Viewer, kind: str, program: str | None, limit: int) -> int:
    """How many items of a kind are open (in one program), counted up to `limit`: it costs what is counted."""
    in_step(tx)
    ruled = work_item.c.program.is_not(None) if program is None else work_item.c.program == program
    some = select(work_item.c.k).where(work_item.c.open, ruled, work_item.c.kind == kind, row_scope(viewer, work_item))
    return int(tx.value(select(func.count()).select_from(some.limit(limit).subquery())))


def some_open(tx: Tx, viewer: Viewer, kind: str, program: str, limit: int) -> list[str]:
    """References of up to `limit` open items of a kind in one program."""
    in_step(tx)
    ruled = (work_item.c.open, work_item.c.program == program, work_item.c.kind == kind, row_scope(viewer, work_item))
    return [row["ref"] for row in tx.rows(select(work_item.c.ref).where(*ruled).limit(limit))]


def due_now(tx: Tx, patient: str, at: datetime) -> None:
    """Let the rules look at every open item of a patient at `at`, or sooner where that was planned.

    Once in a transaction is enough until one of its items is planned anew.
    """
    if patient in tx.woken and tx.woken[patient] <= at:
        return
    tx.woken[patient] = at
    is_theirs = (work_item.c.patient == patient) & work_item.c.open
    _let_go(tx, is_theirs)
    tx.execute(
        update(work_item).where(is_theirs).values(next_action_at=_sooner(at), claim_token=None, claimed_until=None)
    )


def all_due_now(tx: Tx, patients: Sequence[str], at: datetime) -> None:
    """As `due_now` for all of these at once, of items in a program: no rule is about others, of which an EHR has many."""
    is_theirs = work_item.c.patient.in_(patients) & work_item.c.open & work_item.c.program.is_not(None)
    found = tx.rows(
        select(work_item.c.ref, work_item.c.claim_token).where(is_theirs).order_by(work_item.c.k).with_for_update()
    )
    tx.let_go |= {row["ref"]: row["claim_token"] for row in found if row["claim_token"] is not None}
    if found:
        sooner = {"next_action_at": _sooner(at), "claim_token": None, "claimed_until": None}
        tx.execute(update(work_item).where(is_theirs).values(sooner))


def wake(tx: Tx, ref: str, at: datetime) -> None:
    """Let the rules look at one open item at `at`, or sooner where that was planned."""
    is_it = (work_item.c.ref == ref) & work_item.c.open
    _let_go(tx, is_it)
    tx.execute(update(work_item).where(is_it).values(next_action_at=_sooner(at), claim_token=None, claimed_until=None))


def wake_owned(tx: Tx, names: Sequence[str], at: datetime) -> None:
    """Let the rules look at every open item of these owners at `at`, or sooner where that was planned."""
    is_theirs = work_item.c.owner.in_(names) & work_item.c.open & work_item.c.program.is_not(None)
    _let_go(tx, is_theirs)
    tx.execute(
        update(work_item).where(is_theirs).values(next_action_at=_sooner(at), claim_token=None, claimed_until=None)
    )


def wake_all(tx: Tx, at: datetime, program: str | None = None) -> None:
    """Let the rules look at every open item of a program (of this one) at `at`, or sooner where that was planned."""
    ruled = work_item.c.open & (work_item.c.program.is_not(None) if program is None else work_item.c.program == program)
    _let_go(tx, ruled)
    tx.execute(update(work_item).where(ruled).values(next_action_at=_sooner(at), claim_token=None, claimed_until=None))


def look_at(tx: Tx, ref: str, at: datetime | None) -> None:
    """Look at one item at exactly `at` (None: never)."""
    tx.woken.clear()
    tx.execute(update(work_item).where(work_item.c.ref == ref).values(next_action_at=at))


def scan(tx: Tx, viewer: Viewer, after_k: int = 0, limit: int = SIZE) -> list[tuple[int, WorkItem]]:
    """The next `limit` items in the order they were made, each with its key to go on from."""
    in_step(tx)
    chosen = select(work_item).where(work_item.c.k > after_k, row_scope(viewer, work_item))
    return [(row["k"], from_row(WorkItem, row)) for row in tx.rows(chosen.order_by(work_item.c.k).limit(limit))]


def claim_due(tx: Tx, now: datetime, limit: int, lease: timedelta, span: Span | None = None) -> Claim:
    """Up to `limit` open items whose time has come and that no other sweep holds, oldest first, for `lease`.

    With `span` only those of its stretch of what is due.
    """
    tx.woken.clear()
    chosen = select(work_item).where(work_item.c.open, work_item.c.next_action_at <= now, _is_free(now))
    if span is not None:
        chosen = chosen.where(tuple_(*_placed(span.first)) <= _PLACE, tuple_(*_placed(span.last)) >= _PLACE)
    chosen = chosen.order_by(work_item.c.next_action_at, work_item.c.k).limit(limit).with_for_update(skip_locked=True)
    rows = tx.rows(chosen)
    claim = Claim(token=secrets.token_hex(8), items=tuple(from_row(WorkItem, row) for row in rows), until=now + lease)
    if rows:
        held = work_item.c.k.in_([row["k"] for row in rows])
        tx.execute(update(work_item).where(held).values(claim_token=claim.token, claimed_until=claim.until))
    return claim


def due_spans(tx: Tx, now: datetime, size: int, limit: int) -> list[Span]:
    """Up to `limit` items that are due and free, as stretches of `size` items each (the last may be shorter)."""
    due = (work_item.c.open, work_item.c.next_action_at <= now, _is_free(now))
    chosen = select(work_item.c.next_action_at, work_item.c.k).where(*due)
    rows = tx.rows(chosen.order_by(work_item.c.next_action_at, work_item.c.k).limit(limit))
    places = [(microseconds(row["next_action_at"]), row["k"]) for row in rows]
    return [Span(first=one[0], last=one[-1], items=len(one)) for one in slices(places, size)]


def settle(tx: Tx, claim: Claim, ref: str, next_at: datetime | None) -> bool:
    """End the claim on one item and look at it again at `next_at` (None: never).

    False when the item changed since it was claimed or the lease passed to another sweep: roll back, it will come
    again. What this same transaction changed does not count; then the sooner of both times holds.
    """
    tx.woken.clear()
    done = {"claim_token": None, "claimed_until": None}
    is_held = (work_item.c.ref == ref) & (work_item.c.claim_token == claim.token)
    if tx.changed(update(work_item).where(is_held).values(next_action_at=next_at, **done)) == 1:
        return True
    if tx.let_go.get(ref) != claim.token:
        return False
    if next_at is not None:
        tx.execute(update(work_item).where(work_item.c.ref == ref).values(next_action_at=_sooner(next_at)))
    return True


def settle_many(tx: Tx, planned: Sequence[tuple[str, str, datetime | None]]) -> set[str]:
    """As `settle` for many items (reference, token of the claim, when to look again) that this transaction has not changed.

    The references of those settled, by one statement.
    """
    tx.woken.clear()
    rows = [(ref, token, _number(next_at)) for ref, token, next_at in planned]
    known_by = ("ref", "claim_token")
    settled = many.change(tx, work_item, known_by, ("next_action_at",), rows, emptied=("claim_token", "claimed_until"))
    return cast(set[str], settled)


def postpone(tx: Tx, claim: Claim, ref: str, until: datetime) -> bool:
    """Put an item that cannot be worked on out of the way until `until`; False when the claim on it was lost."""
    tx.woken.clear()
    is_held = (work_item.c.ref == ref) & (work_item.c.claim_token == claim.token)
    later = {"next_action_at": until, "claim_token": None, "claimed_until": None}
    return tx.changed(update(work_item).where(is_held).values(**later)) == 1


def due_order(item: WorkItem) -> datetime:
    """Where the item stands in a queue: by its due time; on hold by the end of the hold; without either at the end.

    An escalation is wanted from the moment it was made, so it stands among what is late.
    """
    if item.kind == "escalation":
        return item.due_at or item.created_at
    if item.clock == "paused":
        return item.hold_until or NEVER
    return item.due_at or NEVER


def _items(tx: Tx, viewer: Viewer, column: str, keys: Sequence[str], further: str = "", *values: str) -> list[WorkItem]:
    in_step(tx)
    found = _ROWS.read(tx, viewer, column, keys, further=further, values=values)
    return titled(tx, viewer, found) if viewer.sight.hides else found


def in_step(tx: Tx, refs: Iterable[str] | None = None) -> None:
    """Write first what is held back of items (of these), before it is read."""
    if tx.foresight is not None and (refs is None or not tx.foresight.pending.isdisjoint(refs)):
        tx.foresight.in_step()


def _values(item: WorkItem) -> tuple[Any, ...]:
    """The item as the driver takes it: its fields, where it stands in queues, and its title as it is looked for."""
    own = [item.__dict__[name] if name not in _MOMENTS else _number(item.__dict__[name]) for name in _FIELDS]
    return (*own, microseconds(due_order(item)), fold(item.title))


def _number(at: datetime | None) -> int | None:
    return None if at is None else microseconds(at)


def _let_go(tx: Tx, condition: ColumnElement[bool]) -> None:
    held = select(work_item.c.ref, work_item.c.claim_token).where(condition, work_item.c.claim_token.is_not(None))
    tx.let_go |= {row["ref"]: row["claim_token"] for row in tx.rows(held.with_for_update())}


def _sooner(at: datetime) -> ColumnElement[datetime]:
    planned = work_item.c.next_action_at
    return case((or_(planned.is_(None), planned > at), literal(at, planned.type)), else_=planned)
