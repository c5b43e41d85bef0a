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
_NOT_LISTED = Hint(strategy="none", why="they are not listed as a whole; what refers to them names them")

mapping: Mapping = VendorMapping(
    name="ecw",
    wanted=tuple(type_ for type_ in WANTED if type_ not in ("Task", "Appointment")),
    codes=shipped("ecw"),
    strategy_hints=each(WANTED, _BY_PATIENT) | each(OF_THE_PRACTICE, _NOT_LISTED),
    writes={"QuestionnaireResponse": "create"},
    budget="250 aligned",
    closed=True,
)
