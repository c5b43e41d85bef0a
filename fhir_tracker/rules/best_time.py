"""When a patient has been reached before: the part of the day, and the weekday, at which most contacts came about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fhir_tracker.model.work import Event
from fhir_tracker.rules.calendar import zone_of
from fhir_tracker.rules.durations import DAYS
from fhir_tracker.rules.outreach_failed import REACHED

PARTS: Final = ("morning", "afternoon", "evening", "night")
SPOKEN: Final = ("phone", "sms", "")


@dataclass(frozen=True, kw_only=True)
class BestTime:
    """The best part of the day, the best weekday in it when more than one contact tells it, and what it rests on."""

    part: str
    day: str
    reached: int
    tried: int

    def __str__(self) -> str:
        when = f"{self.day} {self.part}s" if self.day else f"{self.part}s"
        return f"{when} (reached {self.reached} of {self.tried} times then)"


def best_time(events: Iterable[Event], zone: str) -> BestTime | None:
    """The best time of the calls and texts among the events on the clock of `zone`; None when nobody was reached."""
    tries = [one for one in events if _is_spoken(one)]
    times = [(one.began, one.detail.get("outcome") == REACHED) for one in tries]
    reached = Counter(_part(at, zone) for at, was in times if was)
    tried = Counter(_part(at, zone) for at, _ in times)
    if not reached:
        return None
    part = max(PARTS, key=lambda one: (reached[one], reached[one] / tried[one] if tried[one] else 0))
    days = Counter(at.astimezone(zone_of(zone)).weekday() for at, was in times if was and _part(at, zone) == part)
    day, count = max(sorted(days.items()), key=lambda pair: pair[1])
    is_clear = count > 1 and [*days.values()].count(count) == 1
    return BestTime(part=part, day=DAYS[day] if is_clear else "", reached=reached[part], tried=tried[part])


def _is_spoken(event: Event) -> bool:
    is_try = event.type == "Communication" and event.status in ("completed", "not-done")
    return is_try and event.start is not None and event.detail.get("channel", "") in SPOKEN


def _part(at: datetime, zone: str) -> str:
    hour = at.astimezone(zone_of(zone)).hour
    return PARTS[0] if 5 <= hour < 12 else PARTS[1] if 12 <= hour < 17 else PARTS[2] if 17 <= hour < 22 else PARTS[3]
