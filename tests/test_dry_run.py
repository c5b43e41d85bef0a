"""A dry run plays real history again: the same version fires what really fired, a changed one what it would have."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from fhir_tracker import dry_run, escalation, patient_history, replaying, rule_replay
from fhir_tracker.model.effects import Escalate
from fhir_tracker.model.work import FiringKey
from fhir_tracker.rules.program_file import read_program
from fhir_tracker.rules.starters import starter_programs
from fhir_tracker.storage.database import Database
from tests.scenarios.ehr import (
    DIABETES,
    DISCHARGE_SUMMARY,
    HYPERTENSION,
    condition,
    document,
    flag,
    local,
    patient,
    stay,
    visit,
)
from tests.scenarios.practice import Practice
from tests.support.clinic import COORDINATOR, FRONT_DESK, NURSE, PROVIDER, SYSTEM

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
TCM = starter_programs()["tcm"]
Fired = set[tuple[FiringKey, datetime]]


@pytest.fixture
def practice(database: Database) -> Practice:
    """Five weeks of a practice: calls nobody makes, escalations answered in every way, a hold, missed visits, flags, labs."""
    practice = Practice(database, local("2026-03-02 08:00"))
    for who in ("ana", "bea", "cid", "dan"):
        practice.ehr(local("2026-03-06 15:00"), patient(who), stay(f"s-{who}", who, local("2026-03-06 14:30")))
    ids = (condition("c1", "eve", DIABETES), condition("c2", "eve", HYPERTENSION))
    practice.ehr(local("2026-03-07 10:00"), patient("eve"), *ids)
    practice.tries(practice.one("bea", "first-call").ref, local("2026-03-09 09:00"), "reached")
    practice.tries(practice.one("dan", "first-call").ref, local("2026-03-09 09:10"), "left-message")
    practice.tries(practice.one("dan", "first-call").ref, local("2026-03-09 15:10"), "no-answer", channel="sms")
    practice.until(local("2026-03-10 17:30"))
    practice.answer(practice.escalation(practice.one("cid", "first-call").ref, 1), "acknowledge", practice.now, NURSE)
    practice.change_due(
        practice.one("dan", "first-call").ref, local("2026-03-12 12:00"), local("2026-03-11 08:30"), FRONT_DESK
    )
    practice.ehr(
        local("2026-03-11 09:00"), visit("v1", "bea", local("2026-03-12 10:00")), flag("f", "bea", practice.now)
    )
    practice.ehr(local("2026-03-12 11:00"), visit("v1", "bea", local("2026-03-12 10:00"), status="noshow"))
    practice.ehr(
        local("2026-03-13 09:00"),
        document("d", "bea", local("2026-03-12 09:00"), code=DISCHARGE_SUMMARY, encounter="s-bea"),
    )
    practice.until(local("2026-03-13 12:00"))
    ana = practice.one("ana", "first-call").ref
    practice.until(local("2026-03-13 13:00"))
    with practice.acting(practice.now, PROVIDER) as (tx, by):
        escalation.send_back(tx, practice.escalation(ana, 2), "Not mine", by, code="not-mine")
    practice.work(practice.now)
    practice.do(ana, "done", local("2026-03-16 09:00"), COORDINATOR, note="Reached at last")
    practice.do(ana, "to-do", local("2026-03-17 09:00"), NURSE, reason="It was not the carer")
    practice.until(local("2026-04-03 17:00"))
    return practice


def replayed(practice: Practice, since: datetime = BEGIN) -> tuple[Fired, Fired]:
    """What really fired and what fires again: the levels of every ladder, with their times."""
    really: Fired = set()
    again: Fired = set()
    people = sorted({one.patient for one in practice.all_items() if one.patient})
    with practice.database.read() as tx:
        for history in patient_history.read(tx, SYSTEM, people, practice.now).values():
            for code in ("tcm", "ccm"):
                story = replaying.replay(history, code, dry_run.in_force(tx), since, practice.now)
                again |= {(one.key, one.at) for one in story.fired if isinstance(one.effect, Escalate)}
            levels = [one for one in history.firings.values() if one.kind == "escalate" and one.fired_at > since]
            really |= {(one.key, one.fired_at) for one in levels}
    return really, again


def test_the_same_version_fires_what_really_fired_at_the_same_moments(practice: Practice) -> None:
    for since in ("2026-01-01 00:00", "2026-03-10 17:15", "2026-03-13 12:30", "2026-03-20 03:00"):
        really, again = replayed(practice, local(since))
        assert len(really) > 3
        assert again == really
    before = (practice.all_items(), practice.stored("Task", "Flag", "Provenance"))
    report = dry_run.run(practice.database, read_program(TCM), BEGIN, practice.now)
    real, old, new = (report.sides[name] for name in dry_run.SIDES)
    assert report.patients == 4
    assert real.escalations == old.escalations == new.escalations > 8
    assert old.by == new.by
    assert old.outside_hours == new.outside_hours == 0
    assert real.by["rule"] == new.by["rule"]
    assert real.by["hour"] == new.by["hour"]
    assert report.differing.total() == 0
    assert report.left_out == {}
    assert dry_run.run(practice.database, read_program(TCM), BEGIN, practice.now, most=2).patients == 2
    assert (practice.all_items(), practice.stored("Task", "Flag", "Provenance")) == before


def test_an_earlier_due_time_and_other_hours_are_counted_by_rule_owner_and_hour(practice: Practice) -> None:
    changed = TCM.replace("within: 2 business days}\n    outreach", "within: 30 hours}\n    outreach")
    assert changed != TCM
    report = dry_run.run(practice.database, read_program(changed), BEGIN, practice.now)
    new, old = report.sides["new"], report.sides["old"]
    assert new.outside_hours > 0
    assert sum(new.by["hour"].values()) == sum(new.by["owner"].values()) == new.escalations
    assert report.differing["gained"] + report.differing["moved"] > 0
    assert new.by["rule"]["first-call-late"] >= old.by["rule"]["first-call-late"]
    for some in report.examples.values():
        assert all(one.item.startswith(("Task/", "CarePlan/")) for one in some)
    said = json.dumps(report.as_json()) + "\n".join(report.as_lines())
    assert "Synthetic" not in said


def test_a_rule_that_is_gone_fires_nothing_and_the_work_it_made_is_left_out(practice: Practice) -> None:
    start, end = TCM.index("  - id: missed-visit"), TCM.index("  - id: no-summary")
    changed = (TCM[:start] + TCM[end:]).replace("once: event", "once: patient")
    report = dry_run.run(practice.database, read_program(changed), BEGIN, practice.now)
    assert "missed-visit" not in report.sides["new"].by["rule"]
    assert report.left_out["work that would not have been made, with all that came of it"] == 1
    assert report.differing["lost"] > 0
    assert [one for one in report.left_out if "eligibility" in one]


def test_rules_of_then_are_what_fired_a_moment_later(practice: Practice) -> None:
    ref = practice.one("cid", "first-call").ref
    first = next(one for one in practice.firings(ref) if one.kind == "escalate")
    just = first.fired_at - timedelta(minutes=1)
    with practice.database.read() as tx:
        before = rule_replay.of_item(tx, SYSTEM, ref, just)
        after = rule_replay.of_item(tx, SYSTEM, ref, first.fired_at + timedelta(minutes=1))
    assert before.wanted == ()
    assert before.next_at == first.fired_at
    assert [one.key.level for one in after.fired if one.kind == "escalate"] == [1]
    assert not next(one for one in before.findings if one.rule == "first-call-late").verdict.holds
    assert next(one for one in after.findings if one.rule == "first-call-late").verdict.holds
    sleeping(practice)


def test_where_nothing_happened_there_are_no_empty_sections(practice: Practice) -> None:
    report = dry_run.run(practice.database, read_program(TCM), BEGIN - timedelta(days=30), BEGIN - timedelta(days=29))
    lines = report.as_lines()
    assert lines[1].startswith("would have escalated 0 times")
    assert not [line for line in lines if line.endswith(":")]


def sleeping(practice: Practice) -> None:
    """The worker sleeps while levels fall due: they were wanted, and fired when it woke."""
    ref = practice.by_hand("tcm", "eve", local("2026-04-06 09:00"))
    at = local("2026-04-20 12:00")
    found = list(rule_replay.waiting(practice.database, SYSTEM, ("tcm", "ccm"), at))
    assert any(one.item.startswith("Task/") and one.program == "tcm|1" for one in found)
    assert all(said.fired_at is None for one in found for said in one.wanted)
    practice.work(at + timedelta(hours=1))
    found = list(rule_replay.waiting(practice.database, SYSTEM, ("tcm",), at))
    fired = [said.fired_at for one in found for said in one.wanted if said.key.level == 1]
    assert fired
    assert set(fired) == {at + timedelta(hours=1)}
    assert ref.startswith("CarePlan/")
