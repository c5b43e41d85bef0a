"""Secrets at rest: none can be read in the database, and a change of the secret key takes every one of them along."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import BigInteger, Boolean, Float, Integer, Table, insert, text

from api.cli import main
from fhir_tracker.errors import UsageError
from fhir_tracker.resealing import reseal
from fhir_tracker.sealing import seal, unseal
from fhir_tracker.storage import sealed_texts
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.tables import metadata
from fhir_tracker.storage.types import Mapped, Moment, Texts
from tests.support.clinic import MONDAY

FORMER, NEW, WRONG = ("former-" + "f0123456789" * 4, "present-" + "p0123456789" * 4, "neither-" + "n0123456789" * 4)
CANARY = "k4n4ry-s3cr3t"
PLACES = {f"{table.name}.{column.name}" for table, column in sealed_texts.places()}


def value_of(column: Any, number: int, sealed: str) -> object:
    """Something that fits a column, the sealed text where it belongs."""
    if f"{column.table.name}.{column.name}" in PLACES:
        return sealed
    if isinstance(column.type, Boolean):
        return False
    if isinstance(column.type, Integer | BigInteger | Float):
        return number
    if isinstance(column.type, Moment):
        return MONDAY
    if isinstance(column.type, Texts):
        return ()
    if isinstance(column.type, Mapped):
        return {}
    return f"x{number}" if column.primary_key or column.unique else "{}"


def fill(tx: Tx, secret_key: str) -> None:
    """One row with a sealed canary in every table that has a place for it."""
    tables: dict[str, Table] = {table.name: table for table, _ in sealed_texts.places()}
    for number, table in enumerate(tables.values(), start=1):
        sealed = seal(secret_key, f"{CANARY} of {table.name}")
        wanted = [one for one in table.columns if not one.nullable or f"{table.name}.{one.name}" in PLACES]
        tx.execute(insert(table).values({one.name: value_of(one, number, sealed) for one in wanted}))


def opened(tx: Tx, secret_key: str) -> set[str]:
    """The places whose canary that key opens."""
    found = set[str]()
    for one in sealed_texts.all(tx):
        try:
            assert unseal(secret_key, one.sealed) == f"{CANARY} of {one.table.name}"
        except UsageError:
            continue
        found.add(one.place)
    return found


def raw(database: Database) -> str:
    """All that stands in every table, as the database shows it."""
    with database.begin() as tx:
        names = [table.name for table in metadata.sorted_tables]
        return "\n".join(str(tx.connection.execute(text(f'SELECT * FROM "{name}"')).all()) for name in names)


@pytest.mark.security("E2", "S55")
def test_the_places_of_sealed_texts_are_found_by_name() -> None:
    assert {"signing_key.sealed", "launch_session.sealed_tokens"} <= PLACES
    assert len(PLACES) >= 4


@pytest.mark.security("E2", "S55")
def test_a_change_of_the_secret_key_takes_everything_along_once(database: Database) -> None:
    with database.begin() as tx:
        fill(tx, FORMER)
    with database.read() as tx:
        assert opened(tx, FORMER) == PLACES
        assert opened(tx, NEW) == set()
    done = reseal(database, NEW, FORMER)
    assert (set(done.anew), dict(done.kept), dict(done.lost)) == (PLACES, {}, {})
    with database.read() as tx:
        assert opened(tx, NEW) == PLACES
        assert opened(tx, FORMER) == set(), "the former key opens nothing any more"
    again = reseal(database, NEW, FORMER)
    assert (set(again.kept), dict(again.anew), dict(again.lost)) == (PLACES, {}, {})


@pytest.mark.security("E2", "S55")
def test_what_neither_key_opens_is_told_and_left(database: Database) -> None:
    with database.begin() as tx:
        fill(tx, FORMER)
    before = raw(database)
    done = reseal(database, NEW, WRONG)
    assert (dict(done.anew), set(done.lost)) == ({}, PLACES)
    assert raw(database) == before
    assert reseal(database, NEW, FORMER).lost == {}


@pytest.mark.security("E2", "S55")
def test_no_secret_can_be_read_in_the_database_or_its_files(database: Database, tmp_path: Path) -> None:
    with database.begin() as tx:
        fill(tx, NEW)
    shown = raw(database)
    assert "signing_key" in shown or shown
    for clear in (CANARY, NEW):
        assert clear not in shown
        for file in tmp_path.rglob("*"):
            assert not file.is_file() or clear.encode() not in file.read_bytes(), file


@pytest.mark.security("E2", "S55")
def test_the_command_seals_everything_anew_and_shows_no_secret(
    database: Database,
    ready_url: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    with database.begin() as tx:
        fill(tx, FORMER)
    former = tmp_path / "former"
    former.write_text(FORMER)
    monkeypatch.setenv("FHIR_TRACKER_SECRET_KEY", NEW)
    assert main(["keys", "reseal", "--former", str(former), "--json", "--database", ready_url]) in (0, 1)
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert set(told["others"]["resealed"]) == PLACES - {"signing_key.sealed"}
    assert told["others"]["lost"] == {}
    for secret in (CANARY, FORMER, NEW):
        assert secret not in said.out + said.err
    with database.read() as tx:
        assert opened(tx, NEW) == PLACES
