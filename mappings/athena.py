"""athenahealth: `_lastUpdated` to the day, no Tasks, appointments by their id alone, and nearly nothing is written.

https://docs.athenahealth.com/api/guides/fhir-r4
"""

from __future__ import annotations

from mappings.base import Hint, Mapping
from mappings.tables import shipped
from mappings.vendor import WANTED, VendorMapping, each

_BY_DAY = Hint(
    strategy="last_updated", why="athenahealth understands _lastUpdated to the day: each poll reaches a whole day back",
    days=True,
)  # fmt: skip
_PATIENTS = Hint(strategy="roster", why="athenahealth does not list patients as a whole: each is read by its id")
_VISITS = Hint(
    strategy="none", why="athenahealth finds an appointment by its id alone, so that visits cannot be followed"
)

mapping: Mapping = VendorMapping(
    name="athena",
    wanted=tuple(type_ for type_ in WANTED if type_ != "Task"),
    codes=shipped("athena"),
    strategy_hints=each(("CarePlan", "CareTeam", "Goal", "Encounter", "Condition", "Observation"), _BY_DAY)
    | {"Patient": _PATIENTS, "Appointment": _VISITS},
    writes={"QuestionnaireResponse": "create"},
    closed=True,
)
