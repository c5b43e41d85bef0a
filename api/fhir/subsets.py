"""The part of each resource that a request asks for.

https://hl7.org/fhir/R4/search.html#summary
"""

from __future__ import annotations

from api.fhir.exchange import FhirRequest
from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.subsets import WHOLE, Subset, read_subset


def subset_of(request: FhirRequest) -> Subset:
    """What `_summary` and `_elements` ask for; raises Incorrect for values that are none."""
    if not request.pairs:
        return WHOLE
    return read_subset(request.values("_summary"), request.values("_elements"))


def subset_of_one(request: FhirRequest) -> Subset:
    """The same for a request that answers with one resource, which has nothing to count."""
    subset = subset_of(request)
    if subset.summary == "count":
        raise Incorrect("_summary=count is for searches and histories.", expression="_summary")
    return subset
