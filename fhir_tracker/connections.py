"""Connections to EHR servers: what a valid one is, when each is next due, and what removing one leaves behind."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from fhir_tracker import outgoing, records, search_seen
from fhir_tracker.authentication import checked_authentication
from fhir_tracker.errors import Conflict, NotFound, UsageError
from fhir_tracker.fhir.definitions.registry import resource_types
from fhir_tracker.ownership import checked_owners, checked_write_back
from fhir_tracker.setting_texts import duration
from fhir_tracker.storage import absences, budgets, connections, cursors, resources, rosters
from fhir_tracker.storage import settings as states
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.database import Tx

_ADDRESS_OF = "connection-address:"
STALLED = timedelta(minutes=2)
LONGEST_PAUSE = timedelta(minutes=15)
LONGEST_POLL = 7 * 86_400
SUBSCRIBE = ("auto", "rest-hook", "backport", "none")
_KEY = re.compile(r"[a-z0-9-]{1,20}")


def add(
    tx: Tx,
    key: str,
    base_url: str,
    *,
    now: datetime,
    mapping: str = "generic",
    poll_seconds: int = 30,
    types: Sequence[str] = (),
    subscribe: str = "none",
    options: Mapping[str, Any] | None = None,
    moved: bool = False,
) -> Connection:
    """Remember a new connection; UsageError for parts that make no sense, Conflict when the key would make another's ids.

    `types` empty means those of the mapping; `options` hold among others how we show who we are (`fhir_tracker.authentication`).
    `moved` says that a key used before belongs to the same server under a new address.
    """
    if connections.find(tx, key) is not None:
        raise Conflict(
            f"There is a connection {key} already: change it (fhir-tracker connection change {key}), remove it first, "
            "or choose another key."
        )
    _check_apart(tx, checked_key(key))
    made = Connection(
        key=key,
        base_url=checked_base_url(base_url),
        mapping=mapping,
        poll_seconds=poll_seconds,
        types=checked_types(types),
        subscribe=checked_subscribe(subscribe),
        options=checked_options(options or {}),
        created_at=now,
    )
    checked_authentication(made.options, made.base_url)
    if not moved:
        _check_same_server(tx, made)
    connections.add(tx, made)
    _write_back(tx, made, now)
    return made


def change(tx: Tx, changed: Connection, *, now: datetime) -> None:
    """Follow a connection that there is by other terms from now on: how often, which types, told or not, options.

    What was read, and how far, stays. UsageError for parts that make no sense, as of a new one, NotFound when it is gone.
    """
    check_terms(changed)
    get(tx, changed.key)
    search_seen.forget(tx, changed.key)
    connections.set_terms(tx, changed)
    _write_back(tx, changed, now)


def check_terms(connection: Connection) -> None:
    """UsageError when the terms by which a connection is to be followed make no sense."""
    checked_types(connection.types)
    checked_subscribe(connection.subscribe)
    checked_options(connection.options)
    checked_authentication(connection.options, connection.base_url)


def _write_back(tx: Tx, connection: Connection, now: datetime) -> None:
    outgoing.forget_targets(tx)
    if connection.options.get("write_back"):
        outgoing.identifier_system(tx, records.fresh_id(now))


def _check_same_server(tx: Tx, made: Connection) -> None:
    """One id can be two patients on two servers: what an old server brought never meets the data of another."""
    before = states.get(tx, _ADDRESS_OF + made.key)
    if before in (None, made.base_url) or made.key not in resources.mirrored_connections(tx):
        return
    raise Conflict(
        f"What {made.key} brought from {before} is still here, and the ids of another server would mix with it: choose "
        "another key, or add --moved when it is the same server under a new address."
    )


def first_load_under_way(tx: Tx, now: datetime) -> bool:
    """Whether some server is being read for the first time and is making progress.

    Half of a record misleads: what looks missing may come with the next page. A first load that stopped or failed is not
    waited for.
    """
    return any(
        one.state == "new" and any(now - cursor.updated_at < STALLED for cursor in cursors.of_connection(tx, one.key))
        for one in connections.all(tx)
    )


def get(tx: Tx, key: str) -> Connection:
    """The connection called `key`; NotFound says which there are."""
    found = connections.find(tx, key)
    if found is None:
        there = ", ".join(one.key for one in connections.all(tx)) or "none"
        raise NotFound(f"There is no connection {key}; there are: {there}.")
    return found


def remove(tx: Tx, key: str) -> Connection:
    """Forget a connection, its cursors and its back-off. What it mirrored stays readable, with its history."""
    found = get(tx, key)
    connections.remove(tx, key)
    for forget in (rosters.forget, absences.forget, budgets.forget, search_seen.forget):
        forget(tx, key)
    outgoing.forget_targets(tx)
    states.put(tx, _ADDRESS_OF + key, found.base_url)
    return found


def pause_after(poll_seconds: int, failures: int) -> timedelta:
    """How long to leave a server alone after `failures` in a row: doubling from the poll interval, 15 minutes at most."""
    interval = timedelta(seconds=poll_seconds)
    if failures == 0:
        return interval
    longest = max(LONGEST_PAUSE, interval)
    doubled: timedelta = interval * (1 << min(failures, 12))
    return min(doubled, longest)


def pause_of(found: Connection, failures: int) -> timedelta:
    """How long a server that failed so often in a row is left alone: not longer than a poll, which finds it when it is back.

    One that refuses our credentials is asked less and less, since asking may lock them.
    """
    return pause_after(found.poll_seconds, failures if found.state == "auth_failed" else 0)


def checked_key(key: str) -> str:
    """A key of 1 to 20 small letters, digits and hyphens; it begins the id of everything mirrored."""
    if not _KEY.fullmatch(key):
        raise UsageError(f"A connection key has 1 to 20 of a-z, 0-9 and hyphen; {key!r} has not.")
    return key


def _check_apart(tx: Tx, key: str) -> None:
    """No key may be another one with a hyphen and more: `a` with `b-1` and `a-b` with `1` would both make `a-b-1`."""
    for other in sorted({*(one.key for one in connections.all(tx)), *resources.mirrored_connections(tx)}):
        if key.startswith(f"{other}-") or other.startswith(f"{key}-"):
            raise Conflict(f"The keys {other} and {key} would make the same ids; choose one that begins differently.")


def checked_base_url(url: str) -> str:
    """An http(s) address without closing slash, query, fragment or user."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or not url.isascii() or not url.isprintable() or " " in url:
        raise UsageError("--base-url has to be an http or https address, such as https://ehr.example/fhir.")
    if parts.username or parts.password:
        raise UsageError("--base-url may not hold a user or password; use --auth and --secret-file.")
    if parts.query or parts.fragment or "?" in url or "#" in url:
        raise UsageError("--base-url may not have a query or fragment.")
    return url.rstrip("/")


def checked_types(types: Sequence[str]) -> tuple[str, ...]:
    """FHIR R4 resource types, each once, in the order given."""
    unknown = [name for name in types if name not in resource_types()]
    if unknown:
        raise UsageError(f"Not a FHIR R4 resource type: {', '.join(unknown)}.")
    return tuple(dict.fromkeys(types))


def checked_subscribe(subscribe: str) -> str:
    """How changes are also pushed to us."""
    if subscribe not in SUBSCRIBE:
        raise UsageError(f"--subscribe is one of {', '.join(SUBSCRIBE)}.")
    return subscribe


def checked_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a connection; a secret itself is never among them, only the path of its file."""
    checked_write_back(options.get("write_back") or ())
    checked_owners(options.get("owners") or {})
    search_seen.checked_way(options.get("search_by") or search_seen.AUTO)
    return dict(options)


def seconds(text: str) -> int:
    """`30s`, `5m`, `2h` or plain seconds as whole seconds, 1 second to a week; UsageError for anything else."""
    try:
        value = int(duration(text).total_seconds())
    except ValueError:
        value = 0
    if not 1 <= value <= LONGEST_POLL:
        raise UsageError(f"{text!r} is not a duration such as 30s, 5m or 2h (1s to 7d).")
    return value
