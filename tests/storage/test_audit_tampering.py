"""More of what an administrator of the database can try: swaps, replays, old copies, forged rows, columns, triggers."""

from __future__ import annotations

import shutil
from contextlib import closing, suppress
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Integer, text

from fhir_tracker.storage import audit_guards
from fhir_tracker.storage.audit_chain import Block, Sealer, hash_of
from fhir_tracker.storage.audit_rows import COLUMNS, SIGNED, Signer
from fhir_tracker.storage.audit_tables import audit_block
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.running_tables import audit
from tests.storage.samples import NOW
from tests.storage.test_audit_chain import (
    GUARDED,
    KEY,
    OTHER,
    add,
    head_of,
    in_three_blocks,
    kinds,
    looked,
    seqs,
    tamper,
)

ALL = ", ".join(f'"{name}"' for name in COLUMNS)


@pytest.fixture
def sealed(database: Database) -> Database:
    return in_three_blocks(database)


@pytest.mark.security("S51", "B2")
def test_every_column_is_under_a_seal() -> None:
    assert {one.name for one in audit.c} == {"seq", "mac", *SIGNED}
    block = Block(
        number=1, first_seq=1, last_seq=2, rows=2, first_at=NOW, last_at=NOW, digest="d", previous="p", detail={}, sealed_at=NOW
    )  # fmt: skip
    later, more = NOW + timedelta(microseconds=1), {"unsigned": 1}
    for one in fields(Block):
        before = getattr(block, one.name)
        changed = {int: 7, str: "x", type(NOW): later, dict: more}[type(before)]
        is_seal = one.name in ("hash", "mac")
        assert (hash_of(replace(block, **{one.name: changed})) == hash_of(block)) == is_seal, one.name  # type: ignore[arg-type]
    assert {one.name for one in audit_block.c} == {one.name for one in fields(Block)}


@pytest.mark.security("S51", "B2")
@pytest.mark.parametrize("at", [5, 13], ids=["sealed", "not sealed yet"])
@pytest.mark.parametrize("column", SIGNED)
def test_a_column_set_to_anything_else_is_found(sealed: Database, column: str, at: int) -> None:
    seq = seqs(sealed)[at]
    is_number = isinstance(audit.c[column].type, Integer) or column == "at"
    others = ["77"] if is_number else ["'x'", "''"]
    if column in ("detail", "patients"):
        others = ["'{}'" if column == "detail" else "'[]'", "'{\"n\"\\:1}'" if column == "detail" else "'[\"p1\"]'"]
    others += ["NULL"] if audit.c[column].nullable and column != "patient" else []
    with sealed.read() as tx:
        before = str(tx.ask(f'SELECT "{column}" FROM audit WHERE seq = %s', [seq])[0][0])
    for other in {*others} - {f"'{before}'"}:
        tamper(sealed, f'UPDATE audit SET "{column}" = {other} WHERE seq = {seq}')
        assert ("edited", f"row {seq}") in kinds(sealed), other


@pytest.mark.security("S51", "B2")
@pytest.mark.parametrize("at", [5, 13], ids=["sealed", "not sealed yet"])
@pytest.mark.parametrize("moved", [SIGNED, ("mac",), ("ref", "detail"), ("who", "name", "roles")])
def test_rows_that_swapped_what_they_say_but_not_their_seals_are_both_named(
    sealed: Database, at: int, moved: tuple[str, ...]
) -> None:
    one, two = seqs(sealed)[at : at + 2]
    sets = ", ".join(f'"{name}" = (SELECT "{name}" FROM held WHERE seq = {one} + {two} - audit.seq)' for name in moved)
    with sealed.begin() as tx:
        for table in GUARDED:
            on = f" ON {table}" if tx.dialect == "postgresql" else ""
            tx.execute(text(f"DROP TRIGGER IF EXISTS {table}_stays{on}"))
        tx.execute(text("DROP TABLE IF EXISTS held"))
        tx.execute(text(f"CREATE TEMPORARY TABLE held AS SELECT * FROM audit WHERE seq IN ({one}, {two})"))
        tx.execute(text(f"UPDATE audit SET {sets} WHERE seq IN ({one}, {two})"))
    found = kinds(sealed)
    if moved == ("who", "name", "roles"):
        assert not [one for one in found if one[0] == "edited"], "both rows say the same there"
    else:
        assert {("edited", f"row {one}"), ("edited", f"row {two}")} <= set(found)


@pytest.mark.security("S51", "B2")
@pytest.mark.parametrize("at", [5, 13], ids=["sealed", "not sealed yet"])
def test_a_row_written_over_with_another_one_and_its_seal_is_a_copy(sealed: Database, at: int) -> None:
    one, two = seqs(sealed)[at : at + 2]
    sets = ", ".join(f'"{name}" = (SELECT "{name}" FROM audit AS other WHERE other.seq = {one})' for name in COLUMNS)
    tamper(sealed, f"UPDATE audit SET {sets} WHERE seq = {two}")
    assert ("inserted", f"row {two}") in kinds(sealed)


@pytest.mark.security("S51", "B2")
def test_an_old_block_played_again_at_the_end_is_found(sealed: Database) -> None:
    """Its rows anew, and a block over them with the seal of the old one."""
    tamper(sealed, f"INSERT INTO audit ({ALL}) SELECT {ALL} FROM audit WHERE seq <= {seqs(sealed)[3]} ORDER BY seq")
    assert [kind for kind, _ in kinds(sealed)].count("inserted") == 4
    first, last = seqs(sealed)[-4], seqs(sealed)[-1]
    tamper(
        sealed,
        f"INSERT INTO audit_block SELECT 4, {first}, {last}, rows, first_at, last_at, digest, "
        "(SELECT hash FROM audit_block WHERE number = 3), detail, sealed_at, hash, mac FROM audit_block WHERE number = 1",
    )
    assert ("block-edited", "block 4") in kinds(sealed)


@pytest.mark.security("S51", "B2")
@pytest.mark.parametrize("key", [OTHER, b"\0" * 32])
def test_a_row_forged_with_another_key_is_found(sealed: Database, key: bytes) -> None:
    """Also where it names itself sealed with ours, and takes a number that PostgreSQL left out."""
    values = (0, "Practitioner/x", "read", "Task/1", None, "success", "", "{}", *[""] * 8, None, None, None)
    forged = Signer(lambda: key).mac(values)
    ours = f"{Signer(lambda: KEY).known_id()}.{forged.partition('.')[2]}"
    for mac in (forged, ours):
        tamper(
            sealed,
            "INSERT INTO audit (at, who, action, ref, outcome, request_id, detail, mac) "
            f"VALUES (0, 'Practitioner/x', 'read', 'Task/1', 'success', '', '{{}}', '{mac}')",
        )
    assert {"unknown-key", "edited"} <= {kind for kind, _ in kinds(sealed)}


@pytest.mark.security("S51", "B2")
def test_a_whole_block_taken_out_of_the_middle_is_found_even_when_the_later_ones_are_renumbered(
    sealed: Database,
) -> None:
    rows = seqs(sealed)
    tamper(
        sealed,
        *(f"DELETE FROM {table} WHERE seq BETWEEN {rows[4]} AND {rows[7]}" for table in ("audit", "audit_patient")),
        "DELETE FROM audit_block WHERE number = 2",
    )
    assert ("block-removed", "block 3") in kinds(sealed)
    tamper(sealed, "UPDATE audit_block SET number = 2 WHERE number = 3")
    assert ("block-edited", "block 2") in kinds(sealed)
    tamper(sealed, "UPDATE audit_block SET previous = (SELECT hash FROM audit_block WHERE number = 1) WHERE number = 2")
    assert ("block-edited", "block 2") in kinds(sealed)


@pytest.mark.security("S51", "B2")
def test_an_old_copy_of_the_file_put_back_is_found_by_the_anchor(tmp_path: Path, prepared_file: Path) -> None:
    file, old = tmp_path / "t.db", tmp_path / "old.db"
    shutil.copyfile(prepared_file, file)
    with closing(Database.open(f"sqlite:///{file}")) as database:
        database.seal_rows(lambda: KEY)
        add(database, 4)
        assert Sealer(database).finish(NOW, 30)
    shutil.copyfile(file, old)
    with closing(Database.open(f"sqlite:///{file}")) as database:
        database.seal_rows(lambda: KEY)
        add(database, 4, start=4)
        assert Sealer(database).finish(NOW, 30)
        anchor = head_of(database)
    with closing(Database.open(f"sqlite:///{old}")) as database:
        database.seal_rows(lambda: KEY)
        assert kinds(database) == []
        assert kinds(database, [anchor]) == [("tail-cut", "block 2")]
        add(database, 4, start=8)
        assert Sealer(database).finish(NOW, 30)
        assert kinds(database, [anchor]) == [("chain-replaced", "block 2")]


@pytest.mark.security("S51")
def test_rows_that_changed_places_before_they_were_sealed_are_a_limit(sealed: Database) -> None:
    """As docs/audit.md says; what each says, its own time among it, is under its seal."""
    one, two = seqs(sealed)[12:14]
    tamper(
        sealed,
        f"UPDATE audit SET seq = 1000 WHERE seq = {one}",
        f"UPDATE audit SET seq = {one} WHERE seq = {two}",
        f"UPDATE audit SET seq = {two} WHERE seq = 1000",
    )
    assert kinds(sealed) == []


def fallen(database: Database) -> list[tuple[str, str]]:
    with database.read() as tx:
        return [(one.where, one.said.split()[2].rstrip(",")) for one in audit_guards.fallen(tx)]


@pytest.mark.security("S51", "B2")
def test_every_trigger_that_is_gone_is_named(sealed: Database) -> None:
    assert fallen(sealed) == []
    for table in GUARDED:
        for kind in ("stays", "is_kept", *(["is_not_emptied"] if sealed.dialect == "postgresql" else [])):
            with sealed.begin() as tx:
                tx.execute(text(f"DROP TRIGGER {table}_{kind}{f' ON {table}' if tx.dialect == 'postgresql' else ''}"))
            assert (table, f"{table}_{kind}") in fallen(sealed)
    assert looked(sealed).is_whole


class Undone(Exception):
    """Why a change is not kept."""


SQLITE = [
    "CREATE TRIGGER audit_stays BEFORE UPDATE ON audit BEGIN SELECT 1; END",
    "CREATE TRIGGER audit_stays BEFORE UPDATE ON audit WHEN 0 BEGIN SELECT RAISE(ABORT, 'the audit trail is only added to'); END",
    "CREATE TRIGGER audit_stays BEFORE UPDATE OF mac ON audit BEGIN SELECT RAISE(ABORT, 'the audit trail is only added to'); END",
    "CREATE TRIGGER audit_stays AFTER DELETE ON audit_block BEGIN SELECT RAISE(ABORT, 'the audit trail is only added to'); END",
]
POSTGRESQL = [
    ("ALTER TABLE audit DISABLE TRIGGER audit_stays",),
    ("ALTER TABLE audit DISABLE TRIGGER ALL",),
    ("ALTER TABLE audit ENABLE REPLICA TRIGGER audit_stays",),
    ("DROP TRIGGER audit_stays ON audit",
     "CREATE TRIGGER audit_stays BEFORE UPDATE ON audit FOR EACH ROW WHEN (false) EXECUTE FUNCTION audit_stays()"),
    ("DROP TRIGGER audit_stays ON audit", "CREATE TRIGGER audit_stays AFTER UPDATE ON audit FOR EACH ROW EXECUTE FUNCTION audit_stays()"),
    ("DROP TRIGGER audit_stays ON audit",
     "CREATE TRIGGER audit_stays BEFORE UPDATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION audit_stays()"),
    ("CREATE OR REPLACE FUNCTION audit_stays() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",),
]  # fmt: skip


@pytest.mark.security("S51", "B2")
def test_a_trigger_that_was_put_out_of_use_or_made_anew_is_named(sealed: Database) -> None:
    tried = [("DROP TRIGGER audit_stays", one) for one in SQLITE] if sealed.dialect == "sqlite" else POSTGRESQL
    for statements in tried:
        with suppress(Undone), sealed.begin() as tx:
            for statement in statements:
                tx.execute(text(statement))
            assert "audit_stays" in str(audit_guards.fallen(tx)), statements
            raise Undone
        assert fallen(sealed) == []
