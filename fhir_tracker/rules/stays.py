"""Hospital stays of a patient, from the Encounters that rules see; overlapping ones (a transfer) are one stay.

https://terminology.hl7.org/ValueSet-encounter-class.html
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fhir_tracker.model.work import Event

STAY_CLASSES: Final = frozenset({"IMP", "ACUTE", "NONAC", "OBSENC", "SS"})
"""Encounter.class of a stay: inpatient, acute, non-acute, observation and short stay; an emergency visit is none."""
_THERE: Final = frozenset({"arrived", "triaged", "in-progress", "onleave", "finished"})


@dataclass(frozen=True, kw_only=True)
class Stay:
    """One time in hospital: `end` is None while it goes on, `refs` are its Encounters in order."""

    start: datetime
    end: datetime | None
    refs: tuple[str, ...]

    def covers(self, moment: datetime) -> bool:
        """Whether the patient was in hospital at `moment`."""
        return self.start <= moment and (self.end is None or moment < self.end)


def stays(events: Iterable[Event]) -> tuple[Stay, ...]:
    """The patient's stays, oldest first, none overlapping another.

    A planned, cancelled or mistaken Encounter is none. One without a start began when it was first heard of, one that
    is finished without an end ended then, and one that goes on ends when it says, if it does.
    """
    found = sorted((one for event in events if (one := _stay(event))), key=lambda one: (one.start, one.refs))
    merged: list[Stay] = []
    for one in found:
        last = merged[-1] if merged else None
        if last is not None and (last.end is None or one.start <= last.end):
            merged[-1] = Stay(start=last.start, end=_later(last.end, one.end), refs=(*last.refs, *one.refs))
        else:
            merged.append(one)
    return tuple(merged)


def stay_at(events: Iterable[Event], moment: datetime) -> Stay | None:
    """The stay that the patient is in at `moment`; None outside of hospital."""
    return next((one for one in stays(events) if one.covers(moment)), None)


def is_stay(event: Event) -> bool:
    """Whether the event is an Encounter in hospital that has begun and was no mistake."""
    if event.type != "Encounter" or event.status not in _THERE:
        return False
    return any(code.rpartition("|")[2] in STAY_CLASSES for code in event.codes)


def _stay(event: Event) -> Stay | None:
    if not is_stay(event):
        return None
    start = event.start or min(event.end or event.seen_at, event.seen_at)
    end = event.end if event.status != "finished" else event.end or max(start, event.seen_at)
    return Stay(start=start, end=end, refs=(event.ref,)) if end is None or start < end else None


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return None if one is None or other is None else max(one, other)
