"""The trail's rows sealed into blocks: each names the rows it holds by their seals, and the hash of the block before it.

A block is hashed with SHA-256 and the hash sealed with the key of the rows, so that nobody without the key makes another
chain, and nobody with it one that has a head others have written down.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import func, select, text

from fhir_tracker import clock
from fhir_tracker.storage.audit_rows import COLUMNS, Signer
from fhir_tracker.storage.audit_tables import audit_block, audit_patient
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.records import from_row, to_row
from fhir_tracker.storage.running_tables import audit
from fhir_tracker.storage.types import microseconds, moment

MOST_ROWS = 5_000
"""Of one block, and of one transaction that seals."""
_TURN = "audit-seal"
_PAUSE_SECONDS = 0.02
_LAST = text("SELECT coalesce(max(seq), 0) FROM audit")
_SNAPSHOT = text(
    "SELECT coalesce(max(seq), 0) AS seq, pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS running, "
    "pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS coming FROM audit"
)


@dataclass(frozen=True, kw_only=True)
class Block:
    """The rows from `first_seq` to `last_seq`; `previous` is the hash of the block before, of the first one a random name
    of the chain. `digest` is over the number and the seal of each row.
    """

    number: int
    first_seq: int
    last_seq: int
    rows: int
    first_at: datetime
    last_at: datetime
    digest: str
    previous: str
    detail: Mapping[str, Any]
    sealed_at: datetime
    hash: str = ""
    mac: str = ""


@dataclass(frozen=True, kw_only=True)
class Head:
    """The end of a chain: what others write down, so that nobody can cut it unseen."""

    chain: str
    block: int
    seq: int
    hash: str
    at: datetime


def leaf(seq: int, mac: str, values: Sequence[object]) -> bytes:
    """What a block holds of one row: its seal, or where an earlier program wrote it a hash of its values."""
    told = mac or hashlib.sha256(json.dumps(values).encode()).hexdigest()
    return f"{seq}:{told}\n".encode()


def hash_of(block: Block) -> str:
    """The hash of all that a block says."""
    told = [
        block.number, block.first_seq, block.last_seq, block.rows, microseconds(block.first_at), microseconds(block.last_at),
        block.digest, block.previous, json.dumps(dict(block.detail), sort_keys=True), microseconds(block.sealed_at),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def block_mac(key: bytes, hash_: str) -> str:
    """The seal of a block under a key."""
    return hmac.digest(key, f"block:{hash_}".encode(), "sha256").hex()


def last_block(tx: Tx) -> Block | None:
    """The newest block."""
    row = tx.first(select(audit_block).order_by(audit_block.c.number.desc()).limit(1))
    return from_row(Block, row) if row else None


def head(tx: Tx) -> Head | None:
    """The end of the chain; None before the first block."""
    last = last_block(tx)
    if last is None:
        return None
    first = tx.value(select(audit_block.c.previous).where(audit_block.c.number == 1))
    return Head(chain=str(first), block=last.number, seq=last.last_seq, hash=last.hash, at=last.sealed_at)


class Sealer:
    """Seals what is committed, again and again; on PostgreSQL only rows that no transaction under way can slip in before."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._marks: list[tuple[int, int]] = []
        self._sealed = 0

    def step(self, now: datetime) -> Head | None:
        """Seal what can be sealed now; the head of the chain when there is a new one."""
        limit = self._settled()
        found = None
        while limit > self._sealed and (sealed := self._seal(now, limit)) is not None:
            found, self._sealed = sealed, sealed.seq
        self._sealed = max(self._sealed, limit)
        return found

    def finish(self, now: datetime, seconds: float) -> Head | None:
        """Seal what was written until now, waiting up to so many seconds for others to end what they write."""
        found = self.step(now)
        until = clock.monotonic() + seconds
        while self._marks and clock.monotonic() < until:
            clock.pause(_PAUSE_SECONDS)
            found = self.step(now) or found
        return found

    def _settled(self) -> int:
        """Up to which row everything is committed or will never be; 0 when that is not known yet."""
        with self._database.read() as tx:
            if tx.dialect == "sqlite":
                return int(tx.value(_LAST))
            row = tx.rows(_SNAPSHOT)[0]
        done = [seq for seq, coming in self._marks if coming <= row["running"]]
        self._marks = self._marks[len(done) :]
        if not self._marks or self._marks[-1][0] != row["seq"]:
            self._marks.append((row["seq"], row["coming"]))
        if row["coming"] <= row["running"]:
            done += [seq for seq, _ in self._marks]
            self._marks = []
        elif len(self._marks) > 1000:
            del self._marks[1:-1]
        return max(done, default=0)

    def _seal(self, now: datetime, limit: int) -> Head | None:
        with self._database.begin() as tx:
            tx.wait_for_others(_TURN)
            last = last_block(tx)
            rows = _unsealed(tx, last.last_seq if last else 0, limit)
            if not rows:
                return None
            block = _signed(_block(last, rows, now), self._database.signer)
            tx.execute(audit_block.insert(), [to_row(block)])
            returned = [{"patient": patient, "seq": row.seq} for row in rows for patient in patients_of(row.patients)]
            if returned:
                tx.execute(audit_patient.insert(), returned)
            return head(tx)


def patients_of(told: str | None) -> Iterable[str]:
    """The patients whose data a row's search returned, each once."""
    return dict.fromkeys(json.loads(told)) if told else ()


def digest_of(rows: Iterable[tuple[int, str, Sequence[object]]]) -> str:
    """The digest of rows given as (seq, mac, values)."""
    found = hashlib.sha256()
    for seq, mac, values in rows:
        found.update(leaf(seq, mac, values))
    return found.hexdigest()


class _Row(NamedTuple):
    """What sealing needs of a row; `values` only where it has no seal."""

    seq: int
    at: int
    mac: str
    patients: str | None
    values: Sequence[object] = ()


def _unsealed(tx: Tx, after: int, limit: int) -> list[_Row]:
    sql = "SELECT seq, at, mac, patients FROM audit WHERE seq > %s AND seq <= %s ORDER BY seq LIMIT %s"
    rows = [_Row(*row) for row in tx.ask(sql, [after, limit, MOST_ROWS])]
    plain = [row.seq for row in rows if not row.mac]
    if not plain:
        return rows
    values = dict(values_between(tx, plain[0], plain[-1]))
    return [row if row.mac else row._replace(values=values[row.seq][:-1]) for row in rows]


def values_between(tx: Tx, first: int, last: int) -> list[tuple[int, Sequence[object]]]:
    """The rows with these numbers and between them: number, and values in the order of `COLUMNS`."""
    return _values(tx, "seq BETWEEN %s AND %s ORDER BY seq", [first, last])


def values_after(tx: Tx, seq: int) -> list[tuple[int, Sequence[object]]]:
    """Up to `MOST_ROWS` rows after a number, in the same form."""
    return _values(tx, "seq > %s ORDER BY seq LIMIT %s", [seq, MOST_ROWS])


def _values(tx: Tx, condition: str, given: Sequence[object]) -> list[tuple[int, Sequence[object]]]:
    columns = ", ".join(f'"{name}"' for name in COLUMNS)
    rows = tx.ask(f"SELECT seq, {columns} FROM audit WHERE {condition}", given)  # noqa: S608
    return [(row[0], row[1:]) for row in rows]


def _block(last: Block | None, rows: Sequence[_Row], now: datetime) -> Block:
    without = sum(not row.mac for row in rows)
    return Block(
        number=last.number + 1 if last else 1,
        first_seq=rows[0].seq,
        last_seq=rows[-1].seq,
        rows=len(rows),
        first_at=moment(min(row.at for row in rows)),
        last_at=moment(max(row.at for row in rows)),
        digest=digest_of((row.seq, row.mac, row.values) for row in rows),
        previous=last.hash if last else secrets.token_hex(16),
        detail={"unsigned": without} if without else {},
        sealed_at=now,
    )


def _signed(block: Block, signer: Signer) -> Block:
    hash_ = hash_of(block)
    key = signer.key
    return replace(block, hash=hash_, mac=f"{signer.id}.{block_mac(key, hash_)}" if key else "")


def unsealed_count(tx: Tx) -> int:
    """How many rows no block holds yet."""
    last = last_block(tx)
    return int(tx.value(select(func.count()).select_from(audit).where(audit.c.seq > (last.last_seq if last else 0))))
