"""`fhir-tracker measures`: figures of the work as of any moment, and repair of queues that are not in order."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence

from api.command_acts import note_work
from api.commands.program_changes import author_of, count
from api.console import print_json, print_table, printable
from api.stores import open_store
from fhir_tracker import clock
from fhir_tracker.config import Settings
from fhir_tracker.measures import asking, figures, formats, hygiene, measure_reports, repair
from fhir_tracker.measures.asking import Wanted
from fhir_tracker.measures.definitions import MEASURES, Measure, measure_named
from fhir_tracker.measures.hygiene import Finding
from fhir_tracker.measures.repair import Repaired
from fhir_tracker.measures.report import Report
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage.database import Database

_VIEWER = worker_viewer("command-line")
_ALL = "all"
_EPILOG = """examples:
  fhir-tracker measures report overdue
  fhir-tracker measures report on-time --from 2026-01-01 --to 2026-03-31 --program tcm --format csv
  fhir-tracker measures report aging --as-of 2026-03-31"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the group and its commands."""
    group = subparsers.add_parser("measures")
    actions = group.add_subparsers(metavar="ACTION", required=True, dest="action")
    actions.add_parser("list", help="every measure, and what it is of").set_defaults(func=list_all)
    one = actions.add_parser("show", help="the definition of a measure: population, values, exclusions")
    one.add_argument("name", metavar="NAME")
    one.set_defaults(func=show)
    told = actions.add_parser("report", help="the figures of a measure, or of all", epilog=_EPILOG)
    told.add_argument("name", metavar="NAME", help=f"a measure, or {_ALL}")
    told.add_argument(
        "--as-of", metavar="TIME", help="what was known then: a moment, or a day for its end; now if left out"
    )
    told.add_argument(
        "--from", metavar="TIME", dest="start", help="the period's start; 30 days before its end if left out"
    )
    told.add_argument(
        "--to", metavar="TIME", dest="end", help="the period's end, a day for its end; the moment if left out"
    )
    told.add_argument("--program", metavar="CODE", help="of one program only")
    told.add_argument(
        "--format",
        choices=("table", "json", "csv", "fhir"),
        default="table",
        help="how it is told: a table if left out",
    )
    told.add_argument("--store", action="store_true", help="keep it as a MeasureReport")
    told.set_defaults(func=report)
    found = actions.add_parser("findings", help="the open tasks that are not in order, and what repairs each")
    found.add_argument("kind", metavar="KIND", nargs="?", help=f"one of {', '.join(hygiene.KINDS)}; all if left out")
    found.add_argument("--program", metavar="CODE", help="of one program only")
    found.set_defaults(func=findings)
    mend = actions.add_parser(
        "repair",
        help="repair the findings of a kind by transitions, each in its own transaction",
        epilog="example:\n  fhir-tracker measures repair inactive-owner --dry-run",
    )
    mend.add_argument("kind", metavar="KIND", choices=tuple(hygiene.KINDS), help=", ".join(hygiene.KINDS))
    mend.add_argument("--program", metavar="CODE", help="of one program only")
    mend.add_argument("--limit", type=count, metavar="N", default=1000, help="at most so many (1000)")
    mend.add_argument(
        "--by", metavar="WHO", help="who does it, such as Practitioner/ID; else the account that runs this"
    )
    mend.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    mend.set_defaults(func=mend_queues)


def list_all(args: argparse.Namespace, settings: Settings) -> int:
    """Names, titles and units; needs no database."""
    del settings
    if args.json:
        print_json([_definition(one) for one in MEASURES.values()])
    else:
        rows = [(one.name, one.title, one.of, one.value(one.main).unit) for one in MEASURES.values()]
        print_table(("NAME", "TITLE", "OF", "MAIN VALUE"), rows)
    return 0


def show(args: argparse.Namespace, settings: Settings) -> int:
    """One definition; needs no database."""
    del settings
    measure = measure_named(args.name)
    if args.json:
        print_json(_definition(measure))
        return 0
    print(
        f"{measure.title} ({measure.name}), of a {measure.of}\n\n{measure.population}\nLeft out: {measure.exclusions}"
    )
    print(f"As of a moment: {measure.as_of}\n")
    print_table(("BY", "MEANS"), [(one.name, one.means) for one in measure.keys])
    print()
    print_table(("VALUE", "UNIT", "MEANS"), [(one.name, one.unit, one.means) for one in measure.values])
    return 0


def report(args: argparse.Namespace, settings: Settings) -> int:
    """Print the figures; with --store also keep them."""
    names = tuple(MEASURES) if args.name == _ALL else (measure_named(args.name).name,)
    wanted = Wanted(as_of=args.as_of, start=args.start, end=args.end, program=args.program)
    with open_store(settings) as database:
        with database.read() as tx:
            asked = asking.asked(tx, _VIEWER, wanted, clock.now())
            made = [figures.report(tx, name, asked) for name in names]
        if args.store:
            _store(database, made)
    form = "json" if args.json else args.format
    if form == "json":
        told = [formats.as_json(one) for one in made]
        print_json(told if args.name == _ALL else told[0])
    elif form == "fhir":
        bodies = [measure_reports.measure_report(one) for one in made]
        print_json(measure_reports.collection(bodies) if args.name == _ALL else bodies[0])
    else:
        for one in made:
            _print(one, form, titled=args.name == _ALL)
    return 0


def findings(args: argparse.Namespace, settings: Settings) -> int:
    """Print what is not in order; 0."""
    kinds = (args.kind,) if args.kind else tuple(hygiene.KINDS)
    with open_store(settings) as database:
        found = _found(database, kinds, args.program)
        note_work(database, clock.now(), (ref for one in found for ref in (one.ref, one.other)))
    if args.json:
        print_json([vars(one) for one in found])
        return 0
    print_table(
        ("FINDING", "TASK", "PROGRAM", "ROLE", "DOUBLES"),
        [(one.kind, one.ref, one.program, printable(one.role), one.other) for one in found],
    )
    for kind in dict.fromkeys(one.kind for one in found):
        print(f"{kind}: {hygiene.KINDS[kind].repair} fhir-tracker measures repair {kind} --dry-run")
    return 0


def mend_queues(args: argparse.Namespace, settings: Settings) -> int:
    """Repair what is found; 0, or 1 when something failed."""
    with open_store(settings) as database:
        author = author_of(args)
        some = _found(database, (args.kind,), args.program)[: args.limit]
        note_work(database, clock.now(), (one.ref for one in some))
        made = [repair.repair(database, one, author, dry_run=args.dry_run) for one in some]
    if args.json:
        print_json([{"task": one.finding.ref, "state": one.state, "what": one.what} for one in made])
    else:
        _print_repaired(made)
    return 1 if any(one.state == "failed" for one in made) else 0


def _print_repaired(made: Sequence[Repaired]) -> None:
    print_table(("TASK", "STATE", "WHAT"), [(one.finding.ref, one.state, printable(one.what)) for one in made])
    counts = Counter(one.state for one in made)
    print(", ".join(f"{n} {state}" for state, n in sorted(counts.items())) or "Nothing to repair.")


def _found(database: Database, kinds: Sequence[str], program: str | None) -> list[Finding]:
    with database.read() as tx:
        asked = asking.asked(tx, _VIEWER, Wanted(program=program), clock.now())
        return hygiene.findings(tx, _VIEWER, figures.moment_of(asked), program, kinds)


def _store(database: Database, made: Sequence[Report]) -> None:
    with database.begin() as tx:
        for one in made:
            measure_reports.store(tx, one, clock.now())


def _print(one: Report, form: str, *, titled: bool) -> None:
    if form == "csv":
        print(formats.as_csv(one), end="")
        return
    if titled:
        print(f"\n{one.measure.title} ({one.measure.name})")
    rows = [tuple(printable(cell) for cell in line) for line in formats.cells(one)]
    print_table([head.upper() for head in formats.heads(one)], rows)


def _definition(measure: Measure) -> dict[str, object]:
    parts = {name: [vars(one) for one in getattr(measure, name)] for name in ("keys", "values")}
    return vars(measure) | parts | {"url": measure.canonical}
