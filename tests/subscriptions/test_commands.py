from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from api.cli import main
from tests.subscriptions.fake_ehr import BASE, FakeEhr


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'tracker.db'}"


def run(url: str, words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main([*words, "--database", url])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_server_is_added_tested_synced_and_shown(url: str, ehr: FakeEhr, capsys: pytest.CaptureFixture[str]) -> None:
    ehr.put("Patient", "a")
    assert run(url, ["connection", "add", "clinic", "--base-url", BASE, "--poll", "10s"], capsys)[0] == 0
    code, out, _ = run(url, ["connection", "test", "clinic", "--json"], capsys)
    told = json.loads(out)
    assert (code, told["fhirVersion"], told["followed"]) == (0, "4.0.1", ["Patient", "CarePlan", "Task"])
    assert any("clock" in problem for problem in told["problems"])
    code, out, _ = run(url, ["sync", "clinic", "--once", "--json"], capsys)
    report = json.loads(out)["connections"][0]
    assert (code, report["complete"], report["types"][0]["applied"]) == (0, True, 1)
    code, out, _ = run(url, ["connection", "show", "clinic", "--json"], capsys)
    shown = json.loads(out)
    assert (shown["state"], shown["pollSeconds"]) == ("ok", 10)
    assert "Patient" in [one["type"] for one in shown["cursors"]]
    assert run(url, ["connection", "list"], capsys)[1].splitlines()[1].startswith("clinic")
    assert run(url, ["connection", "remove", "clinic", "--yes"], capsys)[0] == 0
    assert run(url, ["connection", "show", "clinic"], capsys)[0] == 1


def test_an_unreachable_server_is_exit_code_3(url: str, ehr: FakeEhr, capsys: pytest.CaptureFixture[str]) -> None:
    ehr.twists.append(lambda request: httpx.Response(401))
    run(url, ["connection", "add", "clinic", "--base-url", BASE], capsys)
    assert run(url, ["sync", "--once"], capsys)[0] == 1
    run(url, ["connection", "add", "away", "--base-url", "http://127.0.0.1:9/fhir"], capsys)

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("[Errno 111] Connection refused")

    ehr.twists[:] = [refuse]
    code, out, err = run(url, ["connection", "test", "clinic"], capsys)
    assert (code, out) == (3, "")
    assert "connection refused" in err


def test_usage_mistakes_are_exit_code_2(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["connection", "add", "Clinic", "--base-url", BASE],
        ["connection", "add", "clinic", "--base-url", "nowhere"],
        ["connection", "add", "clinic", "--base-url", BASE, "--mapping", "epik"],
        ["connection", "add", "clinic", "--base-url", BASE, "--types", "Nonsense"],
        ["connection", "add", "clinic", "--base-url", BASE, "--subscribe", "rest-hook"],
        ["connection", "add", "clinic", "--base-url", BASE, "--auth", "basic"],
        ["connection", "add", "clinic", "--base-url", BASE, "--poll", "soon"],
        ["sync"],
        ["sync", "--once"],
    ):
        code, out, err = run(url, words, capsys)
        assert (code, out) == (2, ""), words
        assert len(err.splitlines()) == 1


def test_a_secret_is_read_from_its_file_and_kept_nowhere_else(
    url: str, ehr: FakeEhr, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("someone:made-up-canary\n")
    sent: list[str] = []
    ehr.twists.append(lambda request: sent.append(request.headers.get("authorization", "")))
    words = ["connection", "add", "clinic", "--base-url", BASE, "--auth", "basic", "--secret-file", str(secret)]
    assert run(url, words, capsys)[0] == 0
    assert run(url, ["sync", "--once"], capsys)[0] == 0
    assert set(sent) == {"Basic c29tZW9uZTptYWRlLXVwLWNhbmFyeQ=="}
    assert b"made-up-canary" not in Path(url.removeprefix("sqlite:///")).read_bytes()
    secret.unlink()
    code, _, err = run(url, ["sync", "--once"], capsys)
    assert code == 2
    assert "secret file" in err


def test_quarantine_is_listed_shown_and_retried(url: str, ehr: FakeEhr, capsys: pytest.CaptureFixture[str]) -> None:
    ehr.put_text("Patient", "b", '{"resourceType":"Patient","id":"b","meta":"\\u001b[31m"}')
    run(url, ["connection", "add", "clinic", "--base-url", BASE], capsys)
    assert run(url, ["sync", "--once"], capsys)[0] == 0
    waiting = json.loads(run(url, ["quarantine", "list", "--json"], capsys)[1])["quarantined"]
    assert [one["reason"] for one in waiting] == ["`meta` is not an object."]
    id_ = str(waiting[0]["id"])
    shown = run(url, ["quarantine", "show", id_], capsys)[1]
    assert '"id":"b"' in shown
    assert "\x1b" not in shown
    code, out, _ = run(url, ["quarantine", "retry"], capsys)
    assert (code, out.splitlines()[-1]) == (1, "0 of 1 applied")
    ehr.put("Patient", "b", active=True)
    run(url, ["sync", "--once"], capsys)
    assert run(url, ["quarantine", "list"], capsys)[1] == "nothing is in quarantine\n"
    assert run(url, ["quarantine", "show", "999999"], capsys)[0] == 1
