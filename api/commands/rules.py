"""`fhir-tracker rules`: why an item is in a queue, and what will happen next."""

from __future__ import annotations

import argparse

from api.command_acts import note_shown, note_work
from api.commands import rules_poisoned
from api.commands.program_changes import moment
from api.console import print_json, print_lines
from api.stores import open_store
from fhir_tracker import brake, clock, programs, rule_replay
from fhir_tracker.config import Settings
from fhir_tracker.explain import explain
from fhir_tracker.model.viewer import worker_viewer


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the group and its command."""
    group = subparsers.add_parser("rules")
    actions = group.add_subparsers(metavar="ACTION", required=True, dest="action")
    one = actions.add_parser(
        "explain",
        help="each rule of an item: does it hold, why, and the next level's time",
        epilog="example:\n  fhir-tracker rules explain Task/0198c2e6-0000-7000-8000-000000000000 --json",
    )
    one.add_argument("ref", metavar="Task/ID", type=_reference)
    one.add_argument("--json", action="store_true", help="the same as JSON")
    one.set_defaults(func=run)
    then = actions.add_parser(
        "replay",
        help="what the rules said at an earlier moment, beside what really fired",
        epilog="example:\n  fhir-tracker rules replay --as-of 2026-03-10T21:00:00Z Task/0198c2e6-0000-7000-8000-000000000000",
    )
    then.add_argument(
        "--as-of", required=True, metavar="TIME", type=moment, help="the moment, such as 2026-03-10T21:00:00Z"
    )
    then.add_argument(
        "ref", metavar="Task/ID", type=_reference, nargs="?", help="one item; else all of which something was wanted"
    )
    then.set_defaults(func=replay)
    free = actions.add_parser(
        "release", help="let escalations go out again after the mass-escalation brake stopped them"
    )
    free.add_argument("--program", metavar="CODE", help="only the brake of this program")
    free.set_defaults(func=release)
    rules_poisoned.register(actions)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Explain one item; 0, or 1 when there is none."""
    with open_store(settings) as database:
        with database.read() as tx:
            explanation = explain(tx, worker_viewer("command-line"), args.ref, clock.now())
        note_shown(database, clock.now(), [explanation.item.patient])
    if args.json:
        print_json(explanation.as_json())
    else:
        print_lines(explanation.as_lines())
    return 0


def replay(args: argparse.Namespace, settings: Settings) -> int:
    """Ask the rules as of an earlier moment; 0, or 1 when something was wanted then that never fired."""
    viewer = worker_viewer("command-line")
    with open_store(settings) as database:
        with database.read() as tx:
            codes = tuple(dict.fromkeys(one.code for one in programs.all_programs(tx)))
            found = [rule_replay.of_item(tx, viewer, args.ref, args.as_of)] if args.ref else []
        if not args.ref:
            found = list(rule_replay.waiting(database, viewer, codes, args.as_of))
        note_work(database, clock.now(), (one.item for one in found))
    if args.json:
        print_json([one.as_json() for one in found])
    else:
        lines = [line for one in found for line in one.as_lines(whole=bool(args.ref))]
        print_lines(lines or ["Nothing was wanted then that had not fired."])
    return 1 if any(said.fired_at is None for one in found for said in one.wanted) else 0


def release(args: argparse.Namespace, settings: Settings) -> int:
    """Release the brake; 0, also when it was not on."""
    with open_store(settings) as database, database.begin() as tx:
        released = brake.release(tx, clock.now(), args.program)
    if args.json:
        print_json({"released": released is not None, "escalations": released.escalations if released else 0})
    elif released is None:
        print("The brake is not on.")
    else:
        print(f"Released: {released.escalations} escalations held since {released.since} go out at the next sweep.")
    return 0


def _reference(text: str) -> str:
    type_, slash, id_ = text.partition("/")
    if type_ not in ("Task", "CarePlan") or not slash or not id_:
        raise argparse.ArgumentTypeError(f"{text!r} is not Task/ID or CarePlan/ID")
    return text
