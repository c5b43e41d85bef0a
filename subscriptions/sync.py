"""One sync of one connection: every type polled, its deletions followed, successes and failures noted.

Steps: take the lease; ask what the server can do (at most once an hour); ask for the subscriptions that are missing; poll
each type, then its deletions; work off what was told meanwhile; note how it went; give the lease back. A server that
fails twice in a row is left alone for the rest of this sync.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from fhir_tracker import clock
from fhir_tracker.config import Settings
from fhir_tracker.connections import pause_of
from fhir_tracker.errors import Busy, RemoteFailure, UsageError
from fhir_tracker.fhir.dates import instant, parse_datetime
from fhir_tracker.intake import Tally
from fhir_tracker.signing_keys import Keyring
from fhir_tracker.storage import connections, cursors
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.cursors import Cursor
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.jobs import SKEW, Lease
from mappings import mapping_named
from subscriptions import leases
from subscriptions.abilities import STATE as STATE
from subscriptions.abilities import (
    Abilities,
    abilities_of,
    address_of,
    choice_of,
    followed_types,
    reconsidered,
    state_cursor,
    state_of,
)
from subscriptions.arming import arm, endpoint_of
from subscriptions.backend_auth import authorizer_of
from subscriptions.budget import SharedBudget, allowance_of, longest_open
from subscriptions.bulk import export, report_of
from subscriptions.client import EhrClient, Limits
from subscriptions.code_files import tables_of
from subscriptions.deletions import poll_deletions
from subscriptions.following import Follow, TypeReport
from subscriptions.inbox import drain
from subscriptions.poll import poll_type
from subscriptions.recoding import recode
from subscriptions.reconcile import is_reconcile_due, note_missed, note_reconciled, reconcile_type
from subscriptions.roster import compare_everyone, pull
from subscriptions.search_ways import Ways
from subscriptions.shared_ways import SharedWays, way_of
from subscriptions.strategies import BULK, LAST_UPDATED, ONE_BY_ONE
from subscriptions.watching import note_pulled, tend

OVERLAP = timedelta(seconds=125)
FAILURES_TO_STOP = 2
PATIENCE = timedelta(seconds=60)
"""How long all types together may be read patient by patient before other connections have their turn."""


@dataclass(frozen=True, kw_only=True)
class SyncReport:
    """How a sync went; `unreachable` when the server answered nothing usable at all, `not_before` when it is backed off."""

    connection: str
    types: tuple[TypeReport, ...]
    error: str | None = None
    unreachable: bool = False
    not_before: datetime | None = None

    @property
    def complete(self) -> bool:
        return self.error is None and all(one.error is None for one in self.types)

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "connection": self.connection,
            "complete": self.complete,
            "unreachable": self.unreachable,
            "error": self.error,
            "notBefore": instant(self.not_before) if self.not_before else None,
            "types": [one.as_json() for one in self.types],
        }


def client_of(
    connection: Connection,
    limits: Limits | None = None,
    *,
    database: Database | None = None,
    keys: Keyring | None = None,
    now: Callable[[], datetime] = clock.now,
    insists: bool = False,
) -> EhrClient:
    """The client of a connection, a basic or bearer secret read now; UsageError when the secret cannot be had.

    With `database` it keeps to the connection's budget and to the way its searches go, which all processes share, and when
    it `insists` it asks also a server that is left alone; `keys` sign for private_key_jwt.
    """
    budget = None
    ways = Ways(way_of(connection), now) if database is None else SharedWays(database, connection, now)
    if database is not None:
        alone = longest_open(connection)
        allowed = allowance_of(connection)
        budget = SharedBudget(database, connection.key, allowed, now, longest_open=alone, insists=insists)
    authorizer = authorizer_of(connection, keys, now=now, budget=budget)
    return EhrClient(connection.base_url, authorizer=authorizer, limits=limits, budget=budget, ways=ways, now=now)


def keys_of(database: Database, settings: Settings) -> Keyring | None:
    """Our signing keys, where the settings hold the secret key that opens them."""
    return Keyring(database=database, secret_key=settings.secret_key) if settings.secret_key else None


def sync_connection(
    database: Database,
    connection: Connection,
    *,
    client: EhrClient,
    now: Callable[[], datetime],
    report: Callable[[TypeReport], None] = lambda _: None,
    overlap: timedelta = OVERLAP,
    public_url: str = "",
    reconciles: bool = False,
    patience: timedelta | None = None,
    heard: Callable[[str, Tally], None] = lambda _type, _page: None,
) -> SyncReport:
    """Bring everything of `connection` up to date; `report` hears of each type when it is done, `heard` of each page.

    With `reconciles` each type is then compared as a whole; `patience` bounds the time of what is read patient by patient,
    in which case the connection is due again at once, and the next sync goes on.

    Server faults are in the SyncReport; `public_url` is where the EHR reaches us, "" when it does not. Raises Busy when
    another process is syncing this connection.
    """
    with following(
        database, connection, client=client, now=now, overlap=overlap, hook=endpoint_of(public_url, connection.key)
    ) as follow:
        done = _all_types(replace(follow, patience=patience, heard=heard), report, reconciles)
        return _noted(follow, done, reconciles)


@dataclass(frozen=True, kw_only=True)
class _Done:
    """What came of the types; `next_type` is the first that was not come to, None when all were."""

    types: tuple[TypeReport, ...]
    next_type: str | None = None


@contextmanager
def following(
    database: Database,
    connection: Connection,
    *,
    client: EhrClient,
    now: Callable[[], datetime],
    overlap: timedelta = OVERLAP,
    hook: str = "",
) -> Iterator[Follow]:
    """The lease of `connection` and all that a pull needs; Busy when another process has it, or it was removed meanwhile."""
    lease = leases.take(database, connection.key, now())
    try:
        with database.read() as tx:
            known = connections.find(tx, connection.key)
        if known is None or known.base_url != connection.base_url:
            raise Busy(f"{connection.key} has been removed or changed meanwhile.")
        held = under_lease(lease, database, connection, client=client, now=now, overlap=overlap, hook=hook)
        yield replace(held, tables=tables_of(connection), address=address_of(database, connection))
    finally:
        leases.release(database, lease, now())


def under_lease(
    lease: Lease,
    database: Database,
    connection: Connection,
    *,
    client: EhrClient,
    now: Callable[[], datetime],
    overlap: timedelta = OVERLAP,
    hook: str = "",
) -> Follow:
    """What is needed to speak to an EHR as the holder of `lease`, without the tables of codes that a pull needs."""
    return Follow(
        database=database,
        connection=connection,
        client=client,
        mapping=mapping_named(connection.mapping),
        now=now,
        hold=lambda tx: leases.hold(tx, lease, now()),
        overlap=overlap,
        hook=hook,
    )


def pull_type(follow: Follow, type_: str) -> TypeReport:
    """Bring one type up to date, as a sync does."""
    abilities = abilities_of(follow)
    return (
        failed_at_once(type_, abilities)
        if isinstance(abilities, RemoteFailure)
        else _one_type(follow, type_, abilities)
    )


def sync_due(database: Database, settings: Settings, now: Callable[[], datetime]) -> list[SyncReport]:
    """Sync every connection that is due, one after the other; those that another process is syncing are passed over."""
    with database.read() as tx:
        due = due_connections(tx, now())
        whole = {one.key for one in due if is_reconcile_due(tx, one, settings.reconcile_interval, now())}
    reports = []
    for connection in due:
        try:
            with client_of(
                connection, limits_of(settings), database=database, keys=keys_of(database, settings), now=now
            ) as client:
                done = sync_connection(
                    database,
                    connection,
                    client=client,
                    now=now,
                    overlap=settings.poll_overlap,
                    public_url=settings.public_url,
                    reconciles=connection.key in whole,
                    patience=PATIENCE,
                )
        except Busy:
            continue
        except UsageError as error:
            _note_unusable(database, connection, error, now())
            continue
        reports.append(done)
    return reports


def limits_of(settings: Settings) -> Limits:
    """The limits of requests to EHRs that the settings ask for."""
    return Limits(total_seconds=settings.remote_timeout.total_seconds(), max_bytes=settings.remote_body_limit)


def _note_unusable(database: Database, connection: Connection, error: UsageError, at: datetime) -> None:
    with database.begin() as tx:
        connections.note_failure(tx, connection.key, at, error.message)


def due_connections(tx: Tx, now: datetime) -> list[Connection]:
    """The connections whose poll interval, or pause after failures, has passed; the one that waits longest comes first.

    What was tried at a moment that is still to come was tried before our clock was turned back, and is due; so is what was
    never tried.
    """
    due = sorted(((next_due(tx, one), one) for one in connections.all(tx)), key=lambda pair: pair[0])
    return [one for moment, one in due if moment <= now or not one.last_attempt_at or one.last_attempt_at > now + SKEW]


def next_due(tx: Tx, connection: Connection) -> datetime:
    """When a connection is to be polled next."""
    if connection.last_attempt_at is None:
        return connection.created_at
    state = cursors.find(tx, connection.key, STATE)
    if state is not None and state.detail.get("more"):
        return connection.last_attempt_at
    due = connection.last_attempt_at + pause_of(connection, failures_of(state))
    asked = state.detail.get("not_before") if state else None
    return max(due, parse_datetime(asked)) if asked else due


def failures_of(state: Cursor | None) -> int:
    """How many syncs in a row have failed as a whole."""
    return int(state.detail.get("failures", 0)) if state else 0


def _all_types(follow: Follow, report: Callable[[TypeReport], None], reconciles: bool) -> _Done:
    abilities = abilities_of(follow)
    if isinstance(abilities, RemoteFailure):
        return _Done(types=(failed_at_once("metadata", abilities),))
    follow = replace(follow, skew=abilities.skew, address=abilities.address)
    recode(follow)
    chosen = followed_types(follow, abilities)
    ways = {one: choice_of(follow.connection, abilities, one).strategy for one in chosen}
    export(follow, [one for one in chosen if ways[one] == BULK], abilities)
    arm(follow, chosen)
    pieces = sum(way in ONE_BY_ONE for way in ways.values())
    follow = replace(follow, patience=follow.patience / max(pieces, 1) if follow.patience else None)
    done: list[TypeReport] = []
    failing = 0
    left = _turned(follow, chosen)
    while left:
        type_ = left.pop(0)
        one = _followed(follow, type_, abilities, reconciles)
        done.append(one)
        report(one)
        failing = failing + 1 if one.error is not None and not one.permanent else 0
        if failing >= FAILURES_TO_STOP or one.retry_after is not None:
            return _Done(types=tuple(done), next_type=left[0] if left else None)
        if one.error is None and follow.hook:
            note_pulled(follow, type_, _changes_in(one, ways[type_]))
        if ways[type_] in ONE_BY_ONE or reconciles:
            drain(follow, lambda told: _one_type(follow, told, abilities))
    tend(follow)
    drain(follow, lambda told: _one_type(follow, told, abilities))
    return _Done(types=tuple(done))


def _turned(follow: Follow, types: Sequence[str]) -> list[str]:
    """The types, beginning with the one that the last sync did not come to: one that always fails must not stop the others."""
    with follow.database.read() as tx:
        told = state_of(tx, follow.connection.key).get("next_type")
    at = types.index(told) if told in types else 0
    return [*types[at:], *types[:at]]


def _followed(follow: Follow, type_: str, abilities: Abilities, reconciles: bool) -> TypeReport:
    """One type brought up to date, and compared where that is wanted or under way."""
    choice = choice_of(follow.connection, abilities, type_)
    if reconciles and choice.strategy in ONE_BY_ONE:
        compare_everyone(follow, type_)
    one = _one_type(follow, type_, abilities)
    if one.permanent and not one.pages and choice.strategy == LAST_UPDATED:
        known = reconsidered(follow, type_)
        if known is not None and choice_of(follow.connection, known, type_).strategy in ONE_BY_ONE:
            choice = choice_of(follow.connection, known, type_)
            one = _one_type(follow, type_, known)
    if reconciles and one.error is None:
        return reconcile_type(follow, one, choice)
    return note_missed(follow, one)


def _changes_in(report: TypeReport, strategy: str) -> int:
    """How many changes a pull brought; none can be told where patients who are read for the first time bring old ones."""
    return 0 if strategy in (*ONE_BY_ONE, BULK) else report.tally.applied


def _one_type(follow: Follow, type_: str, abilities: Abilities) -> TypeReport:
    """One type, by its strategy."""
    choice = choice_of(follow.connection, abilities, type_)
    if choice.strategy in ONE_BY_ONE:
        return pull(follow, type_, choice)
    if choice.strategy == BULK:
        return report_of(follow, type_)
    polled = poll_type(follow, type_, choice)
    if polled.error is not None or (abilities.history is not None and type_ not in abilities.history):
        return polled
    try:
        tally = poll_deletions(follow, type_)
    except RemoteFailure as failure:
        if abilities.history is None and failure.permanent:
            return replace(polled, notes=(*polled.notes, "the server has no history, so deletions are not seen"))
        error = f"deletions: {failure.message}"
        return replace(
            polled, error=error, permanent=failure.permanent, auth=failure.auth, retry_after=failure.retry_after
        )
    return replace(polled, tally=polled.tally + tally)


def failed_at_once(type_: str, failure: RemoteFailure) -> TypeReport:
    """The report of what could not even be begun."""
    return TypeReport(
        type=type_,
        error=failure.message,
        permanent=failure.permanent,
        auth=failure.auth,
        retry_after=failure.retry_after,
    )


def _noted(follow: Follow, came: _Done, reconciled: bool) -> SyncReport:
    """Write down how it went, for the next due time and for people; a first load goes on until everyone was read."""
    done = came.types
    errors = [one for one in done if one.error is not None]
    failed_whole = bool(done) and len(errors) == len(done)
    at = follow.now()
    with follow.database.read() as tx:
        state = cursors.find(tx, follow.connection.key, STATE)
    detail = dict(state.detail) if state else {}
    detail["failures"] = failures_of(state) + 1 if failed_whole else 0
    asked = max((one.retry_after or 0.0 for one in done), default=0.0)
    detail["not_before"] = instant(at + timedelta(seconds=asked)) if asked else None
    detail["next_type"] = came.next_type
    detail["more"] = not asked and any(one.more for one in done)
    is_loading = follow.connection.last_success_at is None and any(one.more and one.loading for one in done)
    if reconciled:
        note_reconciled(detail, at, failed=bool(errors))
    summary = "; ".join(f"{one.type}: {one.error}" for one in errors[:3]) or None
    state_name = "auth_failed" if errors and all(one.auth for one in done[-FAILURES_TO_STOP:]) else "failing"
    pause = pause_of(replace(follow.connection, state=state_name), detail["failures"])
    with follow.database.begin() as tx:
        follow.hold(tx)
        cursors.save(tx, state_cursor(follow, detail))
        if is_loading and not errors:
            connections.note_attempt(tx, follow.connection.key, at)
        elif summary is None:
            connections.note_success(tx, follow.connection.key, at)
        else:
            connections.note_failure(tx, follow.connection.key, at, summary, state=state_name)
    return SyncReport(
        connection=follow.connection.key,
        types=done,
        error=summary,
        unreachable=failed_whole and not any(one.permanent or one.auth for one in errors),
        not_before=at + pause if failed_whole else None,
    )
