"""How a patient can be reached: numbers and addresses by channel, in the order the patient prefers, and in which zone.

https://hl7.org/fhir/R4/datatypes.html#contactpoint
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import end_at, moment_at, objects_at, text_at
from fhir_tracker.model.zones import zone_of_patient

_SYSTEMS: Final = {"phone": ("phone", "sms"), "sms": ("sms", "phone"), "email": ("email",)}
UNRANKED: Final = 99
"""The rank of what the record gives none."""
_MOST: Final = 50


@dataclass(frozen=True, kw_only=True)
class ContactPoint:
    """One number or address: `system` as in FHIR, `rank` 1 is preferred, usable in [`start`, `end`]."""

    system: str
    value: str
    use: str = ""
    rank: int = UNRANKED
    start: datetime | None = None
    end: datetime | None = None

    def is_for(self, channel: str, at: datetime) -> bool:
        """Whether it serves the channel at that moment; a text goes to no landline."""
        if self.use == "old" or (self.start and at < self.start) or (self.end and at > self.end):
            return False
        if channel == "sms" and self.system == "phone" and self.use in ("home", "work"):
            return False
        return self.system in _SYSTEMS.get(channel, ())


@dataclass(frozen=True, kw_only=True)
class Contact:
    """What one Patient's record says; `as_of` when it was last changed here, `postal` whether it has an address."""

    points: tuple[ContactPoint, ...] = ()
    zone: str | None = None
    postal: bool = False
    language: str = ""
    as_of: datetime | None = None

    def numbers(self, channel: str, at: datetime) -> tuple[str, ...]:
        """The numbers or addresses of a channel, the preferred first."""
        fitting = [one for one in self.points if one.is_for(channel, at)]
        order = sorted(fitting, key=lambda one: (one.rank, _SYSTEMS[channel].index(one.system), one.use == "temp"))
        return tuple(dict.fromkeys(one.value for one in order))

    def rank(self, channel: str, at: datetime) -> int:
        """How much the patient prefers a channel: 1 is first."""
        return min((one.rank for one in self.points if one.is_for(channel, at)), default=UNRANKED)


def contact_of(resource: Resource, *, as_of: datetime | None = None) -> Contact:
    """The contact that a Patient resource gives; what cannot be read is left out."""
    points = [point for one in objects_at(resource, "telecom")[:_MOST] if (point := _point(one))]
    spoken = objects_at(resource, "communication")
    preferred = sorted(spoken, key=lambda one: one.get("preferred") is not True)
    return Contact(
        points=tuple(points),
        zone=zone_of_patient(resource),
        postal=_has_address(objects_at(resource, "address")),
        language=(text_at(preferred, 0, "language", "coding", 0, "code") or "") if preferred else "",
        as_of=as_of,
    )


def _point(telecom: Resource) -> ContactPoint | None:
    system, value, rank = text_at(telecom, "system"), text_at(telecom, "value"), telecom.get("rank")
    if not system or not value or not value.strip():
        return None
    return ContactPoint(
        system=system,
        value=value.strip()[:200],
        use=text_at(telecom, "use") or "",
        rank=rank if isinstance(rank, int) and not isinstance(rank, bool) and 0 < rank < UNRANKED else UNRANKED,
        start=moment_at(telecom, "period", "start"),
        end=end_at(telecom, "period", "end"),
    )


def _has_address(addresses: Sequence[Resource]) -> bool:
    lines = (one for one in addresses if one.get("use") not in ("old", "billing"))
    return any(one.get("line") or one.get("text") for one in lines)
