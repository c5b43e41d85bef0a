"""Many processes that open a store for the first time at once: each begins to work, and everything is there once."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from fhir_tracker import built_in
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage import programs
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.resources import find
from tests.conformance.server import SECRET

PROGRAM = Path(sys.executable).parent / "fhir-tracker"
VIEWER = worker_viewer("test")


def begun(url: str) -> subprocess.Popen[str]:
    given = {"FHIR_TRACKER_DATABASE": url, "FHIR_TRACKER_SECRET_KEY": SECRET, "PATH": ""}
    pipe = subprocess.PIPE
    return subprocess.Popen([PROGRAM, "jobs", "list"], env=given, stdout=pipe, stderr=pipe, text=True)


@pytest.mark.fault("F15")
def test_processes_that_start_at_once_on_an_empty_database_all_start(database_url: str) -> None:
    check_all_start(database_url)


@pytest.mark.fault("F15")
def test_processes_that_start_at_once_on_a_database_that_is_only_set_up_all_start(ready_url: str) -> None:
    check_all_start(ready_url)


def check_all_start(url: str) -> None:
    for one in [begun(url) for _ in range(3)]:
        _, said = one.communicate(timeout=300)
        assert one.returncode == 0, said
    with closing(Database.open(url)) as database, database.read() as tx:
        assert built_in.is_published(tx)
        for resource in built_in.built_in_resources():
            kept = find(tx, VIEWER, resource["resourceType"], resource["id"])
            assert kept is not None
            assert kept.version == 1, "nobody wrote it a second time"
        versions = Counter(one.code for one in programs.versions(tx))
    assert versions
    assert set(versions.values()) == {1}
