"""What `fhir-tracker doctor` looks at in one connection: first the server itself, then how it is followed here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from api.authentication import Shown, ours
from api.authentication import examine as examine_login
from api.findings import Finding, fail, ok, warn
from api.freshness import TypeAge, age_of, is_stale, promised, type_ages
from api.server_doctor import examine_encryption, examine_key_page, examine_rights, examine_search
from fhir_tracker.config import Settings
from fhir_tracker.errors import RemoteFailure, TrackerError, UsageError
from fhir_tracker.signing_keys import Keyring
from fhir_tracker.storage import outbox, quarantine, remote_subscriptions
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.database import Database, Tx
from mappings import mapping_named
from subscriptions import Capabilities, EhrClient, Limits, client_of, read_capabilities
from subscriptions.code_files import tables_of
from subscriptions.showing import budget_of, completions_of, ways_of
from subscriptions.strategies import LAST_UPDATED, LAUNCH, NONE
from subscriptions.untold import COMPLAINTS

MOST_SKEW = timedelta(seconds=60)
WRITTEN_WITHIN = timedelta(minutes=15)
SECONDS_A_SERVER = 10.0


def examine_connection(
    settings: Settings, database: Database, connection: Connection, keys: Keyring, now: datetime
) -> Iterator[Finding]:
    """Every finding about one connection, the server's own first.

    A server that is away now is a warning: nothing here is broken, and following goes on by itself when it is back.
    """
    what, fix = f"connection {connection.key}", f"fhir-tracker connection test {connection.key}"
    try:
        limits = Limits(total_seconds=SECONDS_A_SERVER, tries=1)
        with client_of(connection, limits, database=database, keys=keys, now=lambda: now, insists=True) as client:
            yield from _server(settings, connection, client, keys, now)
    except RemoteFailure as error:
        told = fail if error.permanent or error.auth else warn
        yield told(what, error.message, _registered(ours(connection, keys, settings, now), fix) if error.auth else fix)
    except TrackerError as error:
        yield fail(what, error.message, fix)
    yield from _codes(connection)
    with database.read() as tx:
        yield _data(tx, connection, settings.poll_overlap, now)
        yield from _types(tx, connection, settings.poll_overlap, now)
        yield from _subscriptions(tx, connection, settings)
        yield _quarantine(tx, connection)
        yield from _outbox(tx, connection, now)
        yield _requests(tx, connection, now)


def _server(
    settings: Settings, connection: Connection, client: EhrClient, keys: Keyring, now: datetime
) -> Iterator[Finding]:
    what, fix = f"connection {connection.key}", f"fhir-tracker connection test {connection.key}"
    yield examine_encryption(connection)
    found = read_capabilities(client)
    if not found.is_r4:
        yield fail(what, f"speaks FHIR {found.fhir_version or 'unknown'}", fix)
        return
    yield ok(what, f"{found.software or 'a server'}, FHIR {found.fhir_version}")
    yield _clock(connection, found, now)
    wanted = connection.types or mapping_named(connection.mapping).wanted
    searched = [name for name in wanted if name in found.searchable]
    shown = examine_login(connection, client, keys, settings, now, searched)
    yield _login(connection, shown)
    yield from examine_rights(connection, shown.told, searched)
    yield from examine_key_page(settings, connection, shown.told)
    if shown.works:
        yield from examine_search(connection, client, _by_time(keys.database, connection, searched))


def _by_time(database: Database, connection: Connection, searched: Sequence[str]) -> str | None:
    """The first type that is followed by `_lastUpdated`."""
    with database.read() as tx:
        followed = completions_of(tx, connection)
    chosen = (type_ for type_, strategy, _ in followed if strategy == LAST_UPDATED and type_ in searched)
    return next(chosen, None)


def _clock(connection: Connection, found: Capabilities, now: datetime) -> Finding:
    what = f"{connection.key} clock"
    if found.served_at is None:
        return ok(what, "it does not tell the time")
    seconds = (found.served_at - now).total_seconds()
    if abs(seconds) > MOST_SKEW.total_seconds():
        fix = "set the clock of this machine (timedatectl set-ntp true), or tell who runs the EHR"
        return warn(what, f"its clock differs from ours by {seconds:+.0f} s", fix)
    return ok(what, f"{seconds:+.0f} s from ours")


def _login(connection: Connection, shown: Shown) -> Finding:
    what, kind = f"{connection.key} login", shown.told["kind"]
    problems = "; ".join(shown.problems)
    test = f"fhir-tracker connection test {connection.key}"
    if shown.told["state"] == "refused":
        return fail(what, problems or f"it does not take our {kind}", _registered(shown.told, test))
    if problems:
        return warn(what, problems, test)
    if "scopesGranted" in shown.told:
        return ok(what, f"{kind}: a token was given" + (", our key is known there" if "keyPage" in shown.told else ""))
    return ok(what, "none is asked for" if kind == "none" else f"{kind} is taken")


def _registered(told: Mapping[str, Any], test: str) -> str:
    """What the EHR has to know of us before it lets us in, then the command that tries it."""
    if "clientId" not in told:
        return test
    keys = f" with our keys, {told['keyPage']}" if "keyPage" in told else ""
    return f"register client {told['clientId']} there{keys}; then {test}"


def _codes(connection: Connection) -> Iterator[Finding]:
    if not connection.options.get("codes"):
        return
    what = f"{connection.key} codes"
    try:
        tables = tables_of(connection)
    except UsageError as error:
        yield fail(what, error.message, "correct the file that --codes names; nothing is followed until then")
        return
    known = sum(len(one) for one in tables.status.values()) + sum(len(one.codes) for one in tables.codings.values())
    yield ok(what, f"{known} codes of the practice's own")


def _data(tx: Tx, connection: Connection, overlap: timedelta, now: datetime) -> Finding:
    what = f"{connection.key} data"
    limit = promised(connection, overlap).total_seconds()
    age = max(age_of(connection, now).total_seconds(), 0.0)
    seconds = f"{age:.0f} s old, promised {limit:.0f} s"
    if not is_stale(connection, overlap, now):
        return ok(what, seconds if connection.last_success_at else "not yet read to the end")
    detail = seconds if connection.last_success_at else f"nothing has come for {age:.0f} s"
    if connection.last_error:
        detail += f": {connection.last_error}"
    return warn(what, detail, f"fhir-tracker sync {connection.key} --once, and see that a worker runs")


def _types(tx: Tx, connection: Connection, overlap: timedelta, now: datetime) -> Iterator[Finding]:
    what, show = f"{connection.key} types", f"fhir-tracker connection show {connection.key}"
    ages = type_ages(tx, connection, overlap, now)
    old = [one for one in ages if one.stale]
    if old and len(old) < len(ages):
        told = ", ".join(f"{one.type} ({_seconds(one)})" for one in old)
        yield warn(f"{connection.key} age", f"older than promised: {told}", f"{show} says why")
    ways = ways_of(tx, connection, now)
    followed = [one.type for one in ways if one.choice.strategy not in (NONE, LAUNCH)]
    missed = sum(one.missed for one in ways)
    empty = [one.type for one in ways if one.roster is not None and not one.roster.members]
    if not followed:
        yield warn(what, "none is followed", show)
    elif empty:
        fix = f"name the patients: connection add {connection.key} with --roster FILE or --group ID"
        yield warn(what, f"nobody is on the roster of {', '.join(empty)}, so nothing of it is read", fix)
    elif missed:
        fix = f"{show} says of which types; shorten --poll or choose another --strategy"
        yield warn(what, f"{missed} changes came only by comparing everything", fix)
    else:
        yield ok(what, f"{len(followed)} of {len(ways)} are followed, and no change was missed")


def _seconds(one: TypeAge) -> str:
    age = "never read to the end" if one.never else f"{one.age.total_seconds():.0f} s"
    return f"{age}, promised {one.promised.total_seconds():.0f} s"


def _subscriptions(tx: Tx, connection: Connection, settings: Settings) -> Iterator[Finding]:
    if connection.subscribe == "none":
        return
    what = f"{connection.key} subscriptions"
    held = remote_subscriptions.of_connection(tx, connection.key)
    working = [one.type for one in held if one.status in ("active", "requested")]
    bad = [one for one in held if one.status in ("lost", "refused") or one.reason in COMPLAINTS]
    if not settings.public_url:
        fix = "set FHIR_TRACKER_PUBLIC_URL to our address as the EHR sees it"
        yield warn(what, "it is not said under which address the EHR reaches us, so it is only polled", fix)
    elif bad:
        told = "; ".join(f"{one.type} {one.status}: {one.reason}" for one in bad)
        fix = f"nothing is lost, polling goes on; see fhir-tracker connection show {connection.key}"
        yield warn(what, told, fix)
    elif not working:
        yield warn(what, "none is active yet", f"fhir-tracker sync {connection.key} --once")
    else:
        gaps = sum(one.gaps for one in held)
        yield ok(what, f"{', '.join(working)} tell of changes" + (f", {gaps} gaps filled" if gaps else ""))


def _quarantine(tx: Tx, connection: Connection) -> Finding:
    what, held = f"{connection.key} quarantine", quarantine.open_count(tx, connection.key)
    fix = f"fhir-tracker quarantine list --connection {connection.key}, then retry or discard"
    return warn(what, f"{held} could not be applied", fix) if held else ok(what, "empty")


def _outbox(tx: Tx, connection: Connection, now: datetime) -> Iterator[Finding]:
    counts = outbox.counts(tx, connection.key)
    if not counts and not connection.options.get("write_back"):
        return
    what, since = f"{connection.key} outbox", outbox.oldest_waiting(tx, connection.key)
    stuck = [f"{counts[state]} {state}" for state in ("dead", "conflict") if counts.get(state)]
    if stuck:
        fix = f"fhir-tracker outbox list --connection {connection.key}, then retry or resolve"
        yield warn(what, f"for a person to decide: {', '.join(stuck)}", fix)
    elif since is not None and now - since > WRITTEN_WITHIN:
        minutes = f"{(now - since).total_seconds() / 60:.0f} min"
        yield warn(
            what, f"the oldest write waits since {minutes}", f"fhir-tracker outbox list --connection {connection.key}"
        )
    else:
        yield ok(what, f"{counts.get('waiting', 0)} to be written" if counts else "empty")


def _requests(tx: Tx, connection: Connection, now: datetime) -> Finding:
    what, standing = f"{connection.key} requests", budget_of(tx, connection, now)
    if standing.circuit != "closed":
        detail = f"the circuit is {standing.circuit} after {standing.failures} failures in a row"
        return warn(what, detail, f"wait, or fhir-tracker connection test {connection.key}")
    if standing.until is not None:
        seconds = f"{(standing.until - now).total_seconds():.0f} s"
        return warn(what, f"the server asked us to wait for {seconds} more", "nothing: it is asked again by itself")
    limit = f"at most {standing.per_minute} a minute" if standing.per_minute else "without a limit"
    return ok(what, f"circuit closed, {limit}")
