"""Writes that name their resource by a search: what such a condition finds.

https://hl7.org/fhir/R4/http.html#ccreate
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qsl

from api.fhir.exchange import FhirRequest
from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.query import parse_query
from fhir_tracker.storage import search
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.resources import Stored


def matches(request: FhirRequest, tx: Tx, condition: str) -> tuple[Stored, ...]:
    """Up to two resources of the request's type that `condition` (the query of a search) finds.

    Requests of one type with a condition wait for each other, so that two of them cannot both find nothing. Raises
    Incorrect for a condition that cannot be read or that would select everything.
    """
    text = condition.removeprefix(request.type).removeprefix("?")
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=50)
    except ValueError:
        raise Incorrect("The condition is not the query of a search, such as identifier=system|value.") from None
    query = parse_query(request.type, pairs, strict=True, own_base=request.base)
    if not query.filters or len(query.filters) != len(query.applied):
        raise Incorrect("The condition names search parameters with values and nothing else.")
    tx.wait_for_others(f"condition {request.type}")
    return search.search(tx, request.viewer, replace(query, count=2)).matches
