"""A tracker and a simulated EHR that know each other."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.known_ehr import pad, signing, simulator

__all__ = ["pad", "signing", "simulator"]


@pytest.fixture
def one_file(prepared_file: Path, tmp_path: Path) -> str:
    """A database on SQLite only: modules whose subject is what goes over the wire take it as their `ready_url`."""
    path = tmp_path / "tracker.db"
    shutil.copyfile(prepared_file, path)
    return f"sqlite:///{path}"
