"""`connection change`: an EHR is followed by other terms, and nothing that was read is read again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.subscriptions.fake_ehr import BASE, FakeEhr
from tests.subscriptions.subscribing import Subscriptions
from tests.subscriptions.test_commands import Shell, refuse


@pytest.fixture
def shell(ready_url: str, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(ready_url, capsys)


def test_what_is_not_named_stays_and_how_far_it_was_read_too(shell: Shell, ehr: FakeEhr, tmp_path: Path) -> None:
    ehr.put("Patient", "a")
    owners = tmp_path / "owners.json"
    owners.write_text('{"Task": {"note": "ours"}}')
    shell.add("clinic", "--types", "Patient,Task", "--budget", "60", "--owners", str(owners))
    shell.json("sync", "clinic", "--once")
    before = shell.json("connection", "show", "clinic")
    told = shell.json("connection", "change", "clinic", "--poll", "5m", "--write-back", "Task")
    assert (told["pollSeconds"], told["writeBack"], told["types"]) == (300, ["Task"], ["Patient", "Task"])
    after = shell.json("connection", "show", "clinic")
    assert (after["cursors"], after["state"]) == (before["cursors"], "ok")
    assert after["budget"]["requestsPerMinute"] == 60
    again = shell.json("sync", "clinic", "--once")["connections"][0]
    assert again["types"][0]["applied"] == 0


def test_an_empty_text_takes_an_option_away_and_another_kind_of_login_brings_its_own(
    shell: Shell, ehr: FakeEhr, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("user:word")
    shell.add("clinic", "--types", "Patient", "--budget", "60", "--write-back", "Task", "--strategy", "Task=roster")
    shell.json("connection", "change", "clinic", "--budget", "", "--write-back", "", "--types", "", "--strategy", "")
    shown = shell.json("connection", "show", "clinic")
    assert (shown["budget"]["requestsPerMinute"], shown["writeBack"], shown["types"]) == (None, [], [])
    assert (
        shell.json("connection", "change", "clinic", "--auth", "basic", "--secret-file", str(secret))["auth"] == "basic"
    )
    assert shell.json("connection", "change", "clinic", "--auth", "none")["auth"] == "none"
    assert shell.run("connection", "change", "clinic") == 0
    assert "nothing was changed" in shell.out


@pytest.mark.parametrize(
    "words",
    [
        ["--types", "Nonsense"],
        ["--poll", "soon"],
        ["--subscribe", "maybe"],
        ["--auth", "basic"],
        ["--client-id", "me"],
        ["--write-back", "Nonsense"],
    ],
)
def test_terms_that_make_no_sense_change_nothing(shell: Shell, ehr: FakeEhr, words: list[str]) -> None:
    shell.add("clinic", "--subscribe", "auto")
    before = shell.json("connection", "show", "clinic")
    assert shell.run("connection", "change", "clinic", *words) == 2
    assert shell.json("connection", "show", "clinic") == before | {"nextDue": before["nextDue"]}
    assert shell.run("connection", "change", "nobody", "--poll", "5m") == 1


def test_what_is_subscribed_to_follows_the_terms(shell: Shell, ehr: FakeEhr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FHIR_TRACKER_PUBLIC_URL", "https://tracker.example")
    there = Subscriptions(ehr)
    shell.add("clinic", "--types", "Patient,Task", "--subscribe", "auto")
    shell.json("sync", "clinic", "--once")
    assert len(there.held) == 2
    assert shell.run("connection", "change", "clinic", "--types", "Patient") == 0
    assert there.held == {}
    ehr.put("Patient", "meanwhile")
    assert shell.json("sync", "clinic", "--once")["connections"][0]["types"][0]["applied"] == 1
    assert [one["criteria"] for one in there.held.values()] == ["Patient?"]
    ehr.twists.insert(0, refuse)
    told = shell.json("connection", "change", "clinic", "--subscribe", "none")
    assert (told["subscribe"], told["subscriptionsLeft"]) == ("none", ["Patient"])
    assert shell.json("connection", "show", "clinic")["subscriptions"] == []


def test_a_second_connection_of_the_name_is_told_how_to_change_the_first(shell: Shell, ehr: FakeEhr) -> None:
    shell.add("clinic")
    assert shell.run("connection", "add", "clinic", "--base-url", BASE) == 1
    assert "connection change clinic" in shell.err
