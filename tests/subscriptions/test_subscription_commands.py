"""`connection add --subscribe`, `show` and `remove`: what people see of our Subscriptions at an EHR."""

from __future__ import annotations

import pytest

from tests.subscriptions.fake_ehr import FakeEhr
from tests.subscriptions.subscribing import Subscriptions
from tests.subscriptions.test_commands import Shell, refuse


@pytest.fixture
def shell(ready_url: str, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(ready_url, capsys)


def test_our_subscriptions_are_shown_and_deleted_with_the_connection(
    shell: Shell, ehr: FakeEhr, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = Subscriptions(ehr)
    shell.add("clinic", "--subscribe", "auto", "--types", "Patient")
    assert "FHIR_TRACKER_PUBLIC_URL" in shell.out
    monkeypatch.setenv("FHIR_TRACKER_PUBLIC_URL", "https://tracker.example")
    assert shell.run("sync", "clinic", "--once") == 0
    (told,) = shell.json("connection", "show", "clinic")["subscriptions"]
    assert told == {
        "type": "Patient",
        "kind": "rest-hook",
        "status": "active",
        "reason": "",
        "heard": None,
        "told": None,
        "untold": 0,
        "gaps": 0,
    }
    assert shell.run("connection", "show", "clinic") == 0
    assert "rest-hook" in shell.out
    assert shell.run("connection", "remove", "clinic", "--yes") == 0
    assert there.held == {}


def test_what_could_not_be_deleted_at_the_server_is_said(
    shell: Shell, ehr: FakeEhr, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = Subscriptions(ehr)
    monkeypatch.setenv("FHIR_TRACKER_PUBLIC_URL", "https://tracker.example")
    shell.add("clinic", "--subscribe", "rest-hook", "--types", "Patient")
    shell.run("sync", "clinic", "--once")
    ehr.twists.insert(0, refuse)
    told = shell.json("connection", "remove", "clinic", "--yes")
    assert told == {"removed": "clinic", "mirroredDataKept": True, "subscriptionsLeft": ["Patient"]}
    assert len(there.held) == 1


def test_a_topic_is_chosen_by_hand(shell: Shell, ehr: FakeEhr, monkeypatch: pytest.MonkeyPatch) -> None:
    there = Subscriptions(ehr)
    monkeypatch.setenv("FHIR_TRACKER_PUBLIC_URL", "https://tracker.example")
    topic = "http://example.org/anything"
    for wrong in ("Patient", "Nonsense=http://a", "Patient=ftp://a", "Patient="):
        assert shell.run("connection", "add", "b", "--base-url", "https://b.example", "--topic", wrong) == 2
    shell.add("clinic", "--subscribe", "backport", "--types", "Patient", "--topic", f"Patient={topic}")
    shell.run("sync", "clinic", "--once")
    assert there.only()["criteria"] == topic
