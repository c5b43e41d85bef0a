"""`fhir-tracker sync`: bring what the EHR servers hold up to date, once, and say type by type what came of it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from api.console import print_json
from api.stores import open_store, with_secret_key
from api.sync_line import SyncLine
from fhir_tracker import clock, connections
from fhir_tracker.config import Settings
from fhir_tracker.errors import Busy, UsageError
from fhir_tracker.intake import Tally
from fhir_tracker.storage import connections as stored
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.database import Database
from subscriptions import SyncReport, TypeReport, client_of, keys_of, limits_of, sync_connection

PATIENCE = timedelta(seconds=30)
_COLUMNS = ("type", "fetched", "applied", "unchanged", "deleted", "quarantined", "lag")


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "sync",
        description="Polls every type of one connection, or of all, and exits: 0 all types complete, 1 some failed, "
        "3 a server could not be reached. `serve` and `worker` do this by themselves.",
        epilog="examples:\n  fhir-tracker sync --once\n  fhir-tracker sync clinic --once --json",
    )
    parser.add_argument("key", nargs="?", metavar="KEY", help="the connection; without it all of them")
    parser.add_argument("--once", action="store_true", help="one round, then exit")
    parser.add_argument(
        "--reconcile", action="store_true", help="then compare all that the server holds with what is here"
    )
    parser.add_argument("--types", metavar="A,B", help="only these types")
    parser.add_argument("--json", action="store_true", help="the report as JSON")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Sync once; the exit code says whether everything is complete."""
    if not args.once:
        raise UsageError("Say --once; to follow continually, run `fhir-tracker serve` or `fhir-tracker worker`.")
    with open_store(settings) as database:
        chosen, settings = _chosen(database, args.key, args.types), with_secret_key(settings)
        reports = [_sync(database, connection, settings, args) for connection in chosen]
    if args.json:
        print_json({"connections": [one.as_json() for one in reports]})
    return _code(reports)


def _chosen(database: Database, key: str | None, types: str | None) -> list[Connection]:
    with database.read() as tx:
        chosen = [connections.get(tx, key)] if key else stored.all(tx)
    if not chosen:
        raise UsageError("There is no connection yet: fhir-tracker connection add KEY --base-url URL")
    if types is None:
        return chosen
    wanted = connections.checked_types([name.strip() for name in types.split(",") if name.strip()])
    return [replace(one, types=wanted) for one in chosen]


def _sync(database: Database, connection: Connection, settings: Settings, args: argparse.Namespace) -> SyncReport:
    """One connection, each type said when it is done; while another process has the connection, wait a little."""
    quiet = bool(args.json)
    line = SyncLine(sys.stderr, clock.monotonic)

    def done_with(one: TypeReport) -> None:
        line.clear()
        _show_type(one)

    ends = clock.monotonic() + PATIENCE.total_seconds()
    if not quiet:
        print(f"{connection.key} ({connection.base_url})")
        _row(_COLUMNS)
    with client_of(connection, limits_of(settings), database=database, keys=keys_of(database, settings)) as client:
        while True:
            try:
                done = sync_connection(
                    database,
                    connection,
                    client=client,
                    now=clock.now,
                    report=_silent if quiet else done_with,
                    heard=_unheard if quiet else line.heard,
                    overlap=settings.poll_overlap,
                    reconciles=args.reconcile,
                    public_url=settings.public_url,
                )
            except Busy:
                if clock.monotonic() >= ends:
                    raise
                clock.pause(0.5)
            else:
                if not quiet:
                    line.clear()
                    _show_end(done)
                return done


def _silent(_: TypeReport) -> None:
    pass


def _unheard(_: str, __: Tally) -> None:
    pass


def _show_type(one: TypeReport) -> None:
    lag = "-" if one.lag_seconds is None else f"{max(one.lag_seconds, 0.0):.0f}s"
    told = one.as_json() | {"lag": lag}
    _row([str(told[name]) for name in _COLUMNS])
    if one.missed:
        print(f"    missed events: {one.missed} changes that no poll or notification had brought")
    for note in one.notes:
        print(f"    note: {note}")
    if one.error is not None:
        print(f"    FAILED: {one.error}")
    sys.stdout.flush()


def _show_end(report: SyncReport) -> None:
    if report.complete:
        print("  complete")
    else:
        print(f"  not complete: {report.error}")
    if any(one.tally.quarantined for one in report.types):
        print("  some entries could not be applied; see: fhir-tracker quarantine list")


def _row(cells: Sequence[str]) -> None:
    first, *others = cells
    print(f"  {first:<22}" + "".join(f"{cell:>12}" for cell in others))


def _code(reports: Sequence[SyncReport]) -> int:
    if any(one.unreachable for one in reports):
        return 3
    return 0 if all(one.complete for one in reports) else 1
