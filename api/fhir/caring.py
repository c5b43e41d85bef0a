"""$outreach of a Task and $evidence of a Patient: what pages show of attempts, as Parameters.

https://hl7.org/fhir/R4/operations.html
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from api.fhir.exchange import AuditNote, FhirRequest, FhirResponse
from api.fhir.reading import find_present
from fhir_tracker import programs
from fhir_tracker.errors import Incorrect
from fhir_tracker.evidence import evidence
from fhir_tracker.fhir.body import write_json
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.outreach_account import account
from fhir_tracker.rules.time_spent import month_of
from fhir_tracker.storage.database import Tx

_FORMAT: Final = frozenset({"_format", "_pretty"})


def outreach(request: FhirRequest, tx: Tx) -> FhirResponse:
    """200 with where the outreach of the Task stands; 404 for one without an outreach policy."""
    _check(request, frozenset())
    stored = find_present(replace(request, type="Task"), tx)
    found = account(tx, request.viewer, stored.ref, request.now)
    return _answer(found.as_parameters(), "outreach", stored.ref, stored.patient)


def evidence_of_month(request: FhirRequest, tx: Tx) -> FhirResponse:
    """200 with the attempts, contact windows and minutes of a `month` (the present one) in a `program`."""
    _check(request, frozenset({"program", "month"}))
    stored = find_present(replace(request, type="Patient"), tx)
    code = next(iter(request.values("program")), "")
    if not code:
        raise Incorrect("Name the program: ?program=ccm.", expression="Parameters.parameter")
    program = programs.required(tx, code)
    month = next(iter(request.values("month")), "") or month_of(program.calendar.zone, request.now)
    found = evidence(tx, request.viewer, stored.id, code, month, request.now)
    return _answer(found.as_parameters(), "evidence", stored.ref, stored.id)


def _check(request: FhirRequest, known: frozenset[str]) -> None:
    for name in dict.fromkeys(name for name, _ in request.pairs):
        if name not in known | _FORMAT:
            raise Incorrect(f"There is no parameter {name!r} here.", expression="Parameters.parameter")
        if len(request.values(name)) > 1:
            raise Incorrect(f"The parameter {name} is given more than once.", expression="Parameters.parameter")


def _answer(body: Resource, action: str, ref: str, patient: str | None) -> FhirResponse:
    note = AuditNote(action=action, ref=ref, patient=patient)
    return FhirResponse(status=200, body=write_json(body).encode(), note=note)
