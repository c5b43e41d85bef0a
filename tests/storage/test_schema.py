"""Setting up, refusing and migrating; and what an address can be."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from fhir_tracker.errors import Busy, Fault, Unavailable, UsageError
from fhir_tracker.storage import (
    account_tables,
    audit_tables,
    client_tables,
    dispatch_tables,
    inbox_tables,
    launch_tables,
    measure_tables,
    outbox_tables,
    role_tables,
    roster_tables,
    running_tables,
    schema,
    settings,
    signing_key_tables,
    staff_tables,
    tables,
    visiting_tables,
    work_tables,
)
from fhir_tracker.storage import database as databases
from fhir_tracker.storage.database import Database

SET_UP = """
import sys
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.schema import prepare
prepare(Database.open(sys.argv[1]))
"""

STEPS = Path(schema.__file__).parent / "migrations"
IS_READY = """
import sys
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.schema import prepare, schema_state
opened = Database.open(sys.argv[1])
prepare(opened)
current, head = schema_state(opened)
opened.close()
assert current == head, (current, head)
assert not {name for name in sys.modules if name.partition(".")[0] in ("alembic", "mako")}
"""


def test_the_steps_are_one_chain_and_the_last_by_name_is_its_end() -> None:
    config = Config()
    config.set_main_option("script_location", str(STEPS))
    scripts = ScriptDirectory.from_config(config)
    steps = list(scripts.walk_revisions())
    assert scripts.get_heads() == [schema.head()] == [steps[0].revision]
    files = sorted(path.name for path in (STEPS / "versions").glob("*.py") if path.name != "__init__.py")
    assert [name[:4] for name in files] == [step.revision for step in reversed(steps)]
    assert all(len(name) > len("0000_.py") and name[4] == "_" for name in files)


def test_a_database_that_is_ready_is_opened_without_the_library_that_migrates(ready_url: str) -> None:
    told = subprocess.run([sys.executable, "-c", IS_READY, ready_url], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stderr) == (0, "")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE alembic_version SET version_num = '0002'", "older version"),
        ("UPDATE alembic_version SET version_num = '9999'", "newer version"),
        ("UPDATE alembic_version SET version_num = 'nonsense'", "newer version"),
        ("UPDATE alembic_version SET version_num = ''", "newer version"),
        ("DELETE FROM alembic_version", "not made by fhir-tracker"),
        ("DROP TABLE alembic_version", "not made by fhir-tracker"),
    ],
)
def test_a_database_of_another_version_is_refused_and_left_as_it_is(database: Database, change: str, said: str) -> None:
    with database.begin() as tx:
        tx.execute(text(change))
    for _ in range(2):
        with pytest.raises(UsageError, match=said):
            schema.prepare(database)
    before, head = schema.schema_state(database)
    assert before != head
    if "older" not in said:
        with pytest.raises(UsageError, match=said):
            schema.migrate(database)
        assert schema.schema_state(database) == (before, head)


def test_an_empty_database_is_set_up_once(database_url: str) -> None:
    with closing(Database.open(database_url)) as opened:
        assert schema.schema_state(opened)[0] is None
        schema.prepare(opened)
        schema.prepare(opened)
        current, head = schema.schema_state(opened)
        assert current == head
        assert schema.migrate(opened) == []


def test_four_processes_may_set_up_at_the_same_time(database_url: str) -> None:
    command = [sys.executable, "-c", SET_UP, database_url]
    started = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    assert [(one.communicate()[1], one.returncode) for one in started] == [("", 0)] * 4


def test_the_migrations_make_the_tables_that_the_code_describes(database: Database) -> None:
    made = {work_tables.work_item, running_tables.job, inbox_tables.inbox, outbox_tables.outbox}
    made |= {signing_key_tables.signing_key, roster_tables.roster, measure_tables.spell}
    made |= {dispatch_tables.dispatch, staff_tables.staff_person}
    made |= {account_tables.account, launch_tables.launch_session, client_tables.client}
    made |= {visiting_tables.launch_tab, visiting_tables.local_login}
    made |= {audit_tables.audit_block, role_tables.role_file}
    assert made <= set(tables.metadata.tables.values())
    with database.begin() as tx:
        context = MigrationContext.configure(tx.connection, opts={"compare_type": False})
        found = compare_metadata(context, tables.metadata)
    assert [one for one in found if "key_block_seq" not in str(one)] == []


def test_migrating_an_empty_database_names_its_steps(database_url: str) -> None:
    with closing(Database.open(database_url)) as opened:
        assert schema.migrate(opened)[0].startswith("0001 ")
        schema.prepare(opened)


@pytest.mark.parametrize("migrating", [False, True])
def test_a_newer_database_is_refused(database: Database, migrating: bool) -> None:
    with database.begin() as tx:
        tx.connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(UsageError, match="newer"):
        (schema.migrate if migrating else schema.prepare)(database)


def test_a_database_of_something_else_is_refused(database_url: str) -> None:
    with closing(Database.open(database_url)) as opened:
        with opened.begin() as tx:
            tx.connection.execute(text("CREATE TABLE theirs (x INTEGER)"))
        with pytest.raises(UsageError, match="not made by fhir-tracker"):
            schema.prepare(opened)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///x?mode=ro",
        "mysql://h/d",
        "postgresql+asyncpg://h/d",
    ],
)
def test_an_address_that_makes_no_sense_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError) as raised:
        Database.open(url)
    assert "sqlite:///" in raised.value.message


@pytest.mark.parametrize("url", ["sqlite:////nowhere/at/all.db", "postgresql://postgres:hush@127.0.0.1:1/x"])
def test_a_database_that_is_not_there_is_unavailable_and_its_password_not_told(url: str) -> None:
    with pytest.raises(Unavailable) as raised:
        Database.open(url)
    assert "hush" not in raised.value.message


def test_a_file_of_something_else_is_a_usage_error(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear colleague, " * 100)
    with pytest.raises(UsageError):
        Database.open(f"sqlite:///{path}")


def test_what_is_read_cannot_be_written(database: Database) -> None:
    with pytest.raises((Unavailable, Fault)), database.read() as tx:
        settings.put(tx, "x", "1")
    with database.read() as tx:
        assert settings.get(tx, "x") is None


def test_a_read_sees_one_moment(database: Database) -> None:
    with database.read() as tx:
        assert settings.get(tx, "x") is None
        with database.begin() as other:
            settings.put(other, "x", "1")
        assert settings.get(tx, "x") is None


def test_a_write_inside_a_write_is_a_fault_and_not_a_wait(tmp_path: Path) -> None:
    opened = Database.open(f"sqlite:///{tmp_path / 'a.db'}")
    with closing(opened), opened.begin(), pytest.raises(Fault), opened.begin():
        pass


@pytest.mark.fault("F17")
def test_who_waits_too_long_for_a_write_is_told_that_it_is_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "LOCK_SECONDS", 0.05)
    url = f"sqlite:///{tmp_path / 'a.db'}"
    with closing(Database.open(url)) as one, one.begin():
        errors: list[BaseException] = []

        def write() -> None:
            try:
                with one.begin():
                    pass
            except Busy as error:
                errors.append(error)

        waiting = threading.Thread(target=write)
        waiting.start()
        waiting.join()
    assert len(errors) == 1


@pytest.mark.security("E2")
def test_a_new_file_and_those_beside_it_are_for_their_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        database = Database.open(f"sqlite:///{tmp_path / 'tracker.db'}")
        schema.prepare(database)
        rights = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
        database.close()
    finally:
        os.umask(before)
    assert {"tracker.db", "tracker.db-wal"} <= rights.keys()
    assert set(rights.values()) == {0o600}


def test_the_rights_of_a_file_that_was_there_stay_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "tracker.db"
    file.touch()
    file.chmod(0o640)
    database = Database.open(f"sqlite:///{file}")
    schema.prepare(database)
    database.close()
    assert file.stat().st_mode & 0o777 == 0o640
