"""`fhir-tracker audit`: whether the trail is whole, what it says, and how long it is kept."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from api.command_acts import command_viewer, note_shown
from api.console import print_json, print_lines, print_table
from api.stores import open_store, secret_key
from fhir_tracker import audit_anchor, audit_events, audit_keys, clock
from fhir_tracker.config import Settings
from fhir_tracker.errors import Conflict, Incorrect, UsageError
from fhir_tracker.fhir.body import write_json
from fhir_tracker.fhir.dates import instant, parse_datetime
from fhir_tracker.measures.formats import csv_of
from fhir_tracker.merged_patients import records_of
from fhir_tracker.model.viewer import open_viewer
from fhir_tracker.storage import audit_guards, audit_pruning, audit_search
from fhir_tracker.storage.audit import AuditRow
from fhir_tracker.storage.audit_chain import Head
from fhir_tracker.storage.audit_checking import Finding, Problem, check
from fhir_tracker.storage.audit_search import Wanted
from fhir_tracker.storage.database import Database, Tx
from subscriptions.credentials import read_secret

_PORTION = 1000
_COLUMNS = (
    *(
        "row",
        "at",
        "who",
        "name",
        "roles",
        "client",
        "issuer",
        "address",
        "session",
        "purpose",
        "kind",
        "action",
        "ref",
    ),
    *("version", "patient", "patients", "query", "outcome", "request", "detail"),
)
_SHOWN = ("row", "at", "who", "name", "purpose", "kind", "action", "ref", "patient", "outcome")
_PATIENT = "one patient's rows, by our id (Patient/ID or ID)"


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "audit",
        description="Who looked at what and who changed what: sealed in a chain, whose head is written down outside the database.",
        epilog="examples:\n  fhir-tracker audit verify\n  fhir-tracker audit show --patient Patient/ID\n"
        "  fhir-tracker audit export --from 2026-01-01 --to 2026-04-01 --format csv --reason 'request of the patient'",
    )
    group = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    _verify_options(group.add_parser("verify", help="look for rows that were edited, removed, put in or cut off"))
    _read_options(
        group.add_parser("show", help="the latest rows"),
        group.add_parser("export", help="rows as a file, with a reason"),
    )
    prune = group.add_parser("prune", help="let go of rows that are older than FHIR_TRACKER_AUDIT_RETENTION")
    prune.add_argument("--dry-run", action="store_true", help="only say what would go")
    prune.add_argument("--reason", required=True, metavar="TEXT", help="why; kept in the trail")
    prune.set_defaults(func=_prune)
    granted = group.add_parser("grants", help="the SQL after which a role of PostgreSQL can only add to the trail")
    granted.add_argument("role", metavar="ROLE", help="the role the product logs in as, which must own nothing")
    granted.add_argument("--execute", action="store_true", help="run it, as the role of the database address")
    granted.set_defaults(func=_grants)
    for one in group.choices.values():
        one.add_argument("--json", action="store_true", help="as JSON")


def _verify_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--anchor", metavar="FILE", type=Path, help="compare with these heads (else FHIR_TRACKER_AUDIT_ANCHOR)"
    )
    parser.add_argument(
        "--head", metavar="HASH", action="append", default=[], help="a head that must be in the chain; again for more"
    )
    parser.add_argument(
        "--former", metavar="FILE", action="append", default=[], help="a former FHIR_TRACKER_SECRET_KEY"
    )
    parser.set_defaults(func=_verify)


def _read_options(show: argparse.ArgumentParser, export: argparse.ArgumentParser) -> None:
    show.add_argument("--limit", metavar="N", type=int, default=50, help="how many (50)")
    show.set_defaults(func=_show)
    for one in (show, export):
        one.add_argument("--patient", metavar="ID", help=_PATIENT)
    export.add_argument("--from", dest="start", required=True, metavar="TIME", help="such as 2026-01-01")
    export.add_argument("--to", dest="end", required=True, metavar="TIME", help="rows of before this")
    export.add_argument(
        "--format", choices=("ndjson", "csv"), default="ndjson", help="AuditEvents, one a line, or a table (ndjson)"
    )
    export.add_argument("--reason", required=True, metavar="TEXT", help="why; kept in the trail")
    export.set_defaults(func=_export)


def _verify(args: argparse.Namespace, settings: Settings) -> int:
    file = args.anchor or audit_anchor.anchor_file(settings)
    if args.anchor is not None and not args.anchor.exists():
        raise UsageError(f"There is no anchor file {args.anchor}.")
    if settings.database_file is not None and not settings.database_file.exists():
        raise UsageError(f"There is no database {settings.database_file}: nothing of it can be verified.")
    anchors = audit_anchor.read(file) if file else ()
    former = [read_secret(one, "The file of a former key") for one in args.former]
    with open_store(settings) as database, database.read() as tx:
        keys = audit_keys.known_keys(tx, secret_key(settings), *former)
        found = check(tx, keys, anchors, args.head)
        missing = _missing(found, settings) if args.anchor is None else []
        found = replace(found, problems=(*found.problems, *missing, *audit_guards.fallen(tx)))
    if args.json:
        print_json(_told(found))
    else:
        _tell(found)
    return 0 if found.is_whole else 1


def _missing(found: Finding, settings: Settings) -> list[Problem]:
    """The file in which heads are to be is not there, or has none, though blocks were sealed."""
    if settings.audit_anchor is None or found.anchors or not found.blocks:
        return []
    said = "No head is written down there, though there are blocks: compare with a copy of the file, or with the log."
    return [Problem(kind="anchor-missing", where=str(settings.audit_anchor), said=said)]


def _told(found: Finding) -> dict[str, Any]:
    return {
        "whole": found.is_whole,
        "rows": found.rows,
        "blocks": found.blocks,
        "prunedBlocks": found.pruned_blocks,
        "notSealedYet": found.unsealed,
        "withoutSeal": found.unsigned,
        "anchors": found.anchors,
        "notAnchored": {
            "afterBlock": found.open.block,
            "rows": found.open.rows,
            "from": instant(found.open.since) if found.open.since else None,
            "to": instant(found.open.until) if found.open.until else None,
        },
        "head": _head(found.head) if found.head else None,
        "problems": [{"kind": one.kind, "where": one.where, "said": one.said} for one in found.problems],
    }


def _head(head: Head) -> dict[str, Any]:
    return {"chain": head.chain, "block": head.block, "row": head.seq, "hash": head.hash, "at": instant(head.at)}


def _tell(found: Finding) -> None:
    for one in found.problems:
        print_lines([f"{one.kind}: {one.where}: {one.said}"])
    counted = f"{found.rows} rows in {found.blocks} blocks, {found.unsealed} of them not sealed yet"
    print(f"{counted}; {found.anchors} anchors compared")
    if found.unsigned:
        print(f"{found.unsigned} rows of an earlier version bear no seal of their own; their blocks hold them")
    if found.pruned_blocks:
        print(f"the rows of the first {found.pruned_blocks} blocks were let go")
    print(_coverage(found))
    if found.head:
        print(f"head {found.head.hash}")
    print(
        "the audit trail is whole"
        if found.is_whole
        else f"the audit trail is NOT whole: {len(found.problems)} problems"
    )


def _coverage(found: Finding) -> str:
    """What a cut end would take with it unseen."""
    left = found.open
    if left.since is None or left.until is None:
        return f"written down elsewhere: up to block {left.block}, which is all"
    named = f"up to block {left.block}" if left.block else "nothing"
    period = f"from {instant(left.since)} to {instant(left.until)}"
    return f"written down elsewhere: {named}; that the {left.rows} rows {period} are all, no anchor says"


def _show(args: argparse.Namespace, settings: Settings) -> int:
    if not 1 <= args.limit <= 10_000:
        raise UsageError("--limit takes a number from 1 to 10000.")
    with open_store(settings) as database:
        with database.read() as tx:
            of = _records(tx, args.patient)
            rows = audit_search.listed(tx, open_viewer(), Wanted(patients=of), args.limit)
        _note(database, rows, of)
    told = [_cells(row, of) for row in rows]
    if args.json:
        print_json({"rows": told})
    else:
        print_table(_SHOWN, [[one[name] for name in _SHOWN] for one in told])
    return 0


def _export(args: argparse.Namespace, settings: Settings) -> int:
    low, high = _moment(args.start, "--from"), _moment(args.end, "--to")
    if not args.reason.strip():
        raise UsageError("--reason takes some words: they are kept in the trail.")
    if low >= high:
        raise UsageError("--from must be before --to.")
    base = f"{settings.public_url or 'http://127.0.0.1:8080'}/fhir"
    with open_store(settings) as database:
        if args.format == "csv":
            print(csv_of([_COLUMNS]), end="")
        with database.read() as tx:
            of = _records(tx, args.patient)
        high = min(high, clock.now())
        for row in _rows(database, low, high, of):
            if args.format == "csv":
                print(csv_of([[str(_cells(row, of)[name]) for name in _COLUMNS]]), end="")
            else:
                print(write_json(audit_events.event_of(row, base, of)))
    sys.stdout.flush()
    return 0


def _rows(database: Database, low: datetime, high: datetime, of: Sequence[str]) -> Iterator[AuditRow]:
    """Each portion is told in the trail, with the patients whom it names, before it is given."""
    after = 0
    while True:
        with database.read() as tx:
            rows = audit_search.rows_between(tx, open_viewer(), low, high, of, after, _PORTION)
        _note(database, rows, of)
        yield from rows
        if len(rows) < _PORTION:
            return
        after = rows[-1].seq


def _prune(args: argparse.Namespace, settings: Settings) -> int:
    now = clock.now()
    before = now - settings.audit_retention
    with open_store(settings) as database, database.begin() as tx:
        gone = audit_pruning.old(tx, before)
        if gone is not None and not args.dry_run:
            audit_pruning.let_go(tx, gone, command_viewer(), now, args.reason)
    done = {"rows": gone.rows if gone else 0, "throughBlock": gone.block if gone else None, "before": instant(before)}
    if args.json:
        print_json({**done, "dryRun": args.dry_run})
    else:
        verb = "would be let go" if args.dry_run else "were let go"
        print(f"{done['rows']} rows {verb}: whole blocks with nothing younger than {before:%Y-%m-%d}")
    return 0


def _grants(args: argparse.Namespace, settings: Settings) -> int:
    if settings.database_file is not None:
        raise UsageError("SQLite has no roles: its triggers refuse changes of the trail, and the anchor shows them.")
    statements = audit_pruning.grants(args.role)
    with open_store(settings) as database, database.begin() as tx:
        owner = audit_pruning.owner_of_trail(tx)
        if owner == args.role:
            raise Conflict(
                f"{args.role} owns the tables, and what it owns no grant keeps it from: log in as another role."
            )
        if args.execute:
            audit_pruning.execute(tx, statements)
    if args.json:
        print_json({"statements": list(statements), "executed": args.execute, "owner": owner})
    else:
        print("\n".join(f"{one};" for one in statements))
    return 0


def _cells(row: AuditRow, of: Sequence[str]) -> dict[str, Any]:
    """Of one patient, those whom the row names beside are left out."""
    return {
        "row": row.seq,
        "at": instant(row.at),
        "who": row.who,
        "name": row.name,
        "roles": " ".join(sorted(row.roles)),
        "client": row.client,
        "issuer": row.issuer,
        "address": row.address,
        "session": row.session,
        "purpose": row.purpose,
        "kind": row.kind,
        "action": row.action,
        "ref": row.ref,
        "version": row.version if row.version is not None else "",
        "patient": row.patient or "" if not of or row.patient in of else "",
        "patients": " ".join(one for one in row.patients if not of or one in of),
        "query": row.query or "",
        "outcome": row.outcome,
        "request": row.request_id,
        "detail": json.dumps(dict(row.detail), ensure_ascii=False) if row.detail else "",
    }


def _note(database: Database, rows: Sequence[AuditRow], of: Sequence[str]) -> None:
    named = (one for row in rows for one in audit_events.patients_of(row) if not of or one in of)
    note_shown(database, clock.now(), named)


def _records(tx: Tx, given: str | None) -> tuple[str, ...]:
    return records_of(tx, given.removeprefix("Patient/")) if given else ()


def _moment(text: str, option: str) -> datetime:
    try:
        return parse_datetime(f"{text}T00:00:00Z" if len(text) == len("2026-03-09") else text)
    except Incorrect:
        raise UsageError(f"{option} takes a time such as 2026-03-09 or 2026-03-09T17:00:00-04:00.") from None
