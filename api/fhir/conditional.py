"""Writes that name their resource by a search: what such a condition finds.

https://hl7.org/fhir/R4/http.html#ccreate
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qsl

from api.fhir.exchange import FhirRequest
from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.query import Query, parse_query
from fhir_tracker.storage import search
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.resources import Stored


def matches(request: FhirRequest, tx: Tx, condition: str) -> tuple[Stored, ...]:
    """Up to two resources of the request's type that `condition` (the query of a search) finds.

    Requests of one type with a condition wait for each other, so that two of them cannot both find nothing. Raises
    Incorrect for a condition that cannot be read or that would select everything.
    """
    query = condition_query(request, condition)
    take_turn(tx, request.type)
    return search.search(tx, request.viewer, replace(query, count=2)).matches


def condition_query(request: FhirRequest, condition: str) -> Query:
    """The query of a condition on the request's type; raises Incorrect where it would select everything."""
    text = condition.removeprefix(request.type).removeprefix("?")
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=50)
    except ValueError:
        raise Incorrect("The condition is not the query of a search, such as identifier=system|value.") from None
    query = parse_query(request.type, pairs, strict=True, own_base=request.base)
    if not query.filters or len(query.filters) != len(query.applied):
        raise Incorrect("The condition names search parameters with values and nothing else.")
    return query


def take_turn(tx: Tx, type_: str) -> None:
    """Wait until no other open transaction has looked for a resource of `type_` by a condition."""
    tx.wait_for_others(f"condition {type_}")
