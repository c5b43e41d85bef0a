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
        description="One line a check: OK, WARN or FAIL, the cause, and the command that mends it. Exits 1 on any FAIL. "
        "An EHR that is away just now is a WARN: nothing here has to be mended.",
        epilog="examples:\n  fhir-tracker doctor\n  fhir-tracker doctor --strict\n  fhir-tracker doctor --json",
    )
    parser.add_argument("--json", action="store_true", help="the findings as JSON")
    parser.add_argument("--strict", action="store_true", help="exit 1 on any WARN too")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Examine everything; 0, or 1 when something fails (with --strict: or warns)."""
    findings = examine(settings)
    if args.json:
        print_json([one.as_json() for one in findings])
    else:
        print("\n".join(one.as_line() for one in findings))
    bad = {"FAIL", "WARN"} if args.strict else {"FAIL"}
    return 1 if any(one.status in bad for one in findings) else 0
