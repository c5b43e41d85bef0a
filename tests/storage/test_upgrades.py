"""A database made by an earlier program: refused with the command to run, brought up to date by it, then too new for the old."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import inspect, text

from fhir_tracker.errors import UsageError
from fhir_tracker.storage import history, resources, running_tables, schema, work_tables
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.tables import metadata
from tests.storage.samples import VIEWER, found, put_all, task

ROOT = Path(__file__).parents[2]
NAMED = {table.name for table in (work_tables.work_item, running_tables.job)}
LAST = '''
"""A later change."""

from alembic import op
import sqlalchemy as sa

revision, down_revision, branch_labels, depends_on = "9999", "{head}", None, None


def upgrade() -> None:
    op.add_column("setting", sa.Column("later", sa.Text()))
'''
FIRST_DATA = (
    "INSERT INTO resource (k, type, id, version, updated_at, deleted, body) VALUES (1, 'Basic', 'b', 2, 2000, false, '{2}')",
    "INSERT INTO resource_version VALUES (1, 1, 1000, 'create', 'api', 'someone', NULL, '{1}')",
    "INSERT INTO resource_version VALUES (1, 2, 2000, 'update', 'api', 'someone', NULL, NULL)",
)
LATER = """
import sys
from fhir_tracker.errors import UsageError
from fhir_tracker.storage import schema
from fhir_tracker.storage.database import Database
database = Database.open(sys.argv[2])
try:
    print(getattr(schema, sys.argv[1])(database))
except UsageError as error:
    print("refused:", error.message)
"""


@pytest.fixture
def later(tmp_path: Path) -> Path:
    """The folder of a later program with one more step."""
    shutil.copytree(
        ROOT / "fhir_tracker", tmp_path / "later" / "fhir_tracker", ignore=shutil.ignore_patterns("__pycache__")
    )
    versions = tmp_path / "later" / "fhir_tracker" / "storage" / "migrations" / "versions"
    (versions / "9999_later.py").write_text(LAST.format(head=schema.head()), encoding="utf-8")
    return tmp_path / "later"


def by_later(later: Path, what: str, url: str) -> str:
    """What the later program says."""
    code = f"import sys; sys.path.insert(0, {str(later)!r})\n{LATER}"
    environment = {**os.environ, "PYTHONPATH": str(later)}
    run = subprocess.run(
        [sys.executable, "-c", code, what, url], cwd=later, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_an_older_database_is_refused_migrated_and_then_too_new_for_the_older_program(
    database: Database, ready_url: str, later: Path
) -> None:
    put_all(database, [task("a"), task("b", "bob")])
    refused = by_later(later, "prepare", ready_url)
    assert refused.startswith("refused: The database is of an older version.")
    assert refused.endswith("then run: fhir-tracker migrate")
    assert by_later(later, "migrate", ready_url) == "['9999 A later change.']"
    assert by_later(later, "migrate", ready_url) == "[]"
    assert by_later(later, "prepare", ready_url) == "None"
    assert by_later(later, "schema_state", ready_url) == "('9999', '9999')"
    for step in (schema.prepare, schema.migrate):
        with pytest.raises(UsageError, match="newer version than this program"):
            step(database)
    assert found(database, "Task", "patient=bob", VIEWER) == ["b"]


def test_a_refused_database_is_left_as_it_was(database: Database, ready_url: str, later: Path) -> None:
    by_later(later, "prepare", ready_url)
    assert schema.schema_state(database) == (schema.head(), schema.head())
    with database.begin() as tx:
        assert "later" not in {one["name"] for one in inspect(tx.connection).get_columns("setting")}


def test_an_empty_database_is_set_up_through_every_step(database_url: str, later: Path) -> None:
    assert by_later(later, "prepare", database_url) == "None"
    assert by_later(later, "schema_state", database_url) == "('9999', '9999')"


def test_the_first_release_s_data_is_there_after_each_step_to_this_one(database_url: str) -> None:
    config = Config()
    config.set_main_option("script_location", "fhir_tracker.storage:migrations")
    config.set_main_option("path_separator", "os")
    with closing(Database.open(database_url)) as opened:
        with opened.begin() as tx:
            config.attributes["connection"] = tx.connection
            command.upgrade(config, "0001")
            for statement in FIRST_DATA:
                tx.connection.execute(text(statement))
        taken = schema.migrate(opened)
        assert taken[0] == "0002 Histories of a type and of everything, newest first."
        assert schema.schema_state(opened) == (schema.head(), schema.head())
        with opened.read() as tx:
            page = history.page(tx, VIEWER, history.Span(type="Basic"), count=9)
            stored = resources.find(tx, VIEWER, "Basic", "b")
        assert [(one.version, one.op, one.body) for one in page.versions] == [
            (2, "update", "{2}"),
            (1, "create", "{1}"),
        ]
        assert stored is not None
        assert stored.body == "{2}"


def test_building_from_zero_makes_each_table_column_and_index_that_the_code_names(database: Database) -> None:
    with database.begin() as tx:
        there = inspect(tx.connection)
        names = set(there.get_table_names()) - {"alembic_version", "sqlite_sequence", "sqlite_stat1"}
        assert names == set(metadata.tables) - ({"key_block"} - names)
        assert names > NAMED
        for name in names:
            table = metadata.tables[name]
            columns = {one["name"]: one["nullable"] for one in there.get_columns(name)}
            assert set(columns) == set(table.c.keys()), name
            assert {one["name"] for one in there.get_indexes(name)} >= {one.name for one in table.indexes}, name
            assert there.get_pk_constraint(name)["constrained_columns"] == [one.name for one in table.primary_key], name
            required = {one.name for one in table.c if not one.nullable and not one.primary_key}
            assert {one for one, nullable in columns.items() if not nullable} >= required, name


def test_a_half_made_database_is_refused(database_url: str) -> None:
    with closing(Database.open(database_url)) as opened:
        schema.prepare(opened)
        with opened.begin() as tx:
            tx.connection.execute(text("DELETE FROM alembic_version"))
        with pytest.raises(UsageError, match="not made by fhir-tracker"):
            schema.prepare(opened)
