"""`fhir-tracker notifications`: mails and webhook calls that were not taken, why, and trying them again - list, retry."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from api.command_acts import note_work
from api.console import print_json, print_lines, print_table
from api.stores import open_store
from fhir_tracker import clock
from fhir_tracker.config import Settings
from fhir_tracker.errors import NotFound
from fhir_tracker.fhir.dates import instant
from fhir_tracker.storage import dispatches
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.dispatches import STATES, Dispatch
from subscriptions import deliver_due

_COLUMNS = ("id", "channel", "to", "state", "attempts", "since", "nextTry", "reason")
_EPILOG = """examples:
  fhir-tracker notifications list
  fhir-tracker notifications list --state dead
  fhir-tracker notifications retry 1234
  fhir-tracker notifications retry"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command group."""
    parser = subparsers.add_parser("notifications", epilog=_EPILOG)
    group = parser.add_subparsers(metavar="ACTION", required=True)
    listed = group.add_parser("list", help="everything that is not sent, and why")
    listed.add_argument("--state", metavar="STATE", choices=STATES, help=f"one of {', '.join(STATES)}")
    listed.set_defaults(func=_list)
    retried = group.add_parser("retry", help="try one, or all that wait or failed, again now")
    retried.add_argument("id", metavar="ID", type=int, nargs="?")
    retried.set_defaults(func=_retry)
    for one in group.choices.values():
        one.add_argument("--json", action="store_true", help="as JSON")


def _list(args: argparse.Namespace, settings: Settings) -> int:
    with open_store(settings) as database:
        with database.read() as tx:
            left = dispatches.left(tx, [args.state] if args.state else ())
        _note(database, left)
    found = [_summary(one) for one in left]
    if args.json:
        print_json({"notifications": found})
    elif not found:
        print("everything was sent" if not args.state else f"nothing is {args.state}")
    else:
        print_table(_COLUMNS, [["-" if one[name] is None else one[name] for name in _COLUMNS] for one in found])
    return 0


def _retry(args: argparse.Namespace, settings: Settings) -> int:
    """Exit code 0 when nothing is left of what was tried."""
    with open_store(settings) as database:
        with database.begin() as tx:
            one = dispatches.find(tx, args.id) if args.id is not None else None
            if args.id is not None and (one is None or one.state == "sent"):
                raise NotFound(f"There is no notification {args.id} that was not sent.")
            chosen = [one] if one is not None else dispatches.left(tx)
            for each in chosen:
                dispatches.again(tx, each, clock.now())
        deliver_due(database, settings, clock.now)
        with database.read() as tx:
            rest = dispatches.left(tx)
        _note(database, rest)
    left = [_summary(each) for each in rest]
    if args.json:
        print_json({"retried": len(chosen), "left": left})
    else:
        told = "{id} {channel} to {to}: {state}: {why}".format
        lines = [told(why=row["reason"] or "not tried yet", **row) for row in left]
        print_lines([*lines, f"{len(chosen)} tried, {len(left)} left"])
    return 1 if left else 0


def _note(database: Database, told: Sequence[Dispatch]) -> None:
    with database.read() as tx:
        subjects = dispatches.subjects(tx, [id_ for one in told for id_ in one.notifications])
    note_work(database, clock.now(), (one.ref for one in subjects))


def _summary(one: Dispatch) -> dict[str, Any]:
    return {
        "id": one.id,
        "channel": one.channel,
        "to": one.role or one.person,
        "state": one.state,
        "notifications": len(one.notifications),
        "attempts": one.attempts,
        "since": instant(one.created_at),
        "nextTry": instant(one.due_at) if one.state == "waiting" else None,
        "reason": one.reason,
    }
