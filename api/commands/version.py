"""`fhir-tracker version`: of the product, of Python, and of the database shape it needs."""

from __future__ import annotations

import argparse
import platform

from api.console import print_json
from fhir_tracker import __version__
from fhir_tracker.config import Settings
from fhir_tracker.storage.schema import head


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    subparsers.add_parser("version").set_defaults(func=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print it; 0. Needs no database."""
    del settings
    if args.json:
        print_json({"fhir-tracker": __version__, "python": platform.python_version(), "schema": head()})
    else:
        print(f"fhir-tracker {__version__} (Python {platform.python_version()}, schema {head()})")
    return 0
