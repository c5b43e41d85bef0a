"""What `staff` and `notifications` do, print and answer, on either database."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from fhir_tracker import clock
from fhir_tracker.storage import dispatches, notifications
from fhir_tracker.storage.database import Database
from tests.subscriptions.mail_server import Mailbox, serving
from tests.support.commands import answer, without_settings
from tests.test_staffing import Ward

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(ready_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """One command on the test's database: its exit code, output and errors."""
    without_settings(monkeypatch, tmp_path)

    def command(*words: str) -> tuple[int, str, str]:
        return answer(capsys, [*words, "--database", ready_url])

    return command


def test_an_absence_is_written_down_listed_and_taken_back(run: Run) -> None:
    code, out, _ = run("staff", "away", "Practitioner/ann", "--until", "2999-01-01", "--json")
    assert code == 0
    id_ = json.loads(out)["absence"]
    code, out, _ = run("staff", "absences")
    assert (code, "Practitioner/ann" in out, "away" in out) == (0, True, True)
    assert run("staff", "back", str(id_))[0] == 0
    assert run("staff", "absences")[1] == "nobody is away\n"
    assert "Practitioner/ann" in run("staff", "absences", "--all")[1]
    assert run("staff", "back", str(id_))[0] == 1


def test_a_cap_of_ones_own_is_shown_and_taken_away(run: Run) -> None:
    assert run("staff", "away", "Practitioner/ann", "--until", "2999-01-01")[0] == 0
    code, out, _ = run("staff", "cap", "Practitioner/ann", "15")
    assert (code, out) == (0, "Practitioner/ann gets no more than 15 pieces of open work by themselves, and has 0\n")
    assert json.loads(run("staff", "show", "--json")[1])["staff"][0]["cap"] == 15
    assert json.loads(run("staff", "cap", "Practitioner/ann", "--none", "--json")[1])["cap"] is None
    assert json.loads(run("staff", "show", "--json")[1])["staff"][0]["cap"] is None


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("staff cap ann 3", 1),
        ("staff cap Practitioner/ann 99999", 1),
        ("staff away ann", 1),
        ("staff away Practitioner/ann --until 2001-01-01", 1),
        ("staff away Practitioner/ann --until soon", 2),
        ("staff away Practitioner/ann --substitute Practitioner/ann", 1),
        ("staff back 99", 1),
        ("notifications retry 99", 1),
    ],
)
def test_what_cannot_be_is_one_line_and_an_exit_code(run: Run, words: str, code: int) -> None:
    got, out, err = run(*words.split())
    assert (got, out, err.count("\n")) == (code, "", 1)


def test_people_are_shown_with_roles_and_open_work(run: Run, database: Database) -> None:
    assert "nobody is known" in run("staff", "show")[1]
    ward = Ward(database, "{assign: round-robin}", "ann")
    ward.admit("p1", "p2")
    ward.keep()
    told = json.loads(run("staff", "show", "--json")[1])
    assert told["staff"] == [
        {
            "person": "Practitioner/ann",
            "name": "Ann Synthetic",
            "active": True,
            "roles": ["care-coordinator"],
            "openWork": 2,
            "cap": None,
            "away": False,
        }
    ]
    assert "care-coordinator" in run("staff", "show")[1]


def test_mails_that_were_not_taken_are_listed_with_the_reason_and_tried_again(
    run: Run, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("notifications", "list")[1] == "everything was sent\n"
    at = clock.now()
    with database.begin() as tx:
        notifications.add(
            tx, to_role="rn", to_person=None, channel="webhook", subject="Task/a", patient="ann", text="t", at=at
        )
        one = dispatches.untold(tx)[0]
        dispatches.add(tx, one, dispatches.gather(tx, one), address="", at=at, reason="There is no address.")
    code, out, _ = run("notifications", "list")
    assert (code, "unsupported" in out, "There is no address." in out) == (0, True, True)
    code, out, _ = run("notifications", "retry")
    assert (code, "Not set: FHIR_TRACKER_NOTIFY_WEBHOOK" in out) == (1, True)
    assert run("notifications", "list", "--state", "dead")[1] == "nothing is dead\n"
    mailbox = Mailbox()
    with serving(mailbox) as server:
        monkeypatch.setenv("FHIR_TRACKER_SMTP_URL", server)
        monkeypatch.setenv("FHIR_TRACKER_SMTP_FROM", "t@clinic.example")
        monkeypatch.setenv("FHIR_TRACKER_NOTIFY_MAIL", "*=all@clinic.example")
        with database.begin() as tx:
            notifications.add(
                tx, to_role="rn", to_person=None, channel="email", subject="Task/a", patient="ann", text="t",
                at=at - timedelta(minutes=2),
            )  # fmt: skip
        run("notifications", "retry")
    assert mailbox.recipients == ["all@clinic.example"]
    left = json.loads(run("notifications", "list", "--json")[1])["notifications"]
    assert [one["channel"] for one in left] == ["webhook"]
