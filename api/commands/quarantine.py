"""`fhir-tracker quarantine`: what an EHR sent and could not be applied - list, show, retry, discard."""

from __future__ import annotations

import argparse
from typing import Any

from api.command_acts import note_shown
from api.console import print_json, print_table, printable
from api.stores import open_store
from fhir_tracker import clock, quarantine
from fhir_tracker.config import Settings
from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.author import Author
from fhir_tracker.model.viewer import Viewer, worker_viewer
from fhir_tracker.storage.quarantine import Quarantined
from subscriptions import retry_quarantined

_EPILOG = """examples:
  fhir-tracker quarantine list
  fhir-tracker quarantine show 1234
  fhir-tracker quarantine retry
  fhir-tracker quarantine discard 1234 --reason "a test patient of theirs\""""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command group."""
    parser = subparsers.add_parser("quarantine", epilog=_EPILOG)
    group = parser.add_subparsers(metavar="ACTION", required=True)
    listed = group.add_parser("list", help="everything that waits")
    listed.add_argument("--connection", metavar="KEY", help="only of this connection")
    listed.set_defaults(func=_list)
    shown = group.add_parser("show", help="one entry with the text that was sent (patient data)")
    shown.add_argument("id", metavar="ID", type=int)
    shown.set_defaults(func=_show)
    retried = group.add_parser("retry", help="take one entry, or all of them, in again")
    retried.add_argument("id", metavar="ID", type=int, nargs="?")
    retried.set_defaults(func=_retry)
    dropped = group.add_parser(
        "discard",
        help="say of one entry that it is not needed",
        description="The entry waits no more, until the EHR sends another text for the same resource. It is kept with "
        "the reason.",
    )
    dropped.add_argument("id", metavar="ID", type=int)
    dropped.add_argument("--reason", metavar="TEXT", required=True, help="why it is not needed, without patient data")
    dropped.set_defaults(func=_discard)
    for one in group.choices.values():
        one.add_argument("--json", action="store_true", help="as JSON")


def _list(args: argparse.Namespace, settings: Settings) -> int:
    with open_store(settings) as database:
        with database.read() as tx:
            found = quarantine.waiting(tx, _viewer(), args.connection)
        note_shown(database, clock.now(), (one.patient for one in found))
    if args.json:
        print_json({"quarantined": [_summary(one) for one in found]})
    elif not found:
        print("nothing is in quarantine")
    else:
        columns = ("id", "connection", "type", "remoteId", "times", "lastSeen", "reason")
        print_table(columns, [[_summary(one)[name] for name in columns] for one in found])
    return 0


def _show(args: argparse.Namespace, settings: Settings) -> int:
    with open_store(settings) as database:
        with database.read() as tx:
            found = quarantine.get(tx, _viewer(), args.id)
        note_shown(database, clock.now(), [found.patient])
    if args.json:
        print_json({**_summary(found), "body": found.body})
        return 0
    for name, value in _summary(found).items():
        print(printable(f"{name:<12}{'-' if value is None else value}"))
    print()
    print(printable(found.body))
    return 0


def _retry(args: argparse.Namespace, settings: Settings) -> int:
    """Exit code 0 when everything tried is applied."""
    with open_store(settings) as database:
        with database.read() as tx:
            one = args.id is not None
            chosen = [quarantine.get(tx, _viewer(), args.id)] if one else quarantine.waiting(tx, _viewer())
        note_shown(database, clock.now(), (entry.patient for entry in chosen))
        results = [(entry, retry_quarantined(database, entry, clock.now)) for entry in chosen]
    left = [(entry, reason) for entry, reason in results if reason is not None]
    if args.json:
        told = [{"id": entry.id, "applied": reason is None, "reason": reason} for entry, reason in results]
        print_json({"retried": told})
        return 1 if left else 0
    for entry, reason in left:
        print(printable(f"{entry.id} {entry.type}: {reason}"))
    print(f"{len(results) - len(left)} of {len(results)} applied")
    return 1 if left else 0


def _discard(args: argparse.Namespace, settings: Settings) -> int:
    author = Author(viewer=_viewer(), origin="cli", at=clock.now())
    with open_store(settings) as database:
        with database.begin() as tx:
            entry = quarantine.get(tx, _viewer(), args.id)
            quarantine.discard(tx, entry, args.reason, author)
        note_shown(database, clock.now(), [entry.patient])
    if args.json:
        print_json({"discarded": args.id})
    else:
        print(f"{args.id} is discarded; it waits again when the EHR sends another text for it")
    return 0


def _summary(one: Quarantined) -> dict[str, Any]:
    return {
        "id": one.id,
        "connection": one.connection,
        "type": one.type,
        "remoteId": one.remote_id,
        "reason": one.reason,
        "times": one.times,
        "firstSeen": instant(one.first_seen_at),
        "lastSeen": instant(one.last_seen_at),
        "resolved": instant(one.resolved_at) if one.resolved_at else None,
        "resolution": one.resolution,
    }


def _viewer() -> Viewer:
    return worker_viewer("command-line")
