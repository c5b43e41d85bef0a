"""`fhir-tracker program dry-run`: what a new version would have done to real work, before it is published."""

from __future__ import annotations

import argparse
from datetime import timedelta

from api.commands.program_changes import moment, version_named
from api.console import print_json
from api.stores import open_store
from fhir_tracker import clock, dry_run, programs
from fhir_tracker.config import Settings, duration
from fhir_tracker.errors import UsageError


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
    dry.add_argument("--patients", metavar="N", type=int, help="only the first N patients by id")
    dry.set_defaults(func=run_dry)


def age(text: str) -> timedelta:
    """An age on the command line, such as 30d."""
    try:
        return duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None


def run_dry(args: argparse.Namespace, settings: Settings) -> int:
    """Play history again; 0 whatever comes out, 1 when there is no such program."""
    until = args.until or clock.now()
    with open_store(settings) as database:
        with database.read() as tx:
            candidate = version_named(tx, args.file or args.version)
            programs.required(tx, candidate.code)
        if args.file and args.version.partition(":")[0] != candidate.code:
            raise UsageError(f"{args.file} is a version of {candidate.code}, not of {args.version}.")
        report = dry_run.run(database, candidate, until - args.since, until, most=args.patients)
    if args.json:
        print_json(report.as_json())
    else:
        print("\n".join(report.as_lines()))
    return 0
