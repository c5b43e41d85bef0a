"""A database made by an earlier program: refused with the command to run, brought up to date by it, then too new for the old."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from fhir_tracker.errors import UsageError
from fhir_tracker.storage import schema
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.tables import metadata
from tests.storage.samples import VIEWER, found, put_all, task

ROOT = Path(__file__).parents[2]
SECOND = '''
"""A later change."""

from alembic import op
import sqlalchemy as sa

revision, down_revision, branch_labels, depends_on = "0002", "0001", None, None


def upgrade() -> None:
    op.add_column("setting", sa.Column("later", sa.Text()))
'''
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
    (versions / "0002_later.py").write_text(SECOND, encoding="utf-8")
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
    assert by_later(later, "migrate", ready_url) == "['0002 A later change.']"
    assert by_later(later, "migrate", ready_url) == "[]"
    assert by_later(later, "prepare", ready_url) == "None"
    assert by_later(later, "schema_state", ready_url) == "('0002', '0002')"
    for step in (schema.prepare, schema.migrate):
        with pytest.raises(UsageError, match="newer version than this program"):
            step(database)
    assert found(database, "Task", "patient=bob", VIEWER) == ["b"]


def test_a_refused_database_is_left_as_it_was(database: Database, ready_url: str, later: Path) -> None:
    by_later(later, "prepare", ready_url)
    assert schema.schema_state(database) == ("0001", "0001")
    with database.begin() as tx:
        assert "later" not in {one["name"] for one in inspect(tx.connection).get_columns("setting")}


def test_an_empty_database_is_set_up_through_every_step(database_url: str, later: Path) -> None:
    assert by_later(later, "prepare", database_url) == "None"
    assert by_later(later, "schema_state", database_url) == "('0002', '0002')"


def test_building_from_zero_makes_each_table_column_and_index_that_the_code_names(database: Database) -> None:
    with database.begin() as tx:
        there = inspect(tx.connection)
        names = set(there.get_table_names()) - {"alembic_version", "sqlite_sequence", "sqlite_stat1"}
        assert names == set(metadata.tables) - ({"key_block"} - names)
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
