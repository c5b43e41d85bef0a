"""`fhir-tracker break-glass list`: who opened which restricted record, why and until when."""

from __future__ import annotations

import argparse

from api.command_acts import note_shown
from api.console import print_json, print_table
from api.stores import open_store
from fhir_tracker import clock
from fhir_tracker.config import Settings
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage import glass

_EPILOG = """examples:
  fhir-tracker break-glass list
  fhir-tracker break-glass list --limit 20 --json

docs/roles.md says who may break the glass, and what follows."""
_VIEWER = worker_viewer("command-line")


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser("break-glass", description=__doc__, epilog=_EPILOG)
    group = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    listed = group.add_parser("list", help="the latest, newest first", epilog=_EPILOG)
    listed.add_argument("--limit", type=int, default=100, metavar="N", help="how many (100)")
    listed.set_defaults(func=_list)


def _list(args: argparse.Namespace, settings: Settings) -> int:
    now = clock.now()
    with open_store(settings) as database:
        with database.read() as tx:
            found = glass.latest(tx, _VIEWER, limit=max(1, min(args.limit, 10_000)))
        note_shown(database, now, (one.patient for one in found))
    if args.json:
        rows = [
            {
                "id": one.id,
                "who": one.who,
                "patient": f"Patient/{one.patient}",
                "reason": one.reason,
                "began": one.began_at.isoformat(),
                "ends": (one.ended_at or one.ends_at).isoformat(),
                "open": one.is_open(now),
            }
            for one in found
        ]
        print_json({"openings": rows})
    elif not found:
        print("nobody has opened a restricted record")
    else:
        rows_ = [
            (
                f"{one.began_at:%Y-%m-%d %H:%M}",
                f"{one.ended_at or one.ends_at:%H:%M}{' (open)' if one.is_open(now) else ''}",
                one.who,
                f"Patient/{one.patient}",
                one.reason,
            )
            for one in found
        ]
        print_table(("began (UTC)", "until", "who", "patient", "reason"), rows_)
    return 0
