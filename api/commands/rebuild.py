"""`fhir-tracker rebuild`: drops every read model and makes it again from the store."""

from __future__ import annotations

import argparse

from api.console import print_json, progress
from api.stores import open_store
from fhir_tracker import clock
from fhir_tracker.config import Settings
from fhir_tracker.rebuilding import rebuild_all


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "rebuild",
        description="Drops the search index, work items, events, patient summaries and the sums that measures read and "
        "builds them again from what is stored. History, transitions, escalations and audit rows are not touched.",
    )
    parser.set_defaults(func=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Rebuild everything in one transaction; 0."""
    with open_store(settings) as database, progress("Rebuilding") as tell:
        counts = rebuild_all(database, clock.now(), tell)
    if args.json:
        print_json(counts)
    else:
        print("Rebuilt: " + ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items()) + ".")
    return 0
