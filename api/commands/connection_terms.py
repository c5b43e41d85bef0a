"""`fhir-tracker connection add` and `change`: which server is followed, and by what terms."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from api.commands import following
from api.commands.connection_words import own_part, print_shown, summary
from api.console import print_json
from api.former_client import former_client
from api.stores import open_store, secret_key
from fhir_tracker import clock, connections
from fhir_tracker.authentication import AUTH_KINDS
from fhir_tracker.config import Settings
from fhir_tracker.errors import UsageError
from fhir_tracker.signing_keys import Keyring
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.database import Database
from mappings import mapping_named, mapping_names
from subscriptions import endpoint_of, follow_otherwise

_AUTH_OPTIONS = ("client_id", "token_url", "scopes", "jku")
_KEPT_AS = {
    "write_back": "write_back",
    "owners": "owners",
    "strategy": "strategies",
    "topic": "topics",
    "budget": "budget",
    "roster": "roster_file",
    "codes": "codes",
    "group": "group",
    "search_by": "search_by",
    "secret_file": "secret_file",
} | {name: name for name in _AUTH_OPTIONS}
"""Options of the command line, and how a connection keeps them."""
_AUTHENTICATION = ("auth", "secret_file", *_AUTH_OPTIONS)
EPILOG = """examples:
  fhir-tracker connection add clinic --base-url https://ehr.example.org/fhir --poll 30s
  fhir-tracker connection add lab --base-url https://lab.example.org/r4 --auth bearer --secret-file /run/secrets/lab
  fhir-tracker connection add ward --base-url https://ward.example.org/r4 --auth private_key_jwt --client-id tracker
  fhir-tracker connection change clinic --subscribe auto --write-back Task
  fhir-tracker connection test clinic"""


def register(group: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands `add` and `change`."""
    add = group.add_parser("add", help="follow a server", epilog=EPILOG)
    add.add_argument("key", metavar="KEY", help="1 to 20 of a-z, 0-9 and hyphen; begins the id of all it brings")
    add.add_argument("--base-url", required=True, metavar="URL", help="the FHIR base address")
    add.add_argument("--mapping", default="generic", metavar="NAME", help=f"one of {', '.join(mapping_names())}")
    _register_terms(add)
    add.add_argument("--moved", action="store_true", help="a key used before: the same server under a new address")
    add.set_defaults(func=_add)
    about = "follow a server by other terms from now on; what was read, and how far, stays"
    change = group.add_parser(
        "change",
        help=about,
        epilog=EPILOG,
        description=f"{about.capitalize()}. What is not named stays; an option with an empty text is taken away.",
    )
    change.add_argument("key", metavar="KEY")
    _register_terms(change)
    terms = (*_KEPT_AS, "auth", "poll", "types", "subscribe")
    change.set_defaults(func=_change, **dict.fromkeys(terms))


def _register_terms(add: argparse.ArgumentParser) -> None:
    add.add_argument("--poll", default="30s", metavar="TIME", help="how often to ask for changes (default 30s)")
    add.add_argument("--types", default="", metavar="A,B", help="only these types; without it all that are useful")
    add.add_argument(
        "--subscribe", default="none", metavar="HOW", help=f"one of {', '.join(connections.SUBSCRIBE)} (default none)"
    )
    add.add_argument("--write-back", default="", metavar="A,B", help="types whose changes here are written there")
    add.add_argument(
        "--owners",
        metavar="FILE",
        help="whose each field is: JSON, type to field to ehr, ours or ask (docs/write-back.md)",
    )
    add.add_argument("--auth", default="none", metavar="KIND", help=f"one of {', '.join(AUTH_KINDS)}")
    add.add_argument(
        "--secret-file", metavar="FILE", help="holds user:password (basic), a token (bearer) or the client's secret"
    )
    add.add_argument("--client-id", metavar="ID", help="as whom the EHR knows us (client_secret, private_key_jwt)")
    add.add_argument("--token-url", metavar="URL", help="where tokens are given out; without it the server is asked")
    add.add_argument("--scopes", metavar="S", help="what we ask for (system/*.read)")
    add.add_argument("--jku", metavar="URL", help="the address of our keys in each assertion, where the EHR wants it")
    following.register_options(add)


def _add(args: argparse.Namespace, settings: Settings) -> int:
    mapping_named(args.mapping)
    options = _options(args)
    with open_store(settings) as database:
        with database.begin() as tx:
            added = connections.add(
                tx,
                args.key,
                args.base_url,
                now=clock.now(),
                mapping=args.mapping,
                poll_seconds=connections.seconds(args.poll),
                types=_names(args.types),
                subscribe=args.subscribe,
                options=options,
                moved=args.moved,
            )
        _say(args, database, settings, added, f"added {added.key}: {added.base_url}, every {added.poll_seconds} s", ())
    return 0


def _change(args: argparse.Namespace, settings: Settings) -> int:
    with open_store(settings) as database:
        with database.read() as tx:
            before = connections.get(tx, args.key)
        changed = _changed(before, args)
        connections.check_terms(changed)
        left: list[str] = []
        if changed != before:
            keys = Keyring(database=database, secret_key=secret_key(settings))
            with former_client(before, keys, settings.remote_timeout) as client:
                hook = endpoint_of(settings.public_url, before.key)
                left = follow_otherwise(database, before, changed, client, now=clock.now, hook=hook)
        done = (
            f"changed {before.key}"
            if changed != before
            else f"{before.key} is followed so already; nothing was changed"
        )
        _say(args, database, settings, changed, done, left)
    return 0


def _changed(before: Connection, args: argparse.Namespace) -> Connection:
    """The connection by the terms given: each in place of the former one, those of authentication all together."""
    given = [kept for name, kept in _KEPT_AS.items() if getattr(args, name) is not None]
    gone = [*given, *(_AUTHENTICATION if args.auth else ())]
    options = {name: value for name, value in before.options.items() if name not in gone}
    return replace(
        before,
        poll_seconds=connections.seconds(args.poll) if args.poll else before.poll_seconds,
        types=before.types if args.types is None else connections.checked_types(_names(args.types)),
        subscribe=args.subscribe or before.subscribe,
        options=options | _options(args),
    )


def _say(
    args: argparse.Namespace,
    database: Database,
    settings: Settings,
    now: Connection,
    done: str,
    left: Sequence[str],
) -> None:
    shown = {} if "client_id" not in now.options else own_part(database, now, settings)
    if args.json:
        print_json(summary(now) | ({"subscriptionsLeft": list(left)} if left else {}))
        return
    print(done)
    print_shown(shown, ())
    if left:
        print(f"its server still holds our former Subscriptions for {', '.join(left)}; delete them there")
    if now.subscribe != "none" and not settings.public_url:
        print("note: it is only polled until FHIR_TRACKER_PUBLIC_URL says where it can tell us of changes")
    print(f"next: fhir-tracker connection test {now.key}")


def _options(args: argparse.Namespace) -> dict[str, Any]:
    """The options named on the command line, as a connection keeps them."""
    options: dict[str, Any] = ({"auth": args.auth} if args.auth else {}) | following.options_of(args)
    options |= {name: told for name in _AUTH_OPTIONS if (told := getattr(args, name))}
    if args.write_back:
        options["write_back"] = _names(args.write_back)
    if args.secret_file:
        options["secret_file"] = os.path.abspath(args.secret_file)
    if args.owners:
        try:
            options["owners"] = json.loads(Path(args.owners).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise UsageError("--owners names a file of JSON that cannot be read.") from None
    return options


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
