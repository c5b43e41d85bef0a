"""`fhir-tracker keys`: the keys with which this tracker shows EHRs who it is - list, rotate, retire, reseal."""

from __future__ import annotations

import argparse
import sys
from datetime import datetime
from typing import Any

from api.console import print_json, print_table
from api.keys_page import PATH
from api.stores import open_store, secret_key
from fhir_tracker import audit_keys, clock, signing_keys
from fhir_tracker.config import Settings
from fhir_tracker.fhir.dates import instant
from fhir_tracker.resealing import Rows, reseal
from fhir_tracker.signing_keys import ALGORITHMS, Keyring
from fhir_tracker.storage import signing_keys as stored
from fhir_tracker.storage.signing_keys import StoredKey
from subscriptions.credentials import read_secret

_EPILOG = """examples:
  fhir-tracker keys list
  fhir-tracker keys rotate
  fhir-tracker keys rotate --alg ES384 --now
  fhir-tracker keys reseal --former /run/secrets/former-key"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command group."""
    parser = subparsers.add_parser("keys", epilog=_EPILOG)
    group = parser.add_subparsers(metavar="ACTION", required=True)
    listed = group.add_parser("list", help="every key: which signs, which is published, which is retired")
    listed.set_defaults(func=_list)
    rotated = group.add_parser(
        "rotate",
        help="make a new key; the one before it stays published",
        description="Makes a new key, which is published at once and signs after 24 hours, when the EHRs have read it. "
        "The key before it stays published until the next rotation.",
    )
    rotated.add_argument("--alg", metavar="ALG", help=f"{' or '.join(ALGORITHMS)} (that of the last key)")
    rotated.add_argument(
        "--now", action="store_true", help="let the new key sign at once; EHRs may need to read it first"
    )
    rotated.set_defaults(func=_rotate)
    retired = group.add_parser("retire", help="publish a key no more, such as one that was stolen")
    retired.add_argument("kid", metavar="KID")
    retired.set_defaults(func=_retire)
    resealed = group.add_parser(
        "reseal",
        help="after a change of FHIR_TRACKER_SECRET_KEY: seal every stored secret with the new one",
        description="After a change of FHIR_TRACKER_SECRET_KEY: opens every stored secret (private keys, secrets of clients, "
        "tokens of launches, second factors) with the former value, and seals them with the one that is set now. What opens "
        "already is left as it is, so it may be run again.",
    )
    resealed.add_argument("--former", required=True, metavar="FILE", help="holds the former FHIR_TRACKER_SECRET_KEY")
    resealed.set_defaults(func=_reseal)
    for one in group.choices.values():
        one.add_argument("--json", action="store_true", help="as JSON")


def _list(args: argparse.Namespace, settings: Settings) -> int:
    now = clock.now()
    with open_store(settings) as database, database.read() as tx:
        signing = signing_keys.signing(tx, now)
        found = [_told(one, signing, now) for one in stored.all(tx)]
    if args.json:
        print_json({"keys": found, "page": f"{settings.public_url}{PATH}"})
    elif not found:
        print("no key yet; the first is made when a connection needs it, or now: fhir-tracker keys rotate")
    else:
        columns = ("kid", "alg", "state", "made", "signsFrom", "retired")
        print_table(columns, [[one[name] for name in columns] for one in found])
        print(f"published at {settings.public_url or 'the address of this server'}{PATH}")
    return 0


def _rotate(args: argparse.Namespace, settings: Settings) -> int:
    now = clock.now()
    with open_store(settings) as database:
        keys = Keyring(database=database, secret_key=secret_key(settings))
        made = keys.rotate(now, args.alg, at_once=args.now)
    if args.json:
        print_json(_told(made, made if made.signs_from <= now else None, now))
    else:
        when = "now" if made.signs_from <= now else f"{made.signs_from:%Y-%m-%d %H:%M} UTC on"
        print(f"key {made.kid} ({made.alg}) is published and signs from {when}")
        print("an EHR that was given the keys as a file needs the new one too: fhir-tracker keys list --json")
    return 0


def _retire(args: argparse.Namespace, settings: Settings) -> int:
    with open_store(settings) as database, database.begin() as tx:
        signing_keys.retire(tx, args.kid, clock.now())
    if args.json:
        print_json({"retired": args.kid})
    else:
        print(f"key {args.kid} is published no more")
    return 0


def _reseal(args: argparse.Namespace, settings: Settings) -> int:
    former = read_secret(args.former, "The file of the former key")
    with open_store(settings) as database:
        done = reseal(database, secret_key(settings), former)
    (anew, others), (kept, _), (lost, lost_others) = map(_of_keys, (done.anew, done.kept, done.lost))
    if args.json:
        told = {"resealed": anew, "alreadyOpen": kept, "lost": lost}
        print_json({**told, "others": {"resealed": others, "lost": lost_others}})
    else:
        print(f"{len(anew)} keys sealed anew, {len(kept)} were open already")
        for kid in lost:
            print(f"key {kid} opens with neither; make a new one: fhir-tracker keys rotate --now", file=sys.stderr)
        for place, count in others.items():
            print(f"{count} of {place} sealed anew")
        for place, count in lost_others.items():
            print(f"{count} of {place} open with neither: {_remedy(place)}", file=sys.stderr)
    return 1 if done.lost else 0


def _of_keys(rows: Rows) -> tuple[list[str], dict[str, int]]:
    """The signing keys, which are told one by one, and how many there are of each other place."""
    keys = rows.get("signing_key.sealed", ())
    return list(keys), {place: len(those) for place, those in rows.items() if place != "signing_key.sealed"}


def _remedy(place: str) -> str:
    return "reseal with the secret key of that time" if place == audit_keys.PLACE else "have them made anew"


def _told(one: StoredKey, signing: StoredKey | None, now: datetime) -> dict[str, Any]:
    return {
        "kid": one.kid,
        "alg": one.alg,
        "state": _state(one, signing, now),
        "made": instant(one.made_at),
        "signsFrom": instant(one.signs_from),
        "retired": instant(one.retired_at) if one.retired_at else None,
        "public": dict(one.public),
    }


def _state(one: StoredKey, signing: StoredKey | None, now: datetime) -> str:
    if one.retired_at is not None:
        return "retired"
    if signing is not None and one.kid == signing.kid:
        return "signs"
    return "waits" if one.signs_from > now else "published"
