"""Writes that name their resource by a search: what such a condition finds.

https://hl7.org/fhir/R4/http.html#ccreate
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import parse_qsl

from api.fhir.exchange import FhirRequest
from api.fhir.needs import require
from fhir_tracker.errors import Incorrect, Issue, PreconditionFailed
from fhir_tracker.fhir.dates import milliseconds
from fhir_tracker.fhir.query import NOT_FILTERS, Query, parse_query
from fhir_tracker.fhir.search_approximation import settled
from fhir_tracker.storage import search
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.resources import Stored

_SEVERAL = "More than one resource meets the condition: make it select one."


def match_of_header(request: FhirRequest, tx: Tx) -> Stored | None:
    """The one resource that If-None-Exist finds, None without any; raises PreconditionFailed for several."""
    return _only(request, tx, condition_query(request, request.header("if-none-exist")))


def match_of_address(request: FhirRequest, tx: Tx) -> Stored | None:
    """The one resource that the query of the address finds, None without any; raises PreconditionFailed for several."""
    pairs = [pair for pair in request.pairs if pair[0] not in NOT_FILTERS]
    return _only(request, tx, _query(request, pairs))


def condition_query(request: FhirRequest, condition: str) -> Query:
    """The query of a condition on the request's type, with or without its address before it.

    Raises Incorrect for one that cannot be read and where it would select everything.
    """
    text = condition.strip().removeprefix(f"{request.base}/").removeprefix(request.type).removeprefix("?")
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=50)
    except ValueError:
        raise Incorrect("The condition is not the query of a search, such as identifier=system|value.") from None
    return _query(request, pairs)


def take_turn(tx: Tx, type_: str) -> None:
    """Wait until no other open transaction has looked for a resource of `type_` by a condition."""
    tx.wait_for_others(f"condition {type_}")


def several() -> PreconditionFailed:
    """What is wrong with a condition that more than one resource meets."""
    return PreconditionFailed(_SEVERAL, issues=(Issue(message=_SEVERAL, code="multiple-matches"),))


def _query(request: FhirRequest, pairs: Sequence[tuple[str, str]]) -> Query:
    query = parse_query(request.type, pairs, strict=True, own_base=request.base)
    if not query.filters or len(query.filters) != len(query.applied):
        raise Incorrect("The condition names search parameters with values and nothing else.")
    return settled(query, milliseconds(request.now))


def _only(request: FhirRequest, tx: Tx, query: Query) -> Stored | None:
    """Requests of one type with a condition wait for each other, so that two of them cannot both find nothing."""
    require(request.viewer.sight, "s", request.type)
    take_turn(tx, request.type)
    found = search.search(tx, request.viewer, replace(query, count=2)).matches
    if len(found) > 1:
        raise several()
    return found[0] if found else None
