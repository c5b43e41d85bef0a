"""`fhir-tracker connection`: the EHR servers that are followed - add, list, show, test, remove."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from api.authentication import examine
from api.commands import connection_smart, connection_terms, following
from api.commands.connection_terms import EPILOG
from api.commands.connection_words import own_part, print_shown, summary
from api.console import print_json, print_table
from api.former_client import former_client
from api.stores import open_store, secret_key
from fhir_tracker import clock, connections
from fhir_tracker.config import Settings
from fhir_tracker.errors import RemoteFailure
from fhir_tracker.fhir.dates import instant
from fhir_tracker.signing_keys import Keyring
from fhir_tracker.storage import connections as stored
from fhir_tracker.storage import cursors, quarantine, remote_subscriptions
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.cursors import Cursor
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.remote_subscriptions import RemoteSubscription
from mappings import mapping_named
from subscriptions import Capabilities, Limits, client_of, endpoint_of, leave, next_due, read_capabilities

SKEW_SECONDS = 5.0


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command group."""
    parser = subparsers.add_parser("connection", epilog=EPILOG)
    group = parser.add_subparsers(metavar="ACTION", required=True)
    connection_terms.register(group)
    connection_smart.register(group)
    listed = group.add_parser("list", help="all connections and how they do")
    listed.set_defaults(func=_list)
    for name, function, about in (
        ("show", _show, "one connection, type by type"),
        ("test", _test, "ask the server what it is and can do; changes nothing"),
        ("remove", _remove, "stop following a server, and let nobody in from there; what was mirrored stays readable"),
    ):
        one = group.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
        one.add_argument("key", metavar="KEY")
        one.set_defaults(func=function)
        if name == "remove":
            one.add_argument("--yes", action="store_true", help="do not ask")
    for one in group.choices.values():
        one.add_argument("--json", action="store_true", help="as JSON")


def _list(args: argparse.Namespace, settings: Settings) -> int:
    with open_store(settings) as database, database.read() as tx:
        found = [summary(one) | {"quarantined": quarantine.open_count(tx, one.key)} for one in stored.all(tx)]
    if args.json:
        print_json({"connections": found})
    elif not found:
        print("no connection yet; add one: fhir-tracker connection add KEY --base-url URL")
    else:
        columns = ("key", "state", "baseUrl", "lastSuccess", "quarantined", "lastError")
        print_table(columns, [[one[name] for name in columns] for one in found])
    return 0


def _show(args: argparse.Namespace, settings: Settings) -> int:
    with open_store(settings) as database, database.read() as tx:
        shown = _detail(tx, connections.get(tx, args.key))
    if args.json:
        print_json(shown)
        return 0
    rows, told = shown.pop("cursors"), shown.pop("subscriptions")
    ways = {name: shown.pop(name) for name in ("budget", "reconciledAt", "ways")}
    for name, value in shown.items():
        text = ", ".join(value) if isinstance(value, list | tuple) else value
        print(f"{name:<18}{'-' if text in (None, '') else text}")
    following.print_followed(ways)
    print()
    columns = ("type", "watermark", "completedAt", "lagSeconds", "reading")
    print_table(columns, [[row[name] for name in columns] for row in rows])
    if told:
        print()
        print_table(("subscription", *list(told[0])[1:]), [list(one.values()) for one in told])
    return 0


def _test(args: argparse.Namespace, settings: Settings) -> int:
    with open_store(settings) as database, database.read() as tx:
        connection = connections.get(tx, args.key)
    limits = Limits(total_seconds=settings.remote_timeout.total_seconds(), tries=1)
    wanted = connection.types or mapping_named(connection.mapping).wanted
    with open_store(settings) as database:
        keys = Keyring(database=database, secret_key=secret_key(settings))
        with client_of(connection, limits, database=database, keys=keys, insists=True) as client:
            try:
                found = read_capabilities(client)
            except RemoteFailure as failure:
                return _untested(args, connection, failure, own_part(database, connection, settings))
            followed = [name for name in wanted if name in found.searchable]
            shown = examine(connection, client, keys, settings, clock.now(), followed)
    told = _told(found, wanted)
    if args.json:
        print_json({"key": connection.key, "reachable": True, **told, "authentication": shown.as_json()})
    else:
        _print_told(connection, told)
        print_shown(shown.told, shown.problems)
    return 0 if found.is_r4 and shown.works else 1


def _remove(args: argparse.Namespace, settings: Settings) -> int:
    if not args.yes and sys.stdin.isatty():
        print(f"Stop following {args.key}? What was mirrored stays readable. Type its name to go on: ", end="")
        sys.stdout.flush()
        if sys.stdin.readline().strip() != args.key:
            print("nothing was changed")
            return 1
    with open_store(settings) as database:
        left = _left(database, args.key, settings)
    if args.json:
        print_json({"removed": args.key, "mirroredDataKept": True} | ({"subscriptionsLeft": left} if left else {}))
    else:
        print(f"removed {args.key}; what it mirrored stays readable, with its history")
        if left:
            print(f"its server still holds our Subscriptions for {', '.join(left)}; delete them there")
    return 0


def _left(database: Database, key: str, settings: Settings) -> list[str]:
    """Stop following; the types of our Subscriptions that are still at the server."""
    with database.read() as tx:
        connection = connections.get(tx, key)
    keys = Keyring(database=database, secret_key=secret_key(settings))
    with former_client(connection, keys, settings.remote_timeout) as client:
        return leave(database, connection, client, now=clock.now, hook=endpoint_of(settings.public_url, key))


def _untested(args: argparse.Namespace, connection: Connection, failure: RemoteFailure, told: dict[str, Any]) -> int:
    if args.json:
        shown = {"authentication": {**told, "state": "refused"}} if failure.auth else {}
        print_json({"key": connection.key, "reachable": failure.auth, "error": failure.message, **shown})
    else:
        if failure.auth and "clientId" in told:
            print_shown(told, ())
        print(f"{connection.key}: {failure.message}", file=sys.stderr)
    return 1 if failure.permanent or failure.auth else 3


def _told(found: Capabilities, wanted: Sequence[str]) -> dict[str, Any]:
    skew = None if found.served_at is None else (found.served_at - clock.now()).total_seconds()
    problems = [] if found.is_r4 else [f"it speaks FHIR {found.fhir_version or '?'}, and this needs 4.0.x"]
    followed = [name for name in wanted if name in found.searchable]
    if not followed:
        problems.append("it can search none of the types we follow")
    plain = [name for name in followed if "_lastUpdated" not in found.searches.get(name, ())]
    if skew is not None and abs(skew) > SKEW_SECONDS:
        problems.append(f"its clock is {skew:+.0f} s from ours (polling goes by its own clock, and is not harmed)")
    return {
        "software": found.software,
        "fhirVersion": found.fhir_version,
        "followed": followed,
        "notOffered": [name for name in wanted if name not in found.searchable],
        "deletionsSeen": [name for name in followed if name in found.history],
        "withoutLastUpdated": plain,
        "clockSkewSeconds": skew,
        "problems": problems,
    }


def _print_told(connection: Connection, told: dict[str, Any]) -> None:
    print(f"{connection.key}: {told['software'] or 'a server'} answers, FHIR {told['fhirVersion'] or '?'}")
    for name, label in (
        ("followed", "will be followed"),
        ("notOffered", "not offered"),
        ("withoutLastUpdated", "no _lastUpdated listed"),
        ("deletionsSeen", "deletions are seen"),
    ):
        print(f"  {label:<24}{', '.join(told[name]) or '-'}")
    for problem in told["problems"]:
        print(f"  WARN  {problem}")


_FILES = {"codes": "codes", "roster": "roster_file", "group": "group"}
"""What a connection names besides its address, by the name of its option."""


def _detail(tx: Tx, one: Connection) -> dict[str, Any]:
    followed = [cursor for cursor in cursors.of_connection(tx, one.key) if cursor.type[0].isalpha()]
    return {
        **summary(one),
        "nextDue": instant(next_due(tx, one)),
        "quarantined": quarantine.open_count(tx, one.key),
        **{told: one.options.get(kept) for told, kept in _FILES.items()},
        "subscriptions": [_subscription(held) for held in remote_subscriptions.of_connection(tx, one.key)],
        "cursors": [_cursor(cursor) for cursor in followed],
        **following.followed(tx, one, clock.now()),
    }


def _subscription(held: RemoteSubscription) -> dict[str, Any]:
    return {
        "type": held.type,
        "kind": held.kind,
        "status": held.status,
        "reason": held.reason,
        "heard": instant(held.heard_at) if held.heard_at else None,
        "told": instant(held.told_at) if held.told_at else None,
        "untold": held.untold,
        "gaps": held.gaps,
    }


def _cursor(cursor: Cursor) -> dict[str, Any]:
    completed = cursor.detail.get("completed_at")
    return {
        "type": cursor.type,
        "watermark": instant(cursor.watermark) if cursor.watermark else None,
        "completedAt": completed,
        "lagSeconds": cursor.detail.get("lag"),
        "reading": "under way" if cursor.next_url else "",
    }
