"""Reports as CSV that no spreadsheet takes for formulas, as JSON, and as heads and cells of a table."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections.abc import Sequence

from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.json_types import Json
from fhir_tracker.measures.report import Number, Report

_FORMULA = frozenset("=+-@|%\u2212\t\r\n")
"""What begins a formula in some spreadsheet; the wide and small forms of it are these once they are normalised."""
_UNSEEN = frozenset(("Zs", "Zl", "Zp", "Cc", "Cf"))
"""Categories of what a spreadsheet may leave out before a formula: spaces of every width, marks nobody sees."""
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def heads(report: Report) -> tuple[str, ...]:
    """The names of keys and values."""
    keys = tuple(one.name for one in report.measure.keys)
    return (*keys, *(one.name for one in report.measure.values))


def cells(report: Report) -> list[tuple[str, ...]]:
    """The rows as texts; nothing known is empty."""
    names = [one.name for one in report.measure.values]
    return [(*row.keys, *(_number(row.values[name]) for name in names)) for row in report.rows]


def as_csv(report: Report) -> str:
    """RFC 4180, with a line of heads; a cell that a spreadsheet could run begins with an apostrophe."""
    return csv_of([heads(report), *cells(report)])


def csv_of(lines: Sequence[Sequence[str]]) -> str:
    """Lines of cells as RFC 4180."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerows([[_safe(cell) for cell in line] for line in lines])
    return text.getvalue()


def as_json(report: Report) -> dict[str, Json]:
    """The report with its definition's name, unit of each value, and what was asked."""
    asked, measure = report.asked, report.measure
    period: dict[str, Json] = {"from": instant(asked.start), "to": instant(asked.end)}
    rows: list[Json] = [
        dict(zip((one.name for one in measure.keys), row.keys, strict=True)) | dict(row.values) for row in report.rows
    ]
    return {
        "measure": measure.name,
        "title": measure.title,
        "url": measure.canonical,
        "as_of": instant(asked.moment),
        **({"period": period} if measure.of == "period" else {}),
        "program": asked.program,
        **({} if asked.viewer.counts_all else {"limited": True}),
        "zone": asked.zone,
        "units": {one.name: one.unit for one in measure.values},
        "rows": rows,
        "total": {one.name: report.total(one.name) for one in measure.values},
    }


def json_text(report: Report) -> str:
    """`as_json` as text."""
    return json.dumps(as_json(report), indent=2, ensure_ascii=False)


def _number(value: Number) -> str:
    return "" if value is None else str(value)


def _safe(cell: str) -> str:
    """As a number stays a number, only other texts are kept from being formulas."""
    cell = cell.replace("\0", "")
    if _NUMBER.fullmatch(cell):
        return cell
    seen = (one for one in unicodedata.normalize("NFKC", cell) if one in _FORMULA or _is_seen(one))
    return f"'{cell}" if next(seen, "") in _FORMULA else cell


def _is_seen(one: str) -> bool:
    return unicodedata.category(one) not in _UNSEEN
