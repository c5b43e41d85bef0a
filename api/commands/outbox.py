"""`fhir-tracker outbox`: what is to be written to EHRs, and why it is not yet - list, show, retry, resolve."""

from __future__ import annotations

import argparse
import json
from typing import Any

from api.command_acts import note_shown
from api.console import print_json, print_table, printable
from api.stores import open_store
from fhir_tracker import clock, conflicts
from fhir_tracker.config import Settings
from fhir_tracker.conflicts import Choice, Edited
from fhir_tracker.errors import RuleBroken, UsageError
from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.author import Author
from fhir_tracker.model.viewer import Viewer, open_viewer
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.outbox import STATES, Outgoing
from subscriptions import ask_at_once, write_back_due

_COLUMNS = ("id", "connection", "resource", "state", "attempts", "since", "reason")
_EPILOG = """examples:
  fhir-tracker outbox list
  fhir-tracker outbox show 1234
  fhir-tracker outbox resolve 1234 --take-theirs
  fhir-tracker outbox resolve 1234 --set 'status="completed"' --keep-ours
  fhir-tracker outbox resolve 1234 --there 77812
  fhir-tracker outbox retry"""
PATIENCE = 60.0
"""Seconds that `retry` stays at it while another process writes, or more is due."""
_PAUSE = 0.5


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command group."""
    parser = subparsers.add_parser("outbox", epilog=_EPILOG)
    group = parser.add_subparsers(metavar="ACTION", required=True)
    listed = group.add_parser("list", help="everything that is not done")
    listed.add_argument("--connection", metavar="KEY", help="only for this connection")
    listed.add_argument("--state", metavar="STATE", choices=STATES, help=f"one of {', '.join(STATES)}")
    listed.set_defaults(func=_list)
    shown = group.add_parser("show", help="one entry, with the fields in conflict (patient data)")
    shown.add_argument("id", metavar="ID", type=int)
    shown.set_defaults(func=_show)
    retried = group.add_parser("retry", help="try one entry, or all that are not done, again now")
    retried.add_argument("id", metavar="ID", type=int, nargs="?")
    retried.set_defaults(func=_retry)
    _register_resolve(group)
    for one in group.choices.values():
        one.add_argument("--json", action="store_true", help="as JSON")


def _register_resolve(group: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    resolved = group.add_parser(
        "resolve",
        help="decide a conflict",
        description="Decides every field in conflict: those of --set as given there, the others by --take-theirs or "
        "--keep-ours. It is written by the next round of the worker.",
        epilog=_EPILOG,
    )
    resolved.add_argument("id", metavar="ID", type=int)
    side = resolved.add_mutually_exclusive_group()
    side.add_argument("--take-theirs", action="store_true", help="what the EHR holds goes for both sides")
    side.add_argument("--keep-ours", action="store_true", help="what is held here goes for both sides")
    side.add_argument("--there", metavar="ID", help="what was sent without an answer is there, under this id")
    side.add_argument("--not-there", action="store_true", help="it is not there: it is sent again")
    resolved.add_argument(
        "--set", metavar="FIELD=JSON", action="append", default=[], help="a third value for one field (null: none)"
    )
    resolved.set_defaults(func=_resolve)


def _list(args: argparse.Namespace, settings: Settings) -> int:
    with open_store(settings) as database:
        with database.read() as tx:
            found = conflicts.waiting(tx, _viewer(), args.connection, [args.state] if args.state else ())
        note_shown(database, clock.now(), (one.patient for one in found))
    if args.json:
        print_json({"outbox": [_summary(one) for one in found]})
    elif not found:
        print("nothing waits in the outbox")
    else:
        print_table(_COLUMNS, [[_summary(one)[name] for name in _COLUMNS] for one in found])
    return 0


def _show(args: argparse.Namespace, settings: Settings) -> int:
    with open_store(settings) as database:
        with database.read() as tx:
            found = conflicts.get(tx, _viewer(), args.id)
        note_shown(database, clock.now(), [found.patient])
    fields = [
        {"field": one.field, "base": one.base, "theirs": one.theirs, "ours": one.ours}
        for one in conflicts.differences(found)
    ]
    asked = conflicts.question(found)
    if args.json:
        question = None if asked is None else {"type": asked.type, "sent": asked.sent, "found": dict(asked.found)}
        print_json({**_summary(found), "said": conflicts.said(found), "conflicts": fields, "question": question})
        return 0
    for name, value in _summary(found).items():
        print(printable(f"{name:<14}{'-' if value is None else value}"))
    if said := conflicts.said(found):
        print(f"{'the EHR said':<14}{printable(said)}")
    for one in fields:
        print(f"\n{one['field']}")
        for side in ("base", "theirs", "ours"):
            print(f"  {side:<8}{printable(one[side]) or '(none)'}")
    if asked is not None:
        print(f"\nIs it there? --there ID, or --not-there\n  sent    {printable(asked.sent)}")
        for id_, text in asked.found.items():
            print(f"  {asked.type}/{id_}\n          {printable(text)}")
    return 0


def _retry(args: argparse.Namespace, settings: Settings) -> int:
    """Exit code 0 when everything tried is done."""
    with open_store(settings) as database:
        with database.begin() as tx:
            if args.id is not None:
                chosen = [conflicts.get(tx, _viewer(), args.id)]
            else:
                chosen = conflicts.waiting(tx, _viewer(), None, ("waiting", "dead", "unsupported"))
            for one in chosen:
                conflicts.retry(tx, one, _author())
            for key in {one.connection for one in chosen}:
                ask_at_once(tx, key, clock.now())
        note_shown(database, clock.now(), (one.patient for one in chosen))
        results = _written(database, settings, chosen)
    left = [one for one in results if one.state != "done"]
    if args.json:
        print_json({"retried": [_summary(one) for one in results]})
        return 1 if left else 0
    for one in left:
        print(printable(f"{one.id} {one.ref}: {one.state}{f': {one.reason}' if one.reason else ''}"))
    print(f"{len(results) - len(left)} of {len(results)} done")
    return 1 if left else 0


def _written(database: Database, settings: Settings, chosen: list[Outgoing]) -> list[Outgoing]:
    """What the rows came to, when each has been tried once, here or by the worker that is at it."""
    ends = clock.monotonic() + PATIENCE
    while True:
        reports = write_back_due(database, settings, clock.now)
        with database.read() as tx:
            results = [conflicts.get(tx, _viewer(), one.id) for one in chosen]
        untried = {one.connection for one in results if one.state == "waiting" and one.attempts == 0}
        if not untried - {one.connection for one in reports if one.error} or clock.monotonic() >= ends:
            return results
        clock.pause(_PAUSE)


def _resolve(args: argparse.Namespace, settings: Settings) -> int:
    edits = dict(_edit(text) for text in args.set)
    with open_store(settings) as database:
        with database.begin() as tx:
            row = conflicts.get(tx, _viewer(), args.id)
            if args.there is not None or args.not_there:
                conflicts.answer(tx, row, args.there, _author())
            else:
                conflicts.resolve(tx, row, _choices(args, row, edits), _author())
        note_shown(database, clock.now(), [row.patient])
    if args.json:
        print_json({"resolved": args.id})
    else:
        print(f"{args.id} is decided; the worker writes it, or now: fhir-tracker outbox retry {args.id}")
    return 0


def _choices(args: argparse.Namespace, row: Outgoing, edits: dict[str, Edited]) -> dict[str, Choice]:
    if conflicts.question(row):
        raise RuleBroken("Say --there ID, or --not-there: what was sent was not answered.")
    fields = [one.field for one in conflicts.differences(row)]
    others = [name for name in fields if name not in edits]
    if others and not args.take_theirs and not args.keep_ours:
        raise RuleBroken(f"Say --take-theirs or --keep-ours for {', '.join(others)}.")
    choices: dict[str, Choice] = dict.fromkeys(others, "theirs" if args.take_theirs else "ours")
    return choices | edits


def _edit(text: str) -> tuple[str, Edited]:
    field, equals, value = text.partition("=")
    try:
        return field, Edited(value=json.loads(value if equals else ""))
    except ValueError:
        raise UsageError("--set takes FIELD=JSON, such as status='\"completed\"'.") from None


def _summary(one: Outgoing) -> dict[str, Any]:
    return {
        "id": one.id,
        "connection": one.connection,
        "resource": one.ref,
        "state": one.state,
        "attempts": one.attempts,
        "since": instant(one.updated_at),
        "nextTry": instant(one.due_at) if one.state == "waiting" else None,
        "remote": f"{one.remote_type}/{one.remote_id}" if one.remote_id else None,
        "reason": one.reason,
    }


def _viewer() -> Viewer:
    return open_viewer()


def _author() -> Author:
    return Author(viewer=_viewer(), origin="cli", at=clock.now())
