"""`fhir-tracker staff`: who may come in, who has how much open work, and who is away."""

from __future__ import annotations

import argparse
from datetime import datetime
from typing import Any

from api.commands import staff_accounts
from api.console import print_json, print_lines, print_table
from api.stores import open_store
from fhir_tracker import caseload, clock, staff
from fhir_tracker.config import Settings
from fhir_tracker.errors import Incorrect, UsageError
from fhir_tracker.fhir.dates import instant, parse_datetime
from fhir_tracker.model.author import Author
from fhir_tracker.model.viewer import open_viewer
from fhir_tracker.storage import caseloads
from fhir_tracker.storage import staff as rows
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.staff import Absence

_EPILOG = """examples:
  fhir-tracker staff show
  fhir-tracker staff cap Practitioner/ann 15
  fhir-tracker staff away Practitioner/ann --from 2026-03-09 --until 2026-03-16 --substitute Practitioner/ben
  fhir-tracker staff absences
  fhir-tracker staff back 1234
  fhir-tracker staff add --connection clinic --fhir-user Practitioner/123 --name "Ann Example, RN" --role rn
  fhir-tracker staff disable Practitioner/123"""
_COLUMNS = ("id", "person", "from", "until", "substitute", "state")
_PEOPLE = ("person", "name", "active", "roles", "openWork", "cap", "away")


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command group."""
    parser = subparsers.add_parser("staff", epilog=_EPILOG)
    group = parser.add_subparsers(metavar="ACTION", required=True)
    shown = group.add_parser("show", help="everybody with roles and open work, as the EHRs tell of them")
    shown.set_defaults(func=_show)
    capped = group.add_parser("cap", help="how much open work somebody has at most before others get what is given out")
    capped.add_argument("person", metavar="Practitioner/ID")
    most = capped.add_mutually_exclusive_group(required=True)
    most.add_argument("most", metavar="N", type=int, nargs="?", help="over all programs; 0 for none by itself")
    most.add_argument("--none", action="store_true", help="what the programs say counts alone again")
    capped.set_defaults(func=_cap)
    away = group.add_parser(
        "away",
        help="say that somebody is away",
        description="From then on they get no work by themselves; what they have goes to the substitute, or back to its "
        "queues, when the absence begins. A day alone is its midnight in UTC.",
        epilog=_EPILOG,
    )
    away.add_argument("person", metavar="Practitioner/ID")
    away.add_argument("--from", metavar="TIME", dest="start", help="since when (now)")
    away.add_argument("--until", metavar="TIME", dest="end", help="until when (without an end)")
    away.add_argument("--substitute", metavar="Practitioner/ID", help="who has their work meanwhile")
    away.add_argument(
        "--keep-work", action="store_true", help="what they have stays theirs; only new work passes them by"
    )
    away.set_defaults(func=_away)
    staff_accounts.register(group, _EPILOG)
    listed = group.add_parser("absences", help="absences that are not over")
    listed.add_argument("--all", action="store_true", help="also those that are")
    listed.set_defaults(func=_absences)
    back = group.add_parser("back", help="end an absence now, or take it back before it began")
    back.add_argument("id", metavar="ID", type=int)
    back.set_defaults(func=_back)
    for one in group.choices.values():
        one.add_argument("--json", action="store_true", help="as JSON")


def _show(args: argparse.Namespace, settings: Settings) -> int:
    now = clock.now()
    with open_store(settings) as database, database.read() as tx:
        found = _everybody(tx, now)
        waiting = {role: count for role, (count, _) in caseloads.roles_waiting(tx).items()}
    if args.json:
        print_json({"staff": found, "waitingForAnOwner": waiting})
        return 0
    if not found:
        print("nobody is known: have an EHR's Practitioner and PractitionerRole followed (connection change --types)")
    else:
        print_table(_PEOPLE, [[_cell(one[name]) for name in _PEOPLE] for one in found])
    for role, count in sorted(waiting.items()):
        print_lines([f"{count} waiting for an owner: {role}"])
    return 0


def _everybody(tx: Tx, now: datetime) -> list[dict[str, Any]]:
    people = rows.everybody(tx, now)
    loads = caseloads.open_counts(tx, open_viewer(), [one.ref for one in people]) if people else {}
    caps = caseload.caps_of_people(tx)
    return [
        {
            "person": one.ref,
            "name": one.name,
            "active": one.active,
            "roles": sorted(one.roles),
            "openWork": loads[one.ref],
            "cap": caps.get(one.ref),
            "away": one.away(now) is not None,
        }
        for one in people
    ]


def _cap(args: argparse.Namespace, settings: Settings) -> int:
    with open_store(settings) as database, database.begin() as tx:
        caseload.set_cap(tx, args.person, args.most)
        load = caseloads.open_counts(tx, open_viewer(), [args.person])[args.person]
    if args.json:
        print_json({"person": args.person, "cap": args.most, "openWork": load})
    elif args.most is None:
        print(f"{args.person} has no cap of their own any more, and {load} pieces of open work")
    else:
        print(f"{args.person} gets no more than {args.most} pieces of open work by themselves, and has {load}")
    return 0


def _cell(value: object) -> object:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) or "-" if isinstance(value, list) else value


def _away(args: argparse.Namespace, settings: Settings) -> int:
    author = _author()
    start = _moment(args.start, "--from") if args.start else author.at
    end = _moment(args.end, "--until") if args.end else None
    with open_store(settings) as database, database.begin() as tx:
        id_ = staff.go_away(
            tx,
            args.person,
            start=start,
            end=end,
            substitute=args.substitute,
            author=author,
            keeps_work=args.keep_work,
        )
        known = rows.people(tx, [args.person], author.at)[args.person]
        load = caseloads.open_counts(tx, author.viewer, [args.person])[args.person]
    if args.json:
        print_json({"absence": id_, "person": args.person, "openWork": load})
        return 0
    whose = f"{args.person}{f' ({known.name})' if known.name else ''}"
    then = (
        "stays theirs" if args.keep_work else f"goes to {args.substitute}" if args.substitute else "goes to its queues"
    )
    print_lines([f"absence {id_}: {whose} has {load} pieces of open work, which {then} when it begins"])
    return 0


def _absences(args: argparse.Namespace, settings: Settings) -> int:
    now = clock.now()
    with open_store(settings) as database, database.read() as tx:
        found = [_summary(one, now) for one in rows.absences(tx, since=None if args.all else now)]
    if args.json:
        print_json({"absences": found})
    elif not found:
        print("nobody is away")
    else:
        print_table(_COLUMNS, [[one[name] or "-" for name in _COLUMNS] for one in found])
    return 0


def _back(args: argparse.Namespace, settings: Settings) -> int:
    with open_store(settings) as database, database.begin() as tx:
        staff.come_back(tx, args.id, _author())
    if args.json:
        print_json({"ended": args.id})
    else:
        print(f"absence {args.id} is over; work that was handed on stays where it is")
    return 0


def _summary(one: Absence, now: datetime) -> dict[str, Any]:
    state = "to come" if one.start > now else "over" if one.end and one.end <= now else "away"
    return {
        "id": one.id,
        "person": one.person,
        "from": instant(one.start),
        "until": instant(one.end) if one.end else None,
        "substitute": one.substitute,
        "state": state,
    }


def _moment(text: str, option: str) -> datetime:
    try:
        return parse_datetime(f"{text}T00:00:00Z" if len(text) == len("2026-03-09") else text)
    except Incorrect:
        raise UsageError(f"{option} takes a time such as 2026-03-09 or 2026-03-09T17:00:00-04:00.") from None


def _author() -> Author:
    return Author(viewer=open_viewer(), origin="cli", at=clock.now())
