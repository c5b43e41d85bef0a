"""`connection add --codes`: a table that makes no sense is refused at once, and a good one is used by the next sync."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from api.cli import main
from tests.subscriptions.fake_ehr import BASE, FakeEhr

ADD = ["connection", "add", "clinic", "--base-url", BASE, "--types", "Task", "--mapping", "hapi", "--codes"]


def run(url: str, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any, str]:
    capsys.readouterr()
    code = main([*words, "--json", "--database", url])
    out, err = capsys.readouterr()
    return code, json.loads(out) if out else None, err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "cannot be read: No such file"),
        ("[status.Task]\nopen = 'opened'", "no status of a Task"),
        ("[", "cannot be"),
    ],
    ids=["missing", "no status", "no TOML"],
)
def test_a_table_that_makes_no_sense_is_refused_when_the_connection_is_added(
    ready_url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str | None, says: str
) -> None:
    file = tmp_path / "clinic.toml"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    code, _, err = run(ready_url, capsys, *ADD, str(file))
    assert code == 2
    assert says in err
    assert run(ready_url, capsys, "connection", "list")[1] == {"connections": []}


def test_a_change_to_the_table_counts_from_the_next_sync_and_takes_out_of_quarantine(
    ready_url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, ehr: FakeEhr
) -> None:
    file = tmp_path / "clinic.toml"
    file.write_text("[status.Task]\nopen = 'requested'\n", encoding="utf-8")
    assert run(ready_url, capsys, *ADD, str(file))[0] == 0
    ehr.put("Task", "1", status="open", intent="order")
    ehr.put("Task", "2", status="shut", intent="order")
    (told,) = run(ready_url, capsys, "sync", "clinic", "--once")[1]["connections"][0]["types"]
    assert (told["applied"], told["quarantined"]) == (1, 1)
    waiting = run(ready_url, capsys, "quarantine", "list")[1]
    assert "No code table knows the Task.status 'shut'." in json.dumps(waiting)
    file.write_text("[status.Task]\nopen = 'requested'\nshut = 'completed'\n", encoding="utf-8")
    assert run(ready_url, capsys, "quarantine", "retry")[0] == 0
    assert "shut" not in json.dumps(run(ready_url, capsys, "quarantine", "list")[1])
