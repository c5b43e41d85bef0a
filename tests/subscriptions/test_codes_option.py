"""`connection add --codes`: a table that makes no sense is refused at once, and a good one is used by the next sync."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from api.cli import main
from fhir_tracker import records
from fhir_tracker.model.viewer import open_viewer
from fhir_tracker.storage import resources
from fhir_tracker.storage.database import Database
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


def test_a_code_that_the_practice_adds_takes_what_waits_for_it_out_of_quarantine_by_itself(
    ready_url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, ehr: FakeEhr
) -> None:
    file = tmp_path / "clinic.toml"
    file.write_text("[status.Task]\nopen = 'requested'\n", encoding="utf-8")
    assert run(ready_url, capsys, *ADD, str(file))[0] == 0
    ehr.put("Task", "1", status="open", intent="order")
    ehr.put("Task", "2", status="shut", intent="order")
    ehr.put("Task", "3", status="shut", intent="order", meta=7)
    ehr.put_text("Task", "4", '{"resourceType":"Task","id":"4","meta":[],"status":"shut"}')
    (told,) = run(ready_url, capsys, "sync", "clinic", "--once")[1]["connections"][0]["types"]
    assert told["applied"] == 1
    waiting = run(ready_url, capsys, "quarantine", "list")[1]["quarantined"]
    assert "No code table knows the Task.status 'shut'." in [one["reason"] for one in waiting]
    file.write_text("[status.Task]\nopen = 'requested'\nshut = 'completed'\n", encoding="utf-8")
    ehr.pass_time(3600)
    assert run(ready_url, capsys, "sync", "clinic", "--once")[0] == 0
    left = run(ready_url, capsys, "quarantine", "list")[1]["quarantined"]
    assert [one["remoteId"] for one in left] == [one["remoteId"] for one in waiting if one["remoteId"] != "2"]
    assert stored(ready_url, "Task", "clinic-2")["status"] == "completed"


def test_a_code_whose_meaning_changes_is_read_anew_where_it_came_in_before(
    ready_url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, ehr: FakeEhr
) -> None:
    file = tmp_path / "clinic.toml"
    file.write_text("[status.Appointment]\n'checked out' = 'arrived'\n", encoding="utf-8")
    assert run(ready_url, capsys, *ADD[:-1], "--types", "Appointment,Task", "--codes", str(file))[0] == 0
    visit: dict[str, Any] = {"participant": [{"actor": {"reference": "Patient/1"}, "status": "accepted"}]}
    ehr.put("Appointment", "a", status="checked out", **visit)
    ehr.put("Appointment", "b", status="booked", **visit)
    ehr.put("Task", "t", status="requested", intent="order")
    steps = [
        ("'checked out' = 'fulfilled'", ("fulfilled", "booked", "requested")),
        ("'checked out' = 'fulfilled'\nbooked = 'pending'\n[status.Task]\nrequested = 'accepted'",
         ("fulfilled", "pending", "requested")),
        ("", ("fulfilled", "booked", "requested")),
    ]  # fmt: skip
    assert run(ready_url, capsys, "sync", "clinic", "--once")[0] == 0
    for text, expected in steps:
        file.write_text(f"[status.Appointment]\n{text}\n", encoding="utf-8")
        assert run(ready_url, capsys, "sync", "clinic", "--once")[0] == 0
        found = (("Appointment", "clinic-a"), ("Appointment", "clinic-b"), ("Task", "clinic-t"))
        assert tuple(stored(ready_url, *one)["status"] for one in found) == expected
    assert "_status" not in stored(ready_url, "Appointment", "clinic-b")


def stored(url: str, type_: str, id_: str) -> dict[str, Any]:
    with closing(Database.open(url)) as database, database.read() as tx:
        found = resources.find(tx, open_viewer(), type_, id_)
        assert found is not None
        return dict(records.resource_of(found))
