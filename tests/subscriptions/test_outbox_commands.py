"""`outbox` and `connection add --write-back` as people and scripts use them, on both kinds of database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhir_tracker import clock, records, writes
from fhir_tracker.model.author import Author
from fhir_tracker.model.viewer import open_viewer
from fhir_tracker.storage import resources
from fhir_tracker.storage.database import Database
from tests.subscriptions.test_commands import Shell
from tests.subscriptions.writing_ehr import WritingEhr, writing_ehr

VIEWER = open_viewer()
ENTRY = ["id", "connection", "resource", "state", "attempts", "since", "nextTry", "remote", "reason"]


@pytest.fixture
def ehr() -> Iterator[WritingEhr]:
    with writing_ehr() as made:
        yield made


@pytest.fixture
def shell(ready_url: str, capsys: pytest.CaptureFixture[str], ehr: WritingEhr, tmp_path: Path) -> Shell:
    made = Shell(ready_url, capsys)
    owners = tmp_path / "owners.json"
    owners.write_text('{"Task": {"description": "ask"}}')
    made.add("clinic", "--write-back", "Task,Communication", "--owners", str(owners))
    return made


def put(url: str, id_: str = "t1", **members: Any) -> None:
    """Create or change a Task here."""
    author = Author(viewer=VIEWER, origin="api", at=clock.now())
    with closing(Database.open(url)) as database, database.begin() as tx:
        stored = resources.find(tx, VIEWER, "Task", id_)
        new = {"resourceType": "Task", "id": id_, "intent": "order", "for": {"reference": "Patient/clinic-p1"}}
        task = records.resource_of(stored) if stored else {**new, "status": "requested"}
        writes.update(tx, "Task", id_, task | members, author)


def listed(shell: Shell, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = shell.json("outbox", "list", *words)["outbox"]
    return found


def test_what_waits_is_listed_and_written_on_request(shell: Shell, ehr: WritingEhr) -> None:
    assert shell.json("connection", "show", "clinic")["writeBack"] == ["Task", "Communication"]
    assert shell.run("outbox", "list") == 0
    assert shell.out == "nothing waits in the outbox\n"
    put(shell.url)
    (entry,) = listed(shell)
    assert list(entry) == ENTRY
    assert (entry["resource"], entry["state"], entry["attempts"]) == ("Task/t1", "waiting", 0)
    assert shell.run("outbox", "retry") == 0
    assert shell.out == "1 of 1 done\n"
    assert [one["identifier"][0]["value"] for one in ehr.of("Task")] == ["t1"]
    assert listed(shell) == []
    assert [one["remote"] for one in listed(shell, "--state", "done")] == ["Task/made1"]
    assert shell.run("outbox", "retry", str(entry["id"])) == 1
    assert "nothing to try again" in shell.err


def test_what_was_refused_is_told_with_the_reason(shell: Shell, ehr: WritingEhr) -> None:
    ehr.before.append(lambda _: httpx.Response(422))
    put(shell.url)
    assert shell.run("outbox", "retry") == 1
    assert shell.out.splitlines()[0].endswith("Task/t1: dead: The server answered 422.")
    assert shell.run("outbox", "list", "--connection", "clinic") == 0
    assert "The server answered 422." in shell.out
    assert listed(shell, "--connection", "elsewhere") == []
    ehr.before.clear()
    assert shell.json("outbox", "retry")["retried"][0]["state"] == "done"


def test_a_conflict_is_shown_field_by_field_and_decided(shell: Shell, ehr: WritingEhr) -> None:
    number = conflicting(shell, ehr)
    assert shell.run("outbox", "show", number) == 0
    assert shell.out.split("\n\n")[1].splitlines() == [
        "description",
        '  base    "one"',
        '  theirs  "theirs"',
        '  ours    "ours"',
    ]
    assert [one["field"] for one in shell.json("outbox", "show", number)["conflicts"]] == ["description", "status"]
    assert shell.run("outbox", "resolve", number, "--set", 'status="ready"') == 1
    assert "--take-theirs or --keep-ours for description" in shell.err
    assert shell.run("outbox", "resolve", number, "--set", "status=ready", "--take-theirs") == 2
    assert shell.run("outbox", "resolve", number, "--set", 'status="ready"', "--take-theirs") == 0
    assert shell.run("outbox", "retry") == 0, shell.out
    there = ehr.held("Task", "made1")
    assert (there["status"], there["description"]) == ("ready", "theirs")


def test_ours_is_kept(shell: Shell, ehr: WritingEhr) -> None:
    assert shell.json("outbox", "resolve", conflicting(shell, ehr), "--keep-ours")["resolved"]
    assert shell.run("outbox", "retry") == 0, shell.out
    there = ehr.held("Task", "made1")
    assert (there["status"], there["description"]) == ("in-progress", "ours")


def test_what_makes_no_sense_is_refused(shell: Shell, ehr: WritingEhr, tmp_path: Path) -> None:
    assert shell.run("outbox", "show", "7") == 1
    with pytest.raises(SystemExit):
        shell.run("outbox", "list", "--state", "odd")
    put(shell.url)
    number = str(listed(shell)[0]["id"])
    assert shell.run("outbox", "resolve", number, "--keep-ours") == 1
    assert "not in conflict" in shell.err
    added = ("connection", "add", "north", "--base-url", "https://north.example/fhir")
    assert shell.run(*added, "--write-back", "Patient") == 2
    assert "never written back" in shell.err
    owners = tmp_path / "owners.json"
    owners.write_text('{"Task": {"status": "theirs"}}')
    assert shell.run(*added, "--owners", str(owners)) == 2
    assert shell.run(*added, "--owners", str(tmp_path / "none.json")) == 2


def conflicting(shell: Shell, ehr: WritingEhr) -> str:
    """The number of an entry whose description and status both sides changed."""
    put(shell.url, description="one")
    assert shell.run("outbox", "retry") == 0, shell.out
    ehr.change("Task", "made1", description="theirs", status="accepted")
    put(shell.url, description="ours", status="in-progress")
    assert shell.run("outbox", "retry") == 1
    (entry,) = listed(shell)
    assert entry["state"] == "conflict"
    return str(entry["id"])
