"""How a connection follows its server: the options of `connection add` about it, and what `connection show` prints of it."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from api.console import print_table
from fhir_tracker.errors import UsageError
from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.definitions.registry import resource_types
from fhir_tracker.model.allowance import FORM, read_allowance
from fhir_tracker.search_seen import WAYS, checked_way
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.database import Tx
from subscriptions.code_files import tables_in
from subscriptions.shared_ways import told as way_of_searches
from subscriptions.showing import budget_of, reconciled_at, ways_of
from subscriptions.strategies import STRATEGIES, read_override

_TOPIC = re.compile(r"(https?://|urn:)[\x21-\x7e]{1,500}")


def register_options(add: argparse.ArgumentParser) -> None:
    """The options of `connection add`."""
    add.add_argument(
        "--strategy",
        action="append",
        default=[],
        metavar="TYPE=NAME",
        help=f"how a type is followed, in place of what is found out: {', '.join(STRATEGIES)}; after ? what each search "
        "must say, as in CarePlan=roster?category=assess-plan (may be repeated)",
    )
    add.add_argument(
        "--topic",
        action="append",
        default=[],
        metavar="TYPE=URL",
        help="the topic that tells of a type, where the server names none after it (may be repeated)",
    )
    add.add_argument("--budget", metavar="N", help=f"at most so many requests a minute: {FORM}")
    add.add_argument("--roster", metavar="FILE", help="ids of patients at the EHR, one a line, to be asked about")
    add.add_argument("--codes", metavar="FILE", help="what the EHR's own codes mean: TOML or JSON (docs/mappings.md)")
    add.add_argument(
        "--search-by",
        metavar="WAY",
        help=f"how searches that name a patient go: {', '.join(WAYS)} (auto: by POST, by GET where it takes none)",
    )
    add.add_argument("--group", metavar="ID", help="the Group at the EHR that bulk exports and the roster are of")


def options_of(args: argparse.Namespace) -> dict[str, Any]:
    """The options as a connection keeps them; UsageError for what makes no sense."""
    found: dict[str, Any] = {}
    for told in filter(None, args.strategy or ()):
        type_, _, name = told.partition("=")
        if type_ not in resource_types():
            raise UsageError(
                f"--strategy names a FHIR R4 resource type first, as in CarePlan=roster; {told!r} does not."
            )
        read_override(type_, name)
        found.setdefault("strategies", {})[type_] = name
    if any(args.topic or ()):
        found["topics"] = dict(_topic(told) for told in args.topic if told)
    if args.budget:
        read_allowance(args.budget)
        found["budget"] = args.budget
    if args.roster:
        found["roster_file"] = os.path.abspath(args.roster)
    if args.codes:
        tables_in(args.codes)
        found["codes"] = os.path.abspath(args.codes)
    if args.search_by:
        found["search_by"] = checked_way(args.search_by)
    if args.group:
        found["group"] = args.group.removeprefix("Group/")
    return found


def _topic(told: str) -> tuple[str, str]:
    type_, _, url = told.partition("=")
    if type_ not in resource_types() or not _TOPIC.fullmatch(url):
        raise UsageError(f"--topic is a FHIR R4 type and the address of a topic, as in Task=URL; {told!r} is not.")
    return type_, url


def followed(tx: Tx, connection: Connection, now: datetime) -> dict[str, Any]:
    """What `connection show` tells of it, for `--json`."""
    compared = reconciled_at(tx, connection)
    return {
        "budget": budget_of(tx, connection, now).as_json(),
        "searches": way_of_searches(tx, connection, now),
        "reconciledAt": instant(compared) if compared else None,
        "ways": [one.as_json() for one in ways_of(tx, connection, now)],
    }


def print_followed(told: Mapping[str, Any]) -> None:
    """The same for people."""
    budget = told["budget"]
    allowed = f"{budget['requestsPerMinute']} a minute" if budget["requestsPerMinute"] else "as many as are needed"
    print(f"{'requests':<18}{allowed}, circuit {budget['circuit']}", end="")
    print(f", nothing before {budget['notBefore']}" if budget["notBefore"] else "")
    print(f"{'compared':<18}{told['reconciledAt'] or 'not yet as a whole'}")
    print()
    columns = ("type", "strategy", "lagSeconds", "lastSuccess", "missedEvents", "notReturned", "due", "why", "quirks")
    print_table(columns, [[_cell(row, name) for name in columns] for row in told["ways"]])


def _cell(row: Mapping[str, Any], name: str) -> object:
    if name == "due":
        roster = row["roster"]
        return f"{roster['due']} of {roster['members']}" if roster else ""
    value = row[name]
    if name == "lagSeconds":
        return "" if value is None else round(value)
    return "; ".join(value) if isinstance(value, list) else value or ""
