"""`fhir-tracker jobs`: the work that workers do in the background, what of it failed for good, and how to try that again."""

from __future__ import annotations

import argparse

from api.console import print_json, print_table
from api.stores import open_store
from fhir_tracker import clock
from fhir_tracker.config import Settings
from fhir_tracker.fhir.dates import instant
from fhir_tracker.storage import jobs

_EPILOG = """examples:
  fhir-tracker jobs list
  fhir-tracker jobs retry 1234
  fhir-tracker jobs retry"""
_DEAD = ("id", "kind", "key", "attempts", "died", "reason")
_STATES = ("kind", "waiting", "running", "dead", "oldest due")


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command group."""
    parser = subparsers.add_parser("jobs", epilog=_EPILOG)
    group = parser.add_subparsers(metavar="ACTION", required=True)
    listed = group.add_parser("list", help="how many wait, run and died, by kind, and why each dead one did")
    listed.set_defaults(func=_list)
    retried = group.add_parser("retry", help="try dead jobs (these, or all) again", epilog=_EPILOG)
    retried.add_argument("id", metavar="ID", type=int, nargs="*")
    retried.set_defaults(func=_retry)
    for one in group.choices.values():
        one.add_argument("--json", action="store_true", help="as JSON")


def _list(args: argparse.Namespace, settings: Settings) -> int:
    with open_store(settings) as database, database.read() as tx:
        states, dead = jobs.states(tx), jobs.dead(tx)
    kinds = [
        [one.kind, one.waiting, one.running, one.dead, instant(one.oldest_due) if one.oldest_due else ""]
        for one in states
    ]
    rows = [
        [one.id, one.kind, one.key, one.attempts, instant(one.finished_at) if one.finished_at else "", one.last_error]
        for one in dead
    ]
    if args.json:
        told = {"kinds": [dict(zip(_STATES, one, strict=True)) for one in kinds]}
        print_json(told | {"dead": [dict(zip(_DEAD, one, strict=True)) for one in rows]})
        return 0
    if kinds:
        print_table(_STATES, [[str(value) for value in one] for one in kinds])
    else:
        print("no job waits, runs or has failed")
    if rows:
        print_table(_DEAD, [[str(value) for value in one] for one in rows])
    return 0


def _retry(args: argparse.Namespace, settings: Settings) -> int:
    with open_store(settings) as database, database.begin() as tx:
        count = jobs.revive(tx, clock.now(), args.id or None)
    if args.json:
        print_json({"waiting": count})
    else:
        print(f"{count} of the dead jobs wait again")
    return 0
