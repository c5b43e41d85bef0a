"""Commands of `fhir-tracker` run inside the test's process, with no setting but those that the test makes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from api.cli import main
from tests.leak_watch import database_of, search_answer

Answer = tuple[int, str, str]
"""Exit code, output, errors."""


def without_settings(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """No FHIR_TRACKER_ variable is set, and what a command keeps for its user lies in `folder`."""
    for name in [name for name in os.environ if name.startswith("FHIR_TRACKER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "share"))


def answer(capsys: pytest.CaptureFixture[str], words: Sequence[str]) -> Answer:
    """What one command answers."""
    capsys.readouterr()
    code = main(words)
    said = capsys.readouterr()
    database = database_of(words, os.environ)
    if database:
        search_answer(words, said.out, said.err, database)
    return code, said.out, said.err
