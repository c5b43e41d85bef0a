"""Event numbers of one Subscription: what came twice, what never came, and when the server began to count anew.

http://hl7.org/fhir/uv/subscriptions-backport/STU1.1/errors.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from subscriptions.notifications import Event, Notification

REMEMBERED = 200
MOST_MISSING = 500
TRUSTED_RESETS = 3
BEHIND = 5
"""By how much a heartbeat may lag behind events that overtook it."""


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """`highest` seen (None: unknown yet), those `missing` below it, marks of `recent` ones by number, how often it began anew."""

    highest: int | None = None
    missing: frozenset[int] = frozenset()
    recent: Mapping[int, str] = field(default_factory=dict)
    resets: int = 0

    @property
    def is_trusted(self) -> bool:
        """Whether the server counts as it should; one that begins anew again and again does not."""
        return self.resets < TRUSTED_RESETS


@dataclass(frozen=True, kw_only=True)
class Counted:
    """The numbers after a notification, its events that are new, and whether everything has to be asked for again."""

    numbers: Numbers
    fresh: tuple[Event, ...] = ()
    pull: bool = False


def counted(held: Numbers, told: Notification) -> Counted:
    """Take the numbers of a notification; each event is fresh once, in whichever order they come."""
    numbers, fresh, pull = held, list[Event](), False
    for event in sorted(told.events, key=lambda one: one.number):
        if event.number == 0 or not numbers.is_trusted:
            fresh.append(event)
            continue
        if numbers.recent.get(event.number) == event.mark:
            continue
        numbers, anew = _with(numbers, event)
        pull = pull or anew
        fresh.append(event)
    if numbers.is_trusted and told.since is not None:
        numbers, anew = _up_to(numbers, told.since, told.kind)
        pull = pull or anew
    return Counted(numbers=numbers, fresh=tuple(fresh), pull=pull)


def _with(numbers: Numbers, event: Event) -> tuple[Numbers, bool]:
    highest, number = numbers.highest, event.number
    if highest is not None and number <= highest and number not in numbers.missing:
        anew = Numbers(highest=number, recent={number: event.mark}, resets=numbers.resets + 1)
        return anew, True
    recent = {**numbers.recent, number: event.mark}
    kept = dict(sorted(recent.items())[-REMEMBERED:])
    seen = replace(numbers, recent=kept, missing=numbers.missing - {number})
    return _risen(seen, number, highest)


def _up_to(numbers: Numbers, since: int, kind: str) -> tuple[Numbers, bool]:
    """What the server's own count says: events that never came, or a count that began anew."""
    highest = numbers.highest
    if highest is None or since > highest:
        missed = replace(numbers, missing=numbers.missing | ({since} if highest is not None else set()))
        return _risen(missed, since, highest)
    if kind == "event" or since == highest:
        return numbers, False
    if since == 0 or since < highest - BEHIND:
        return Numbers(highest=since, resets=numbers.resets + 1), True
    return numbers, False


def _risen(numbers: Numbers, number: int, highest: int | None) -> tuple[Numbers, bool]:
    if highest is None or number <= highest:
        return replace(numbers, highest=number if highest is None else highest), False
    if number - highest + len(numbers.missing) > MOST_MISSING:
        return replace(numbers, highest=number, missing=frozenset()), True
    return replace(numbers, highest=number, missing=numbers.missing | set(range(highest + 1, number))), False
