"""`fhir-tracker rules poisoned`: items that the rules cannot work on."""

from __future__ import annotations

import argparse

from api.command_acts import note_work
from api.console import print_json, print_table
from api.stores import open_store
from fhir_tracker import clock, poison
from fhir_tracker.config import Settings
from fhir_tracker.fhir.dates import instant
from fhir_tracker.storage import poisoned as rows


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action."""
    held = actions.add_parser(
        "poisoned",
        help="items that the rules cannot work on, why, and when each is tried again",
        epilog="examples:\n  fhir-tracker rules poisoned\n  fhir-tracker rules poisoned --release --program tcm",
    )
    held.add_argument("--release", action="store_true", help="try them again at the next sweep")
    held.add_argument("--program", metavar="CODE", help="only those of this program")
    held.set_defaults(func=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """List or release what is put off; 0."""
    with open_store(settings) as database:
        with database.begin() as tx:
            found = [one for one in rows.all(tx) if args.program in (None, one.program)]
            released = poison.release(tx, clock.now(), args.program) if args.release else 0
        note_work(database, clock.now(), (one.ref for one in found))
    listed = [
        {
            "item": one.ref,
            "program": one.program,
            "times": one.times,
            "since": instant(one.since),
            "until": instant(one.until),
            "reason": one.reason,
        }
        for one in found
    ]
    if args.json:
        print_json({"poisoned": listed, "released": released})
    elif not listed:
        print("no item is put off")
    else:
        print_table(tuple(listed[0]), [[str(value) for value in one.values()] for one in listed])
    if released and not args.json:
        print(f"{released} are tried again at the next sweep")
    return 0
