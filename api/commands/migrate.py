"""`fhir-tracker migrate`: brings a database to the shape this version needs."""

from __future__ import annotations

import argparse

from api.command_acts import note_begun
from api.console import print_json, progress
from api.stores import open_store
from fhir_tracker import clock
from fhir_tracker.config import Settings
from fhir_tracker.storage.schema import migrate


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "migrate",
        description="Takes each missing step in one transaction. Make a copy of the database first.",
    )
    parser.set_defaults(func=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Migrate; 0, also when there was nothing to do."""
    with open_store(settings, prepared=False) as database, progress("Migrating"):
        steps = migrate(database)
        note_begun(database, clock.now())
    if args.json:
        print_json({"steps": steps})
    else:
        print("\n".join(steps) if steps else "The database is up to date.")
    return 0
