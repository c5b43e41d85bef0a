"""`fhir-tracker program withdraw | diff | history`: what a version changes, who handed it in, and who approved it."""

from __future__ import annotations

import argparse
import os
import pwd
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from api.console import print_json, print_lines, print_table
from api.stores import open_store
from fhir_tracker import clock, programs, publishing
from fhir_tracker.config import Settings
from fhir_tracker.errors import Incorrect, NotFound, UsageError
from fhir_tracker.fhir.dates import parse_datetime
from fhir_tracker.model.author import Author
from fhir_tracker.model.program import ChangeControl, Program
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.publishing import Terms
from fhir_tracker.rules.difference import differences
from fhir_tracker.rules.program_file import read_program
from fhir_tracker.rules.source import MAX_CHARACTERS
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.programs import ProgramVersion


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to the group."""
    back = actions.add_parser("withdraw", help="take back a version that waits for approval or for its time")
    back.add_argument("code", metavar="CODE")
    back.add_argument("--version", type=int, metavar="N", help="which; the newest that waits when left out")
    say_who(back)
    back.set_defaults(func=withdraw)
    compare = actions.add_parser(
        "diff",
        help="what a new version changes, in plain words",
        epilog="example:\n  fhir-tracker program diff tcm.yaml\n  fhir-tracker program diff tcm:1 tcm:2",
    )
    compare.add_argument(
        "versions", metavar="VERSION", nargs="+", help="FILE, CODE or CODE:N; one alone: against the active"
    )
    compare.set_defaults(func=diff)
    past = actions.add_parser(
        "history", help="every version: its hash, who wrote and approved it, why, from when to when"
    )
    past.add_argument("code", metavar="CODE", nargs="?")
    past.set_defaults(func=history)


def say_who(parser: argparse.ArgumentParser) -> None:
    """Add the options that tell who acts and why."""
    parser.add_argument("--reason", metavar="TEXT", help="why; kept in the program's history")
    parser.add_argument(
        "--by", metavar="WHO", help="who acts, such as Practitioner/ID; else the account of this machine"
    )


def author_of(args: argparse.Namespace) -> Author:
    """Who acts: `--by`, else the account that runs the command."""
    who = args.by or f"account/{_account()}"
    return Author(viewer=replace(worker_viewer("command-line"), who=who, name=who), origin="cli", at=clock.now())


def terms_of(args: argparse.Namespace, settings: Settings, *, effective: datetime | None = None) -> Terms:
    """The reason and time given, and what the settings ask for."""
    control = ChangeControl(approver=settings.require_approver, reason=settings.require_reason)
    return Terms(reason=args.reason, effective_at=effective, control=control)


def moment(text: str) -> datetime:
    """A time on the command line, with its zone."""
    try:
        return parse_datetime(text)
    except Incorrect as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error.message}") from None


def count(text: str) -> int:
    """A number on the command line of which there is at least one."""
    if not text.isdecimal() or not 0 < len(text) <= 9 or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def told(row: ProgramVersion) -> str:
    """Where a version stands, in a sentence."""
    named = f"{row.title} ({row.code}) version {row.version}"
    if row.status == "active":
        return f"{row.title} ({row.code}) is active as version {row.version}."
    if row.status == "draft":
        return f"{named} waits for approval: fhir-tracker program approve {row.code} --version {row.version}"
    if row.status == "approved":
        return f"{named} takes effect at {_text(row.effective_at)}."
    return f"{named} is {row.status}."


def as_json(row: ProgramVersion) -> dict[str, object]:
    """What is known of a version, without its text."""
    return {
        "code": row.code,
        "version": row.version,
        "status": row.status,
        "title": row.title,
        "hash": row.digest,
        "intact": row.intact,
        "author": row.published_by,
        "submitted": _text(row.published_at),
        "reason": row.reason,
        "approver": row.approved_by,
        "approved": _text(row.approved_at),
        "effective": _text(row.effective_at),
        "activeFrom": _text(row.active_from),
        "retired": _text(row.retired_at),
        "rollsBackTo": row.rolls_back,
    }


def withdraw(args: argparse.Namespace, settings: Settings) -> int:
    """Withdraw what waits; 0, or 1 when nothing does."""
    with open_store(settings) as database, database.begin() as tx:
        row = publishing.withdraw(tx, args.code, args.version, author_of(args))
    _say(args, row)
    return 0


def diff(args: argparse.Namespace, settings: Settings) -> int:
    """Compare two versions, or one with the active one; 0, whether they differ or not."""
    if len(args.versions) > 2:
        raise UsageError("Two versions are compared: name one or two.")
    with open_store(settings) as database, database.read() as tx:
        new = version_named(tx, args.versions[-1])
        old = version_named(tx, args.versions[0]) if len(args.versions) == 2 else programs.required(tx, new.code)
    found = differences(old, new)
    if args.json:
        named = {"program": new.code, "old": old.version or None, "new": new.version or None}
        print_json(named | {"differences": [one.as_json() for one in found]})
        return 0
    print(f"{_named(old)} and {_named(new)}: {len(found) or 'no'} difference{'s' if len(found) != 1 else ''}")
    print_lines(f"  {one.text}" for one in found)
    return 0


def version_named(tx: Tx, text: str) -> Program:
    """The program of a FILE, or of the active version of CODE, or of CODE:N whatever its state."""
    code, _, number = text.partition(":")
    rows = programs.all_programs(tx, code) if "/" not in text and not _is_file(text) else []
    if rows:
        wanted = [one for one in rows if (str(one.version) == number if number else one.status == "active")]
        if not wanted:
            raise NotFound(f"There is no {text}; see fhir-tracker program history {code}.")
        return programs.program_of(wanted[0].row)
    return read_program(read_text(text), name=text)


def read_text(file: str) -> str:
    """The text of a program file, or of one that is too large its beginning, which is too large too."""
    try:
        with Path(file).open(encoding="utf-8") as opened:
            return opened.read(MAX_CHARACTERS + 1)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UsageError(f"{file} is not UTF-8 text.") from None


def _is_file(name: str) -> bool:
    """Whether there is a file of that name; no name that the system cannot have is one."""
    try:
        return Path(name).is_file()
    except OSError:
        return False


def _named(program: Program) -> str:
    return f"{program.code} version {program.version}" if program.version else f"{program.code} in the file"


def history(args: argparse.Namespace, settings: Settings) -> int:
    """Every version of a program or of all, newest first; 0, or 1 when a text was changed in the database."""
    with open_store(settings) as database, database.read() as tx:
        found = [one.row for one in programs.all_programs(tx, args.code)]
    if args.code and not found:
        raise NotFound(f"There is no program {args.code}; see fhir-tracker program list.")
    if args.json:
        print_json([as_json(row) for row in found])
    else:
        heads = ("code", "version", "status", "hash", "author", "submitted", "approver", "from", "to", "why")
        print_table(heads, [_line(row) for row in found])
    return 0 if all(row.intact for row in found) else 1


def _say(args: argparse.Namespace, row: ProgramVersion) -> None:
    if args.json:
        print_json(as_json(row))
    else:
        print(told(row))


def _line(row: ProgramVersion) -> tuple[object, ...]:
    back = f"back to version {row.rolls_back}" if row.rolls_back else ""
    why = ": ".join(one for one in (back, row.reason or "") if one)
    begins = _text(row.active_from) or (f"at {_text(row.effective_at)}" if row.effective_at else None)
    hashed = row.digest[:12] if row.intact else "CHANGED IN THE DATABASE"
    who = (row.published_by, _text(row.published_at), row.approved_by)
    return (row.code, row.version, row.status, hashed, *who, begins, _text(row.retired_at), why)


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None


def _account() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
