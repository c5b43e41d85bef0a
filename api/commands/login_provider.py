"""`fhir-tracker login-provider`: OpenID providers that let staff in outside an EHR - add, list, remove."""

from __future__ import annotations

import argparse

from api.commands.connection_smart import register_terms, remove, save, told_of
from api.console import print_json, print_table
from api.stores import open_store
from fhir_tracker import issuers
from fhir_tracker.config import Settings
from fhir_tracker.errors import UsageError
from fhir_tracker.issuers import SUBJECT_CLAIMS
from fhir_tracker.storage import issuers as stored
from fhir_tracker.storage.issuers import PROVIDER

_EPILOG = """examples:
  fhir-tracker login-provider add office --issuer https://login.example.org/tenant --client-id tracker --subject email
  fhir-tracker staff add --provider office --subject ann@clinic.example --name "Ann Example" --role clinic-admin
  fhir-tracker login-provider list"""
_COLUMNS = ("key", "label", "issuer", "clientId", "clientType", "subject")


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command group."""
    parser = subparsers.add_parser("login-provider", epilog=_EPILOG)
    group = parser.add_subparsers(metavar="ACTION", required=True)
    add = group.add_parser("add", help="let people in by an OpenID provider", epilog=_EPILOG)
    add.add_argument("key", metavar="KEY", help="1 to 20 of a-z, 0-9 and hyphen")
    register_terms(add)
    add.add_argument(
        "--subject", default="", metavar="CLAIM", help=f"who somebody is there: {' or '.join(SUBJECT_CLAIMS)} (sub)"
    )
    add.set_defaults(func=_add)
    group.add_parser("list", help="the providers there are").set_defaults(func=_list)
    gone = group.add_parser("remove", help="let nobody in by it any more, and end their sessions")
    gone.add_argument("key", metavar="KEY")
    gone.set_defaults(func=_remove)
    for one in group.choices.values():
        one.add_argument("--json", action="store_true", help="as JSON")


def _add(args: argparse.Namespace, settings: Settings) -> int:
    if not args.issuer or not args.client_id:
        raise UsageError("login-provider add needs --issuer and --client-id.")
    return save(args, settings, issuers.of_provider, "login-provider add")


def _list(args: argparse.Namespace, settings: Settings) -> int:
    with open_store(settings) as database, database.read() as tx:
        found = [told_of(one, settings) for one in stored.all(tx) if one.kind == PROVIDER]
    if args.json:
        print_json({"providers": found})
    elif not found:
        print("no provider yet; add one: fhir-tracker login-provider add KEY --issuer URL --client-id ID")
    else:
        print_table(_COLUMNS, [[one[name] or "-" for name in _COLUMNS] for one in found])
    return 0


def _remove(args: argparse.Namespace, settings: Settings) -> int:
    with open_store(settings) as database, database.read() as tx:
        issuers.get(tx, args.key, PROVIDER)
    return remove(args, settings, "login-provider remove")
