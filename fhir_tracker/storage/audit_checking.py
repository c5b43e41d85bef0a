"""Whether the trail is as it was written: each row against its seal, each block against its rows and the block before it."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from sqlalchemy import ColumnElement, func, select, text

from fhir_tracker.storage.audit_chain import (
    Block,
    Head,
    block_mac,
    digest_of,
    hash_of,
    patients_of,
    values_after,
    values_between,
)
from fhir_tracker.storage.audit_rows import COLUMNS, fits
from fhir_tracker.storage.audit_tables import audit_block, audit_patient
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.records import from_row
from fhir_tracker.storage.running_tables import audit

PRUNE = "prune"
"""The action of the row that says up to which block the rows were let go."""
RESTORED = "restored"
"""The action of the row that says of rows that they had been removed before they were sealed, and were written again."""
MOST_OF_A_KIND = 100
MOST_NAMED = 20
"""Problems of one kind and block that are named one by one."""
_AT_A_TIME = 1_000
"""Blocks, or heads that others wrote down, that are held in memory."""
_AT, _ACTION, _DETAIL, _PATIENTS, _MAC = (COLUMNS.index(one) for one in ("at", "action", "detail", "patients", "mac"))
Row = tuple[int, Sequence[object]]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is wrong: `kind` is one word, `where` names a row (`row 17`), a block (`block 3`) or the chain, `said` is for people."""

    kind: str
    where: str
    said: str


@dataclass(frozen=True, kw_only=True)
class Open:
    """The rows after the last block that was found written down elsewhere (0: none was): nobody could tell if they were cut."""

    block: int
    rows: int
    since: datetime | None
    until: datetime | None


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a look through the trail found: how much there is, its head, how many anchors were compared, what none of them
    covers, and what is wrong.
    """

    rows: int
    blocks: int
    pruned_blocks: int
    unsealed: int
    unsigned: int
    head: Head | None
    anchors: int
    open: Open
    problems: tuple[Problem, ...]

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


@dataclass
class _Look:
    """A look under way."""

    tx: Tx
    keys: Mapping[str, bytes]
    problems: list[Problem] = field(default_factory=list)
    rows: int = 0
    unsigned: int = 0
    anchors: int = 0
    is_signed: bool = False
    are_blocks_signed: bool = False
    unknown: set[str] = field(default_factory=set)

    def found(self, kind: str, where: str, said: str) -> None:
        if sum(one.kind == kind for one in self.problems) < MOST_OF_A_KIND:
            self.problems.append(Problem(kind=kind, where=where, said=said))


@dataclass
class _Chain:
    """The blocks as far as they were looked through."""

    first: Block | None = None
    last: Block | None = None
    before: int = 0
    blocks: int = 0
    pruned: int = 0

    @property
    def head(self) -> Head | None:
        if self.first is None or self.last is None:
            return None
        last = self.last
        return Head(chain=self.first.previous, block=last.number, seq=last.last_seq, hash=last.hash, at=last.sealed_at)


def check(tx: Tx, keys: Mapping[str, bytes], anchors: Iterable[Head] = (), heads: Sequence[str] = ()) -> Finding:
    """Look through all of the trail; `keys` by their ids, `anchors` and hashes of `heads` as others wrote them down.

    Blocks and anchors are taken some at a time, so that a trail of many years needs no more memory than one of a day.
    """
    look = _Look(tx, keys)
    chain = _check_blocks(look, _pruned(look))
    unsealed = _check_tail(look, chain.before)
    _check_restored(look)
    _check_copies(look)
    _check_sqlite_end(look)
    covered = _check_anchors(look, chain.first, anchors, heads)
    if look.unknown:
        named = ", ".join(sorted(look.unknown))
        look.found(
            "unknown-key", "trail", f"Rows are sealed with a key that is not known here ({named}): give it by --former."
        )
    return Finding(
        rows=look.rows,
        blocks=chain.blocks,
        pruned_blocks=chain.pruned,
        unsealed=unsealed,
        unsigned=look.unsigned,
        head=chain.head,
        anchors=look.anchors,
        open=_open(tx, covered),
        problems=tuple(look.problems),
    )


def _check_blocks(look: _Look, pruned: int) -> _Chain:
    """Each block against the one before it and against its rows; those up to `pruned` have none any more."""
    chain = _Chain()
    for block in _blocks(look):
        _check_link(look, block, chain.last)
        if block.number > pruned:
            _check_block(look, block, chain.before)
        else:
            _check_pruned(look, block, chain.before)
            chain.pruned += 1
        chain.first, chain.last = chain.first or block, block
        chain.before = max(chain.before, block.last_seq)
        chain.blocks += 1
    return chain


def _blocks(look: _Look) -> Iterator[Block]:
    """All blocks, oldest first, up to one that cannot even be read."""
    after: int | None = None
    asked = select(audit_block).order_by(audit_block.c.number).limit(_AT_A_TIME)
    while True:
        try:
            rows = look.tx.rows(asked if after is None else asked.where(audit_block.c.number > after))
            blocks = [from_row(Block, row) for row in rows]
        except ValueError:
            look.found("block-edited", "chain", "A block holds what the tracker never writes, and cannot be read.")
            return
        if not blocks:
            return
        yield from blocks
        after = blocks[-1].number


def _pruned(look: _Look) -> int:
    """Up to which block rows were let go by the command; a row that says so must bear a seal."""
    rows = look.tx.rows(select(audit.c.seq).where(audit.c.action == PRUNE, audit.c.kind == "command"))
    found = 0
    for row in rows:
        for seq, values in values_between(look.tx, row["seq"], row["seq"]):
            if (values[_MAC] or not look.keys) and _is_sealed(look, seq, values):
                told = json.loads(str(values[_DETAIL]))
                found = max(found, int(told.get("through_block", 0)))
    return found


def _check_link(look: _Look, block: Block, previous: Block | None) -> None:
    where = f"block {block.number}"
    expected = previous.number + 1 if previous else 1
    if block.number != expected:
        look.found("block-removed", where, f"Blocks {expected} to {block.number - 1} are gone.")
    elif previous is not None and block.previous != previous.hash:
        look.found("chain-broken", where, "It does not follow the block before it: one of the two was replaced.")
    if hash_of(block) != block.hash:
        look.found("block-edited", where, "What the block says was edited.")
    _check_block_mac(look, block)
    if previous is not None and block.first_seq <= previous.last_seq:
        look.found("block-edited", where, "Its rows overlap those of the block before it.")


def _check_block_mac(look: _Look, block: Block) -> None:
    id_, _, mac = block.mac.partition(".")
    if not block.mac:
        if look.are_blocks_signed:
            look.found("block-unsigned", f"block {block.number}", "The block bears no seal, although earlier ones do.")
        return
    look.are_blocks_signed = True
    key = look.keys.get(id_)
    if key is None:
        look.unknown.add(id_)
    elif not hmac.compare_digest(block_mac(key, block.hash), mac):
        look.found(
            "block-edited", f"block {block.number}", "The seal of the block is not ours: it was made again by another."
        )


def _check_pruned(look: _Look, block: Block, before: int) -> None:
    left = look.tx.value(
        select(func.count()).select_from(audit).where(audit.c.seq > before, audit.c.seq <= block.last_seq)
    )
    if left:
        look.found("inserted", f"block {block.number}", f"{left} rows are where the rows had been let go.")


def _check_block(look: _Look, block: Block, before: int) -> None:
    where = f"block {block.number}"
    rows = list(values_between(look.tx, before + 1, block.last_seq))
    look.rows += len(rows)
    outside = [seq for seq, _ in rows if seq < block.first_seq]
    for seq in outside[:MOST_NAMED]:
        look.found("inserted", f"row {seq}", f"No block holds the row, although those around it are sealed ({where}).")
    rows = [row for row in rows if row[0] >= block.first_seq]
    problems = len(look.problems)
    edited = _check_rows(look, rows)
    _check_gaps(look, before or _start(rows), rows, block.last_seq)
    found = digest_of((seq, str(values[_MAC]), values[:-1]) for seq, values in rows)
    if found != block.digest:
        _say_why(look, block, len(rows), already=len(look.problems) > problems)
    elif edited == 0 and len(rows) != block.rows:
        look.found("block-edited", where, "The block counts other rows than it holds.")
    _check_patients(look, block, rows)


def _say_why(look: _Look, block: Block, there: int, *, already: bool) -> None:
    where = f"block {block.number}"
    if there < block.rows:
        look.found("removed", where, f"{block.rows - there} of its {block.rows} rows are gone.")
    elif there > block.rows:
        look.found("inserted", where, f"{there - block.rows} rows were put between its {block.rows} rows.")
    elif not already:
        look.found("reordered", where, "Its rows are not those that were sealed here, or not in their order.")
    else:
        look.found("digest", where, "Its rows are not those that were sealed.")


def _check_rows(look: _Look, rows: Sequence[Row]) -> int:
    edited = [seq for seq, values in rows if not _is_sealed(look, seq, values)]
    for seq in edited[:MOST_NAMED]:
        look.found("edited", f"row {seq}", "What the row says is not what was written, or it was not written by us.")
    if len(edited) > MOST_NAMED:
        look.found(
            "edited", f"rows {edited[0]} to {edited[-1]}", f"{len(edited)} rows in all are not what was written."
        )
    return len(edited)


def _is_sealed(look: _Look, seq: int, values: Sequence[object]) -> bool:
    """Whether a row bears our seal; one without any does, until the first with one."""
    mac = str(values[_MAC])
    if not mac:
        look.unsigned += 1
        return not look.is_signed
    look.is_signed = True
    id_ = mac.partition(".")[0]
    key = look.keys.get(id_)
    if key is None:
        look.unknown.add(id_)
        return True
    return fits(key, values[:-1], mac)


def _start(rows: Sequence[Row]) -> int:
    """What the first row of all follows: nothing, or where an earlier program wrote it whatever came before."""
    return rows[0][0] - 1 if rows and not rows[0][1][_MAC] else 0


def _check_gaps(look: _Look, before: int, rows: Sequence[Row], last: int) -> None:
    """SQLite gives numbers without a gap, so a missing one was a row; PostgreSQL leaves out those of what was rolled back."""
    if look.tx.dialect != "sqlite":
        return
    expected = before + 1
    for seq in [*(seq for seq, _ in rows), last + 1]:
        if seq > expected:
            what = f"row {expected}" if seq == expected + 1 else f"rows {expected} to {seq - 1}"
            look.found("removed", what, "Between rows that are there, these numbers are missing.")
        expected = seq + 1


def _check_patients(look: _Look, block: Block, rows: Sequence[Row]) -> None:
    """The list of whose data searches returned follows from the rows."""
    asked = select(audit_patient.c.patient, audit_patient.c.seq).where(
        audit_patient.c.seq >= block.first_seq, audit_patient.c.seq <= block.last_seq
    )
    held = {(row["patient"], row["seq"]) for row in look.tx.rows(asked)}
    try:
        told = {(patient, seq) for seq, values in rows for patient in patients_of(_text(values[_PATIENTS]))}
    except ValueError:
        return
    if held != told:
        look.found(
            "list-edited",
            f"block {block.number}",
            "The list of the patients that searches returned does not fit the rows.",
        )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _check_tail(look: _Look, last: int) -> int:
    """The rows that no block holds yet; how many they are."""
    unsealed, before = 0, last
    while rows := values_after(look.tx, before):
        unsealed += len(rows)
        look.rows += len(rows)
        _check_rows(look, rows)
        _check_gaps(look, before or _start(rows), rows, rows[-1][0])
        before = rows[-1][0]
    return unsealed


def _check_restored(look: _Look) -> None:
    asked = select(audit.c.seq, audit.c.detail).where(audit.c.action == RESTORED, audit.c.kind == "security")
    for row in look.tx.rows(asked.order_by(audit.c.seq)):
        said = (
            f"{row['detail'].get('rows')} rows had been removed before they were sealed; the tracker wrote them again."
        )
        look.found("restored", f"row {row['seq']}", said)


def _check_copies(look: _Look) -> None:
    """No two rows bear the same seal, each of which has its own random part."""
    asked = (
        select(audit.c.mac, func.max(audit.c.seq).label("seq"))
        .where(audit.c.mac != "")
        .group_by(audit.c.mac)
        .having(func.count() > 1)
        .limit(MOST_NAMED)
    )
    for row in look.tx.rows(asked):
        look.found("inserted", f"row {row['seq']}", "The row is a copy of another one.")


def _check_sqlite_end(look: _Look) -> None:
    if look.tx.dialect != "sqlite":
        return
    given = look.tx.value(text("SELECT seq FROM sqlite_sequence WHERE name = 'audit'"))
    last = look.tx.value(select(func.max(audit.c.seq)))
    sealed = look.tx.value(select(func.max(audit_block.c.last_seq)))
    there = int(sealed or 0) if last is None else int(last)
    if given is None and there:
        look.found("tail-cut", "trail", "The database does not know any more which number the last row had.")
    elif given is not None and int(given) > there:
        look.found("tail-cut", f"rows {there + 1} to {given}", "The last rows were removed.")


@dataclass(frozen=True, kw_only=True)
class _Sealed:
    """What of a block others could have written down."""

    number: int
    last_seq: int
    hash: str


def _open(tx: Tx, covered: _Sealed) -> Open:
    after = audit.c.seq > covered.last_seq
    row = tx.rows(
        select(
            func.count().label("rows"), func.min(audit.c.at).label("since"), func.max(audit.c.at).label("until")
        ).where(after)
    )[0]
    return Open(block=covered.number, rows=row["rows"], since=row["since"], until=row["until"])


_NOTHING = _Sealed(number=0, last_seq=0, hash="")


def _number(block: _Sealed) -> int:
    return block.number


def _check_anchors(look: _Look, first: Block | None, anchors: Iterable[Head], heads: Sequence[str]) -> _Sealed:
    """The last block that others wrote down as it is."""
    chain = first.previous if first else None
    found = {block.hash: block for block in _sealed(look.tx, audit_block.c.hash.in_(heads))} if heads else {}
    covered = max(found.values(), key=_number, default=_NOTHING)
    ahead: Head | None = None
    left = iter(anchors)
    while some := list(islice(left, _AT_A_TIME)):
        look.anchors += len(some)
        held = {one.number: one for one in _sealed(look.tx, audit_block.c.number.in_({one.block for one in some}))}
        for one in some:
            block = held.get(one.block)
            if not _is_of_it(look, one, chain, block):
                continue
            if block is None:
                ahead = one
            else:
                covered = max(covered, block, key=_number)
    if ahead is not None:
        said = (
            f"The anchor of {ahead.at.isoformat()} names block {ahead.block}, up to row {ahead.seq}, which is not there"
        )
        look.found("tail-cut", f"block {ahead.block}", f"{said}: the end was cut, or an old copy put back.")
    for hash_ in heads:
        if hash_ not in found:
            said = f"No block has the hash {hash_[:16]}...: the end was cut, or the chain made anew."
            look.found("head-missing", "chain", said)
    return covered


def _sealed(tx: Tx, condition: ColumnElement[bool]) -> list[_Sealed]:
    table = audit_block.c
    return [
        from_row(_Sealed, row) for row in tx.rows(select(table.number, table.last_seq, table.hash).where(condition))
    ]


def _is_of_it(look: _Look, anchor: Head, chain: str | None, block: _Sealed | None) -> bool:
    """Whether an anchor is of this chain, and no other block stands where its own was."""
    at = anchor.at.isoformat()
    if chain is not None and anchor.chain != chain:
        said = f"The anchor of {at} is of another chain, which began with {anchor.chain}: the trail was made anew."
    elif block is not None and block.hash != anchor.hash:
        said = f"The anchor of {at} has another hash: the chain was made anew."
    else:
        return True
    problem = Problem(kind="chain-replaced", where=f"block {anchor.block}", said=said)
    if problem not in look.problems:
        look.found(problem.kind, problem.where, problem.said)
    return False
