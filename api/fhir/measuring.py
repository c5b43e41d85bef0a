"""$evaluate-measure: a measure's figures for a period or as of a moment, as a MeasureReport.

https://hl7.org/fhir/R4/measure-operation-evaluate-measure.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from api.fhir.exchange import AuditNote, FhirRequest, FhirResponse
from api.fhir.negotiation import check_content_type
from api.fhir.writing import relative_form
from fhir_tracker.errors import Incorrect, NotFound, RuleBroken, Unsupported
from fhir_tracker.fhir.body import read_resource, write_json
from fhir_tracker.fhir.json_types import Json
from fhir_tracker.measures import asking, figures, measure_reports
from fhir_tracker.measures.asking import Wanted
from fhir_tracker.measures.definitions import MEASURES
from fhir_tracker.measures.report import Asked, Report
from fhir_tracker.storage import patients
from fhir_tracker.storage.database import Tx

_KNOWN = frozenset({"periodStart", "periodEnd", "measure", "reportType", "subject", "program", "asOf", "store"})
_REFUSED = {"practitioner": "by practitioner", "lastReceivedOn": "only what changed since"}
_TYPES = ("population", "summary", "subject", "individual")
_FORMAT = frozenset({"_format", "_pretty"})


def evaluate(request: FhirRequest) -> FhirResponse:
    """200 with the MeasureReport; with `store` (POST) it is kept, and 201."""
    asked = _asked(request)
    with request.context.database.read() as tx:
        name, question = _question(request, tx, asked)
    report = figures.alone(request.context.database, name, question)
    if asked.get("store") not in (True, "true"):
        return _answer(request, write_json(measure_reports.measure_report(report)), report)
    if request.method != "POST":
        raise Incorrect("A report is kept by POST.", expression="Parameters.parameter")
    with request.context.database.begin() as tx:
        stored = measure_reports.store(tx, report, request.now, request.author())
    headers = {"Location": f"{request.base}/{stored.ref}/_history/{stored.version}"}
    return replace(_answer(request, stored.body, report), status=201, headers=headers)


def evaluate_here(request: FhirRequest, tx: Tx) -> FhirResponse:
    """As an entry of a Bundle: the same without keeping anything."""
    asked = _asked(request)
    if asked.get("store") in (True, "true"):
        raise Incorrect("Within a Bundle no report is kept.", expression="Parameters.parameter")
    report = figures.report(tx, *_question(request, tx, asked))
    return _answer(request, write_json(measure_reports.measure_report(report)), report)


def _answer(request: FhirRequest, body: str, report: Report) -> FhirResponse:
    ref = f"Measure/{report.measure.name}"
    note = AuditNote(action="evaluate-measure", ref=ref, patient=report.asked.viewer.patient)
    return FhirResponse(status=200, body=body.encode(), note=note)


def _question(request: FhirRequest, tx: Tx, asked: dict[str, Json]) -> tuple[str, Asked]:
    """The measure's name, and what is asked of it."""
    texts = {name: value if isinstance(value, str) else None for name, value in asked.items()}
    wanted = Wanted(
        as_of=texts.get("asOf"),
        start=texts.get("periodStart"),
        end=texts.get("periodEnd"),
        program=texts.get("program"),
    )
    viewer = request.viewer
    if subject := texts.get("subject"):
        patient = subject.removeprefix("Patient/")
        if not subject.startswith("Patient/") or patient not in patients.find_many(tx, viewer, [patient]):
            raise NotFound("There is no such patient here.")
        viewer = replace(viewer, patient=patient)
    return _named(request, texts), asking.asked(tx, viewer, wanted, request.now)


def _named(request: FhirRequest, texts: dict[str, str | None]) -> str:
    """The measure's name: the address's id, or a parameter that is its url, Measure/id or id."""
    name = request.id or (texts.get("measure") or "").partition("|")[0].rpartition("/")[2]
    if not name:
        raise Incorrect("Name the Measure: by its id in the address, or by measure.", expression="Parameters.parameter")
    if name not in MEASURES:
        raise NotFound("There is no measure of this name that can be evaluated here.")
    return name


def _asked(request: FhirRequest) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for name, value in (*_pairs(request), *_posted(request)):
        if name in _REFUSED:
            raise Unsupported(f"Figures {_REFUSED[name]} are not made here.")
        if name not in _KNOWN:
            raise Incorrect(f"There is no parameter {name[:60]!r}.", expression="Parameters.parameter.name")
        if name in found:
            raise Incorrect(f"The parameter {name} is given more than once.", expression="Parameters.parameter")
        found[name] = value
    if found.get("reportType", "population") not in _TYPES:
        raise Incorrect(f"reportType is one of {', '.join(_TYPES)}.", expression="Parameters.parameter")
    if found.get("reportType") in ("subject", "individual") and not (found.get("subject") or request.viewer.patient):
        raise RuleBroken("A report of this type needs a subject.", expression="Parameters.parameter")
    return found


def _pairs(request: FhirRequest) -> Iterator[tuple[str, Json]]:
    for name, value in request.pairs:
        if value and name not in _FORMAT:
            yield name, relative_form(value, f"{request.base}/") if name == "subject" else value


def _posted(request: FhirRequest) -> Iterator[tuple[str, Json]]:
    body = request.resource
    if body is None and request.method == "POST" and request.body:
        check_content_type(request.header("content-type"))
        body = read_resource(request.body, max_bytes=request.context.settings.body_limit)
    if body is None:
        return
    parameters = body.get("parameter", [])
    if body.get("resourceType") != "Parameters" or not isinstance(parameters, list):
        raise Incorrect("The body is not Parameters.", expression="resourceType")
    for one in parameters:
        if not isinstance(one, dict) or not isinstance(one.get("name"), str):
            raise Incorrect("A parameter has no name.", expression="Parameters.parameter.name")
        value = next((one[key] for key in one if key.startswith("value")), None)
        if not isinstance(value, str | bool):
            raise Incorrect("A parameter has no value of its type.", expression="Parameters.parameter.value")
        is_reference = one["name"] == "subject" and isinstance(value, str)
        yield one["name"], relative_form(str(value), f"{request.base}/") if is_reference else value
