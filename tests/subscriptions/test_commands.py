"""`connection`, `sync` and `quarantine` as people and scripts use them, on both kinds of database: output, JSON, exit codes."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.cli import main
from subscriptions.leases import kind_of
from tests.subscriptions.fake_ehr import BASE, FakeEhr


class Shell:
    """Runs commands against one database; `out` and `err` are of the last one."""

    def __init__(self, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.url = url
        self.out = self.err = ""
        self._capsys = capsys

    def run(self, *words: str) -> int:
        self._capsys.readouterr()
        code = main([*words, "--database", self.url])
        self.out, self.err = self._capsys.readouterr()
        return code

    def json(self, *words: str, code: int = 0) -> Any:
        assert self.run(*words, "--json") == code, self.err
        return json.loads(self.out)

    def add(self, key: str = "clinic", *words: str, base: str = BASE) -> None:
        assert self.run("connection", "add", key, "--base-url", base, *words) == 0, self.err


@pytest.fixture
def shell(ready_url: str, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(ready_url, capsys)


def refuse(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("[Errno 111] Connection refused")


SUMMARY = (
    "key baseUrl mapping pollSeconds types subscribe writeBack auth state lastAttempt lastSuccess lastError"
).split()
TYPE = (
    "type fetched applied unchanged deleted quarantined pages watermark lagSeconds missedEvents error notes"
).split()
WAITING = ["id", "connection", "type", "remoteId", "reason", "times", "firstSeen", "lastSeen", "resolved", "resolution"]


def test_a_server_is_added_tested_synced_shown_and_removed(shell: Shell, ehr: FakeEhr) -> None:
    ehr.put("Patient", "a")
    shell.add("clinic", "--poll", "10s")
    assert shell.out.splitlines() == [f"added clinic: {BASE}, every 10 s", "next: fhir-tracker connection test clinic"]
    told = shell.json("connection", "test", "clinic")
    assert (told["fhirVersion"], told["followed"]) == ("4.0.1", ["Patient", "CarePlan", "Task"])
    assert any("clock" in problem for problem in told["problems"])
    report = shell.json("sync", "clinic", "--once")["connections"][0]
    assert (report["complete"], report["types"][0]["applied"]) == (True, 1)
    shown = shell.json("connection", "show", "clinic")
    assert (shown["state"], shown["pollSeconds"], shown["quarantined"]) == ("ok", 10, 0)
    assert [one["type"] for one in shown["cursors"] if "/" not in one["type"]] == ["CarePlan", "Patient", "Task"]
    assert shell.run("connection", "list") == 0
    assert shell.out.splitlines()[1].startswith("clinic")
    assert shell.json("connection", "remove", "clinic", "--yes") == {"removed": "clinic", "mirroredDataKept": True}
    assert shell.run("connection", "show", "clinic") == 1
    assert shell.json("connection", "list") == {"connections": []}


def test_json_has_these_members_and_no_secret(shell: Shell, ehr: FakeEhr, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("user:canary")
    words = ["--types", "Patient, Task,Patient", "--auth", "basic", "--secret-file", str(secret), "--poll", "2h"]
    added = shell.json("connection", "add", "clinic", "--base-url", BASE + "/", *words)
    assert list(added) == SUMMARY
    assert added == {
        "key": "clinic",
        "baseUrl": BASE,
        "mapping": "generic",
        "pollSeconds": 7200,
        "types": ["Patient", "Task"],
        "subscribe": "none",
        "auth": "basic",
        "writeBack": [],
        "state": "new",
        "lastAttempt": None,
        "lastSuccess": None,
        "lastError": None,
    }
    ehr.put_text("Patient", "b", '{"resourceType":"Patient","id":"b","meta":7}')
    (report,) = shell.json("sync", "--once")["connections"]
    assert list(report) == ["connection", "complete", "unreachable", "error", "notBefore", "types"]
    assert [list(one) for one in report["types"]] == [TYPE, TYPE]
    shown = shell.json("connection", "show", "clinic")
    assert list(shown) == [
        *SUMMARY,
        "nextDue",
        "quarantined",
        "codes",
        "roster",
        "group",
        "subscriptions",
        "cursors",
        "budget",
        "searches",
        "reconciledAt",
        "ways",
    ]
    assert list(shown["cursors"][0]) == ["type", "watermark", "completedAt", "lagSeconds", "reading"]
    (listed,) = shell.json("connection", "list")["connections"]
    assert list(listed) == [*SUMMARY, "quarantined"]
    (waiting,) = shell.json("quarantine", "list")["quarantined"]
    assert list(waiting) == WAITING
    assert list(shell.json("quarantine", "show", str(waiting["id"]))) == [*WAITING, "body"]
    assert "canary" not in json.dumps([added, report, shown, listed])


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (None, 0, None),
        (httpx.Response(401), 1, "credentials"),
        (httpx.Response(403), 1, "do not allow"),
        (httpx.Response(404), 1, "check the base URL"),
        (httpx.Response(200, headers={"content-type": "text/html"}, text="<form>"), 1, "login page"),
        (httpx.Response(503, headers={"retry-after": "99"}), 3, "503"),
        (httpx.Response(429, headers={"retry-after": "99"}), 3, "slow down"),
        (refuse, 3, "connection refused"),
    ],
)
def test_test_and_sync_say_by_exit_code_whether_the_server_erred_or_was_not_there(
    shell: Shell, ehr: FakeEhr, answer: httpx.Response | Callable[[httpx.Request], httpx.Response] | None, code: int, said: str | None
) -> None:  # fmt: skip
    shell.add()
    if answer is not None:
        ehr.twists.append(lambda request: answer(request) if callable(answer) else answer)
    assert shell.run("connection", "test", "clinic") == code
    assert (said or "") in shell.err
    assert shell.out == "" if said else "answers, FHIR 4.0.1" in shell.out
    if answer is refuse:
        return
    report = shell.json("sync", "--once", code=code)["connections"][0]
    assert (report["complete"], report["unreachable"]) == (code == 0, code == 3)
    told = "held back" if code == 3 else said
    assert told is None or told in report["error"]
    assert (report["notBefore"] is None) is (code == 0)


def test_a_test_tells_in_json_that_there_was_no_answer(shell: Shell, ehr: FakeEhr) -> None:
    shell.add()
    ehr.twists.append(refuse)
    told = shell.json("connection", "test", "clinic", code=3)
    assert told == {"key": "clinic", "reachable": False, "error": "The server cannot be reached: connection refused."}


@pytest.mark.parametrize(
    ("version", "code"), [("4.0.1", 0), ("4.0.0", 0), ("4.3.0", 1), ("5.0.0", 1), ("3.0.2", 1), ("", 1)]
)
def test_a_server_of_another_fhir_version_is_a_problem(shell: Shell, ehr: FakeEhr, version: str, code: int) -> None:
    statement = {"resourceType": "CapabilityStatement", "fhirVersion": version}
    ehr.twists.append(lambda request: ehr.json(statement))
    shell.add()
    told = shell.json("connection", "test", "clinic", code=code)
    assert told["fhirVersion"] == version
    assert any("needs 4.0.x" in problem for problem in told["problems"]) is (code == 1)
    assert "it can search none of the types we follow" in told["problems"]


MISTAKES = [
    "connection add Clinic --base-url https://e/fhir",
    "connection add clinic --base-url nowhere",
    "connection add clinic --base-url https://u:p@e/fhir",
    "connection add clinic --base-url https://e/fhir --mapping epik",
    "connection add clinic --base-url https://e/fhir --types Nonsense",
    "connection add clinic --base-url https://e/fhir --types Patient,patient",
    "connection add clinic --base-url https://e/fhir --subscribe websocket",
    "connection add clinic --base-url https://e/fhir --auth basic",
    "connection add clinic --base-url https://e/fhir --auth smart --secret-file x",
    "connection add clinic --base-url https://e/fhir --secret-file x",
    "connection add clinic --base-url https://e/fhir --poll soon",
    "connection add clinic --base-url https://e/fhir --poll 0s",
    "connection add clinic --base-url https://e/fhir --poll 8d",
    "sync",
    "sync clinic",
    "sync --once",
]


@pytest.mark.parametrize("words", MISTAKES)
def test_a_usage_mistake_is_one_line_and_exit_code_2_and_changes_nothing(shell: Shell, words: str) -> None:
    assert shell.run(*words.split()) == 2
    assert shell.out == ""
    assert len(shell.err.splitlines()) == 1
    assert shell.json("connection", "list") == {"connections": []}


MISSING = (
    "connection",
    "connection add",
    "connection add clinic",
    "connection show",
    "quarantine",
    "quarantine show x",
)


@pytest.mark.parametrize("words", MISSING)
def test_words_that_are_missing_are_exit_code_2(shell: Shell, words: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        shell.run(*words.split())


PROBLEMS = [
    ("connection show nobody", "There is no connection nobody; there are: clinic"),
    ("connection test nobody", "There is no connection nobody"),
    ("connection remove nobody --yes", "There is no connection nobody"),
    ("sync nobody --once", "There is no connection nobody"),
    ("quarantine show 77", "no quarantined entry 77"),
    ("quarantine retry 77", "no quarantined entry 77"),
    ("connection add clinic --base-url https://e/fhir", "connection clinic already"),
    ("connection add clinic-b --base-url https://e/fhir", "would make the same ids"),
]


@pytest.mark.parametrize(("words", "said"), PROBLEMS)
def test_a_problem_is_one_line_and_exit_code_1(shell: Shell, ehr: FakeEhr, words: str, said: str) -> None:
    shell.add()
    assert shell.run(*words.split()) == 1
    assert said in shell.err
    assert len(shell.err.splitlines()) == 1
    assert [one["key"] for one in shell.json("connection", "list")["connections"]] == ["clinic"]


@pytest.mark.parametrize(("poll", "seconds"), [("30s", 30), ("5m", 300), ("2h", 7200), ("45", 45), ("7d", 604_800)])
def test_poll_takes_these_forms(shell: Shell, poll: str, seconds: int) -> None:
    shell.add("clinic", "--poll", poll)
    assert shell.json("connection", "show", "clinic")["pollSeconds"] == seconds


def test_only_the_named_types_are_synced_whichever_way_they_are_named(shell: Shell, ehr: FakeEhr) -> None:
    shell.add("clinic", "--types", "Patient,Task")
    for words, types in (
        ([], ["Patient", "Task"]),
        (["--types", "Task"], ["Task"]),
        (["--types", "CarePlan,Task,"], ["CarePlan", "Task"]),
    ):
        report = shell.json("sync", "clinic", "--once", *words)["connections"][0]
        assert [one["type"] for one in report["types"]] == types
    assert shell.json("connection", "show", "clinic")["types"] == ["Patient", "Task"]
    assert shell.run("sync", "--once", "--types", "Nonsense") == 2


def test_sync_without_a_key_takes_every_connection_and_the_worst_decides(shell: Shell, ehr: FakeEhr) -> None:
    shell.add("clinic", "--types", "Patient")
    shell.add("north", "--types", "Task")
    ehr.twists.append(lambda request: httpx.Response(403) if "Task?" in str(request.url) else None)
    reports = shell.json("sync", "--once", code=1)["connections"]
    assert [(one["connection"], one["complete"]) for one in reports] == [("clinic", True), ("north", False)]


def test_a_person_sees_type_by_type_what_came(shell: Shell, ehr: FakeEhr) -> None:
    ehr.put("Patient", "a")
    ehr.put_text("Patient", "b", '{"resourceType":"Patient","id":"b","meta":7}')
    ehr.twists.append(lambda request: httpx.Response(403) if "Task?" in str(request.url) else None)
    shell.add()
    assert shell.run("sync", "--once") == 1
    lines = [line.split() for line in shell.out.splitlines()]
    assert lines[0] == ["clinic", f"({BASE})"]
    assert lines[1] == ["type", "fetched", "applied", "unchanged", "deleted", "quarantined", "lag"]
    assert lines[2] == ["Patient", "2", "1", "0", "0", "1", "0s"]
    assert lines[5][:5] == ["FAILED:", "The", "server", "answered", "403:"]
    assert "see: fhir-tracker quarantine list" in shell.out
    ehr.twists.clear()
    assert shell.run("sync", "--once") == 0
    assert "  complete" in shell.out.splitlines()
    assert shell.run("connection", "show", "clinic") == 0
    assert "state             ok" in shell.out


def test_removing_asks_a_person_and_takes_only_the_name_for_yes(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    shell.add()
    for typed, code in (("\n", 1), ("yes\n", 1), ("", 1), ("clinic\n", 0)):
        monkeypatch.setattr("sys.stdin", Terminal(typed))
        assert shell.run("connection", "remove", "clinic") == code
        assert ("nothing was changed" in shell.out) is (code == 1)
    assert shell.json("connection", "list") == {"connections": []}


def test_an_empty_shop_says_what_to_do(shell: Shell) -> None:
    assert shell.run("connection", "list") == 0
    assert "connection add KEY --base-url URL" in shell.out
    assert shell.run("quarantine", "list") == 0
    assert shell.out == "nothing is in quarantine\n"
    assert shell.run("quarantine", "retry") == 0
    assert shell.out == "0 of 0 applied\n"
    assert shell.run("sync", "--once") == 2
    assert "connection add KEY --base-url URL" in shell.err


def test_quarantine_is_listed_shown_and_retried(shell: Shell, ehr: FakeEhr) -> None:
    ehr.put_text("Patient", "b", '{"resourceType":"Patient","id":"b","meta":"\\u001b[31m"}')
    shell.add()
    assert shell.run("sync", "--once") == 0
    (waiting,) = shell.json("quarantine", "list")["quarantined"]
    assert (waiting["reason"], waiting["times"], waiting["resolved"]) == ("`meta` is not an object.", 1, None)
    assert shell.json("quarantine", "list", "--connection", "north") == {"quarantined": []}
    assert shell.json("quarantine", "list", "--connection", "clinic") == {"quarantined": [waiting]}
    id_ = str(waiting["id"])
    assert shell.run("quarantine", "show", id_) == 0
    assert '"id":"b"' in shell.out
    assert "\x1b" not in shell.out
    assert shell.run("quarantine", "retry") == 1
    assert shell.out.splitlines()[-1] == "0 of 1 applied"
    (tried,) = shell.json("quarantine", "retry", id_, code=1)["retried"]
    assert tried == {"id": waiting["id"], "applied": False, "reason": "`meta` is not an object."}
    assert shell.json("quarantine", "list")["quarantined"][0]["times"] == 3
    ehr.put("Patient", "b", active=True)
    shell.run("sync", "--once")
    assert shell.run("quarantine", "list") == 0
    assert shell.out == "nothing is in quarantine\n"
    shown = shell.json("quarantine", "show", id_)
    assert (shown["resolution"], shown["resolved"] is None) == ("A usable version was applied.", False)
    assert shell.json("quarantine", "retry", id_) == {
        "retried": [{"id": waiting["id"], "applied": True, "reason": None}]
    }


def test_what_was_discarded_with_a_reason_waits_no_more(shell: Shell, ehr: FakeEhr) -> None:
    ehr.put_text("Patient", "b", '{"resourceType":"Patient","id":"b","meta":7}')
    shell.add()
    shell.run("sync", "--once")
    id_ = shell.json("quarantine", "list")["quarantined"][0]["id"]
    assert shell.json("quarantine", "discard", str(id_), "--reason", "a test patient") == {"discarded": id_}
    shell.run("sync", "--once")
    assert shell.json("quarantine", "list") == {"quarantined": []}
    assert shell.json("quarantine", "show", str(id_))["resolution"] == "Discarded by command-line: a test patient"
    assert shell.run("quarantine", "discard", str(id_), "--reason", "again") == 1
    ehr.put_text("Patient", "b", '{"resourceType":"Patient","id":"b","meta":8}')
    shell.run("sync", "--once")
    assert [one["id"] for one in shell.json("quarantine", "list")["quarantined"]] == [id_]


def test_what_waits_from_a_removed_connection_says_so(shell: Shell, ehr: FakeEhr) -> None:
    ehr.put_text("Patient", "b", '{"resourceType":"Patient","id":"b","meta":7}')
    shell.add()
    shell.run("sync", "--once")
    shell.run("connection", "remove", "clinic", "--yes")
    assert shell.run("quarantine", "retry") == 1
    assert "its connection clinic was removed" in shell.out


def test_a_secret_is_read_from_its_file_and_kept_nowhere_else(shell: Shell, ehr: FakeEhr, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("someone:made-up-canary\n")
    sent: list[str] = []
    ehr.twists.append(lambda request: sent.append(request.headers.get("authorization", "")))
    shell.add("clinic", "--auth", "basic", "--secret-file", str(secret))
    assert shell.run("sync", "--once") == 0
    assert set(sent) == {"Basic c29tZW9uZTptYWRlLXVwLWNhbmFyeQ=="}
    if shell.url.startswith("sqlite"):
        assert b"made-up-canary" not in Path(shell.url.removeprefix("sqlite:///")).read_bytes()
    secret.unlink()
    assert shell.run("sync", "--once") == 2
    assert "secret file" in shell.err


def test_the_lease_of_a_connection_is_named_for_it() -> None:
    assert kind_of("clinic") == "sync:clinic"


@pytest.mark.requirement(78)
def test_a_connection_says_how_each_type_is_followed_and_why(shell: Shell, ehr: FakeEhr) -> None:
    ehr.put("Patient", "a")
    how = (
        "--strategy",
        "CarePlan=roster?category=assess-plan",
        "--budget",
        "250 aligned",
        "--types",
        "Patient,CarePlan",
    )
    assert shell.run("connection", "add", "clinic", "--base-url", BASE, *how) == 0
    shell.run("sync", "--once", "--reconcile", "--json")
    shown = shell.json("connection", "show", "clinic")
    assert [(one["type"], one["strategy"], one["why"]) for one in shown["ways"]] == [
        ("Patient", "last_updated", "the server lists _lastUpdated for it"),
        ("CarePlan", "roster", "you chose it"),
    ]
    assert shown["ways"][1]["roster"]["members"] == 1
    assert shown["budget"]["requestsPerMinute"] == 250
    assert shown["reconciledAt"]
    assert shell.run("connection", "show", "clinic") == 0


@pytest.mark.parametrize(
    "how",
    [("--strategy", "CarePlan"), ("--strategy", "Plan=roster"), ("--strategy", "Task=fast"), ("--budget", "many")],
)
def test_a_way_of_following_that_there_is_not_is_a_usage_mistake(shell: Shell, how: tuple[str, str]) -> None:
    assert shell.run("connection", "add", "clinic", "--base-url", BASE, *how) == 2
