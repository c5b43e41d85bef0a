"""The interventions that a CarePlan itself lists (`activity.detail`): what its author wants done, as work.

https://hl7.org/fhir/R4/careplan-definitions.html#CarePlan.activity.detail
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fhir_tracker.fhir.codeable import codings, text_of
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.reading import at, end_at, moment_at, objects_at, references_at, text_at
from fhir_tracker.model.program import Duration, Unit

WANTED: Final = frozenset({"not-started", "scheduled", "in-progress"})
"""CarePlan.activity.detail.status of what is to be done; what is on hold, over or a mistake is not."""
OVER: Final = frozenset({"cancelled", "stopped", "entered-in-error"})
_OWNERS: Final = ("Practitioner/", "PractitionerRole/", "CareTeam/", "Organization/", "HealthcareService/")
_UNITS: Final[dict[str, Unit]] = {
    "s": "seconds", "min": "minutes", "h": "hours", "d": "days", "wk": "weeks", "mo": "months",
}  # fmt: skip
_MOST: Final = {"seconds": 1_000_000, "minutes": 100_000, "hours": 20_000, "days": 3_660, "weeks": 520, "months": 120}


@dataclass(frozen=True, kw_only=True)
class Activity:
    """One intervention: `key` names it in its plan for good, `names` the program's task that it may be (a canonical or
    a code), `every` how often it recurs, `owner` who performs it.
    """

    key: str
    title: str
    status: str
    code: Resource | None = None
    names: tuple[str, ...] = ()
    what: str = ""
    owner: str | None = None
    starts_at: datetime | None = None
    due_at: datetime | None = None
    every: Duration | None = None

    @property
    def wanted(self) -> bool:
        """Whether there is to be work for it."""
        return self.status in WANTED


def activities_of(plan: Resource) -> tuple[Activity, ...]:
    """The interventions of a CarePlan, each under a key that stays when others come or go.

    The key is the element's id, else a digest of what is to be done; equal ones are told apart by their order.
    """
    seen: dict[str, int] = {}
    found = []
    for element, detail in _details(plan):
        key = text_at(element, "id") or _digest(detail)
        seen[key] = seen.get(key, 0) + 1
        found.append(_activity(detail, key if seen[key] == 1 else f"{key}.{seen[key]}"))
    return tuple(found)


def _details(plan: Resource) -> Iterator[tuple[Resource, Resource]]:
    for element in objects_at(plan, "activity"):
        detail = at(element, "detail")
        if isinstance(detail, dict):
            yield element, detail


def _digest(detail: Resource) -> str:
    what = (
        text_at(detail, "kind"),
        codings(detail.get("code")),
        text_of(detail.get("code")),
        detail.get("instantiatesCanonical"),
        text_at(detail, "description"),
    )
    return f"a{hashlib.sha256(repr(what).encode()).hexdigest()[:16]}"


def _activity(detail: Resource, key: str) -> Activity:
    code = detail.get("code")
    title = text_of(code) or text_at(detail, "description") or "Intervention"
    canonicals = detail.get("instantiatesCanonical")
    names = [one for one in canonicals if isinstance(one, str)] if isinstance(canonicals, list) else []
    performers = [ref for ref in references_at(detail, "performer") if ref.startswith(_OWNERS)]
    given = text_at(detail, "status") or "unknown"
    return Activity(
        key=key,
        title=title[:200],
        status="cancelled" if detail.get("doNotPerform") is True else given,
        code=code if isinstance(code, dict) else None,
        names=(*names, *(f"{system}|{value}" for system, value in codings(code))),
        what=text_at(detail, "description") or "",
        owner=next(iter(performers), None),
        starts_at=_start(detail),
        due_at=end_at(detail, "scheduledPeriod", "end"),
        every=_every(at(detail, "scheduledTiming", "repeat")),
    )


def _start(detail: Resource) -> datetime | None:
    bounds = moment_at(detail, "scheduledTiming", "repeat", "boundsPeriod", "start")
    return moment_at(detail, "scheduledPeriod", "start") or bounds


def _every(repeat: Json) -> Duration | None:
    """How often, when it is once in a whole number of units; anything else is one piece of work."""
    if not isinstance(repeat, dict) or repeat.get("frequency", 1) != 1:
        return None
    unit, period = _UNITS.get(text_at(repeat, "periodUnit") or ""), str(repeat.get("period", ""))
    if unit is None or not period.isdigit() or not 0 < int(period) <= _MOST[unit]:
        return None
    return Duration(amount=int(period), unit=unit)
