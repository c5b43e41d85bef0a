"""What was seen of an EHR: by which way it takes searches. All processes know it, and it is tried anew after a time.

https://hl7.org/fhir/R4/http.html#search
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from fhir_tracker.errors import UsageError
from fhir_tracker.fhir.dates import instant, parse_datetime
from fhir_tracker.storage import settings as states
from fhir_tracker.storage.database import Tx

AUTO, POST, GET = "auto", "post", "get"
WAYS = (AUTO, POST, GET)
ANY = "*"
COUNTS_FOR = timedelta(days=1)
"""After how long a server that took no POST is shown one again."""
_KEY = "searches-by:"
_TYPES = ("posted", "got", "unclear")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Types whose searches were answered by POST; those, or ANY, that were by GET alone; those that were by neither.

    `since` is when the first was not taken by POST, `software` what the server called itself then.
    """

    posted: frozenset[str] = frozenset()
    got: frozenset[str] = frozenset()
    unclear: frozenset[str] = frozenset()
    since: datetime | None = None
    software: str = ""

    def is_posted(self, type_: str) -> bool:
        """Whether a search of the type is to go by POST."""
        return not {ANY, type_} & self.got and (bool(self.posted) or type_ not in self.unclear)

    def answered(self, type_: str) -> Seen:
        """After an answer to a POST."""
        return replace(self, posted=self.posted | {type_})

    def compared(self, type_: str, *, worked: bool, now: datetime) -> Seen:
        """After a POST that was not taken, and a GET of the same that `worked` or not either."""
        posted, since = self.posted - {type_}, self.since or now
        if worked:
            return replace(self, posted=posted, got=self.got | {type_ if posted else ANY}, since=since)
        return replace(self, unclear=self.unclear | {type_}, since=since)

    def at(self, now: datetime, software: str) -> Seen:
        """What of it still counts for a server that calls itself `software`."""
        over = self.since is not None and not timedelta() <= now - self.since < COUNTS_FOR
        return Seen(posted=self.posted, software=software) if over or software != self.software else self


def seen(tx: Tx, connection: str, now: datetime, software: str) -> Seen:
    """What is known of the server of a connection."""
    told = json.loads(states.get(tx, _KEY + connection) or "{}")
    since = told.get("since")
    types = {name: frozenset(told.get(name, ())) for name in _TYPES}
    known = Seen(**types, since=parse_datetime(since) if since else None, software=told.get("software", software))
    return known.at(now, software)


def note(tx: Tx, connection: str, found: Seen) -> None:
    """Keep it."""
    told = {name: sorted(getattr(found, name)) for name in _TYPES} | {"software": found.software}
    states.put(tx, _KEY + connection, json.dumps(told | ({"since": instant(found.since)} if found.since else {})))


def forget(tx: Tx, connection: str) -> None:
    """Begin anew."""
    states.put(tx, _KEY + connection, None)


def checked_way(told: str) -> str:
    """One of WAYS; UsageError for another."""
    if told not in WAYS:
        raise UsageError(f"--search-by is one of {', '.join(WAYS)}.")
    return told
