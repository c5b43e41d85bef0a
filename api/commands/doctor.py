"""`fhir-tracker doctor`: looks at everything that has to work, and names the command that mends what does not."""

from __future__ import annotations

import argparse

from api.console import print_json
from api.doctor import examine
from fhir_tracker.config import Settings


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "doctor",
        help="say what works and how to mend what does not",
        description="One line a check: OK, WARN or FAIL, the cause, and the command that mends it. Exits 1 on any FAIL.",
        epilog="examples:\n  fhir-tracker doctor\n  fhir-tracker doctor --json",
    )
    parser.add_argument("--json", action="store_true", help="the findings as JSON")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Examine everything; 0, or 1 when something fails."""
    findings = examine(settings)
    if args.json:
        print_json([one.as_json() for one in findings])
    else:
        print("\n".join(one.as_line() for one in findings))
    return 1 if any(one.status == "FAIL" for one in findings) else 0
