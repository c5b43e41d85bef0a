"""The security epoch: a number that grows with every change of who may do what, so that caches of such answers know their age."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import BigInteger, Text, cast, select

from fhir_tracker import clock
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage.buffer import Premise
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.glance import Glance
from fhir_tracker.storage.running_tables import setting

_KEY = "security-epoch"
_ASKED = select(setting.c.value).where(setting.c.key == _KEY)
_PRESENT = f"SELECT COALESCE((SELECT value FROM setting WHERE key = '{_KEY}'), '0')"  # noqa: S608
_AS_TEXT = f"SELECT value FROM setting WHERE key = '{_KEY}'"  # noqa: S608


def epoch(tx: Tx) -> int:
    """The present epoch as this transaction or glance sees it; 0 before the first change."""
    if isinstance(tx, Glance):
        rows = tx.select(_AS_TEXT, ())
        return int(rows[0][0]) if rows else 0
    found = tx.peek(_ASKED)
    return int(found["value"]) if found else 0


def bump(tx: Tx) -> None:
    """Begin a new epoch, in the transaction of every change that takes or gives rights."""
    new = tx.insert(setting).values(key=_KEY, value="1")
    more = cast(cast(setting.c.value, BigInteger) + 1, Text)
    tx.execute(new.on_conflict_do_update(index_elements=["key"], set_={"value": more}))


def premise(wanted: int) -> Premise:
    """What holds while an epoch is the present one."""
    return _PRESENT, str(wanted)


class Watch:
    """The epoch as one process knows it, read once for all requests that arrived before; safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen = (float("-inf"), 0)

    def at(self, arrived: float, glance: Glance | None = None) -> int:
        """The epoch, read no earlier than `arrived` (of `clock.monotonic`), by `glance` where one is at hand.

        Raises Busy or Unavailable when it cannot be.
        """
        began, known = self._seen
        if began >= arrived:
            return known
        began = clock.monotonic()
        known = epoch(glance) if glance is not None else self._asked()
        self._seen = (began, known)
        return known

    def fetch(self, glance: Glance, wanted: Iterable[tuple[Viewer, str, str]]) -> None:
        """Have a glance hold resources, and read the epoch by the same statement where that finds any."""
        began = clock.monotonic()
        told = glance.fetch(wanted, beside=_AS_TEXT)
        if told is not None:
            self._seen = (began, int(str(told)))

    def _asked(self) -> int:
        with self._database.drivers.take() as driver:
            return epoch(Glance(driver, self._database.dialect))
