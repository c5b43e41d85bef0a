"""The laws of a plan's work: what was made is not made again, nothing new is wanted before the look that was asked for."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_tracker.errors import Incorrect
from fhir_tracker.model.activity import activities_of
from fhir_tracker.model.effects import CreateTask, Effect, WithdrawTask
from fhir_tracker.model.facts import Facts
from fhir_tracker.model.program import Duration
from fhir_tracker.model.work import Firing, WorkItem
from fhir_tracker.model.zones import zone_of_patient
from fhir_tracker.rules.engine import evaluate
from fhir_tracker.rules.program_file import read_program
from fhir_tracker.rules.sla import sla_due
from fhir_tracker.rules.summary import program_summary
from tests.rules.samples import event, facts, item, plan, plan_item
from tests.support.care_program import CARE

DEMO = read_program(CARE)
START = datetime(2026, 10, 20, 13, 30, tzinfo=UTC)
ZONES = (None, "America/New_York", "America/Los_Angeles", "America/Phoenix", "Pacific/Honolulu")


def known(zone: str | None = None, *tasks: WorkItem, **changes: object) -> Facts:
    own = plan_item(program="care", created_at=START, status_since=START)
    base = facts(own, plan=plan(START), tasks=tasks, zone=zone)
    return replace(base, **changes)  # type: ignore[arg-type]


def made(before: Facts, effects: tuple[Effect, ...], now: datetime) -> Facts:
    """The facts after these effects: their firings, and the tasks that they make or close."""
    fired, tasks = list(before.fired), {one.ref: one for one in before.tasks}
    for effect in effects:
        ref = None
        if isinstance(effect, CreateTask):
            ref = f"Task/{len(tasks)}"
            code = effect.template
            tasks[ref] = item(ref=ref, code=code, created_at=now, starts_at=effect.starts_at, due_at=effect.due_at)
        if isinstance(effect, WithdrawTask):
            tasks[effect.task] = replace(tasks[effect.task], open=False, fhir_status="cancelled")
        fired.append(Firing(key=effect.key, fired_at=now, kind="x", task=ref))
    return replace(before, fired=tuple(fired), tasks=tuple(tasks.values()))


moments = st.integers(0, 90 * 24 * 60).map(lambda minutes: START + timedelta(minutes=minutes))


@given(now=moments, zone=st.sampled_from(ZONES))
@settings(max_examples=40, deadline=None)
def test_what_was_made_is_not_wanted_again(now: datetime, zone: str | None) -> None:
    before = known(zone)
    after = made(before, evaluate(DEMO, before, now).effects, now)
    assert evaluate(DEMO, after, now).effects == ()


@given(now=moments, zone=st.sampled_from(ZONES), part=st.floats(0, 1, exclude_max=True))
@settings(max_examples=60, deadline=None)
def test_nothing_new_is_wanted_before_the_look_that_was_asked_for(now: datetime, zone: str | None, part: float) -> None:
    before = known(zone)
    settled = made(before, evaluate(DEMO, before, now).effects, now)
    asked = evaluate(DEMO, settled, now).next_at
    assert asked is not None
    assert asked > now
    between = min(now + (asked - now) * part, asked - timedelta(microseconds=1))
    for moment in (between, asked - timedelta(microseconds=1)):
        assert evaluate(DEMO, settled, max(moment, now)).effects == ()
    assert evaluate(DEMO, settled, asked).effects


@given(now=moments, first=st.sampled_from(ZONES), then=st.sampled_from(ZONES))
@settings(max_examples=40, deadline=None)
def test_after_a_move_what_is_ahead_is_what_the_new_clock_asks_for(
    now: datetime, first: str | None, then: str | None
) -> None:
    before = known(first)
    settled = replace(made(before, evaluate(DEMO, before, now).effects, now), zone=then)
    moved = made(settled, evaluate(DEMO, settled, now).effects, now)
    assert evaluate(DEMO, moved, now).effects == ()
    ahead = {one.starts_at for one in moved.tasks if one.open and one.starts_at and one.starts_at > now}
    fresh = made(known(then), evaluate(DEMO, known(then), now).effects, now)
    assert ahead == {one.starts_at for one in fresh.tasks if one.starts_at and one.starts_at > now}


@given(now=moments)
@settings(max_examples=20, deadline=None)
def test_a_slower_rhythm_of_a_new_version_makes_its_occurrences(now: datetime) -> None:
    weekly = read_program(CARE.replace(", zone: patient, horizon: 20 days", ""))
    monthly = read_program(CARE.replace("every: 1 week, zone: patient, horizon: 20 days", "every: 1 month"))
    state = known()
    for week in range(30):
        at = START + timedelta(days=7 * week)
        state = made(state, evaluate(weekly, state, at).effects, at)
        closed = tuple(replace(one, open=False, fhir_status="completed") for one in state.tasks)
        state = replace(state, tasks=closed)
    later = START + timedelta(days=7 * 30) + (now - START)
    wanted = {one.key: one for one in evaluate(monthly, state, later).effects if isinstance(one, CreateTask)}
    is_due = any(one.template == "weekly" for one in wanted.values())
    last = max(one.fired_at for one in state.fired)
    following = evaluate(monthly, state, last).next_at
    assert following is not None
    assert is_due == (later >= following)


def test_work_made_ahead_is_seen_by_rules_from_its_start_on() -> None:
    rules = """rules:
  - {id: alone, when: {unassigned_for: 1 hour}, do: {raise_flag: alone}}
  - {id: stuck, when: {in_status_for: {for: 2 hours}}, do: {raise_flag: stuck}}
"""
    program, begins = read_program(CARE + rules), START + timedelta(days=7)
    work = item(program="care", code="weekly", status="todo", created_at=START, status_since=START, starts_at=begins)
    ahead = facts(work, plan=plan(START))
    assert evaluate(program, ahead, begins - timedelta(seconds=1)).next_at == begins
    assert evaluate(program, ahead, begins + timedelta(minutes=59)).effects == ()
    fired = [one.key.rule for one in evaluate(program, ahead, begins + timedelta(hours=2)).effects]
    assert fired == ["alone", "stuck"]
    only = [one.key.rule for one in evaluate(program, ahead, begins + timedelta(minutes=61)).effects]
    assert only == ["alone"]


def test_a_pause_before_the_start_moves_nothing() -> None:
    program, begins = read_program(CARE + "pauses: hospital\n"), START + timedelta(days=7)
    stay = event("Encounter/e", "finished", START, end=START + timedelta(days=3), codes=("x|IMP",))
    work = item(program="care", code="weekly", created_at=START, starts_at=begins, due_at=begins + timedelta(days=2))
    assert sla_due(program, facts(work, events=(stay,))) == work.due_at


@pytest.mark.parametrize(
    ("change", "at", "told"),
    [
        (("starts: {after: plan-talk}", "starts: {after: letter}"), "tasks[3].starts", "waits for itself, letter after letter"),
        (("{code: assess, role: rn,", "{code: assess, role: rn, starts: {after: letter},"), "tasks[0].starts",
         "assess after letter after plan-talk after assess"),
        (("after: [assess, labs]", "after: [asess, labs]"), "tasks[2].starts.after[0]", 'did you mean "assess"'),
        (("in: [done]", "in: [doen]"), "tasks[2].starts.in[0]", 'did you mean "done"'),
        (("horizon: 20 days", "horizon: 3 business days"), "tasks[4].horizon", "calendar time"),
        (("horizon: 20 days", "horizon: 500 days"), "tasks[4].horizon", "400 days at most"),
        (("every: 1 week, zone: patient, horizon: 20 days", "every: 1 hour, horizon: 20 days"), "tasks[4].horizon",
         "more than 60 tasks at once"),
        (("zone: patient", "zone: moon"), "tasks[4].zone", "unknown"),
        (("goal: hba1c", "goal: hba1"), "tasks[0].goal", 'did you mean "hba1c"'),
        (("part_of: assess", "part_of: labs"), "tasks[1].part_of", "part of itself"),
        (("at_most: 8 %", "at_most: lots"), "goals[0].target.at_most", "is not a value"),
        (('measure: "http://loinc.org|4548-4"', "measure: hba1c"), "goals[0].target.measure", "is not a coded value"),
        (("{role: rn, title: Nurse}", "{role: rn, primary: true}"), "team", "only one role"),
        (("{role: rn, title: Nurse}", "{role: care-coordinator}"), "team[1].role", "already defined"),
        (("owner: primary", "owner: boss"), "tasks[3].owner", "unknown"),
        (("due: {after: enrolment, within: 2 days}", "zone: patient"), "tasks[0].zone", "belongs to a task on cadence"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)  # fmt: skip
def test_a_wrong_word_is_told_with_its_place(change: tuple[str, str], at: str, told: str) -> None:
    assert change[0] in CARE
    with pytest.raises(Incorrect) as caught:
        read_program(CARE.replace(*change, 1))
    found = [one for one in caught.value.issues if one.expression == at]
    assert [told in one.message and one.message.startswith("line ") for one in found] == [True]


def test_owners_of_a_team_need_a_team() -> None:
    i, j = CARE.index("team:"), CARE.index("statuses:")
    with pytest.raises(Incorrect) as caught:
        read_program(CARE[:i] + CARE[j:])
    assert [one.expression for one in caught.value.issues] == ["tasks[0].owner", "tasks[3].owner"]


def test_approvers_read_what_starts_when_whose_it_is_and_what_for() -> None:
    said = "\n".join(program_summary(DEMO))
    for part in (
        "plan-talk: Plan talk, for provider, once each of assess and labs is done",
        "letter: Letter, for front-desk, once plan-talk is completed, no due time, owned by the primary of the care team",
        "weekly: Weekly, for rn, every 1 week on the patient's clock, made 20 days ahead",
        "hba1c: HbA1c under control, at most 8 % (http://loinc.org|4548-4), within 90 days",
        "Care team: Nurse (rn), Coordinator (care-coordinator, primary)",
        "part of assess",
        "for the goal hba1c",
    ):
        assert part in said


@pytest.mark.parametrize(
    ("address", "zone"),
    [
        ([{"state": "CA"}], "America/Los_Angeles"),
        ([{"state": "California", "country": "usa"}], "America/Los_Angeles"),
        ([{"state": "TX", "postalCode": "79901"}], "America/Denver"),
        ([{"state": "TX", "postalCode": "77001"}], "America/Chicago"),
        ([{"state": "TN", "postalCode": "37902-1234"}], "America/New_York"),
        ([{"state": "FL", "postalCode": "32501"}], "America/Chicago"),
        ([{"use": "old", "state": "HI"}, {"use": "work", "state": "NY"}, {"use": "home", "state": "AZ"}], "America/Phoenix"),
        ([{"state": "ON", "country": "CA"}], None),
        ([{"state": "Ontario"}], None),
        ([{}], None),
        ([], None),
        (["CA"], None),
        ([{"state": "CA", "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/timezone",
                                         "valueCode": "America/Boise"}]}], "America/Boise"),
        ([{"state": "CA", "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/timezone",
                                         "valueCode": "Mars/Olympus"}]}], "America/Los_Angeles"),
    ],
    ids=str,
)  # fmt: skip
def test_a_patient_lives_in_the_zone_of_the_home(address: list[object], zone: str | None) -> None:
    assert zone_of_patient({"resourceType": "Patient", "address": address}) == zone


def test_interventions_keep_their_keys_when_others_come_and_go() -> None:
    feet, shots = {"detail": {"code": {"text": "Feet"}}}, {"detail": {"code": {"text": "Shots"}}}
    named = {"id": "own", "detail": {"code": {"text": "Named"}}}
    first = {one.title: one.key for one in activities_of({"activity": [feet, shots, named]})}
    then = {one.title: one.key for one in activities_of({"activity": [named, shots]})}
    assert then == {name: key for name, key in first.items() if name != "Feet"}
    assert first["Named"] == "own"
    twice = [one.key for one in activities_of({"activity": [feet, feet]})]
    assert twice == [first["Feet"], f"{first['Feet']}.2"]


@pytest.mark.parametrize(
    ("repeat", "every"),
    [
        ({"frequency": 1, "period": 2, "periodUnit": "wk"}, Duration(amount=2, unit="weeks")),
        ({"period": 1, "periodUnit": "mo"}, Duration(amount=1, unit="months")),
        ({"frequency": 3, "period": 1, "periodUnit": "d"}, None),
        ({"frequency": 1, "period": 0, "periodUnit": "d"}, None),
        ({"frequency": 1, "period": -1, "periodUnit": "d"}, None),
        ({"frequency": 1, "period": 1.5, "periodUnit": "d"}, None),
        ({"frequency": 1, "period": 1, "periodUnit": "a"}, None),
        ({"frequency": 1, "period": 9999999999, "periodUnit": "d"}, None),
        ({"frequency": 1, "period": "x", "periodUnit": ["d"]}, None),
        ([], None),
    ],
    ids=str,
)
def test_only_a_plain_rhythm_recurs(repeat: object, every: Duration | None) -> None:
    (found,) = activities_of({"activity": [{"detail": {"scheduledTiming": {"repeat": repeat}}}]})
    assert found.every == every


@pytest.mark.parametrize("activity", [None, [], {}, "x", [None], [{}], [{"detail": []}], [{"detail": "x"}]], ids=str)
def test_what_is_no_intervention_is_none(activity: object) -> None:
    assert activities_of({"activity": activity}) == ()
