"""`fhir-tracker plan`: bring the work of one plan in step with its program."""

from __future__ import annotations

import argparse

from api.command_acts import note_work
from api.console import print_json, print_table
from api.stores import open_store
from fhir_tracker import clock, regeneration
from fhir_tracker.config import Settings
from fhir_tracker.model.author import Author
from fhir_tracker.model.viewer import worker_viewer


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the group and its command."""
    group = subparsers.add_parser("plan")
    actions = group.add_subparsers(metavar="ACTION", required=True, dest="action")
    one = actions.add_parser(
        "regenerate",
        help="make what the plan lacks, take back what it no longer wants",
        description="Makes the work that the plan's program and its own interventions want and that was never made, takes "
        "back what is no longer wanted and nobody has begun, and brings queue, priority, words and due time in step with "
        "the program where nobody changed them. Nothing is made twice; asking again does nothing.",
        epilog="example:\n  fhir-tracker plan regenerate CarePlan/0198c2e6-0000-7000-8000-000000000000 --dry-run",
    )
    one.add_argument("ref", metavar="CarePlan/ID", type=_plan)
    one.add_argument("--dry-run", action="store_true", help="say what would be done and do nothing")
    one.add_argument(
        "--re-own", action="store_true", help="also give work that nobody has begun to whom the care team names now"
    )
    one.set_defaults(func=regenerate)


def regenerate(args: argparse.Namespace, settings: Settings) -> int:
    """Regenerate one plan; 0, or 1 when there is none, it is over or in no program."""
    with open_store(settings) as database:
        with database.begin() as tx:
            author = Author(viewer=worker_viewer("command-line"), origin="cli", at=clock.now())
            steps = regeneration.regenerate(tx, args.ref, author, rehearse=args.dry_run, re_own=args.re_own)
        note_work(database, clock.now(), [args.ref])
    rows = [{"what": one.what, "work": one.work, "why": one.why} for one in steps]
    if args.json:
        print_json({"plan": args.ref, "dryRun": args.dry_run, "steps": rows})
    elif rows:
        print_table(("what", "work", "why"), [tuple(row.values()) for row in rows])
    else:
        print(f"{args.ref} has all the work it wants.")
    return 0


def _plan(text: str) -> str:
    type_, slash, id_ = text.partition("/")
    if type_ != "CarePlan" or not slash or not id_:
        raise argparse.ArgumentTypeError(f"{text!r} is not CarePlan/ID")
    return text
