"""$break-glass of a Patient: opens a restricted record for a short time, with a reason.

https://hl7.org/fhir/R4/operations.html
"""

from __future__ import annotations

from api.fhir.exchange import AuditNote, FhirRequest, FhirResponse
from api.fhir.negotiation import check_content_type
from fhir_tracker import glass
from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.body import read_resource, write_json
from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.storage.database import Tx

_KNOWN = {"reason": str, "close": bool}


def break_glass(request: FhirRequest, tx: Tx) -> FhirResponse:
    """200 with Parameters that say until when the record is open, or, with `close`, how many openings were ended."""
    asked = _asked(request)
    if asked.get("close") is True:
        count = glass.close(tx, request.viewer, request.path[1], now=request.now, request_id=request.request_id)
        return _answer({"name": "closed", "valueInteger": count})
    opening = glass.break_glass(
        tx,
        request.viewer,
        request.path[1],
        str(asked.get("reason", "")),
        now=request.now,
        lasts=request.context.settings.break_glass,
        request_id=request.request_id,
    )
    return _answer(
        {"name": "patient", "valueReference": {"reference": f"Patient/{opening.patient}"}},
        {"name": "until", "valueInstant": instant(opening.ends_at)},
    )


def _answer(*parts: Resource) -> FhirResponse:
    body = {"resourceType": "Parameters", "parameter": list(parts)}
    note: AuditNote | None = None  # The use case has written its own row, with the reason.
    return FhirResponse(status=200, body=write_json(body).encode(), note=note)


def _asked(request: FhirRequest) -> dict[str, Json]:
    body = request.resource
    if body is None:
        check_content_type(request.header("content-type"))
        body = read_resource(request.body, max_bytes=request.context.settings.body_limit)
    rows = body.get("parameter", [])
    if body.get("resourceType") != "Parameters" or not isinstance(rows, list):
        raise Incorrect("The body is not Parameters.", expression="resourceType")
    found: dict[str, Json] = {}
    for one in rows:
        name = one.get("name") if isinstance(one, dict) else None
        value = next((held for key, held in one.items() if key.startswith("value")), None) if name else None
        if not isinstance(name, str) or name in found or not isinstance(value, _KNOWN.get(name, ())):
            raise Incorrect("The parameters are reason, a text, or close.", expression="Parameters.parameter")
        found[name] = value
    return found
