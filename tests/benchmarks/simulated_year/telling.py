"""What the simulated year is told by: the product's own measures, and the dry run of a changed rule on it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from fhir_tracker import dry_run, programs
from fhir_tracker.measures import figures, formats
from fhir_tracker.measures.asking import Wanted, asked
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.rules.program_file import read_program
from fhir_tracker.rules.starters import starter_programs
from fhir_tracker.storage.database import Database

_VIEWER = worker_viewer("simulated-year")
ROWS = 12
"""The most rows of a measure that are printed."""
CHANGED = ("ccm", "overdue_by: 1 business day", "overdue_by: 3 business days")
"""The rule that the dry run changes: chronic care's work is late two business days later."""


def measures(database: Database, end: datetime) -> Iterator[str]:
    """Every measure of the year that ends at `end`, as Markdown tables, with what each took."""
    wanted = Wanted(start=(end - timedelta(days=365)).isoformat(), end=end.isoformat())
    with database.read() as tx:
        question = asked(tx, _VIEWER, wanted, end)
        begun = time.perf_counter()
        for report in figures.all_reports(tx, question):
            took, begun = time.perf_counter() - begun, time.perf_counter()
            rows = formats.cells(report)
            yield f"\n**{report.measure.title}** ({took * 1000:,.0f} ms, {len(rows)} rows)\n"
            yield f"| {' | '.join(formats.heads(report))} |"
            yield "|---" * len(formats.heads(report)) + "|"
            yield from (f"| {' | '.join(one)} |" for one in rows[:ROWS])


def changed_rule(database: Database, end: datetime, patients: int) -> Iterator[str]:
    """The dry run of a changed rule over the last 30 days, for the first so many patients."""
    code, old, new = CHANGED
    text = starter_programs()[code]
    assert old in text
    with database.read() as tx:
        active = programs.required(tx, code)
    candidate = replace(read_program(text.replace(old, new)), version=active.version + 1)
    begun = time.perf_counter()
    report = dry_run.run(database, candidate, end - timedelta(days=30), end, most=patients)
    yield f"\nDry run of `{new}` in place of `{old}` ({time.perf_counter() - begun:,.0f} s):\n\n```"
    yield from report.as_lines()
    yield "```"
