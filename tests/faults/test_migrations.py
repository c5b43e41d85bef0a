"""A migration that is cut off between its steps: nothing of it stays, the program says what to run, and running it again ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import inspect

from fhir_tracker.storage.database import Database
from fhir_tracker.storage.schema import head, schema_state

PROGRAM = Path(sys.executable).parent / "fhir-tracker"


def run(url: str, *words: str, failpoint: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "FHIR_TRACKER_DATABASE": url, "FHIR_TRACKER_FAILPOINT": failpoint}
    return subprocess.run([PROGRAM, *words], env=environment, capture_output=True, text=True, check=False, timeout=300)


def tables(url: str) -> set[str]:
    with closing(Database.open(url)) as database, database.begin() as tx:
        return set(inspect(tx.connection).get_table_names())


@pytest.mark.fault("F19")
def test_a_first_migration_cut_off_in_the_middle_leaves_nothing_and_can_be_run_again(database_url: str) -> None:
    cut = run(database_url, "migrate", failpoint="migration-step:5")
    assert cut.returncode == -signal.SIGKILL
    assert tables(database_url) == set()
    done = run(database_url, "migrate")
    assert done.returncode == 0, done.stderr
    with closing(Database.open(database_url)) as database:
        assert schema_state(database) == (head(), head())


@pytest.mark.fault("F19")
def test_an_upgrade_cut_off_in_the_middle_is_refused_with_what_to_run(database_url: str) -> None:
    config = Config()
    config.set_main_option("script_location", "fhir_tracker.storage:migrations")
    config.set_main_option("path_separator", "os")
    with closing(Database.open(database_url)) as database, database.begin() as tx:
        config.attributes["connection"] = tx.connection
        command.upgrade(config, "0010")
    before = tables(database_url)
    cut = run(database_url, "migrate", failpoint="migration-step:2")
    assert cut.returncode == -signal.SIGKILL
    assert tables(database_url) == before
    for words in (["worker", "--once"], ["serve", "--port", "0"]):
        refused = run(database_url, *words)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "fhir-tracker migrate" in refused.stderr
    assert run(database_url, "migrate").returncode == 0
    assert tables(database_url) > before
    assert run(database_url, "worker", "--once").returncode == 0
