"""A rule that gets another name keeps its cases: nothing fires twice, whatever versions lie between."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fhir_tracker import dry_run, escalation, plan_migration, programs, publishing
from fhir_tracker.errors import Incorrect, RuleBroken
from fhir_tracker.model.plan_map import PlanMap
from fhir_tracker.model.program import Condition, Program, Rule
from fhir_tracker.rules.difference import differences
from fhir_tracker.rules.program_file import read_program
from fhir_tracker.rules.renaming import causes_of, renamed_from
from fhir_tracker.rules.summary import program_summary
from fhir_tracker.storage.database import Database
from tests.support.clinic import MONDAY, NURSE, RING, Clinic, author

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
LATE = MONDAY + 3 * DAY
NOW_OVERDUE = RING.replace("- id: late\n", "- id: overdue\n    was: late\n")
NOW_SLOW = RING.replace("- id: late\n", "- id: slow\n    was: overdue\n")
"""The third name in a row, which tells of the second alone."""
FORGETFUL = RING.replace("- id: late\n", "- id: overdue\n")
FLAGGING = RING.replace(
    "do: {escalate: late-call}",
    "do: [{escalate: late-call}, {raise_flag: hard-to-reach}]\n"
    "  - id: calm\n    when: {all: [{task: first-call}, {in_status_for: {status: calling, for: 1 hour}}]}\n"
    "    do: {clear_flag: {code: hard-to-reach, cause: late}}",
)


@pytest.fixture
def clinic(database: Database) -> Clinic:
    """A call that is late, its first level fired by the rule `late` of version 1."""
    return late_in(database)


def late_in(database: Database, program: str = RING) -> Clinic:
    made = Clinic(database, program)
    made.patient("ann")
    made.discharge("ann", MONDAY)
    made.sweep(LATE)
    return made


def migrate(clinic: Clinic, text: str, at: Any) -> Program:
    """Publish and take every plan along."""
    wanted = clinic.publish(text, at)
    plan_migration.migrate(clinic.database, wanted, PlanMap(), author(at), "the new version")
    return wanted


def levels(clinic: Clinic) -> list[tuple[str, int]]:
    fired = clinic.firings(clinic.task("ann", "first-call").ref)
    return [(one.key.rule, one.key.level) for one in fired if one.kind == "escalate"]


def test_the_ladder_climbs_on_under_the_new_name_and_no_level_fires_twice(clinic: Clinic) -> None:
    migrate(clinic, NOW_OVERDUE, LATE + HOUR)
    clinic.sweep(LATE + 2 * HOUR)
    assert levels(clinic) == [("late", 1)]
    clinic.sweep(LATE + 4 * HOUR)
    clinic.sweep(LATE + 5 * HOUR)
    assert levels(clinic) == [("late", 1), ("overdue", 2), ("overdue", 3)]
    assert [one.role for one in clinic.escalations("ann")] == ["rn", "provider", "clinic-admin"]


def test_an_answer_under_the_old_name_stops_the_ladder_under_the_new_one(clinic: Clinic) -> None:
    with clinic.acting(LATE, NURSE) as (tx, by):
        escalation.acknowledge(tx, clinic.escalations("ann")[0].ref, by)
    migrate(clinic, NOW_OVERDUE, LATE + HOUR)
    clinic.sweep(LATE + 9 * DAY)
    assert levels(clinic) == [("late", 1)]


def test_without_a_word_of_it_the_case_begins_anew_and_the_preview_says_so(clinic: Clinic) -> None:
    wanted = clinic.publish(FORGETFUL, LATE + HOUR)
    with clinic.database.read() as tx:
        notes = plan_migration.preview(tx, wanted, PlanMap()).notes
    assert notes == ("rules of version 1 that are gone: late; their open escalations stay",)
    with clinic.database.read() as tx:
        assert plan_migration.preview(tx, read_program(NOW_OVERDUE), PlanMap()).notes == ()
    plan_migration.migrate(clinic.database, wanted, PlanMap(), author(LATE + HOUR), "so be it")
    clinic.sweep(LATE + 2 * HOUR)
    assert levels(clinic) == [("late", 1), ("overdue", 1)]


def test_names_are_known_from_versions_between_that_no_plan_was_ever_on(clinic: Clinic) -> None:
    clinic.publish(NOW_OVERDUE, LATE)
    migrate(clinic, NOW_SLOW, LATE + HOUR)
    with clinic.database.read() as tx:
        assert programs.required(tx, "ring", 3).renamed == {"overdue": "slow", "late": "slow"}
    clinic.sweep(LATE + 5 * HOUR)
    assert levels(clinic) == [("late", 1), ("slow", 2)]


def test_a_rollback_knows_what_fired_under_the_name_it_never_heard_of(clinic: Clinic) -> None:
    migrate(clinic, NOW_OVERDUE, LATE + HOUR)
    clinic.sweep(LATE + 4 * HOUR)
    with clinic.acting(LATE + 5 * HOUR) as (tx, by):
        row = publishing.roll_back(tx, "ring", by)
    assert row.renamed == {"overdue": "late"}
    with clinic.database.read() as tx:
        back = programs.required(tx, "ring")
    plan_migration.migrate_back(clinic.database, 2, back, author(LATE + 5 * HOUR), "back")
    assert clinic.task("ann", "first-call").program_version == 3
    clinic.sweep(LATE + 6 * HOUR)
    assert levels(clinic) == [("late", 1), ("overdue", 2), ("late", 3)]


def test_a_flag_is_cleared_by_its_cause_under_whatever_name_it_was_put_up(database: Database) -> None:
    clinic = late_in(database, FLAGGING)
    (flag,) = clinic.stored("Flag")
    assert flag["status"] == "active"
    renamed = FLAGGING.replace("- id: late\n", "- id: overdue\n    was: late\n").replace(
        "cause: late", "cause: overdue"
    )
    migrate(clinic, renamed, LATE + HOUR)
    clinic.move(clinic.task("ann", "first-call").ref, "calling", LATE + HOUR)
    clinic.sweep(LATE + 3 * HOUR)
    assert [one["status"] for one in clinic.stored("Flag")] == ["inactive"]


def test_the_dry_run_and_the_difference_say_renamed_and_nothing_else(clinic: Clinic) -> None:
    clinic.sweep(LATE + 4 * HOUR)
    clinic.sweep(LATE + 5 * HOUR)
    report = dry_run.run(clinic.database, read_program(NOW_OVERDUE), MONDAY - DAY, LATE + DAY)
    assert report.differing.total() == 0
    counts = [report.sides[one].by["rule"] for one in dry_run.SIDES]
    assert counts[0] == counts[1] == counts[2] == {"overdue": 3}
    assert "renamed: late -> overdue, counted under the new name" in report.as_lines()
    assert report.as_json()["renamed"] == {"late": "overdue"}
    begun_anew = dry_run.run(clinic.database, read_program(FORGETFUL), MONDAY - DAY, LATE + DAY)
    assert (begun_anew.differing["gained"], begun_anew.differing["lost"]) == (3, 3)
    found = differences(read_program(RING), read_program(NOW_OVERDUE))
    assert [one.text for one in found] == [
        "rule overdue is late renamed: its cases go on under the new name",
        "rule overdue: title changes from Late to Overdue",
    ]
    assert any("overdue (was late): when" in line for line in program_summary(read_program(NOW_OVERDUE)))


def test_a_dry_run_from_amid_a_case_goes_on_with_what_fired_under_the_old_name(clinic: Clinic) -> None:
    clinic.sweep(LATE + 4 * HOUR)
    clinic.sweep(LATE + 5 * HOUR)
    report = dry_run.run(clinic.database, read_program(NOW_OVERDUE), LATE + HOUR, LATE + DAY)
    assert report.differing.total() == 0
    assert report.sides["new"].by["level"] == {"overdue level 2": 1, "overdue level 3": 1}


def test_a_rule_cannot_take_the_name_that_another_one_had(clinic: Clinic) -> None:
    clinic.publish(NOW_OVERDUE, LATE)
    both = NOW_OVERDUE.replace("    was: late\n", "").replace("- id: missed", "- id: late")
    with clinic.acting(LATE) as (tx, by), pytest.raises(RuleBroken, match="the rule overdue was called late"):
        publishing.submit(tx, both, by)
    with clinic.acting(LATE) as (tx, by):
        assert publishing.roll_back(tx, "ring", by).version == 3


@pytest.mark.parametrize(
    ("was", "said"),
    [
        ("missed", '"missed" is a rule of this file'),
        ("late", '"late" is a rule of this file'),
        ("[old, old]", '"old" is said already'),
        ("Not A Code", '"Not A Code" is not a code'),
        ("{a: b}", "must be"),
    ],
)
def test_what_a_rule_was_called_is_read_with_care(was: str, said: str) -> None:
    with pytest.raises(Incorrect) as wrong:
        read_program(RING.replace("- id: late\n", f"- id: late\n    was: {was}\n"))
    assert [one.message for one in wrong.value.issues if said in one.message]
    assert "line " in wrong.value.issues[0].message


def rule(name: str, *was: str) -> Rule:
    return Rule(id=name, title="", subject="task", when=Condition(op="all"), do=(), was=was)


@pytest.mark.parametrize(
    ("rules", "earlier", "expected"),
    [
        ([rule("b", "a")], [], {"a": "b"}),
        ([rule("c", "b")], [[rule("a")], [rule("b", "a")]], {"a": "c", "b": "c"}),
        ([rule("c", "b")], [[rule("b", "a")], [rule("a")]], {"a": "c", "b": "c"}),
        ([rule("a")], [[rule("c", "b")], [rule("b", "a")]], {"b": "a", "c": "a"}),
        ([rule("a"), rule("b")], [[rule("b", "a")]], {}),
        ([rule("b"), rule("c", "a")], [[rule("b", "a")]], {"a": "c"}),
        ([rule("x")], [[rule("b", "a")]], {}),
    ],
)
def test_one_rule_has_many_names(rules: list[Rule], earlier: list[list[Rule]], expected: dict[str, str]) -> None:
    assert renamed_from(rules, earlier) == expected


def test_a_cause_has_each_name_that_its_rule_had() -> None:
    program = read_program(NOW_OVERDUE)
    assert causes_of(program, "ring#overdue") == ("ring#overdue", "ring#late")
    assert causes_of(program, "ring#missed") == ("ring#missed",)
    assert causes_of(program, "") == ()
