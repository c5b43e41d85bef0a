"""People of the staff as rules and assignment see them: who they are, which roles they have, when they are away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Away:
    """An absence from `start` until `end` (None: without an end); `substitute` has the work meanwhile, None the queue.

    `keeps_work`: what the person has stays theirs.
    """

    start: datetime
    end: datetime | None = None
    substitute: str | None = None
    keeps_work: bool = False

    def covers(self, now: datetime) -> bool:
        """Whether it lasts at `now`; the end itself is no part of it."""
        return self.start <= now and (self.end is None or now < self.end)


@dataclass(frozen=True, kw_only=True)
class Person:
    """One member of the staff; `ref` is `Practitioner/<id>`, `absences` are in order of their start.

    `mail` is an address for notifications, "" when none is known.
    """

    ref: str
    name: str = ""
    active: bool = True
    roles: frozenset[str] = frozenset()
    absences: tuple[Away, ...] = ()
    mail: str = field(default="", repr=False)

    def away(self, now: datetime) -> Away | None:
        """The absence that lasts at `now`, the one that began last; None when the person is there."""
        return next((one for one in reversed(self.absences) if one.covers(now)), None)

    def next_change(self, now: datetime) -> datetime | None:
        """When an absence next begins or ends after `now`."""
        moments = (moment for one in self.absences for moment in (one.start, one.end) if moment and moment > now)
        return min(moments, default=None)


People = Mapping[str, Person]
"""Reference -> person."""
