"""Comparing all that a server holds of a type with what is held here: what every other way missed is found, and counted.

Only ids and versions are asked for where the server can leave the rest out; otherwise whole resources are compared by
their content. What is missing from a whole answer is asked for by its id, and treated as `absent` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from fhir_tracker import absent
from fhir_tracker.errors import RemoteFailure
from fhir_tracker.fhir.dates import instant, parse_datetime
from fhir_tracker.fhir.reading import objects_at
from fhir_tracker.intake import Received, Tally, Unusable
from fhir_tracker.storage import cursors, resources
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.cursors import Cursor
from fhir_tracker.storage.database import Tx
from subscriptions.abilities import STATE
from subscriptions.asking import ask, ask_for_missing
from subscriptions.bulk import want_whole
from subscriptions.finds import write_late
from subscriptions.following import PAGE_SIZE, Follow, TypeReport, nothing_else
from subscriptions.poll import read_entries
from subscriptions.strategies import BULK, LAST_UPDATED, ONE_BY_ONE, Choice
from subscriptions.walking import walk
from subscriptions.windows import progress_from

_SUBSETTED = "SUBSETTED"
AGAIN = timedelta(hours=1)


@dataclass
class _Sweep:
    """One comparison of one type in this process; `lower` is from when on the next poll sees changes by itself."""

    type: str
    choice: Choice
    lower: datetime | None
    held: frozenset[str]
    seen: set[str] = field(default_factory=set)
    tally: Tally = field(default_factory=Tally)
    missed: int = 0
    pages: int = 0
    notes: tuple[str, ...] = ()


def cursor_name(type_: str) -> str:
    """Under which name the findings of a type are kept among a connection's cursors."""
    return f"{type_}/reconcile"


def reconcile_type(follow: Follow, polled: TypeReport, choice: Choice) -> TypeReport:
    """Compare one type that was just brought up to date; the report of that with what was found besides.

    What is read patient by patient was compared while it was read, by `compare_everyone`.

    A failure is in the report; what was found before it stays. Raises Busy when another process took the connection over.
    """
    if choice.strategy == BULK:
        want_whole(follow)
        return replace(polled, notes=(*polled.notes, "the next export will be of everything"))
    try:
        if choice.strategy in ONE_BY_ONE:
            return note_missed(follow, polled)
        if choice.strategy == LAST_UPDATED:
            return note_missed(follow, _whole(follow, polled, choice))
    except RemoteFailure as failure:
        error = f"reconciliation: {failure.message}"
        return replace(
            polled, error=error, permanent=failure.permanent, auth=failure.auth, retry_after=failure.retry_after
        )
    return polled


def is_reconcile_due(tx: Tx, connection: Connection, every: timedelta, now: datetime) -> bool:
    """Whether a connection that has been loaded was not compared as a whole for `every`, or an hour after that failed."""
    state = cursors.find(tx, connection.key, STATE)
    if state is None or connection.last_success_at is None:
        return False
    told = state.detail.get("reconciled_at")
    tried = state.detail.get("reconcile_tried_at")
    if tried is not None and now - parse_datetime(tried) < min(every, AGAIN):
        return False
    return now - (parse_datetime(told) if told else connection.created_at) >= every


def note_reconciled(detail: dict[str, Any], at: datetime, *, failed: bool) -> None:
    """Keep in a connection's state when it was compared as a whole, or that this failed."""
    detail["reconcile_tried_at"] = instant(at)
    if not failed:
        detail["reconciled_at"] = instant(at)


def missed_events(detail: dict[str, Any]) -> int:
    """How many changes reconciliations have found so far, from what is kept with the cursor of `cursor_name`."""
    return int(detail.get("missed", 0))


def _whole(follow: Follow, polled: TypeReport, choice: Choice) -> TypeReport:
    sweep = _begun(follow, polled.type, choice)
    try:
        _read_all(follow, sweep, shallow=True)
    except _NotShallow:
        sweep = replace(sweep, seen=set(), notes=())
        _read_all(follow, sweep, shallow=False)
    if not sweep.notes:
        _settle_missing(follow, sweep)
    return replace(
        polled,
        tally=polled.tally + sweep.tally,
        pages=polled.pages + sweep.pages,
        missed=sweep.missed,
        notes=tuple(dict.fromkeys((*polled.notes, *sweep.notes))),
    )


def _begun(follow: Follow, type_: str, choice: Choice) -> _Sweep:
    key = follow.connection.key
    with follow.database.read() as tx:
        found = cursors.find(tx, key, type_)
        held = frozenset(resources.ids_of(tx, key, type_))
    progress = progress_from(found.detail if found else {})
    lower = progress.lower_bound(found.watermark if found else None, follow.overlap)
    return _Sweep(type=type_, choice=choice, lower=lower, held=held)


class _NotShallow(Exception):
    """The server cannot leave the content out and still tell versions."""


def _read_all(follow: Follow, sweep: _Sweep, *, shallow: bool) -> None:
    besides = f"{sweep.choice.query}&" if sweep.choice.query else ""
    elements = "_elements=id,meta&" if shallow else ""
    try:
        for page in walk(follow, f"{sweep.type}?{besides}{elements}_count={PAGE_SIZE}"):
            entries, notes = read_entries(follow, sweep.type, page)
            sweep.notes += notes
            sweep.pages += 1
            sweep.seen |= {one.remote_id for one in entries}
            _compare(follow, sweep, entries, shallow=shallow)
    except RemoteFailure as failure:
        if shallow and failure.permanent and not sweep.pages:
            raise _NotShallow from None
        raise


def _compare(follow: Follow, sweep: _Sweep, entries: Sequence[Received | Unusable], *, shallow: bool) -> None:
    """Take what differs. Of resources without their content only the version is known, and those that differ are read.

    Where the rest was to be left out, what does not say that it is a part is not taken for the whole.
    """
    subsets = [one for one in entries if isinstance(one, Received) and _is_subset(one)]
    if any(one.version is None for one in subsets) or (shallow and len(subsets) < len(entries)):
        raise _NotShallow
    taken: list[Received | Unusable] = [] if subsets else list(entries)
    with follow.database.read() as tx:
        known = resources.known(tx, follow.connection.key, sweep.type, [one.remote_id for one in subsets])
        absent_now = absent.missing_among(tx, follow.connection.key, sweep.type, [one.remote_id for one in subsets])
    for one in subsets:
        held = known.get(one.remote_id)
        if held is None or held.deleted or held.remote_version != one.version or one.remote_id in absent_now:
            found = ask(follow, sweep.type, one.remote_id)
            taken += [found] if found is not None else []
    tally, missed, rest = write_late(follow, taken, sweep.lower)
    sweep.tally += tally + follow.write(rest, nothing_else)
    sweep.missed += missed


def _is_subset(entry: Received) -> bool:
    return any(tag.get("code") == _SUBSETTED for tag in objects_at(entry.sent, "meta", "tag"))


def _settle_missing(follow: Follow, sweep: _Sweep) -> None:
    missing = ask_for_missing(follow, sweep.type, sweep.held - sweep.seen)
    tally = Tally()

    def note(tx: Tx) -> None:
        nonlocal tally
        tally = absent.note(tx, follow.connection.key, sweep.type, missing.gone, follow.author())

    sweep.tally += follow.write(missing.there, nothing_else, returned=False)
    follow.write([], note)
    sweep.tally += tally
    sweep.missed += tally.deleted


def note_missed(follow: Follow, done: TypeReport) -> TypeReport:
    """Keep what a comparison, or a part of one, has found; the report as it was."""
    if done.missed is None or (done.error is not None and not done.missed):
        return done
    key, name = follow.connection.key, cursor_name(done.type)
    with follow.database.begin() as tx:
        follow.hold(tx)
        found = cursors.find(tx, key, name)
        before = dict(found.detail) if found else {}
        told = {
            "missed": missed_events(before) + (done.missed or 0),
            "missed_last": done.missed or 0,
            "completed_at": instant(follow.now()),
        }
        cursors.save(tx, Cursor(connection=key, type=name, updated_at=follow.now(), detail={**before, **told}))
    return done
