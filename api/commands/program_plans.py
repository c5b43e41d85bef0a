"""`fhir-tracker program dry-run | approve | migrate-plans | rollback`: what a version does to real work, before and after."""

from __future__ import annotations

import argparse
from datetime import datetime, timedelta

from api.command_acts import note_work
from api.commands.program_changes import as_json, author_of, count, moment, say_who, terms_of, told, version_named
from api.console import print_json, print_lines
from api.stores import open_store
from fhir_tracker import clock, dry_run, plan_migration, programs, publishing
from fhir_tracker.config import Settings
from fhir_tracker.errors import UsageError
from fhir_tracker.model.plan_map import read_map
from fhir_tracker.plan_migration import Migrated
from fhir_tracker.setting_texts import duration


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to the group."""
    dry = actions.add_parser(
        "dry-run",
        help="play real history again under a version: what would have fired, beside what did",
        description="Reads only. Names work and owners by reference, never patients.",
        epilog="example:\n  fhir-tracker program dry-run tcm --file tcm.yaml --since 30d",
    )
    dry.add_argument("version", metavar="VERSION", help="CODE, CODE:N or FILE: what is played again")
    dry.add_argument("--file", metavar="NEW.yaml", help="the new version, when VERSION names the program only")
    dry.add_argument("--since", metavar="AGE", type=age, default=timedelta(days=30), help="how far back (30d)")
    dry.add_argument("--until", metavar="TIME", type=moment, help="up to when; now when left out")
    dry.add_argument("--patients", metavar="N", type=count, help="only the first N patients by id")
    dry.set_defaults(func=run_dry)
    agree = actions.add_parser("approve", help="say as a second person that a version that waits is right")
    agree.add_argument("code", metavar="CODE")
    agree.add_argument("--version", type=int, metavar="N", help="which; the newest that waits when left out")
    agree.add_argument("--no-plans", action="store_true", help="of a rollback: leave running plans where they are")
    say_who(agree)
    agree.set_defaults(func=approve)
    move = actions.add_parser(
        "migrate-plans",
        help="move running plans and their open work to another version, by a map",
        description="Plan by plan; run it again after an interruption. Due times and what has escalated stay as they are.",
        epilog="example:\n  fhir-tracker program migrate-plans tcm --to 3 --map calling=trying,stage:early=active --dry-run",
    )
    move.add_argument("code", metavar="CODE")
    move.add_argument("--to", type=int, metavar="N", help="the version; the active one when left out")
    move.add_argument(
        "--map", action="append", default=[], metavar="OLD=NEW,...", help="codes that are called otherwise"
    )
    move.add_argument("--dry-run", action="store_true", help="only say what would change and what has no place")
    say_who(move)
    move.set_defaults(func=migrate)
    back = actions.add_parser("rollback", help="go back, now, to the text that was in force before, running plans too")
    back.add_argument("code", metavar="CODE")
    back.add_argument("--to", type=int, metavar="N", help="which earlier version; the one before when left out")
    back.add_argument("--no-plans", action="store_true", help="leave running plans on the version they are on")
    say_who(back)
    back.set_defaults(func=roll_back)


def age(text: str) -> timedelta:
    """An age on the command line, such as 30d."""
    try:
        return duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None


def run_dry(args: argparse.Namespace, settings: Settings) -> int:
    """Play history again; 0 whatever comes out, 1 when there is no such program."""
    until = args.until or clock.now()
    since = _since(until, args.since)
    with open_store(settings) as database:
        with database.read() as tx:
            candidate = version_named(tx, args.file or args.version)
            programs.required(tx, candidate.code)
        if args.file and args.version.partition(":")[0] != candidate.code:
            raise UsageError(f"{args.file} is a version of {candidate.code}, not of {args.version}.")
        report = dry_run.run(database, candidate, since, until, most=args.patients)
        note_work(database, clock.now(), (one.item for some in report.examples.values() for one in some))
    if args.json:
        print_json(report.as_json())
    else:
        print_lines(report.as_lines())
    return 0


def _since(until: datetime, back: timedelta) -> datetime:
    try:
        return until - back
    except OverflowError:
        raise UsageError("--since reaches back before the calendar begins.") from None


def migrate(args: argparse.Namespace, settings: Settings) -> int:
    """Move plans, or with --dry-run say what would change; 0, or 1 when open work has no place or had to stay."""
    with open_store(settings) as database:
        with database.read() as tx:
            wanted = programs.required(tx, args.code, args.to)
            by = read_map(args.map, wanted)
            seen = plan_migration.preview(tx, wanted, by)
        if args.dry_run or seen.refused:
            _print(args, seen.as_json(), seen.as_lines())
            return 1 if seen.refused else 0
        reason = args.reason or f"Moved to version {wanted.version} of {wanted.title}"
        control = terms_of(args, settings).control
        done = plan_migration.migrate(database, wanted, by, author_of(args), reason, control)
        note_work(database, clock.now(), done.left)
    _print(args, seen.as_json() | _done_json(done), [*seen.as_lines(), *_done_lines(done)])
    return 1 if done.left else 0


def roll_back(args: argparse.Namespace, settings: Settings) -> int:
    """Publish the earlier text as a new version and take the plans along; 0, or 1 when some had to stay.

    Where it waits for a second person, plans stay until it is approved.
    """
    author = author_of(args)
    with open_store(settings) as database:
        with database.begin() as tx:
            left = programs.required(tx, args.code).version
            row = publishing.roll_back(tx, args.code, author, terms_of(args, settings), to=args.to)
            wanted = programs.program_of(row)
        done = Migrated()
        if row.status == "active" and not args.no_plans:
            reason = args.reason or f"Back to the text of version {row.rolls_back}"
            done = plan_migration.migrate_back(database, left, wanted, author, reason)
        note_work(database, clock.now(), done.left)
    _print(args, as_json(row) | _done_json(done), [told(row), *_done_lines(done)])
    return 1 if done.left else 0


def approve(args: argparse.Namespace, settings: Settings) -> int:
    """Approve a draft, and take plans along where it goes back to an earlier text; 0, or 1 when some had to stay."""
    author = author_of(args)
    with open_store(settings) as database:
        with database.begin() as tx:
            left = programs.load(tx, args.code)
            row = publishing.approve(tx, args.code, args.version, author)
            wanted = programs.program_of(row)
        done = Migrated()
        if row.rolls_back is not None and row.status == "active" and left is not None and not args.no_plans:
            reason = row.reason or f"Back to the text of version {row.rolls_back}"
            done = plan_migration.migrate_back(database, left.version, wanted, author, reason)
        note_work(database, clock.now(), done.left)
    moved = row.rolls_back is not None
    _print(args, as_json(row) | (_done_json(done) if moved else {}), [told(row), *(_done_lines(done) if moved else [])])
    return 1 if done.left else 0


def _done_json(done: Migrated) -> dict[str, object]:
    return {"movedPlans": done.plans, "movedTasks": done.tasks, "stay": done.left}


def _done_lines(done: Migrated) -> list[str]:
    lines = [f"moved {done.plans} plans and {done.tasks} tasks"]
    return lines + [f"  stays: {ref}: {why}" for ref, why in sorted(done.left.items())]


def _print(args: argparse.Namespace, value: dict[str, object], lines: list[str]) -> None:
    if args.json:
        print_json(value)
    else:
        print_lines(lines)
