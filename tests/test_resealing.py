"""Secrets at rest: none can be read in the database, and a change of the secret key takes every one of them along."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import BigInteger, Boolean, Float, Integer, Table, insert, text, update

from api.cli import main
from fhir_tracker import audit_keys
from fhir_tracker.errors import UsageError
from fhir_tracker.failpoints import VARIABLE
from fhir_tracker.resealing import reseal
from fhir_tracker.sealing import audit_key, seal, unseal
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
def test_a_login_that_is_over_has_nothing_to_seal_anew_and_is_not_told_as_lost(database: Database) -> None:
    with database.begin() as tx:
        fill(tx, FORMER)
        tx.execute(update(metadata.tables["launch_pending"]).values(sealed=""))
    done = reseal(database, NEW, FORMER)
    assert (set(done.anew), dict(done.lost)) == (PLACES - {"launch_pending.sealed"}, {})
    again = reseal(database, NEW, WRONG)
    assert (set(again.kept), dict(again.lost)) == (PLACES - {"launch_pending.sealed"}, {})


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


@contextmanager
def resealing(url: str, former: Path, failpoint: str = "") -> Iterator[subprocess.Popen[str]]:
    """The command in a process of its own, which is gone at the end."""
    words = [sys.executable, "-m", "api.cli", "keys", "reseal", "--json", "--former", str(former), "--database", url]
    env = {**os.environ, "FHIR_TRACKER_SECRET_KEY": NEW, **({VARIABLE: failpoint} if failpoint else {})}
    process = subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def written(folder: Path, name: str, text_: str) -> Path:
    file = folder / name
    file.write_text(text_)
    return file


def keys_of_the_trail(database: Database, secret_key: str) -> set[bytes]:
    with database.read() as tx:
        return set(audit_keys.known_keys(tx, secret_key).values())


def sealed_by_name(database: Database) -> dict[tuple[str, str], str]:
    with database.read() as tx:
        return {(one.place, one.row): one.sealed for one in sealed_texts.all(tx)}


@pytest.mark.security("E2", "S55")
@pytest.mark.parametrize("reached", ["1", "middle", "last"])
def test_a_command_that_is_killed_midway_has_sealed_nothing_anew_and_is_run_again(
    database: Database, ready_url: str, tmp_path: Path, reached: str
) -> None:
    with database.begin() as tx:
        fill(tx, FORMER)
        audit_keys.remember_former(tx, FORMER, WRONG)
    before = sealed_by_name(database)
    number = {"1": 1, "middle": len(PLACES) // 2, "last": len(PLACES)}[reached]
    former = written(tmp_path, "former", FORMER)
    with resealing(ready_url, former, f"sealed-anew:{number}") as killed:
        assert killed.wait(120) == -signal.SIGKILL
    assert sealed_by_name(database) == before, "the server with the former key goes on as if nothing had been"
    with database.read() as tx:
        assert opened(tx, FORMER) == PLACES
    assert keys_of_the_trail(database, FORMER) == {audit_key(FORMER), audit_key(WRONG)}
    with resealing(ready_url, former) as again:
        out, errors = again.communicate(timeout=120)
    assert (again.returncode, json.loads(out)["lost"], json.loads(out)["others"]["lost"]) == (0, [], {}), errors
    with database.read() as tx:
        assert opened(tx, NEW) == PLACES
    assert keys_of_the_trail(database, NEW) == {audit_key(one) for one in (NEW, FORMER, WRONG)}


@pytest.mark.security("E2", "S55")
def test_what_a_server_seals_while_the_command_runs_is_not_left_behind(
    database: Database, ready_url: str, tmp_path: Path
) -> None:
    with database.begin() as tx:
        fill(tx, FORMER)
        *_, last = sealed_texts.all(tx)
    newer, done = seal(FORMER, f"{CANARY} of {last.table.name}"), threading.Event()

    def go_on() -> None:
        with database.begin() as tx:
            tx.execute(update(last.table).values({last.column: newer}))
        done.set()

    with resealing(ready_url, written(tmp_path, "former", FORMER), "sealed-anew:1:stop") as stopped:
        assert os.waitid(os.P_PID, stopped.pid, os.WSTOPPED | os.WNOWAIT)
        writer = threading.Thread(target=go_on)
        writer.start()
        if database.dialect == "postgresql":
            assert done.wait(60)
        stopped.send_signal(signal.SIGCONT)
        out, errors = stopped.communicate(timeout=120)
        writer.join(60)
    assert stopped.returncode == 0, errors
    assert json.loads(out)["others"]["lost"] == {}
    if database.dialect == "sqlite":
        assert reseal(database, NEW, FORMER).anew.keys() <= {last.place}, (
            "a writer waits there for the end of the command"
        )
    with database.read() as tx:
        assert opened(tx, NEW) == PLACES
        assert opened(tx, FORMER) == set()


@pytest.mark.security("S51", "S55", "E2")
def test_a_wrong_former_key_forgets_and_adds_no_key_of_the_trail(
    database: Database,
    ready_url: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    first = "the-first-" + "1" * 40
    with database.begin() as tx:
        fill(tx, FORMER)
        audit_keys.remember_former(tx, FORMER, first)
    monkeypatch.setenv("FHIR_TRACKER_SECRET_KEY", NEW)
    wrong, right = written(tmp_path, "wrong", WRONG), written(tmp_path, "right", FORMER)
    assert main(["keys", "reseal", "--former", str(wrong), "--json", "--database", ready_url]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["resealed"], told["others"]["resealed"]) == ([], {})
    assert set(told["others"]["lost"]) == (PLACES - {"signing_key.sealed"}) | {audit_keys.PLACE}
    assert keys_of_the_trail(database, FORMER) == {audit_key(FORMER), audit_key(first)}, "nothing is forgotten"
    assert keys_of_the_trail(database, NEW) == {audit_key(NEW)}, "and what nobody sealed with is not believed"
    assert main(["keys", "reseal", "--former", str(right), "--json", "--database", ready_url]) == 0
    assert json.loads(capsys.readouterr().out)["others"]["lost"] == {}
    assert keys_of_the_trail(database, NEW) == {audit_key(one) for one in (NEW, FORMER, first)}


@pytest.mark.security("S51", "S55")
def test_of_two_changes_without_sealing_anew_the_keys_of_the_trail_come_back_in_any_order(database: Database) -> None:
    first, second = "the-first-" + "1" * 40, "the-second-" + "2" * 40
    with database.begin() as tx:
        audit_keys.remember_former(tx, second, first)
    for former, lost in ((FORMER, 1), (second, 0)):
        done = reseal(database, NEW, former)
        assert len(done.lost.get(audit_keys.PLACE, ())) == lost, "told until its secret key is given"
    assert keys_of_the_trail(database, NEW) == {audit_key(one) for one in (NEW, FORMER, second, first)}
