"""Oracle Health Millennium: no Tasks, active care teams only, appointments in windows of dates and changed by patch alone.

https://docs.oracle.com/en/industries/health/millennium-platform-apis/mfrap/
"""

from __future__ import annotations

from mappings.base import Hint, Mapping
from mappings.tables import shipped
from mappings.vendor import OF_THE_PRACTICE, WANTED, VendorMapping, each

_BY_PATIENT = Hint(
    strategy="roster",
    why="Oracle Health answers for one patient at a time and has no _lastUpdated here: each is compared",
)
_CHANGED = Hint(
    strategy="last_updated_patient",
    why="Oracle Health answers for one patient at a time; its _lastUpdated shows clinically relevant changes, and the "
    "daily comparison finds the others",
)
_CARE_PLANS = Hint(
    strategy="roster",
    why="Oracle Health wants a patient and the category of plans, and has no _lastUpdated for them",
    query="category=assess-plan",
)
_VISITS = Hint(
    strategy="windowed",
    why="Oracle Health wants a patient, practitioner or place and dates with every search of visits",
)
_NOT_LISTED = Hint(strategy="none", why="they are not listed as a whole; what refers to them names them")

mapping: Mapping = VendorMapping(
    name="oracle_health",
    wanted=tuple(type_ for type_ in WANTED if type_ != "Task"),
    codes=shipped("oracle_health"),
    strategy_hints=each(WANTED, _BY_PATIENT)
    | each(("Encounter", "Condition", "Observation", "DocumentReference"), _CHANGED)
    | each(OF_THE_PRACTICE, _NOT_LISTED)
    | {"CarePlan": _CARE_PLANS, "Appointment": _VISITS},
    writes={
        "Task": "communication",
        "Communication": "create",
        "DocumentReference": "create",
        "Appointment": "status",
    },
    closed=True,
)
"""Of an Appointment only the status is written; how work ends is told as a Communication."""
