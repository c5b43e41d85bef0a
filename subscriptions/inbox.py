"""From a notification to what changed: hints are kept once for each resource, and worked off by reading at the EHR.

Steps of working off: leave out what is held already in that version or a later one; ask for the rest, many in one search;
what is gone is deleted when its deletion was told, the server says 410, or it was not found twice; an empty notification
has its whole type pulled, at most once in a window. Rows are written in one order everywhere, the Subscription's before
those of the inbox and these by type and id, so that a hook and a worker never wait for each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any
from urllib.parse import quote, urlencode

from fhir_tracker import intake
from fhir_tracker.connections import pause_after
from fhir_tracker.errors import RemoteFailure
from fhir_tracker.intake import Received, Tally, Unusable
from fhir_tracker.storage import inbox, remote_subscriptions, resources
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.inbox import Waiting
from fhir_tracker.storage.remote_subscriptions import RemoteSubscription
from fhir_tracker.storage.resources import Known
from subscriptions import untold
from subscriptions.bundles import is_outcome, read_object
from subscriptions.event_numbers import Counted, Numbers, counted
from subscriptions.following import Follow, TypeReport
from subscriptions.notifications import Hint, Notification

MOST_WAITING = 2000
"""Beyond so many resources of one connection, pulling what changed is cheaper than asking for each."""
BATCH = 100
SEARCHED = 40
"""How many ids one search names."""
WINDOW = timedelta(seconds=10)
"""Within which a type is pulled once for empty notifications, however many come."""
GAP_WAIT = timedelta(seconds=10)
LOOK_AGAIN = timedelta(seconds=30)
MISSES = 2
TRIES = 8
FIRST_PAUSE_SECONDS = 5


def receive_notification(tx: Tx, subscription: int, told: Notification, at: datetime, *, heard: bool = True) -> None:
    """Keep what a notification of a Subscription hints at, each event once; gaps in its numbers are noted.

    `heard` False says that we have asked for it.
    """
    held = remote_subscriptions.held(tx, subscription)
    if held is None:
        return
    found = counted(_numbers(held), told)
    hints = [*told.hints, *(hint for event in found.fresh for hint in event.hints)]
    whole = {held.type} if found.pull or _is_vague(told, found) else set()
    _keep(tx, held, hints, whole, at)
    changes = _heard(held, told, found, at)
    if heard:
        changes |= {"heard_at": at} | untold.told(held, told, at)
    remote_subscriptions.change(tx, held.id, changes)


def pull_soon(tx: Tx, held: RemoteSubscription, at: datetime, type_: str = "") -> None:
    """Have the whole type pulled, its own or `type_`, as soon as the window since the last time has passed."""
    due = at if held.pulled_at is None else max(at, held.pulled_at + WINDOW)
    _put(tx, held.connection, Hint(type=type_ or held.type, remote_id=""), at, due)


def drain(follow: Follow, pull: Callable[[str], TypeReport]) -> Tally:
    """Work off what is due of one connection, a batch; `pull` brings one type up to date.

    What could not be read is postponed. Raises Busy when another process has taken the connection over.
    """
    followed = set(follow.connection.types or follow.mapping.wanted)
    due = _due(follow)
    while due and not any(one.type in followed for one in due):
        _strike(follow, due)
        due = _due(follow)
    _strike(follow, [one for one in due if one.type not in followed])
    tally = Tally()
    for type_, rows in groupby(sorted(due, key=lambda one: one.type), key=lambda one: one.type):
        if type_ in followed:
            tally += _drain_type(follow, type_, list(rows), pull)
    return tally


def _due(follow: Follow) -> list[Waiting]:
    with follow.database.read() as tx:
        return inbox.due(tx, follow.connection.key, follow.now(), BATCH)


def _drain_type(follow: Follow, type_: str, rows: Sequence[Waiting], pull: Callable[[str], TypeReport]) -> Tally:
    tally = Tally()
    for whole in (one for one in rows if not one.remote_id):
        done = pull(type_)
        tally += done.tally
        if done.error is None:
            _strike(follow, [whole], pulled=type_)
        else:
            _postpone(follow, [whole])
            return tally
    named = [one for one in rows if one.remote_id]
    try:
        return tally + _read_named(follow, type_, named)
    except RemoteFailure:
        _postpone(follow, named)
        return tally


@dataclass
class _Outcome:
    """What reading came to: entries to take in, rows that are gone at the EHR, missed for now, and failed."""

    entries: list[Received | Unusable] = field(default_factory=list)
    gone: list[Waiting] = field(default_factory=list)
    missed: list[Waiting] = field(default_factory=list)
    failed: list[Waiting] = field(default_factory=list)


def _read_named(follow: Follow, type_: str, rows: Sequence[Waiting]) -> Tally:
    if not rows:
        return Tally()
    with follow.database.read() as tx:
        known = resources.known(tx, follow.connection.key, type_, sorted({one.remote_id for one in rows}))
    wanted = [one for one in rows if not _is_held(one, known.get(one.remote_id))]
    outcome = _Outcome()
    left = _search(follow, type_, wanted, outcome) if len(wanted) > 1 else wanted
    for one in left:
        held = known.get(one.remote_id)
        if len(wanted) > 1 and not one.gone and (held is None or held.deleted):
            outcome.missed.append(one)
        else:
            _read_one(follow, type_, one, outcome)
    return _written(follow, type_, rows, outcome)


def _written(follow: Follow, type_: str, rows: Sequence[Waiting], outcome: _Outcome) -> Tally:
    """One transaction: what was read, what is gone, and the rows of the inbox struck out or postponed."""
    key, deleted = follow.connection.key, 0
    missed, failed = {one.id for one in outcome.missed}, {one.id for one in outcome.failed}

    def settle(tx: Tx) -> None:
        nonlocal deleted
        author = follow.author()
        deleted = sum(intake.take_deletion(tx, type_, one.remote_id, None, key, author) for one in outcome.gone)
        for one in outcome.gone:
            intake.forget_waiting(tx, type_, one.remote_id, key, author.at)
        for one in sorted(rows, key=lambda one: one.remote_id):
            if one.id in missed:
                _missed(tx, one, author.at)
            elif one.id in failed:
                _tried(tx, one, author.at)
            else:
                inbox.done(tx, [one])

    return follow.write(outcome.entries, settle) + Tally(deleted=deleted)


def _search(follow: Follow, type_: str, rows: Sequence[Waiting], outcome: _Outcome) -> list[Waiting]:
    """Ask for many at once; those that were not found so, or only in an older version than was told."""
    left: list[Waiting] = []
    for start in range(0, len(rows), SEARCHED):
        some = rows[start : start + SEARCHED]
        try:
            found = _found(follow, type_, [one.remote_id for one in some])
        except RemoteFailure as failure:
            if not failure.permanent:
                raise
            found = {}
        for one in some:
            entry = found.get(one.remote_id)
            if entry is None or (isinstance(entry, Received) and _is_before(entry.version, one.version)):
                left.append(one)
            else:
                outcome.entries.append(entry)
    return left


def _found(follow: Follow, type_: str, ids: Iterable[str]) -> dict[str, Received | Unusable]:
    wanted = sorted(set(ids))
    asked = urlencode({"_id": ",".join(_escaped(one) for one in wanted), "_count": str(len(wanted))})
    page = follow.page(f"{follow.client.base_url}/{type_}?{asked}", "searchset")
    read = (
        intake.read_entry(one.raw, type_, follow.translate)
        for one in page.entries
        if one.raw and one.mode != "include" and not is_outcome(one)
    )
    return {one.remote_id: one for one in read if one.remote_id in wanted}


def _read_one(follow: Follow, type_: str, row: Waiting, outcome: _Outcome) -> None:
    answer = follow.client.get(f"{type_}/{quote(row.remote_id, safe='')}")
    if answer.status == 404 and not row.gone and row.misses == 0:
        outcome.missed.append(row)
    elif answer.status in (404, 410):
        outcome.gone.append(row)
    elif answer.status == 403:
        reason = "The server tells of it, and forbids to read it."
        outcome.entries.append(Unusable(type=type_, remote_id=row.remote_id, reason=reason, body=""))
    else:
        try:
            if read_object(answer).get("resourceType") != f'"{type_}"'.encode():
                raise RemoteFailure("The server answered with something else than was asked for.", permanent=True)
        except RemoteFailure as failure:
            if not failure.permanent or answer.status == 401:
                raise
            outcome.failed.append(row)
        else:
            outcome.entries.append(intake.read_entry(answer.body, type_, follow.translate))


def _strike(follow: Follow, rows: Sequence[Waiting], pulled: str = "") -> None:
    if not rows:
        return
    with follow.database.begin() as tx:
        follow.hold(tx)
        if pulled:
            remote_subscriptions.note_pulled(tx, follow.connection.key, pulled, follow.now())
        inbox.done(tx, rows)


def _postpone(follow: Follow, rows: Sequence[Waiting]) -> None:
    with follow.database.begin() as tx:
        follow.hold(tx)
        for one in sorted(rows, key=lambda one: one.remote_id):
            _tried(tx, one, follow.now())


def _tried(tx: Tx, one: Waiting, at: datetime) -> None:
    """Once more after a growing pause. A hint that leads nowhere is given up in the end; polling does without it."""
    if one.remote_id and one.tries + 1 >= TRIES:
        inbox.done(tx, [one])
    else:
        due = at + pause_after(FIRST_PAUSE_SECONDS, one.tries)
        inbox.postpone(tx, one, due, tries=one.tries + 1, misses=one.misses)


def _missed(tx: Tx, one: Waiting, at: datetime) -> None:
    if one.misses + 1 >= MISSES:
        inbox.done(tx, [one])
    else:
        inbox.postpone(tx, one, at + LOOK_AGAIN, tries=one.tries, misses=one.misses + 1)


def _keep(tx: Tx, held: RemoteSubscription, hints: Sequence[Hint], whole: set[str], at: datetime) -> None:
    """As many as there is room for; of the others, and of the types in `whole`, everything is pulled."""
    room = inbox.room(tx, held.connection, MOST_WAITING) if hints else 0
    named = sorted(hints, key=lambda one: (one.type, one.remote_id))
    types = whole | {one.type for one in named[room:]}
    for hint in sorted((*named[:room], *map(_anything, types)), key=lambda one: (one.type, one.remote_id)):
        if hint.remote_id:
            _put(tx, held.connection, hint, at, at)
        else:
            pull_soon(tx, held, at, hint.type)


def _anything(type_: str) -> Hint:
    return Hint(type=type_, remote_id="")


def _put(tx: Tx, connection: str, hint: Hint, at: datetime, due_at: datetime) -> None:
    inbox.put(
        tx,
        connection=connection,
        type_=hint.type,
        remote_id=hint.remote_id,
        version=hint.version,
        gone=hint.gone,
        at=at,
        due_at=due_at,
    )


def _is_vague(told: Notification, found: Counted) -> bool:
    """Whether something has changed that is not named."""
    if told.kind == "bare" or told.cut:
        return True
    if told.kind != "event" or told.hints:
        return False
    return not told.events or any(not one.hints for one in found.fresh)


def _heard(held: RemoteSubscription, told: Notification, found: Counted, at: datetime) -> dict[str, Any]:
    numbers = found.numbers
    gap_at = (held.gap_at or at) if numbers.missing else None
    due_at = held.due_at if gap_at is None else min(held.due_at, gap_at + GAP_WAIT)
    changes: dict[str, Any] = {
        "events": numbers.highest,
        "missing": tuple(str(one) for one in sorted(numbers.missing)),
        "recent": {str(number): mark for number, mark in numbers.recent.items()},
        "resets": numbers.resets,
        "gap_at": gap_at,
        "gaps": held.gaps + (1 if gap_at is not None and held.gap_at is None else 0),
        "due_at": at if told.status in ("error", "off") else due_at,
    }
    if told.status == "active" and held.status == "requested":
        changes["status"] = "active"
    return changes


def _numbers(held: RemoteSubscription) -> Numbers:
    return Numbers(
        highest=held.events,
        missing=frozenset(int(one) for one in held.missing),
        recent={int(number): str(mark) for number, mark in held.recent.items()},
        resets=held.resets,
    )


def _is_held(row: Waiting, known: Known | None) -> bool:
    """Whether we hold that version already, or a later one."""
    if known is None or row.gone or not row.version or known.remote_version is None:
        return False
    if intake.is_ordered(row.version, known):
        return int(row.version) <= int(known.remote_version)
    return row.version == known.remote_version and not known.deleted


def _is_before(version: str | None, told: str) -> bool:
    return (
        version is not None
        and all(one.isascii() and one.isdigit() for one in (version, told))
        and int(version) < int(told)
    )


def _escaped(text: str) -> str:
    """As one value of a search parameter."""
    for sign in "\\,$|":
        text = text.replace(sign, f"\\{sign}")
    return text
