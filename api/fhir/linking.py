"""Conditional references: the search that stands in a reference is replaced by the one resource it finds.

https://hl7.org/fhir/R4/http.html#trules
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from api.fhir.bundle_conditions import Condition, Conditions, condition
from api.fhir.exchange import FhirRequest
from fhir_tracker.errors import Incorrect, Issue, PreconditionFailed, TrackerError
from fhir_tracker.fhir.bundle_references import conditional_references, local_form
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.references import ReferenceKind, parse_reference, rewrite_references
from fhir_tracker.storage.database import Tx

MOST_SEARCHES = 100
"""Identifiers are looked up many at a time and do not count."""
_CONDITIONAL = re.compile(rb'"reference"\s*:\s*"[^"]*\?')


def may_have_conditions(body: bytes) -> bool:
    """Whether any reference in a JSON text can be conditional; says no quickly of nearly every text that has none."""
    return (b"?" in body and _CONDITIONAL.search(body) is not None) or b"\\u" in body


def linked(request: FhirRequest, tx: Tx, resource: Resource) -> Resource:
    """The resource of a create or update as it is to be stored; a transaction has resolved its references itself.

    Raises as `resolved`.
    """
    if request.bundle == "transaction" or (request.resource is None and not may_have_conditions(request.body)):
        return resource
    return resolved(request, tx, resource)


def resolved(request: FhirRequest, tx: Tx, resource: Resource, *, known: Collection[str] = ()) -> Resource:
    """A copy whose conditional references but those of `known` name what they find.

    Raises PreconditionFailed where one finds nothing or several, Incorrect for one that cannot be understood.
    """
    texts = {text: path for text, path in conditional_references(resource, request.base).items() if text not in known}
    if not texts:
        return resource
    conditions = Conditions(request, tx)
    wanted = {text: of_reference(text, path) for text, path in texts.items()}
    if sum(one.identifier is None for one in wanted.values()) > MOST_SEARCHES:
        message = f"More than {MOST_SEARCHES} references would each take a search: use identifier=system|value."
        raise Incorrect(message, issues=(Issue(message=message, code="too-costly"),))
    conditions.look_up(wanted.values())
    found = {text: _found(conditions, one, texts[text]) for text, one in wanted.items()}
    return rewrite_references(resource, lambda text: found.get(local_form(text, request.base), text))


def _found(conditions: Conditions, wanted: Condition, path: str) -> str:
    try:
        return only(conditions.found(wanted), path, PreconditionFailed)
    except Incorrect as error:
        raise Incorrect(error.message, expression=path) from None


def of_reference(text: str, path: str) -> Condition:
    """The condition of a conditional reference in its local form; raises Incorrect for one of no resource type."""
    if parse_reference(text).kind is not ReferenceKind.CONDITIONAL:
        raise Incorrect("This reference is no search: use Type?parameter=value, percent-encoded.", expression=path)
    return condition(text.partition("?")[0], text)


def only(found: Iterable[str], path: str, wrong: type[TrackerError]) -> str:
    """The one `Type/id` that a conditional reference at `path` finds; raises `wrong` for none and for several."""
    refs = list(found)
    if len(refs) == 1:
        return refs[0]
    message = f"{'Several resources meet' if refs else 'No resource meets'} this conditional reference."
    code = "multiple-matches" if refs else "not-found"
    raise wrong(message, issues=(Issue(message=message, code=code, expression=path),))
