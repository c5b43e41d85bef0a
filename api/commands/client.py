"""`fhir-tracker client`: the systems that may come in to the FHIR API - add, list, rotate, revoke."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from api.commands.configured import note_change
from api.console import print_json, print_table
from api.key_looks import look_at
from api.stores import open_store
from fhir_tracker import clients, clock
from fhir_tracker.client_keys import read_key_set
from fhir_tracker.clients import Keys, reference_of
from fhir_tracker.config import Settings
from fhir_tracker.errors import UsageError
from fhir_tracker.fhir.dates import instant
from fhir_tracker.storage import clients as stored
from fhir_tracker.storage.clients import Client

_EPILOG = """examples:
  fhir-tracker client add reports --scopes "system/Task.rs system/Patient.rs" --jwks-file reports-public.json
  fhir-tracker client add scheduler --scopes "system/Appointment.cruds" --jwks-url https://scheduler.example.org/jwks.json
  fhir-tracker client list
  fhir-tracker client rotate reports --jwks-file new-public.json
  fhir-tracker client revoke reports"""
_COLUMNS = ("id", "name", "state", "scopes", "roles", "keys", "added", "rotated", "revoked")


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command group."""
    parser = subparsers.add_parser("client", epilog=_EPILOG)
    group = parser.add_subparsers(metavar="ACTION", required=True)
    added = group.add_parser(
        "add",
        help="let a system in",
        description="Lets a system get tokens for these scopes by showing, with its private key, who it is. We are given the "
        "public half only: a JWK Set as a file, or the https address of one. An id that was revoked may be added again.",
        epilog=_EPILOG,
    )
    added.add_argument("id", metavar="ID")
    added.add_argument("--scopes", required=True, metavar="S", help='such as "system/Task.rs system/Patient.rs"')
    added.add_argument("--name", default="", help="what people call it")
    added.add_argument(
        "--role",
        action="append",
        default=[],
        help="as whom it may move work, where a program says who may; what it reaches is up to its scopes alone",
    )
    added.set_defaults(func=_add)
    listed = group.add_parser("list", help="every system, also those that were shut out")
    listed.set_defaults(func=_list)
    rotated = group.add_parser("rotate", help="new keys in place of all that it had")
    rotated.add_argument("id", metavar="ID")
    rotated.set_defaults(func=_rotate)
    for one in (added, rotated):
        keys = one.add_mutually_exclusive_group(required=True)
        keys.add_argument("--jwks-file", metavar="FILE", help="its public keys, a JWK Set")
        keys.add_argument("--jwks-url", metavar="URL", help="where its public keys are")
    revoked = group.add_parser("revoke", help="shut a system out, from its next request on")
    revoked.add_argument("id", metavar="ID")
    revoked.set_defaults(func=_revoke)
    for one in group.choices.values():
        one.add_argument("--json", action="store_true", help="as JSON")


def _add(args: argparse.Namespace, settings: Settings) -> int:
    keys, now = _keys(args), clock.now()
    new = Client(
        id=args.id,
        name=args.name.strip(),
        scopes=tuple(args.scopes.split()),
        roles=tuple(args.role),
        jwks=keys.key_set,
        jwks_url=keys.url,
        added_at=now,
    )
    with open_store(settings) as database, database.begin() as tx:
        made = clients.add(tx, new)
        note_change(tx, "client add", reference_of(made.id), now, scopes=list(made.scopes), roles=list(made.roles))
    if args.json:
        print_json(_told(made))
    else:
        print(f"client {made.id} may have {' '.join(made.scopes)}")
        print("it asks for tokens where /fhir/.well-known/smart-configuration of this server says")
    return 0


def _list(args: argparse.Namespace, settings: Settings) -> int:
    with open_store(settings) as database, database.read() as tx:
        found = [_told(one) for one in stored.all(tx)]
    if args.json:
        print_json({"clients": found})
    elif not found:
        print("no system may come in; to let one in: fhir-tracker client add ID --scopes S --jwks-file FILE")
    else:
        print_table(_COLUMNS, [[_cell(one[name]) for name in _COLUMNS] for one in found])
    return 0


def _rotate(args: argparse.Namespace, settings: Settings) -> int:
    keys, now = _keys(args), clock.now()
    with open_store(settings) as database, database.begin() as tx:
        changed = clients.rotate(tx, args.id, keys, now)
        note_change(tx, "client rotate", reference_of(changed.id), now)
    if args.json:
        print_json(_told(changed))
    else:
        print(f"client {changed.id} has new keys; what was signed with others is refused from now on")
    return 0


def _revoke(args: argparse.Namespace, settings: Settings) -> int:
    now = clock.now()
    with open_store(settings) as database, database.begin() as tx:
        ended = clients.revoke(tx, args.id, now)
        note_change(tx, "client revoke", reference_of(args.id), now, tokens=ended)
    if args.json:
        print_json({"revoked": args.id, "tokensEnded": ended})
    else:
        print(f"client {args.id} is shut out; {ended} {'token' if ended == 1 else 'tokens'} ended")
    return 0


def _keys(args: argparse.Namespace) -> Keys:
    if args.jwks_file is None:
        keys = Keys(url=args.jwks_url).checked()
        if note := look_at(args.jwks_url):
            print(note, file=sys.stderr)
        return keys
    try:
        raw = Path(args.jwks_file).read_bytes()
    except OSError as error:
        raise UsageError(f"--jwks-file cannot be read: {error.strerror}.") from None
    return Keys(key_set=read_key_set(raw)).checked()


def _told(one: Client) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "state": "revoked" if one.revoked_at else "active",
        "scopes": list(one.scopes),
        "roles": list(one.roles),
        "keys": one.jwks_url or [key["kid"] for key in one.jwks.get("keys", ())],
        "added": instant(one.added_at),
        "rotated": instant(one.rotated_at) if one.rotated_at else None,
        "revoked": instant(one.revoked_at) if one.revoked_at else None,
    }


def _cell(value: object) -> object:
    return " ".join(value) or None if isinstance(value, list) else value
