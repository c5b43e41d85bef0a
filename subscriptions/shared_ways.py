"""By which way the searches of a connection go: as its terms say, or as any process has seen that its server takes them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from fhir_tracker import search_seen
from fhir_tracker.search_seen import AUTO, GET, POST, Seen
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.database import Database, Tx
from subscriptions.abilities import state_of
from subscriptions.search_ways import Ways


class SharedWays(Ways):
    """The same, known to all processes."""

    def __init__(self, database: Database, connection: Connection, now: Callable[[], datetime]) -> None:
        super().__init__(way_of(connection), now)
        self._database = database
        self._connection = connection.key

    def _read(self) -> Seen:
        with self._database.read() as tx:
            return self._in(tx)

    def _changed(self, change: Callable[[Seen], Seen]) -> Seen:
        with self._database.begin() as tx:
            found = change(self._in(tx))
            search_seen.note(tx, self._connection, found)
        return found

    def _in(self, tx: Tx) -> Seen:
        return _seen(tx, self._connection, self._now())


def way_of(connection: Connection) -> str:
    """What the connection says: one of `search_seen.WAYS`."""
    return str(connection.options.get("search_by", AUTO))


def told(tx: Tx, connection: Connection, now: datetime) -> str:
    """How searches go at present, as `connection show` says it."""
    way, known = way_of(connection), _seen(tx, connection.key, now)
    if way != AUTO:
        return f"{way.upper()}, as you chose"
    if search_seen.ANY in known.got:
        return f"{GET.upper()}: the server takes no {POST.upper()}"
    if known.posted and known.got:
        return f"{POST.upper()}, but {GET.upper()} for {', '.join(sorted(known.got))}"
    return POST.upper() if known.posted else "not seen yet: POST is tried first"


def _seen(tx: Tx, connection: str, now: datetime) -> Seen:
    software = str(state_of(tx, connection).get("software", ""))
    return search_seen.seen(tx, connection, now, software)
