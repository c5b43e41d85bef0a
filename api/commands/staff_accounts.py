"""`fhir-tracker staff add`, `list` and `disable`: the accounts of those who may come in."""

from __future__ import annotations

import argparse
from typing import Any

from api.commands.configured import note_change
from api.console import print_json, print_lines, print_table
from api.stores import open_store
from fhir_tracker import accounts, clock, connections, issuers, local_accounts, roles
from fhir_tracker.config import Settings
from fhir_tracker.errors import UsageError
from fhir_tracker.storage import accounts as stored
from fhir_tracker.storage import issuers as stored_issuers
from fhir_tracker.storage.accounts import Account
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.issuers import PROVIDER

_COLUMNS = ("id", "name", "roles", "from", "known there as", "state")


def register(group: argparse._SubParsersAction[argparse.ArgumentParser], epilog: str) -> None:
    """Add the commands."""
    add = group.add_parser(
        "add",
        help="let somebody in",
        description="Let somebody in, as their EHR or login provider knows them, or change name and roles of one who is.",
        epilog=epilog,
    )
    _register_who(add)
    add.add_argument("--local", default="", metavar="LOGIN", help="a local account: the name they log in with here")
    add.add_argument("--name", default="", help="as pages and the audit trail call them (needed without --local)")
    add.add_argument(
        "--role",
        action="append",
        default=[],
        metavar="ROLE",
        help="one of those that `fhir-tracker roles show` lists; repeatable",
    )
    add.set_defaults(func=_add)
    listed = group.add_parser("list", help="who may come in, by which way, with which roles")
    listed.set_defaults(func=_list)
    off = group.add_parser("disable", help="let somebody in no more, from the next request on", epilog=epilog)
    off.add_argument("who", metavar="WHO", nargs="?", default="", help="an account's id, or Practitioner/ID")
    _register_who(off)
    off.set_defaults(func=_disable)


def _register_who(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--connection", metavar="KEY", help="the connection of their EHR")
    parser.add_argument("--fhir-user", default="", metavar="Practitioner/ID", help="what their EHR calls them")
    parser.add_argument("--provider", metavar="KEY", help="their login provider, for staff outside an EHR")
    parser.add_argument("--subject", default="", metavar="WHO", help="what their provider calls them")


def _add(args: argparse.Namespace, settings: Settings) -> int:
    now = clock.now()
    if args.local:
        return _invite(args, settings)
    with open_store(settings) as database, database.begin() as tx:
        _check_way(tx, args)
        made, had = accounts.add(
            tx,
            args.name,
            args.role,
            known=roles.defined(tx),
            now=now,
            connection=args.connection,
            fhir_user=args.fhir_user,
            provider=args.provider,
            subject=args.subject,
        )
        note_change(tx, "staff add", f"account/{made.id}", now, **_plain(made))
        opened = stored_issuers.find(tx, args.connection or args.provider)
    if args.json:
        print_json(_summary(made) | {"changed": had})
        return 0
    print_lines([f"{made.name} ({_known_as(made)}) comes in as {', '.join(made.roles)}{' from now on' if had else ''}"])
    if opened is None:
        print(f"next: fhir-tracker connection smart {args.connection} --issuer URL --client-id ID")
    return 0


def _invite(args: argparse.Namespace, settings: Settings) -> int:
    """A local account, or a fresh start of one: what opens the enrolment is shown once, here, and kept nowhere."""
    if any((args.connection, args.fhir_user, args.provider, args.subject)):
        raise UsageError("--local is for somebody whom no EHR and no login provider vouches for.")
    now = clock.now()
    with open_store(settings) as database, database.begin() as tx:
        made, code, had = local_accounts.invite(
            tx, args.local, args.name, args.role, known=roles.defined(tx), now=now
        )  # fmt: skip
        note_change(tx, "staff add --local", f"account/{made.id}", now, **_plain(made))
    if args.json:
        print_json(_summary(made) | {"changed": had, "invitation": code})
        return 0
    again = " has to enrol again; their sessions have ended" if had else f" may come in as {', '.join(made.roles)}"
    days = local_accounts.ENROLMENT_LASTS.days
    where = f"{settings.public_url or 'the address of this server, '}/login/enrol"
    print_lines([f"{made.name} ({made.subject}){again}", f"invitation  {code}"])
    print(f"next: within {days} days they open {where} and give this code, which works once.")
    if not settings.local_login:
        print("Local accounts are off: set FHIR_TRACKER_LOCAL_LOGIN=on where the server runs.")
    return 0


def _check_way(tx: Tx, args: argparse.Namespace) -> None:
    """Exactly one way in, and one that is known."""
    by_ehr, by_provider = bool(args.connection or args.fhir_user), bool(args.provider or args.subject)
    if by_ehr == by_provider:
        raise UsageError("Somebody is of an EHR (--connection, --fhir-user) or of a provider (--provider, --subject).")
    if by_ehr:
        if not args.connection:
            raise UsageError("staff add needs --connection KEY beside --fhir-user.")
        connections.get(tx, args.connection)
    else:
        issuers.get(tx, args.provider or "", PROVIDER)


def _list(args: argparse.Namespace, settings: Settings) -> int:
    with open_store(settings) as database, database.read() as tx:
        found = [_summary(one) for one in stored.all(tx)]
    if args.json:
        print_json({"accounts": found})
    elif not found:
        print("nobody may come in yet; first: fhir-tracker staff add --help")
    else:
        print_table(_COLUMNS, [_row(one) for one in found])
    return 0


def _disable(args: argparse.Namespace, settings: Settings) -> int:
    words = args.who or args.fhir_user or args.subject
    if not words:
        raise UsageError("staff disable needs WHO: an account's id, or what their EHR calls them.")
    now = clock.now()
    with open_store(settings) as database, database.begin() as tx:
        made = accounts.disable(tx, accounts.find(tx, words, args.connection or args.provider).id, now)
        note_change(tx, "staff disable", f"account/{made.id}", now, **_plain(made))
    if args.json:
        print_json(_summary(made))
    else:
        print_lines([f"{made.name} ({_known_as(made)}) is let in no more; their sessions have ended"])
    return 0


def _plain(one: Account) -> dict[str, Any]:
    return {"account": one.ref, "roles": list(one.roles), "active": one.active}


def _summary(one: Account) -> dict[str, Any]:
    return {
        "id": one.id,
        "person": one.ref,
        "name": one.name,
        "roles": list(one.roles),
        "connection": one.connection,
        "fhirUser": one.fhir_user or None,
        "provider": one.provider,
        "subject": one.subject or None,
        "active": one.active,
    }


def _row(one: dict[str, Any]) -> list[str]:
    where = one["connection"] or one["provider"] or "this server"
    known = one["fhirUser"] or one["subject"] or "-"
    return [one["id"], one["name"], ", ".join(one["roles"]), where, known, "active" if one["active"] else "disabled"]


def _known_as(one: Account) -> str:
    return f"{one.fhir_user or one.subject or one.ref} of {one.connection or one.provider or 'this server'}"
