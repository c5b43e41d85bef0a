"""`fhir-tracker roles`: what each role may see and do, in words; and the practice's own file of roles."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from api.commands.configured import note_change, operating_user
from api.console import print_json, print_lines, print_table
from api.role_words import fields_of, in_words
from api.stores import open_store
from fhir_tracker import clock, restrictions, roles
from fhir_tracker.config import Settings
from fhir_tracker.errors import Incorrect, UsageError
from fhir_tracker.model.policy import Policy
from fhir_tracker.rules.role_file import read_roles
from fhir_tracker.rules.source import MAX_CHARACTERS
from fhir_tracker.storage import role_files

_EPILOG = """examples:
  fhir-tracker roles show
  fhir-tracker roles show front-desk
  fhir-tracker roles check our-roles.yaml
  fhir-tracker roles load our-roles.yaml --reason "Medical assistants answer calls"
  fhir-tracker roles restrict R V HIV PSY "https://example.org/labels|staff" --reason "Staff are patients here, too"

docs/roles.md says what a file of roles holds."""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser("roles", description=__doc__, epilog=_EPILOG)
    group = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    show = group.add_parser("show", help="every role, or one in detail", epilog=_EPILOG)
    show.add_argument("role", metavar="ROLE", nargs="?", default="", help="such as front-desk")
    show.set_defaults(func=_show)
    check = group.add_parser("check", help="say what is wrong with a file of roles", epilog=_EPILOG)
    check.add_argument("file", metavar="FILE")
    check.set_defaults(func=_check)
    load = group.add_parser("load", help="let the roles of a file count, from the next request on", epilog=_EPILOG)
    load.add_argument("file", metavar="FILE")
    load.add_argument("--reason", metavar="TEXT", help="why, for the audit trail")
    load.set_defaults(func=_load)
    restrict = group.add_parser("restrict", help="say which security labels restrict what they are on", epilog=_EPILOG)
    restrict.add_argument("labels", metavar="LABEL", nargs="*", help="a code of HL7's such as R or HIV, or SYSTEM|CODE")
    restrict.add_argument("--none", action="store_true", help="none does")
    restrict.add_argument("--reason", metavar="TEXT", help="why, for the audit trail")
    restrict.set_defaults(func=_restrict)


def _show(args: argparse.Namespace, settings: Settings) -> int:
    with open_store(settings) as database, database.read() as tx:
        found = {args.role: roles.required(tx, args.role)} if args.role else dict(roles.defined(tx))
        loaded, labels = role_files.all(tx), restrictions.restricting(tx)
    if args.json:
        told = {"roles": [_summary(name, policy) for name, policy in found.items()]}
        files = [{"number": one.number, "loadedAt": one.loaded_at.isoformat(), "by": one.loaded_by} for one in loaded]
        print_json(told | {"files": files, "restricting": list(labels)})
    elif args.role:
        print_lines(list(in_words(args.role, found[args.role])))
    else:
        print_table(("role", "title", "means"), [(name, one.title, one.means) for name, one in found.items()])
        print(f"restricted by these labels: {', '.join(labels) or 'none'}")
        for one in loaded:
            print(f"file {one.number}: loaded {one.loaded_at:%Y-%m-%d %H:%M} UTC by {one.loaded_by}")
    return 0


def _check(args: argparse.Namespace, settings: Settings) -> int:
    found = read_roles(_text(args.file), name=args.file)
    if args.json:
        print_json({"roles": [_summary(name, policy) for name, policy in found.items()]})
    else:
        print_lines(
            [f"{args.file}: {len(found)} {'role' if len(found) == 1 else 'roles'}, no problem: {', '.join(found)}"]
        )
    return 0


def _load(args: argparse.Namespace, settings: Settings) -> int:
    source, now = _text(args.file), clock.now()
    by = f"command line: {operating_user()}"
    with open_store(settings) as database, database.begin() as tx:
        before = roles.defined(tx)
        kept, found = roles.load(tx, source, name=args.file, at=now, by=by, reason=args.reason)
        changed = sorted(name for name, policy in found.items() if before.get(name) != policy)
        note_change(
            tx, "roles load", f"roles/{kept.number}", now, digest=kept.digest, roles=changed, reason=args.reason or ""
        )
    if args.json:
        print_json({"number": kept.number, "digest": kept.digest, "changed": changed})
    else:
        print_lines([f"{args.file} counts from the next request on; changed: {', '.join(changed) or 'nothing'}"])
    return 0


def _restrict(args: argparse.Namespace, settings: Settings) -> int:
    if bool(args.labels) == args.none:
        raise UsageError("Name every label that is to restrict from now on, or --none.")
    with open_store(settings) as database, database.begin() as tx:
        before = restrictions.restricting(tx)
        after = restrictions.change(tx, args.labels)
        change = {"labels": list(after), "before": list(before), "reason": args.reason or ""}
        note_change(tx, "roles restrict", "roles/labels", clock.now(), **change)
    if args.json:
        print_json({"restricting": list(after)})
    else:
        print_lines([f"restricted from the next request on by these labels: {', '.join(after) or 'none'}"])
    return 0


def _text(name: str) -> str:
    try:
        raw = Path(name).read_bytes()
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}.") from None
    if len(raw) > 4 * MAX_CHARACTERS:
        raise Incorrect(f"{name} is too long for a file of roles.")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise Incorrect(f"{name} is not UTF-8.") from None


def _summary(name: str, policy: Policy) -> dict[str, Any]:
    return {
        "role": name,
        "title": policy.title,
        "means": policy.means,
        "may": [grant.text.partition("/")[2] for grant in policy.grants],
        "hide": fields_of(policy.hidden),
        "fix": fields_of(policy.fixed),
        "acts": sorted(policy.acts),
        "programs": _limit(policy.programs),
        "locations": _limit(policy.locations),
        "restricted": policy.restricted,
    }


def _limit(names: frozenset[str] | None) -> list[str] | None:
    return None if names is None else sorted(names)
