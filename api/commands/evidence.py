"""`fhir-tracker evidence`: what a claim for one patient's month has to show."""

from __future__ import annotations

import argparse

from api.console import print_json, print_lines
from api.stores import open_store
from fhir_tracker import clock, programs
from fhir_tracker.config import Settings
from fhir_tracker.evidence import as_lines, evidence
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.rules.time_spent import month_of


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "evidence",
        description="One patient's month in one program: every attempt with its time, whether the patient was reached in "
        "time, and the minutes of staff time on the site's clock with no minute counted twice.",
        epilog="example:\n  fhir-tracker evidence Patient/clinic-4711 --program ccm --month 2026-10 --json",
    )
    parser.add_argument("patient", metavar="PATIENT", type=lambda text: text.removeprefix("Patient/"))
    parser.add_argument("--program", metavar="CODE", required=True, help="the program's code, such as ccm or tcm")
    parser.add_argument("--month", metavar="YYYY-MM", help="the calendar month; the present one when left out")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print the evidence; 0. A patient or program there is not ends with 1."""
    now = clock.now()
    with open_store(settings) as database, database.read() as tx:
        program = programs.required(tx, args.program)
        month = args.month or month_of(program.calendar.zone, now)
        found = evidence(tx, worker_viewer("command-line"), args.patient, args.program, month, now)
    if args.json:
        print_json(found.as_json())
    else:
        print_lines(as_lines(found, program))
    return 0
