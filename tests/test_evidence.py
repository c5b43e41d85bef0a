"""The evidence of a month: attempts with times, contact in time or not, minutes once, for one program."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from api.cli import main
from fhir_tracker import outreach
from fhir_tracker.errors import NotFound
from fhir_tracker.evidence import Evidence, as_lines, evidence
from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.vocabulary import CHANNEL_SYSTEM, OUTCOME_SYSTEM, TIME_SPENT
from fhir_tracker.storage.database import Database
from tests.support.clinic import COORDINATOR, MONDAY, NURSE, RING, SYSTEM, Clinic

HOUR = timedelta(hours=1)
TEXT = RING.replace("role: care-coordinator\n", "role: care-coordinator\n    outreach: {attempts: 2, over: 2 days}\n")


@pytest.fixture
def clinic(database: Database) -> Clinic:
    made = Clinic(database, TEXT.replace("within: 2 days}\n", "within: 2 business days}\n", 1))
    made.patient("ann")
    made.discharge("ann", MONDAY)
    return made


def tried(clinic: Clinic, hours: float, outcome: str = "no-answer", minutes: int = 0) -> str:
    made = outreach.Attempt(
        channel="phone", outcome=outcome, at=MONDAY + hours * HOUR, spent=timedelta(minutes=minutes) or None
    )
    with clinic.acting(MONDAY + hours * HOUR, COORDINATOR) as (tx, by):
        return outreach.log_attempt(tx, clinic.task("ann", "first-call"), made, by).ref


def charge(id_: str, start_hours: float, minutes: int, *about: str) -> dict[str, object]:
    start = MONDAY + start_hours * HOUR
    return {
        "resourceType": "ChargeItem",
        "id": id_,
        "status": "billable",
        "code": {"text": "Care coordination"},
        "subject": {"reference": "Patient/ann"},
        "occurrencePeriod": {"start": instant(start), "end": instant(start + timedelta(minutes=minutes))},
        "performer": [{"actor": {"reference": "Practitioner/nurse"}}],
        "service": [{"reference": ref} for ref in about],
    }


def of_month(clinic: Clinic, month: str = "2026-03", hours: float = 200) -> Evidence:
    with clinic.database.read() as tx:
        return evidence(tx, SYSTEM, "ann", "ring", month, MONDAY + hours * HOUR)


def test_minutes_of_attempts_and_of_other_work_are_counted_once(clinic: Clinic) -> None:
    tried(clinic, 1, "no-answer", 5)
    tried(clinic, 3, "reached", 20)
    clinic.put(charge("a", 2.8, 20), MONDAY + 4 * HOUR, NURSE)
    found = of_month(clinic)
    assert (found.minutes, found.contact_minutes) == (5 + 20 + 8, 20 + 8)
    assert [one.minutes for one in found.attempts] == [5, 20]
    assert of_month(clinic, "2026-04").minutes == 0
    clinic.put(charge("a", 2.8, 20) | {"status": "entered-in-error"}, MONDAY + 5 * HOUR, NURSE)
    assert of_month(clinic).minutes == 25


def test_another_programs_time_is_not_counted(clinic: Clinic) -> None:
    clinic.publish(TEXT.replace("program: ring", "program: other"), MONDAY)
    clinic.put({"resourceType": "Task", "id": "t", "status": "requested", "intent": "order", "for": {"reference": "Patient/ann"},
                "instantiatesCanonical": "https://fhir-tracker.example/ActivityDefinition/other.first-call|1"}, MONDAY)  # fmt: skip
    clinic.put(charge("a", 1, 10, "Task/t"), MONDAY)
    clinic.put(charge("b", 3, 7, "Task/unknown"), MONDAY)
    assert of_month(clinic).minutes == 7


@pytest.mark.parametrize(
    ("tries", "meets", "says"),
    [
        ([(1, "no-answer"), (24, "left-message")], True, "2 of 2 attempts in time, not reached: meets the policy"),
        ([(1, "no-answer"), (100, "reached")], False, "1 of 2 attempts in time, not reached: does not meet the policy"),
        ([(2, "reached")], True, "reached Mon 9 Mar 2026 12:00, in time"),
        ([], False, "0 of 2 attempts in time, not reached: does not meet the policy"),
    ],
)
def test_two_attempts_within_two_business_days_or_contact_is_told_with_times(
    clinic: Clinic, tries: list[tuple[int, str]], meets: bool, says: str
) -> None:
    for hours, outcome in tries:
        tried(clinic, hours, outcome)
    (window,) = of_month(clinic).windows
    assert (window.opens, window.meets, window.required) == (MONDAY, meets, 2)
    lines = as_lines(of_month(clinic), clinic.program)
    assert f"First call: contact by Wed 11 Mar 2026 17:00, or 2 attempts: {says}" in lines
    assert all(one.at <= window.due for one in window.attempts)


def test_an_unknown_patient_or_program_is_not_found(clinic: Clinic) -> None:
    with clinic.database.read() as tx:
        with pytest.raises(NotFound):
            evidence(tx, SYSTEM, "nobody", "ring", "2026-03", MONDAY)
        with pytest.raises(NotFound):
            evidence(tx, SYSTEM, "ann", "nothing", "2026-03", MONDAY)


def test_the_command_prints_it_and_gives_it_as_json(
    clinic: Clinic, ready_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    tried(clinic, 3, "reached", 20)

    def run(*words: str) -> tuple[int, str]:
        code = main(["evidence", "Patient/ann", "--program", "ring", *words, "--database", ready_url])
        return code, capsys.readouterr().out

    code, said = run("--month", "2026-03")
    assert (code, said.splitlines()[0]) == (0, "Ring after discharge, Patient/ann, 2026-03 (America/New_York)")
    assert "20 minutes of staff time, 20 of them in contact; no minute counted twice" in said
    code, said = run("--month", "2026-03", "--json")
    found = json.loads(said)
    assert (code, found["minutes"], found["contactMinutes"]) == (0, 20, 20)
    assert found["windows"][0]["reachedAt"].startswith("2026-03-09T17:00:00")
    assert run("--month", "March")[0] == 2


CHANNELS = TEXT.replace(
    "{attempts: 2, over: 2 days}", "{attempts: 3, over: 2 days, channels: [phone, sms], on_channels: 2}"
)


def written(clinic: Clinic, id_: str, hours: float, *, sent: float | None = None, **members: Any) -> None:
    """An attempt as an EHR or another client writes it, with the minutes before it."""
    at = MONDAY + (hours if sent is None else sent) * HOUR
    period = {"start": instant(at - timedelta(minutes=10)), "end": instant(at)}
    body = {
        "resourceType": "Communication",
        "id": id_,
        "status": "not-done",
        "statusReason": {"coding": [{"system": OUTCOME_SYSTEM, "code": "no-answer"}]},
        "medium": [{"coding": [{"system": CHANNEL_SYSTEM, "code": "phone"}]}],
        "subject": {"reference": "Patient/ann"},
        "about": [{"reference": clinic.task("ann", "first-call").ref}],
        "sent": instant(at),
        "extension": [{"url": TIME_SPENT, "valuePeriod": period}],
    }
    clinic.put(body | members, MONDAY + hours * HOUR, NURSE)


def test_a_policy_of_several_channels_is_not_met_by_calls_alone(database: Database) -> None:
    clinic = Clinic(database, CHANNELS.replace("within: 2 days}\n", "within: 2 business days}\n", 1))
    clinic.patient("ann")
    clinic.discharge("ann", MONDAY)
    for hours in (1, 3, 24):
        tried(clinic, hours)
    (window,) = of_month(clinic).windows
    assert (window.meets, window.channels, len(window.attempts)) == (False, 1, 3)
    said = "contact by Wed 11 Mar 2026 17:00, or 3 attempts on 2 channels: 3 of 3 attempts on 1 of 2 channels in time"
    assert f"First call: {said}, not reached: does not meet the policy" in as_lines(of_month(clinic), clinic.program)
    sms: dict[str, Any] = {"medium": [{"coding": [{"system": CHANNEL_SYSTEM, "code": "sms"}]}]}
    written(clinic, "late", 60, **sms)
    assert of_month(clinic).windows[0].meets is False
    written(clinic, "text", 30, **sms)
    assert of_month(clinic).windows[0].meets is True


def test_an_attempt_that_is_corrected_counts_once_and_as_it_is_now(clinic: Clinic) -> None:
    written(clinic, "a", 2)
    written(clinic, "b", 24)
    assert (of_month(clinic).minutes, len(of_month(clinic).attempts), of_month(clinic).windows[0].meets) == (
        20,
        2,
        True,
    )
    written(clinic, "a", 25, sent=1.9)
    found = of_month(clinic)
    assert (found.minutes, found.attempts[0].at) == (20, MONDAY + 1.9 * HOUR)
    written(clinic, "a", 26, sent=23.95)
    assert of_month(clinic).minutes == 13, "it overlaps the other by seven minutes now"
    written(clinic, "a", 27, status="entered-in-error")
    found = of_month(clinic)
    assert (found.minutes, len(found.attempts), found.windows[0].meets) == (10, 1, False)
    clinic.remove("Communication/b", MONDAY + 28 * HOUR)
    found = of_month(clinic)
    assert (found.minutes, found.attempts, found.windows[0].meets) == (0, (), False)


def test_an_attempt_still_to_come_is_none_yet(clinic: Clinic) -> None:
    written(clinic, "a", 1)
    written(clinic, "b", 2, sent=30)
    early = of_month(clinic, hours=29.9)
    assert (len(early.attempts), early.minutes, early.windows[0].meets) == (1, 10, False)
    assert [one.why for one in early.not_counted] == ["it lies in the future"]
    later = of_month(clinic, hours=30)
    assert (len(later.attempts), later.minutes, later.windows[0].meets) == (2, 20, True)


def test_two_of_the_staff_at_once_are_two_attempts_and_one_time(clinic: Clinic) -> None:
    for name in ("nurse", "coordinator"):
        written(clinic, name, 3, sender={"reference": f"Practitioner/{name}"})
    found = of_month(clinic)
    assert (len(found.attempts), found.minutes, [one.minutes for one in found.attempts]) == (2, 10, [10, 10])


@pytest.mark.parametrize(
    ("sent", "minutes"),
    [
        ("2026-04-01T04:05:00Z", {"2026-03": 5, "2026-04": 5}),
        ("2026-04-01T00:05:00-04:00", {"2026-03": 5, "2026-04": 5}),
        ("2026-03-31T21:05:00-07:00", {"2026-03": 5, "2026-04": 5}),
        ("2026-04-01T04:00:00Z", {"2026-03": 10, "2026-04": 0}),
        ("2026-04-01T04:10:00Z", {"2026-03": 0, "2026-04": 10}),
        ("2026-03-08T07:05:00Z", {"2026-03": 10, "2026-04": 0}),
        ("2026-11-01T05:05:00Z", {"2026-10": 0, "2026-11": 10}),
        ("2026-11-01T04:03:00Z", {"2026-10": 7, "2026-11": 3}),
        ("2026-12-01T05:04:00Z", {"2026-11": 6, "2026-12": 4}),
        ("2028-03-01T05:04:00Z", {"2028-02": 6, "2028-03": 4}),
    ],
)
def test_time_is_of_the_month_that_the_clock_of_the_site_shows(
    clinic: Clinic, sent: str, minutes: dict[str, int]
) -> None:
    at = datetime.fromisoformat(sent)
    hours = (at - MONDAY) / HOUR
    written(clinic, "a", max(hours, 0), sent=hours)
    assert {month: of_month(clinic, month, 24 * 900).minutes for month in minutes} == minutes
