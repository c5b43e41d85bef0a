"""Reports as MeasureReport resources: figures for everybody (summary) or for the one patient a view is locked to.

https://hl7.org/fhir/R4/measurereport.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from fhir_tracker import provenance, records
from fhir_tracker.fhir.codeable import concept
from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.narrative import narrative
from fhir_tracker.measures import formats
from fhir_tracker.measures.definitions import Measure
from fhir_tracker.measures.report import Asked, Number, Report
from fhir_tracker.measures.resources import KEY_SYSTEM, NOTATION, POPULATION, VALUE_SYSTEM, scoring
from fhir_tracker.model.author import Author
from fhir_tracker.model.program import CANONICAL
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.resources import Stored

VALUE = f"{CANONICAL}/StructureDefinition/measure-value"
"""On a group or stratum: one more of its values, `name` and `value`."""
AS_OF = f"{CANONICAL}/StructureDefinition/measure-as-of"
"""On a MeasureReport: what was known at which moment."""
LIMITED = f"{CANONICAL}/StructureDefinition/measure-limited"
"""On a MeasureReport: it counts only what the one who asked for it may see, which is not all."""
_UCUM = "http://unitsofmeasure.org"
_UNITS: Mapping[str, tuple[str, str]] = {"count": ("1", "1"), "hours": ("hour", "h"), "percent": ("%", "%")}
_NONE = "(none)"
_MOST_ROWS = 50


def measure_report(report: Report) -> Resource:
    """The MeasureReport, without an id."""
    measure, asked = report.measure, report.asked
    patient = asked.viewer.patient
    start, end = (asked.start, asked.end) if measure.of == "period" else (asked.moment, asked.moment)
    totals = {one.name: report.total(one.name) for one in measure.values}
    strata: list[Json] = [_stratum(measure, row.keys, row.values) for row in report.rows]
    group: Resource = {"code": {"text": measure.title}} | _figures(measure, totals)
    if strata:
        by = ", ".join(one.name for one in measure.keys)
        group["stratifier"] = [{"code": [{"text": f"By {by}"}], "stratum": strata}]
    return {
        "resourceType": "MeasureReport",
        "meta": {"source": CANONICAL},
        "text": narrative("MeasureReport", measure.title, list(_lines(report))),
        "extension": list(_said_of_it(asked)),
        "status": "complete",
        "type": "individual" if patient else "summary",
        "measure": measure.canonical,
        **({"subject": {"reference": f"Patient/{patient}"}} if patient else {}),
        "date": instant(asked.now),
        "period": {"start": instant(start), "end": instant(end)},
        "improvementNotation": concept(NOTATION, measure.better),
        "group": [group],
    }


def _said_of_it(asked: Asked) -> Iterator[Json]:
    yield {"url": AS_OF, "valueInstant": instant(asked.moment)}
    if not asked.viewer.counts_all:
        yield {"url": LIMITED, "valueBoolean": True}


def store(tx: Tx, report: Report, now: datetime, author: Author | None = None) -> Stored:
    """Keep the report as a MeasureReport, with its Provenance."""
    by = author or Author(viewer=worker_viewer("measures"), origin="cli", at=now)
    stored = records.create(tx, measure_report(report), by)
    provenance.record(tx, [stored], by, activity="CREATE")
    return stored


def collection(bodies: Sequence[Resource]) -> Resource:
    """Several reports as a Bundle."""
    return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": one} for one in bodies]}


def _lines(report: Report) -> Iterator[tuple[str, str]]:
    if not report.asked.viewer.counts_all:
        yield "Limited", "only what the one who asked may see is counted"
    heads = formats.heads(report)[len(report.measure.keys) :]
    for cells in formats.cells(report)[:_MOST_ROWS]:
        keys, values = cells[: len(report.measure.keys)], cells[len(report.measure.keys) :]
        told = ", ".join(f"{head} {value}" for head, value in zip(heads, values, strict=True) if value)
        yield " ".join(key or _NONE for key in keys), told
    if len(report.rows) > _MOST_ROWS:
        yield "more", f"{len(report.rows) - _MOST_ROWS} rows"


def _stratum(measure: Measure, keys: Sequence[str], values: Mapping[str, Number]) -> Resource:
    components: list[Json] = [
        {"code": concept(KEY_SYSTEM, key.name), "value": {"text": value or _NONE}}
        for key, value in zip(measure.keys, keys, strict=True)
    ]
    return {"component": components, **_figures(measure, values)}


def _figures(measure: Measure, values: Mapping[str, Number]) -> Resource:
    """Populations of the counts, the score, and what has no other place."""
    populations = list(_populations(measure, values))
    main, told = values[measure.main], {"score"}
    figures: Resource = {"population": populations}
    if main is not None:
        figures["measureScore"] = _quantity(measure, measure.main, main)
    told = {measure.main, *(measure.rate or ())}
    others: list[Json] = [
        {
            "url": VALUE,
            "extension": [
                {"url": "name", "valueCoding": {"system": VALUE_SYSTEM, "code": name}},
                {"url": "value", "valueQuantity": _quantity(measure, name, value)},
            ],
        }
        for name, value in values.items()
        if value is not None and name not in told
    ]
    return ({"extension": others} if others else {}) | figures


def _populations(measure: Measure, values: Mapping[str, Number]) -> Iterator[Resource]:
    if measure.rate:
        part, whole = (int(values[one] or 0) for one in measure.rate)
        yield _population("initial-population", whole)
        yield _population("denominator", whole)
        yield _population("numerator", part)
        return
    counted = next(one.name for one in measure.values if one.unit == "count")
    yield _population("initial-population", int(values[counted] or 0))
    if scoring(measure) == "continuous-variable":
        yield _population("measure-population", int(values[counted] or 0))


def _population(code: str, count: int) -> Resource:
    return {"code": concept(POPULATION, code), "count": count}


def _quantity(measure: Measure, name: str, value: int | float) -> Resource:
    unit, code = _UNITS[measure.value(name).unit]
    return {"value": value, "unit": unit, "system": _UCUM, "code": code}
