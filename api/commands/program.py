"""`fhir-tracker program`: check, publish and look at care programs."""

from __future__ import annotations

import argparse
import sys

from api.commands import program_changes, program_plans
from api.commands.program_changes import moment, read_text
from api.console import print_json, print_lines, print_table
from api.stores import open_store
from fhir_tracker import clock, enrolment, programs, publishing
from fhir_tracker.config import Settings
from fhir_tracker.errors import Incorrect, NotFound, UsageError
from fhir_tracker.model.author import Author
from fhir_tracker.model.program import Program
from fhir_tracker.model.subject import id_of
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.programs import Published
from fhir_tracker.rules.program_file import read_program
from fhir_tracker.rules.summary import program_summary


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the group and its commands."""
    group = subparsers.add_parser("program")
    actions = group.add_subparsers(metavar="ACTION", required=True, dest="action")
    check = actions.add_parser("validate", help="say everything that is wrong with a program file, by line and column")
    check.add_argument("file", metavar="FILE")
    check.set_defaults(func=validate)
    release = actions.add_parser(
        "publish",
        help="hand in a program file: active at once, or after approval and at its time",
        epilog="example:\n  fhir-tracker program publish tcm.yaml --reason 'Calls within one day' --effective 2026-04-01T06:00Z",
    )
    release.add_argument("file", metavar="FILE")
    release.add_argument("--effective", metavar="TIME", type=moment, help="from when on, such as 2026-04-01T06:00:00Z")
    program_changes.say_who(release)
    release.set_defaults(func=publish)
    program_changes.register(actions)
    program_plans.register(actions)
    actions.add_parser("list", help="every published version").set_defaults(func=list_all)
    one = actions.add_parser("show", help="one version of a program, as it was handed in, or in plain words")
    one.add_argument("code", metavar="CODE")
    one.add_argument("--version", type=int, metavar="N", help="which; the active one when left out")
    one.add_argument("--words", action="store_true", help="say in plain words what it does, for whoever approves it")
    one.set_defaults(func=show)
    hand = actions.add_parser("enrol", help="open a plan of a program for a patient by hand")
    hand.add_argument("code", metavar="CODE")
    hand.add_argument("patient", metavar="Patient/ID", help="the patient as the tracker's FHIR API names them")
    hand.add_argument("--reason", default="Enrolled by hand", metavar="TEXT", help="why; kept in the plan's history")
    hand.add_argument("--site", metavar="SITE", help="the site whose calendar counts, by its code or a location of it")
    hand.set_defaults(func=enrol)


def validate(args: argparse.Namespace, settings: Settings) -> int:
    """0 for a valid file; a problem a line and 1 for another. Needs no database."""
    del settings
    try:
        program = read_program(read_text(args.file), name=args.file)
    except Incorrect as error:
        if not args.json:
            raise
        print_json({"valid": False, "issues": [{"at": one.expression, "message": one.message} for one in error.issues]})
        return 1
    if args.json:
        told = {"valid": True, "program": program.code, "title": program.title, "warnings": program.warnings}
        print_json(told)
    else:
        _warn(program)
        print(f"{args.file} is valid: {program.title}, {_sizes(program)}.")
    return 0


def publish(args: argparse.Namespace, settings: Settings) -> int:
    """Hand in a file; 0, also when it now waits for approval or for its time."""
    text = read_text(args.file)
    checked = read_program(text, name=args.file)
    terms = program_changes.terms_of(args, settings, effective=args.effective)
    with open_store(settings) as database, database.begin() as tx:
        row = publishing.submit(tx, text, program_changes.author_of(args), terms)
    if args.json:
        print_json(program_changes.as_json(row) | {"program": row.code, "warnings": checked.warnings})
    else:
        _warn(checked)
        print(program_changes.told(row))
    return 0


def list_all(args: argparse.Namespace, settings: Settings) -> int:
    """Every published version; 0."""
    with open_store(settings) as database, database.read() as tx:
        found = programs.all_programs(tx)
        rows = [
            {
                "code": one.code,
                "version": one.version,
                "status": one.status,
                "title": one.title,
                "published": one.published_at.isoformat(timespec="seconds"),
                "by": one.published_by,
            }
            for one in found
        ]
    if args.json:
        print_json(rows)
    else:
        print_table(("code", "version", "status", "title", "published", "by"), [tuple(row.values()) for row in rows])
    for one in found:
        if one.program is None:
            print(f"warning: {_unreadable(one)}", file=sys.stderr)
    return 0


def show(args: argparse.Namespace, settings: Settings) -> int:
    """The YAML of one version, or what it says; 0, or 1 when there is none."""
    with open_store(settings) as database, database.read() as tx:
        found = [one for one in programs.all_programs(tx, args.code) if _is_wanted(one, args.version)]
    if not found:
        which = f"version {args.version} of {args.code}" if args.version is not None else f"program {args.code}"
        raise NotFound(f"There is no {which}; see fhir-tracker program list.")
    one = found[0]
    said = program_summary(one.program) if one.program else []
    if args.json:
        named = {"code": one.code, "version": one.version, "status": one.status, "title": one.title}
        print_json(named | {"source": one.source, "words": said})
    elif args.words:
        print_lines(said)
    else:
        print(f"# {one.title}, version {one.version}, {_sizes(one.program) if one.program else 'unreadable'}")
        print(one.source, end="")
    if one.program is None:
        print(f"warning: {_unreadable(one)}", file=sys.stderr)
    return 0


def _is_wanted(one: Published, version: int | None) -> bool:
    return one.status == "active" if version is None else one.version == version


def enrol(args: argparse.Namespace, settings: Settings) -> int:
    """Open a plan; 0, or 1 when there is no such program or patient or an open plan already."""
    patient = id_of(args.patient, "Patient")
    if patient is None:
        raise UsageError(f"{args.patient!r} is not Patient/ID.")
    with open_store(settings) as database, database.begin() as tx:
        author = Author(viewer=worker_viewer("command-line"), origin="cli", at=clock.now())
        program = programs.required(tx, args.code)
        plan = enrolment.by_hand(tx, program, patient, author, reason=args.reason, site=args.site)
    if args.json:
        print_json({"program": program.code, "version": program.version, "plan": plan.ref})
    else:
        print(f"{plan.ref} is a plan of {program.title}, version {program.version}.")
    return 0


def _warn(program: Program) -> None:
    for warning in program.warnings:
        print(f"warning: {warning}", file=sys.stderr)


def _unreadable(one: Published) -> str:
    return f"{one.code} version {one.version} cannot be read by this release: {one.problem}"


def _sizes(program: Program) -> str:
    return f"{len(program.statuses)} statuses, {len(program.tasks)} tasks, {len(program.rules)} rules"
