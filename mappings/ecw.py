"""eClinicalWorks: one patient at a time, 250 requests in each minute of its clock, no Tasks and no appointments.

https://fhir.eclinicalworks.com/ecwopendev/documentation
"""

from __future__ import annotations

from mappings.base import Hint, Mapping
from mappings.tables import shipped
from mappings.vendor import OF_THE_PRACTICE, WANTED, VendorMapping, each

_BY_PATIENT = Hint(
    strategy="roster",
    why="eClinicalWorks answers for one patient at a time and has no _lastUpdated: each is compared",
)
_WHEN_OPENED = Hint(strategy="launch", why="they cannot be listed as a whole: they are read when a page needs them")

mapping: Mapping = VendorMapping(
    name="ecw",
    wanted=tuple(type_ for type_ in WANTED if type_ not in ("Task", "Appointment")),
    codes=shipped("ecw"),
    strategy_hints=each(WANTED, _BY_PATIENT) | each(OF_THE_PRACTICE, _WHEN_OPENED),
    writes={"QuestionnaireResponse": "create"},
    budget="250 aligned",
    closed=True,
)
