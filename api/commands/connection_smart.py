"""`fhir-tracker connection smart` and `login-provider add`: from where staff is let in, and how we are registered there."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from api.commands.configured import note_change
from api.console import print_json
from api.stores import open_store, secret_key
from fhir_tracker import clock, issuers
from fhir_tracker.authentication import travels_openly
from fhir_tracker.config import Settings
from fhir_tracker.errors import UsageError
from fhir_tracker.fhir.dates import instant
from fhir_tracker.issuers import CLIENT_TYPES, VIEWS, Terms
from fhir_tracker.signing_keys import Keyring
from fhir_tracker.storage import connections
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.issuers import Issuer
from subscriptions.credentials import read_secret

_EPILOG = """examples:
  fhir-tracker connection smart clinic --issuer https://ehr.example.org/fhir --client-id tracker \\
      --frame-ancestor https://ehr.example.org
  fhir-tracker connection smart clinic --issuer https://ehr.example.org/fhir --client-id tracker \\
      --client-type confidential-symmetric --client-secret-file /run/secrets/clinic
  fhir-tracker connection smart clinic
  fhir-tracker connection smart clinic --remove"""
_AS = {
    "readsAsUser": (True, "by each user's own token"),
    "posts": (True, "by POST"),
    "pkceChecked": (False, "not looked for"),
}
"""Members that are yes or no -> what is shown of them when they are so; nothing is shown of the others."""
_TERMS = (
    "client_type",
    "client_secret_file",
    "scopes",
    "label",
    "endpoint_origin",
    "no_pkce_check",
    "authorize_post",
    "frame_ancestor",
    "introspection_url",
    "intent",
    "read_as_user",
)
_SHOWN = {
    "issuer": "issuer",
    "label": "called",
    "clientId": "client id",
    "clientType": "client type",
    "scopes": "scopes asked for",
    "frameAncestors": "may frame us",
    "introspectionUrl": "introspection",
    "intents": "intents",
    "readsAsUser": "patients read",
    "posts": "logins begun",
    "pkceChecked": "PKCE",
    "endpointOrigins": "endpoints also at",
    "launchUrl": "launch address",
    "redirectUri": "redirect address",
    "keyPage": "our keys",
}
Save = Callable[[Tx, str, Terms, str, datetime], Issuer]


def register(group: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    smart = group.add_parser(
        "smart",
        help="let its staff in: SMART App Launch",
        description="Let staff in from the EHR of a connection (SMART App Launch). All terms are given anew each time, but "
        "for the secret, which stays as long as issuer and client id do. Without any, those there are are shown.",
        epilog=_EPILOG,
    )
    smart.add_argument("key", metavar="KEY", help="the connection, as `connection add` called it")
    register_terms(smart)
    smart.add_argument(
        "--frame-ancestor",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="where the EHR frames us from; repeatable",
    )
    smart.add_argument("--introspection-url", default="", metavar="URL", help="take the EHR's tokens at our FHIR API")
    smart.add_argument(
        "--intent", action="append", default=[], metavar="NAME=VIEW", help=f"what an intent opens: {', '.join(VIEWS)}"
    )
    smart.add_argument("--read-as-user", action="store_true", help="read the patient opened with the user's own token")
    smart.add_argument(
        "--remove", action="store_true", help="let nobody in from there any more, and end their sessions"
    )
    smart.set_defaults(func=_smart)


def register_terms(parser: argparse.ArgumentParser) -> None:
    """The options that an EHR and a login provider share."""
    parser.add_argument("--issuer", default="", metavar="URL", help="the address that vouches for people")
    parser.add_argument("--client-id", default="", metavar="ID", help="what we are called there")
    parser.add_argument(
        "--client-type",
        default="",
        metavar="TYPE",
        help=f"one of {', '.join(CLIENT_TYPES)} (public, or with a secret the second)",
    )
    parser.add_argument(
        "--client-secret-file", metavar="F", help="holds the secret of a confidential-symmetric client; kept sealed"
    )
    parser.add_argument("--scopes", default="", metavar="S", help="what we ask for; without it what the server offers")
    parser.add_argument("--label", default="", metavar="TEXT", help="what the login page calls it")
    parser.add_argument(
        "--endpoint-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="where else its authorization server is, on a private network or an unusual port; repeatable",
    )
    parser.add_argument(
        "--no-pkce-check", action="store_true", help="also where the server does not say that it checks PKCE (S256)"
    )
    parser.add_argument("--authorize-post", action="store_true", help="send people there by POST where it is offered")


def terms_of(args: argparse.Namespace) -> Terms:
    """The terms that the command line gives; UsageError for a secret file that cannot be read."""
    secret = read_secret(args.client_secret_file, "The client's secret file") if args.client_secret_file else ""
    return Terms(
        url=args.issuer,
        client_id=args.client_id,
        client_type=args.client_type,
        secret=secret,
        scopes=args.scopes,
        label=args.label,
        frame_ancestors=getattr(args, "frame_ancestor", ()),
        introspection_url=getattr(args, "introspection_url", ""),
        checks_pkce=not args.no_pkce_check,
        posts=args.authorize_post,
        reads_as_user=getattr(args, "read_as_user", False),
        endpoint_origins=args.endpoint_origin,
        intents=issuers.intents_of(getattr(args, "intent", ())),
        subject_claim=getattr(args, "subject", ""),
    )


def save(args: argparse.Namespace, settings: Settings, keep: Save, command: str) -> int:
    """Keep an issuer by the terms given, say what has to be registered there, and what to do next."""
    now, terms = clock.now(), terms_of(args)
    key = secret_key(settings)
    with open_store(settings) as database:
        with database.begin() as tx:
            made = keep(tx, args.key, terms, key, now)
            note_change(tx, command, f"issuer/{made.key}", now, **_plain(made))
        if made.client_type == "confidential-asymmetric":
            Keyring(database=database, secret_key=key).ensure(now)
        told = told_of(made, settings)
        if args.json:
            print_json(told)
            return 0
        print(f"{made.key}: staff is let in from {made.url}")
        print_told(told)
        _print_notes(database, made, settings)
    return 0


def told_of(one: Issuer, settings: Settings) -> dict[str, Any]:
    """An issuer in a few members, as JSON; never its secret."""
    base = settings.public_url
    return {
        "key": one.key,
        "kind": one.kind,
        **_plain(one),
        "active": one.active,
        "changed": instant(one.changed_at),
        **({"launchUrl": f"{base}/launch"} if one.connection else {}),
        "redirectUri": f"{base}/callback",
        **({"keyPage": f"{base}/.well-known/jwks.json"} if one.client_type == "confidential-asymmetric" else {}),
    }


def print_told(told: Mapping[str, Any]) -> None:
    """The same for people."""
    for name, label in _SHOWN.items():
        value = told.get(name)
        if name in _AS:
            value = _AS[name][1] if value is _AS[name][0] else ""
        if value:
            text = ", ".join(value) if isinstance(value, list) else value
            if isinstance(value, dict):
                text = ", ".join(f"{intent}={view}" for intent, view in value.items())
            print(f"  {label:<18}{text}")


def _smart(args: argparse.Namespace, settings: Settings) -> int:
    if args.remove:
        return remove(args, settings, "connection smart --remove")
    if not args.issuer or not args.client_id:
        if args.issuer or args.client_id or any(getattr(args, name) for name in _TERMS):
            raise UsageError("connection smart needs --issuer and --client-id: all terms are given anew each time.")
        return _show(args, settings)
    return save(args, settings, issuers.of_connection, "connection smart")


def _show(args: argparse.Namespace, settings: Settings) -> int:
    with open_store(settings) as database, database.read() as tx:
        told = told_of(issuers.get(tx, args.key), settings)
    if args.json:
        print_json(told)
    else:
        print(f"{told['key']}: staff is let in")
        print_told(told)
    return 0


def remove(args: argparse.Namespace, settings: Settings, command: str) -> int:
    """Let nobody in any more by the issuer named."""
    now = clock.now()
    with open_store(settings) as database, database.begin() as tx:
        gone = issuers.remove(tx, args.key, now)
        if gone:
            note_change(tx, command, f"issuer/{args.key}", now)
    if args.json:
        print_json({"removed": args.key if gone else None})
    else:
        print(f"nobody is let in by {args.key} any more" if gone else f"nobody was let in by {args.key}")
    return 0 if gone else 1


def _plain(one: Issuer) -> dict[str, Any]:
    return {
        "issuer": issuers.audience(one),
        "label": one.label,
        "clientId": one.client_id,
        "clientType": one.client_type,
        "scopes": one.scopes,
        "frameAncestors": list(one.frame_ancestors),
        "introspectionUrl": one.options.get("introspection_url", ""),
        "intents": dict(one.options.get("intents", {})),
        "readsAsUser": bool(one.options.get("reads_as_user")),
        "pkceChecked": not one.options.get("pkce_unchecked"),
        "posts": bool(one.options.get("posts")),
        "endpointOrigins": list(one.options.get("endpoint_origins", ())),
        "subject": one.options.get("subject_claim", "sub"),
    }


def _print_notes(database: Database, made: Issuer, settings: Settings) -> None:
    if not settings.public_url:
        print("note: set FHIR_TRACKER_PUBLIC_URL (or serve --public-url): launch and redirect address begin with it")
    if made.options.get("pkce_unchecked"):
        print("note: whether the server checks PKCE is not asked; take --no-pkce-check away once it says so")
    if made.connection is None:
        print(f"next: fhir-tracker staff add --provider {made.key} --subject WHO --name NAME --role ROLE")
        return
    with database.read() as tx:
        connection = connections.find(tx, made.key)
    if connection is not None and travels_openly({"auth": "bearer"}, connection.base_url):
        print("note: the connection itself is not encrypted; use its https address")
    if not made.frame_ancestors:
        print("note: no page frames us; name where the EHR does it from: --frame-ancestor ORIGIN")
    print(f"next: fhir-tracker staff add --connection {made.key} --fhir-user Practitioner/ID --name NAME --role ROLE")
