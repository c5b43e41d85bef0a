"""Which events a Match fits, and the names under which program files speak of events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from fhir_tracker.model.event import EVENT_TYPES
from fhir_tracker.model.program import Calendar, Match, Program
from fhir_tracker.model.values import passes
from fhir_tracker.model.work import Event
from fhir_tracker.rules.calendar import later

TYPES: Final = tuple(sorted(EVENT_TYPES))
"""The resource types that rules see as events."""

APPOINTMENT_STATES: Final[Mapping[str, tuple[str, ...]]] = {
    "booked": ("booked", "arrived", "checked-in", "fulfilled"),
    "arrived": ("arrived", "checked-in", "fulfilled"),
    "fulfilled": ("fulfilled",),
    "noshow": ("noshow",),
    "cancelled": ("cancelled",),
    "missed": ("noshow", "cancelled"),
}
"""What a program file calls an appointment's state, and the Appointment.status values that show it was reached."""
WAITING: Final = ("booked", "pending")
"""The Appointment.status values of a visit that has no outcome yet."""

_NAMED: Final[Mapping[str, Match]] = {
    "document.arrived": Match(type="DocumentReference"),
    "encounter.started": Match(type="Encounter", status=("arrived", "triaged", "in-progress", "onleave", "finished")),
    "encounter.finished": Match(type="Encounter", status=("finished",)),
    "observation.arrived": Match(type="Observation"),
    "outreach.attempted": Match(type="Communication"),
    "outreach.reached": Match(type="Communication", outcomes=("reached",)),
    **{f"appointment.{name}": Match(type="Appointment", status=states) for name, states in APPOINTMENT_STATES.items()},
}
NAMES: Final = tuple(_NAMED)


def named_match(program: Program, name: str, codes: tuple[str, ...] = ()) -> Match | None:
    """The Match behind `appointment.fulfilled` or `document.CODE`, narrowed to a service's `codes`; None if unknown."""
    if name in _NAMED:
        known = _NAMED[name]
        return Match(type=known.type, status=known.status, codes=codes, outcomes=known.outcomes)
    kind, _, code = name.partition(".")
    document = program.document(code) if kind == "document" else None
    return document.satisfied_by if document else None


def has_code(event: Event, codes: Iterable[str]) -> bool:
    """True when the event carries any of `codes`; a code without system fits any system, and the `service` in words."""
    return bool(matched_codes(event, codes))


def matched_codes(event: Event, codes: Iterable[str]) -> frozenset[str]:
    """The wanted codes that the event carries."""
    bare = {one.rpartition("|")[2] for one in event.codes} | {event.detail.get("service", "")}
    return frozenset(code for code in codes if (code in event.codes if "|" in code else code in bare))


def fits(match: Match, event: Event, *, calendar: Calendar, now: datetime | None = None) -> bool:
    """True when every given part of `match` fits, `within` only if `now` is given; entered in error never fits."""
    if event.type != match.type or event.status == "entered-in-error":
        return False
    if match.status and event.status not in match.status:
        return False
    if match.outcomes and event.detail.get("outcome", "") not in match.outcomes:
        return False
    if match.codes and not has_code(event, match.codes):
        return False
    if match.value is not None and not passes(match.value, event.detail):
        return False
    return match.within is None or now is None or now <= later(calendar, event.at, match.within)


def in_order(events: Iterable[Event]) -> tuple[Event, ...]:
    """By the time they are about, then by reference, so that nothing depends on the order of arrival."""
    return tuple(sorted(events, key=lambda event: (event.began, event.ref)))


def service_codes(program: Program, service: str) -> tuple[str, ...]:
    """The codes of a service of the program; a name it does not define is itself the code."""
    return program.services.get(service, (service,)) if service else ()
