"""Epic: everything is asked about one patient at a time, nothing tells when it was changed, Tasks are updated and never made.

https://fhir.epic.com/Specifications
"""

from __future__ import annotations

from mappings.base import Hint, Mapping
from mappings.tables import shipped
from mappings.vendor import OF_THE_PRACTICE, WANTED, VendorMapping, each

_BY_PATIENT = Hint(
    strategy="roster",
    why="Epic answers for one patient at a time and does not tell when something changed: each is compared",
)
_CARE_PLANS = Hint(
    strategy="roster",
    why="Epic wants a patient and a category with every search of plans",
    query="category=assess-plan",
)
_RESULTS = Hint(
    strategy="roster",
    why="Epic wants a patient and a category with every search of observations",
    query="category=laboratory,vital-signs",
)
_NOT_LISTED = Hint(strategy="none", why="Epic does not list them as a whole; what refers to them names them")

mapping: Mapping = VendorMapping(
    name="epic",
    codes=shipped("epic"),
    strategy_hints=each(WANTED, _BY_PATIENT)
    | each(OF_THE_PRACTICE, _NOT_LISTED)
    | {"CarePlan": _CARE_PLANS, "Observation": _RESULTS},
    writes={
        "Task": "status",
        "Communication": "create",
        "ServiceRequest": "create",
        "DocumentReference": "create",
        "QuestionnaireResponse": "create",
    },
    closed=True,
)
"""Only the status of a Task is written back; how new work ends is told as a Communication, or as a note."""
