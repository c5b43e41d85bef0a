"""What this process committed to the trail, remembered until a block holds it, so that a row removed before is missed at once.

PostgreSQL leaves out numbers of what was rolled back, so a gap there says nothing; whoever wrote the row knows better.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import func, select

from fhir_tracker.storage.audit_rows import COLUMNS
from fhir_tracker.storage.audit_tables import audit_block
from fhir_tracker.storage.bulks import AUDIT
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.running_tables import audit
from fhir_tracker.storage.witnessing import Row

_MAC = COLUMNS.index("mac")
_AT_ONCE = 500


class Witness:
    """Compares what was committed with what is there; for one thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[str, Row] = {}
        self._sealed = 0

    def missing(self) -> list[Row]:
        """The rows, as they were written, that are in no block and not in the table either; asked for again while they are not."""
        seen = self._database.seen
        self._waiting |= {str(row[_MAC]): row for row in seen.take() if row[_MAC]}
        if not self._waiting:
            return []
        with self._database.read() as tx:
            sealed = int(tx.value(select(func.coalesce(func.max(audit_block.c.last_seq), 0))))
            rows = tx.ask("SELECT mac, seq FROM audit WHERE seq > %s", [self._sealed])
            there: dict[str, int] = {row[0]: row[1] for row in rows}
            there |= _elsewhere(tx, [mac for mac in self._waiting if mac not in there])
        found = [row for mac, row in self._waiting.items() if mac not in there]
        self._waiting = {mac: row for mac, row in self._waiting.items() if there.get(mac, sealed + 1) > sealed}
        self._sealed = sealed
        return found

    def forget(self, rows: Sequence[Row]) -> None:
        """Wait for these no more: they were written again, and are seen anew."""
        for row in rows:
            self._waiting.pop(str(row[_MAC]), None)


def _elsewhere(tx: Tx, macs: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Those that are among older rows after all; looked for in the whole table, which is seldom needed."""
    for start in range(0, len(macs), _AT_ONCE):
        asked = select(audit.c.mac, audit.c.seq).where(audit.c.mac.in_(macs[start : start + _AT_ONCE]))
        yield from ((row["mac"], row["seq"]) for row in tx.rows(asked))


def write_again(tx: Tx, rows: Sequence[Row]) -> None:
    """Put rows back as they were, with their seals."""
    tx.added.add_all(AUDIT, [tuple(row) for row in rows])


def told(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """What the first of them were about, for the row that says they were missing."""
    wanted = ("who", "action", "ref")
    return [{name: row[COLUMNS.index(name)] for name in wanted} for row in rows[:20]]
