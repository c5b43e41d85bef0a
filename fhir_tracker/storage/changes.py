"""The change log and the places where its named readers stand.

A reader stands at a pair (transaction, sequence) and on PostgreSQL reads only below the oldest transaction still open:
sequence numbers are drawn before a commit, so a reader that went by them alone would pass over what commits late.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import BigInteger, ColumnElement, Select, func, literal, literal_column, select, tuple_

from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.records import from_row
from fhir_tracker.storage.scope import row_scope
from fhir_tracker.storage.tables import change, consumer

_START = (-1, -1)
_OLDEST_OPEN: ColumnElement[int] = literal_column("pg_snapshot_xmin(pg_current_snapshot())::text::bigint")


@dataclass(frozen=True, kw_only=True)
class Change:
    """One version that was written; `origin` as in Author. Deletions have op `delete`."""

    seq: int
    txid: int
    k: int
    type: str
    id: str
    version: int
    op: Literal["create", "update", "delete"]
    origin: str
    who: str
    at: datetime
    patient: str | None

    @property
    def ref(self) -> str:
        """`Type/id`."""
        return f"{self.type}/{self.id}"


def read_since(tx: Tx, viewer: Viewer, consumer: str, limit: int) -> list[Change]:
    """The next `limit` changes after where `consumer` stands (a new one: from the beginning), each of them exactly once."""
    after = _after(_place(tx, consumer))
    chosen = _settled(tx).where(after, row_scope(viewer, change)).order_by(change.c.txid, change.c.seq).limit(limit)
    return [from_row(Change, row) for row in tx.rows(chosen)]


def side_by_side(tx: Tx, consumers: Sequence[str]) -> list[list[str]]:
    """Which of these readers have something to read, those who stand at the same place together."""
    known = {row["name"]: (row["txid"], row["seq"]) for row in tx.rows(select(consumer).where(_named(consumers)))}
    standing: dict[tuple[int, int], list[str]] = {}
    for name in consumers:
        standing.setdefault(known.get(name, _START), []).append(name)
    return [names for place, names in standing.items() if tx.rows(_settled(tx).where(_after(place)).limit(1))]


def advance(tx: Tx, consumer: str, last: Change, *others: str) -> None:
    """Let `consumer` and the others stand after `last`; in the transaction that did the work on it."""
    _stand(tx, [consumer, *others], last.txid, last.seq)


def start_at_head(tx: Tx, consumer: str) -> None:
    """Let `consumer` begin with what is written from now on."""
    last = tx.first(_settled(tx).order_by(change.c.txid.desc(), change.c.seq.desc()).limit(1))
    if last is not None:
        _stand(tx, [consumer], last["txid"], last["seq"])


def written_since(tx: Tx, since: datetime, types: Sequence[str], but_origin: str) -> list[str]:
    """`Type/id` of what of `types` was written since a moment, other than by `but_origin`; walks the whole log."""
    is_one = (change.c.at >= since) & change.c.type.in_(types) & (change.c.origin != but_origin)
    rows = tx.rows(select(change.c.type, change.c.id).where(is_one).distinct().order_by(change.c.type, change.c.id))
    return [f"{row['type']}/{row['id']}" for row in rows]


def head(tx: Tx) -> int:
    """The highest sequence number written, 0 when none."""
    return int(tx.value(select(func.max(change.c.seq))) or 0)


def lag(tx: Tx, consumer: str) -> int:
    """How many changes `consumer` has not read yet, counted up to 10 000."""
    after = _after(_place(tx, consumer))
    return int(tx.value(select(func.count()).select_from(select(change.c.seq).where(after).limit(10_000).subquery())))


def _settled(tx: Tx) -> Select[tuple[object, ...]]:
    chosen = select(change)
    return chosen.where(change.c.txid < _OLDEST_OPEN) if tx.dialect == "postgresql" else chosen


def _place(tx: Tx, name: str) -> tuple[int, int]:
    row = tx.first(select(consumer).where(consumer.c.name == name))
    return (row["txid"], row["seq"]) if row else _START


def _after(place: tuple[int, int]) -> ColumnElement[bool]:
    return tuple_(change.c.txid, change.c.seq) > tuple_(*(literal(one, BigInteger) for one in place))


def _named(names: Sequence[str]) -> ColumnElement[bool]:
    return consumer.c.name.in_(names)


def _stand(tx: Tx, names: Sequence[str], txid: int, seq: int) -> None:
    place = {"txid": txid, "seq": seq}
    stand = tx.insert(consumer).values([{"name": name, **place} for name in sorted(names)])
    tx.execute(stand.on_conflict_do_update(index_elements=["name"], set_=place))
