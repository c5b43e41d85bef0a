"""Whoever changes the trail behind our back is found out: rows, blocks, the end, the whole chain, on both databases."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, text

from fhir_tracker.errors import Fault
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.sealing import audit_key
from fhir_tracker.storage import audit, audit_chain, trail
from fhir_tracker.storage.audit_chain import Block, Head, Sealer, hash_of
from fhir_tracker.storage.audit_checking import Finding, check
from fhir_tracker.storage.audit_rows import COLUMNS, Access, Signer
from fhir_tracker.storage.audit_tables import audit_block, audit_patient
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.records import from_row, to_row
from tests.storage.samples import NOW

KEY = audit_key("the secret of these tests, and of nothing else")
OTHER = audit_key("the secret of somebody who has only the database")
ANN = Viewer(who="Practitioner/ann", name="Ann", roles=frozenset({"rn", "auditor"}), client="app", address="10.0.0.1")
GUARDED = ("audit", "audit_block", "audit_patient")
_PATIENTS = COLUMNS.index("patients")


@pytest.fixture
def sealed(database: Database) -> Database:
    return in_three_blocks(database)


def in_three_blocks(database: Database) -> Database:
    """A trail of three blocks of four rows each, and three rows that no block holds yet."""
    database.seal_rows(lambda: KEY)
    sealer = Sealer(database)
    for block in range(3):
        add(database, 4, start=block * 4)
        assert sealer.finish(NOW + timedelta(seconds=block), 30)
    add(database, 3, start=12)
    return database


def add(database: Database, count: int, start: int = 0) -> None:
    rows = [
        Access(NOW, ANN, "search", "Task", None, "success", f"r{n}", {"n": n}, ("p1", f"p{n}"), "fhir", n, f"name=x{n}")
        for n in range(start, start + count)
    ]
    trail.add(database, rows)


def looked(
    database: Database, anchors: Iterable[Head] = (), heads: Sequence[str] = (), keys: Sequence[bytes] = (KEY,)
) -> Finding:
    known = {}
    for key in keys:
        signer = Signer(lambda key=key: key)  # type: ignore[misc]
        known[(signer.key, signer.id)[1]] = key
    with database.read() as tx:
        return check(tx, known, anchors, heads)


def kinds(database: Database, anchors: Sequence[Head] = (), heads: Sequence[str] = ()) -> list[tuple[str, str]]:
    return [(one.kind, one.where) for one in looked(database, anchors, heads).problems]


def head_of(database: Database) -> Head:
    with database.read() as tx:
        found = audit_chain.head(tx)
    assert found is not None
    return found


def tamper(database: Database, *statements: str) -> None:
    """As somebody does who owns the database: takes the triggers off, and changes what they like."""
    with database.begin() as tx:
        disarm(tx)
        for statement in statements:
            tx.execute(text(statement))


def disarm(tx: Tx) -> None:
    for table in GUARDED:
        for trigger in ("stays", "is_kept"):
            on = f" ON {table}" if tx.dialect == "postgresql" else ""
            tx.execute(text(f"DROP TRIGGER IF EXISTS {table}_{trigger}{on}"))


def seqs(database: Database) -> list[int]:
    with database.read() as tx:
        return [row[0] for row in tx.ask("SELECT seq FROM audit ORDER BY seq", [])]


@pytest.mark.security("S51", "B2")
def test_a_trail_that_nobody_touched_is_whole(sealed: Database) -> None:
    finding = looked(sealed)
    assert finding.problems == ()
    assert (finding.rows, finding.blocks, finding.unsealed, finding.unsigned) == (15, 3, 3, 0)
    assert finding.head == head_of(sealed)
    assert kinds(sealed, [head_of(sealed)], [head_of(sealed).hash]) == []


@pytest.mark.security("S51")
def test_nothing_to_seal_makes_no_block(sealed: Database) -> None:
    sealer = Sealer(sealed)
    assert sealer.finish(NOW, 30) is not None
    assert sealer.finish(NOW, 30) is None
    assert Sealer(sealed).finish(NOW, 30) is None
    assert looked(sealed).blocks == 4


@pytest.mark.security("S51", "B2")
@pytest.mark.parametrize("table", GUARDED)
@pytest.mark.parametrize("change", ["UPDATE {} SET {} = {}", "DELETE FROM {}", "TRUNCATE {}"])
def test_the_database_itself_refuses_every_change(sealed: Database, table: str, change: str) -> None:
    """SQLite has no TRUNCATE."""
    if change.startswith("TRUNCATE") and sealed.dialect == "sqlite":
        return
    column = "patient" if table == "audit_patient" else "detail"
    before = seqs(sealed)
    with pytest.raises(Fault), sealed.begin() as tx:
        tx.execute(text(change.format(table, column, "'{}'")))
    assert seqs(sealed) == before
    assert looked(sealed).is_whole


ROWS = [
    *((f"UPDATE audit SET {column} = '{value}' WHERE seq = %s", "edited", "row {}")
      for column, value in (
          ("who", "Practitioner/bob"), ("action", "read"), ("ref", "Task/other"), ("patient", "p9"), ("outcome", "denied"),
          ("request_id", "none"), ("detail", "{}"), ("name", "Bob"), ("roles", ""), ("client", "x"), ("issuer", "x"),
          ("address", "127.0.0.1"), ("session", "s"), ("purpose", "BTG"), ("kind", "page"), ("query", "name=y"),
      )),
    ("UPDATE audit SET at = at + 1 WHERE seq = %s", "edited", "row {}"),
    ("UPDATE audit SET version = NULL WHERE seq = %s", "edited", "row {}"),
    ("UPDATE audit SET query = NULL WHERE seq = %s", "edited", "row {}"),
    ("UPDATE audit SET mac = '' WHERE seq = %s", "edited", "row {}"),
    ("UPDATE audit SET mac = substr(mac, 1, 20) WHERE seq = %s", "edited", "row {}"),
]  # fmt: skip


@pytest.mark.security("S51", "B2")
@pytest.mark.parametrize("at", [5, 14], ids=["sealed", "not sealed yet"])
@pytest.mark.parametrize(("statement", "kind", "where"), ROWS, ids=lambda value: str(value)[:40])
def test_an_edited_row_is_named(sealed: Database, at: int, statement: str, kind: str, where: str) -> None:
    seq = seqs(sealed)[at]
    tamper(sealed, statement % seq)
    assert (kind, where.format(seq)) in kinds(sealed)


@pytest.mark.security("S51", "B2")
def test_the_patients_of_a_search_cannot_be_taken_out(sealed: Database) -> None:
    seq = seqs(sealed)[5]
    tamper(
        sealed, f"UPDATE audit SET patients = NULL WHERE seq = {seq}", f"DELETE FROM audit_patient WHERE seq = {seq}"
    )
    assert ("edited", f"row {seq}") in kinds(sealed)


@pytest.mark.security("S51")
def test_the_list_of_whose_data_was_returned_cannot_be_shortened(sealed: Database) -> None:
    tamper(sealed, f"DELETE FROM audit_patient WHERE patient = 'p1' AND seq = {seqs(sealed)[5]}")
    assert kinds(sealed) == [("list-edited", "block 2")]


@pytest.mark.security("S51", "B2")
def test_a_removed_row_is_missed(sealed: Database) -> None:
    seq = seqs(sealed)[5]
    tamper(sealed, f"DELETE FROM audit WHERE seq = {seq}", f"DELETE FROM audit_patient WHERE seq = {seq}")
    assert ("removed", "block 2") in kinds(sealed)
    assert (("removed", f"row {seq}") in kinds(sealed)) == (sealed.dialect == "sqlite")


@pytest.mark.security("S51", "B2")
def test_a_row_removed_before_it_was_sealed_leaves_a_gap_on_sqlite(sealed: Database) -> None:
    seq = seqs(sealed)[13]
    tamper(sealed, f"DELETE FROM audit WHERE seq = {seq}")
    assert kinds(sealed) == ([("removed", f"row {seq}")] if sealed.dialect == "sqlite" else [])
    assert Sealer(sealed).finish(NOW, 30)
    assert kinds(sealed) == ([("removed", f"row {seq}")] if sealed.dialect == "sqlite" else [])


@pytest.mark.security("S51", "B2")
def test_rows_that_changed_places_are_found(sealed: Database) -> None:
    one, two = seqs(sealed)[5:7]
    tamper(
        sealed,
        f"UPDATE audit SET seq = 1000 WHERE seq = {one}",
        f"UPDATE audit SET seq = {one} WHERE seq = {two}",
        f"UPDATE audit SET seq = {two} WHERE seq = 1000",
    )
    assert ("reordered", "block 2") in kinds(sealed)


@pytest.mark.security("S51", "B2")
def test_a_row_put_in_by_others_is_found(sealed: Database) -> None:
    columns = "at, who, action, ref, outcome, request_id, detail, mac"
    forged = [f"(0, 'x', 'read', 'Task/1', 'success', '', '{{}}', '{mac}')" for mac in ("", "abc.def", "00.AAAA")]
    tamper(sealed, *(f"INSERT INTO audit ({columns}) VALUES {one}" for one in forged))
    found = [kind for kind, _ in kinds(sealed)]
    assert found.count("edited") == 1
    assert "unknown-key" in found
    add(sealed, 1)
    assert not looked(sealed).is_whole


@pytest.mark.security("S51", "B2")
@pytest.mark.parametrize("at", [5, 13])
def test_a_row_that_is_there_twice_is_found(sealed: Database, at: int) -> None:
    names = ", ".join(COLUMNS)
    tamper(sealed, f"INSERT INTO audit ({names}) SELECT {names} FROM audit WHERE seq = {seqs(sealed)[at]}")
    assert "inserted" in [kind for kind, _ in kinds(sealed)]


@pytest.mark.security("S51", "B2")
def test_an_end_cut_from_the_sealed_rows_is_missed(sealed: Database) -> None:
    cut = seqs(sealed)[9:]
    tamper(sealed, f"DELETE FROM audit WHERE seq >= {cut[0]}", f"DELETE FROM audit_patient WHERE seq >= {cut[0]}")
    found = kinds(sealed)
    assert ("removed", "block 3") in found
    assert (("tail-cut", f"rows {cut[0]} to {cut[-1]}") in found) == (sealed.dialect == "sqlite")


@pytest.mark.security("S51", "B2")
def test_an_end_cut_together_with_its_blocks_is_missed_by_the_anchor(sealed: Database) -> None:
    anchor, cut = head_of(sealed), seqs(sealed)[8]
    statements = [f"DELETE FROM {table} WHERE seq >= {cut}" for table in ("audit", "audit_patient")]
    tamper(sealed, *statements, "DELETE FROM audit_block WHERE number >= 3")
    if sealed.dialect == "sqlite":
        assert [kind for kind, _ in kinds(sealed)] == ["tail-cut"]
        tamper(sealed, f"UPDATE sqlite_sequence SET seq = {cut - 1} WHERE name = 'audit'")
    assert kinds(sealed) == []
    assert kinds(sealed, [anchor]) == [("tail-cut", "block 3")]
    assert kinds(sealed, heads=[anchor.hash]) == [("head-missing", "chain")]


@pytest.mark.security("S51")
def test_an_end_cut_before_it_was_sealed_is_missed_on_sqlite(sealed: Database) -> None:
    rows = seqs(sealed)
    tamper(sealed, f"DELETE FROM audit WHERE seq >= {rows[13]}")
    assert kinds(sealed) == ([("tail-cut", f"rows {rows[13]} to {rows[14]}")] if sealed.dialect == "sqlite" else [])


@pytest.mark.security("S51", "B2")
@pytest.mark.parametrize("change", [
    "UPDATE audit_block SET rows = 3 WHERE number = 2", "UPDATE audit_block SET digest = 'x' WHERE number = 2",
    "UPDATE audit_block SET last_seq = last_seq - 1 WHERE number = 2", "UPDATE audit_block SET sealed_at = 0 WHERE number = 2",
    "UPDATE audit_block SET first_at = 0 WHERE number = 2", "UPDATE audit_block SET detail = '{\"unsigned\"\\:4}' WHERE number = 2",
    "UPDATE audit_block SET hash = 'x' WHERE number = 2", "UPDATE audit_block SET previous = 'x' WHERE number = 2",
    "UPDATE audit_block SET mac = '' WHERE number = 2", "UPDATE audit_block SET mac = 'a.b' WHERE number = 2",
    "DELETE FROM audit_block WHERE number = 2", "DELETE FROM audit_block WHERE number = 1",
    "UPDATE audit_block SET number = 9 WHERE number = 3", "UPDATE audit_block SET detail = 'nonsense' WHERE number = 3",
    "UPDATE audit SET patients = 'nonsense' WHERE seq = (SELECT min(seq) FROM audit)",
])  # fmt: skip
def test_an_edited_or_removed_block_is_found(sealed: Database, change: str) -> None:
    tamper(sealed, change)
    assert not looked(sealed).is_whole


def made_anew(database: Database, key: bytes) -> None:
    """Every block made again over what the rows say now, as somebody with this key does it."""
    with database.begin() as tx:
        disarm(tx)
        blocks = [from_row(Block, row) for row in tx.rows(select(audit_block).order_by(audit_block.c.number))]
        tx.execute(audit_block.delete())
        previous = blocks[0].previous
        for block in blocks:
            rows = audit_chain.values_between(tx, block.first_seq, block.last_seq)
            digest = audit_chain.digest_of((seq, str(values[-1]), values[:-1]) for seq, values in rows)
            made = replace(block, digest=digest, rows=len(rows), previous=previous)
            made = replace(made, hash=hash_of(made))
            signer = Signer(lambda: KEY)
            id_ = (signer.key, signer.id)[1]
            made = replace(made, mac=f"{id_}.{audit_chain.block_mac(key, made.hash)}")
            previous = made.hash
            tx.execute(audit_block.insert(), [to_row(made)])


@pytest.mark.security("S51", "B2")
def test_a_chain_made_anew_without_the_key_is_found(sealed: Database) -> None:
    made_anew(sealed, KEY)
    assert looked(sealed).is_whole
    seq = seqs(sealed)[5]
    tamper(sealed, f"DELETE FROM audit WHERE seq = {seq}", f"DELETE FROM audit_patient WHERE seq = {seq}")
    made_anew(sealed, OTHER)
    assert {("block-edited", f"block {number}") for number in (1, 2, 3)} <= set(kinds(sealed))


@pytest.mark.security("S51", "B2")
def test_a_chain_made_anew_with_the_key_is_found_by_the_anchor(sealed: Database) -> None:
    anchor, seq = head_of(sealed), seqs(sealed)[5]
    tamper(sealed, f"DELETE FROM audit WHERE seq = {seq}", f"DELETE FROM audit_patient WHERE seq = {seq}")
    made_anew(sealed, KEY)
    if sealed.dialect == "postgresql":
        assert kinds(sealed) == []
    assert ("chain-replaced", "block 3") in kinds(sealed, [anchor])
    assert ("head-missing", "chain") in kinds(sealed, heads=[anchor.hash])


@pytest.mark.security("S51", "B2")
def test_another_chain_altogether_is_found_by_the_anchor(sealed: Database) -> None:
    anchor = head_of(sealed)
    tamper(sealed, *(f"DELETE FROM {table}" for table in GUARDED))
    assert "tail-cut" in [kind for kind, _ in kinds(sealed, [anchor])]
    add(sealed, 2)
    assert Sealer(sealed).finish(NOW, 30)
    assert ("chain-replaced", "block 3") in kinds(sealed, [anchor])


def test_a_key_that_is_not_known_is_asked_for_and_a_former_one_fits(sealed: Database) -> None:
    sealed.seal_rows(lambda: OTHER)
    add(sealed, 2)
    assert Sealer(sealed).finish(NOW, 30)
    assert [one.kind for one in looked(sealed).problems] == ["unknown-key"]
    assert looked(sealed, keys=[KEY, OTHER]).is_whole
    forged = looked(sealed, keys=[OTHER])
    assert [one.kind for one in forged.problems] == ["unknown-key"]


def test_rows_of_an_earlier_program_are_sealed_as_they_are(database: Database) -> None:
    with database.begin() as tx:
        for n in range(3):
            audit.add(tx, at=NOW, viewer=ANN, action="read", ref=f"Task/{n}")
    database.seal_rows(lambda: KEY)
    add(database, 2)
    assert Sealer(database).finish(NOW, 30)
    finding = looked(database)
    assert (finding.problems, finding.unsigned, finding.rows) == ((), 3, 5)
    with database.read() as tx:
        assert tx.rows(select(audit_block.c.detail))[0]["detail"] == {"unsigned": 3}
    tamper(database, f"UPDATE audit SET who = 'x' WHERE seq = {seqs(database)[1]}")
    assert [kind for kind, _ in kinds(database)] == ["reordered"]


def test_a_row_without_a_seal_after_one_with_is_not_ours(sealed: Database) -> None:
    sealed.seal_rows(lambda: b"")
    add(sealed, 1)
    assert [kind for kind, _ in kinds(sealed)] == ["edited"]


def test_whose_data_a_search_returned_is_listed_when_it_is_sealed(sealed: Database) -> None:
    with sealed.read() as tx:
        rows = [(row["patient"], row["seq"]) for row in tx.rows(select(audit_patient).order_by(audit_patient.c.seq))]
    assert len(rows) == 23
    assert [patient for patient, _ in rows if patient == "p5"] == ["p5"]
    assert sum(patient == "p1" for patient, _ in rows) == 12


def test_two_that_seal_at_once_make_one_chain(sealed: Database) -> None:
    add(sealed, 200)
    sealers = [Sealer(sealed) for _ in range(4)]
    threads = [threading.Thread(target=one.finish, args=(NOW, 30)) for one in sealers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    finding = looked(sealed)
    assert (finding.problems, finding.unsealed) == ((), 0)


def test_no_row_slips_behind_a_block_of_a_transaction_under_way(sealed: Database) -> None:
    """PostgreSQL numbers rows before they are committed; the writers of SQLite take turns."""
    if sealed.dialect == "sqlite":
        return
    sealer = Sealer(sealed)
    with sealed.begin() as tx:
        audit.add(tx, at=NOW, viewer=ANN, action="read", ref="Task/late")
        tx.flush()
        add(sealed, 3, start=50)
        assert sealer.step(NOW) is None
        assert sealer.finish(NOW, 0.1) is None
        assert looked(sealed).blocks == 3
    assert sealer.finish(NOW, 30)
    finding = looked(sealed)
    assert (finding.problems, finding.unsealed, finding.rows) == ((), 0, 19)


def test_a_rolled_back_row_leaves_no_trace(sealed: Database) -> None:
    def fail(tx: Tx) -> None:
        audit.add(tx, at=NOW, viewer=ANN, action="read", ref="Task/undone")
        tx.flush()
        raise LookupError

    with pytest.raises(LookupError), sealed.begin() as tx:
        fail(tx)
    add(sealed, 2)
    assert Sealer(sealed).finish(NOW, 30)
    assert looked(sealed).is_whole


@pytest.mark.parametrize("word", ["", "é\U0001f600", "a'b\"c", "\\", "\u2028", "x" * 5000])
def test_any_text_keeps_its_seal(database: Database, word: str) -> None:
    database.seal_rows(lambda: KEY)
    viewer = Viewer(
        who=word, name=word, roles=frozenset({word}) if word else frozenset(), client=word, issuer=word, address=word
    )
    with database.begin() as tx:
        audit.add(tx, at=NOW, viewer=viewer, action=word, ref=word, detail={word: word}, patients=(word,), query=word)
    trail.add(
        database, [Access(NOW, viewer, word, word, word, word, word, {word: [word, 1, None]}, (word,), word, 7, word)]
    )
    assert looked(database).is_whole
    assert Sealer(database).finish(NOW, 30)
    assert looked(database).is_whole


def test_a_chain_goes_on_where_another_process_left_it(sealed: Database, ready_url: str) -> None:
    with closing(Database.open(ready_url)) as other:
        other.seal_rows(lambda: KEY)
        add(other, 2)
        found = Sealer(other).finish(NOW, 30)
    assert found is not None
    assert found.block == 4
    assert looked(sealed).is_whole


def test_the_hash_of_a_block_covers_what_is_documented(sealed: Database) -> None:
    """Whoever holds the rows and the heads can compute the chain without us: docs/audit.md says how."""
    with sealed.read() as tx:
        blocks = [from_row(Block, row) for row in tx.rows(select(audit_block).order_by(audit_block.c.number))]
        for block in blocks:
            rows = tx.ask(
                "SELECT seq, mac FROM audit WHERE seq BETWEEN %s AND %s ORDER BY seq", [block.first_seq, block.last_seq]
            )
            digest = hashlib.sha256("".join(f"{seq}:{mac}\n" for seq, mac in rows).encode()).hexdigest()
            assert digest == block.digest
            (first, last, sealed_at) = tx.ask(
                "SELECT first_at, last_at, sealed_at FROM audit_block WHERE number = %s", [block.number]
            )[0]
            told = [
                block.number,
                block.first_seq,
                block.last_seq,
                block.rows,
                first,
                last,
                digest,
                block.previous,
                "{}",
                sealed_at,
            ]
            assert hashlib.sha256(json.dumps(told).encode()).hexdigest() == block.hash


def run_all(works: Sequence[Callable[[], object]]) -> None:
    threads = [threading.Thread(target=one) for one in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_writers_and_a_sealer_at_once_leave_a_whole_chain(database: Database) -> None:
    database.seal_rows(lambda: KEY)
    sealer = Sealer(database)

    def write() -> None:
        for n in range(20):
            add(database, 3, start=n)

    run_all([write, write, lambda: [sealer.step(NOW) for _ in range(30)]])
    assert sealer.finish(NOW, 30) or not looked(database).unsealed
    finding = looked(database)
    assert (finding.problems, finding.rows, finding.unsealed) == ((), 120, 0)


@pytest.mark.security("S51")
def test_which_rows_no_anchor_covers_is_said(sealed: Database) -> None:
    def left(anchors: Sequence[Head] = (), heads: Sequence[str] = ()) -> tuple[int, int]:
        told = looked(sealed, anchors, heads).open
        return told.block, told.rows

    head = head_of(sealed)
    with sealed.read() as tx:
        second = from_row(Block, tx.rows(select(audit_block).where(audit_block.c.number == 2))[0])
    older = replace(head, block=2, seq=second.last_seq, hash=second.hash)
    assert left() == (0, 15)
    assert left([head]) == left(heads=[head.hash]) == left([older, head]) == (3, 3)
    assert left([older]) == left([older], [second.hash]) == (2, 7)
    assert left([replace(head, hash="0" * 64)]) == left([replace(head, chain="x")]) == (0, 15)
    told = looked(sealed, [head]).open
    assert (told.since, told.until) == (NOW, NOW)
    assert Sealer(sealed).finish(NOW, 30)
    whole = looked(sealed, [head_of(sealed)]).open
    assert (whole.block, whole.rows, whole.since, whole.until) == (4, 0, None, None)


def in_single_blocks(database: Database, count: int) -> list[Head]:
    """A trail of blocks of one row each, made at once, as years of quiet work leave it; the head that each of them was."""
    database.seal_rows(lambda: KEY)
    add(database, count)
    there = seqs(database)
    signer, previous = Signer(lambda: KEY), "c" * 32
    blocks, told = [], []
    with database.begin() as tx:
        for number, (seq, values) in enumerate(audit_chain.values_between(tx, 1, there[-1]), 1):
            digest = audit_chain.digest_of([(seq, str(values[-1]), values[:-1])])
            block = Block(
                number=number, first_seq=seq, last_seq=seq, rows=1, first_at=NOW, last_at=NOW, digest=digest,
                previous=previous, detail={}, sealed_at=NOW,
            )  # fmt: skip
            block = replace(block, hash=hash_of(block))
            previous = block.hash
            blocks.append(replace(block, mac=f"{signer.known_id()}.{audit_chain.block_mac(KEY, block.hash)}"))
            told += [{"patient": one, "seq": seq} for one in audit_chain.patients_of(str(values[_PATIENTS]))]
        tx.execute(audit_block.insert(), [to_row(block) for block in blocks])
        tx.execute(audit_patient.insert(), told)
    return [Head(chain="c" * 32, block=one.number, seq=one.last_seq, hash=one.hash, at=NOW) for one in blocks]


@pytest.mark.security("S51")
def test_a_long_chain_is_looked_through_some_blocks_at_a_time_and_each_against_the_one_before(
    database: Database,
) -> None:
    count = 2_005
    heads = in_single_blocks(database, count)
    found = looked(database, (one for one in heads))
    assert (found.problems, found.blocks, found.rows, found.anchors) == ((), count, count, count)
    assert (found.head, found.open.block, found.open.rows) == (heads[-1], count, 0)
    assert looked(database, heads[:1_001]).open.block == 1_001
    wrong = replace(heads[1_500], hash="0" * 64)
    assert kinds(database, [*heads[:1_500], wrong, *heads[1_501:], wrong]) == [("chain-replaced", "block 1501")]
    beyond = [replace(heads[-1], block=count + 1), replace(heads[-1], block=count + 7)]
    assert kinds(database, [*heads, *beyond, *heads]) == [("tail-cut", f"block {count + 7}")]
    tamper(database, "DELETE FROM audit_block WHERE number IN (1000, 1001, 2001)")
    named = kinds(database, heads)
    assert {("block-removed", "block 1002"), ("block-removed", "block 2002")} <= set(named)
    assert ("tail-cut", "block 2001") in named


@pytest.mark.security("S51")
def test_a_block_that_cannot_be_read_ends_the_chain_there(database: Database) -> None:
    in_single_blocks(database, 7)
    tamper(database, "UPDATE audit_block SET detail = 'x' WHERE number = 5")
    found = looked(database)
    assert "block-edited" in {one.kind for one in found.problems}
    assert found.unsealed > 0
