"""Whatever a valid program file says, what is made of it is valid FHIR and says the same."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fhir_tracker import enrolment, program_resources, programs, publishing, task_resources
from fhir_tracker.errors import Fault
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.identity import is_legal_id
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.model.program import Program
from fhir_tracker.model.subject import patient_of
from fhir_tracker.model.task import task_item
from fhir_tracker.model.vocabulary import program_named
from fhir_tracker.rules.moves import allowed_moves
from fhir_tracker.rules.program_file import read_program
from fhir_tracker.rules.summary import program_summary
from fhir_tracker.storage.database import Database
from tests.support.clinic import COORDINATOR, MONDAY, RING, Clinic
from tests.support.program_files import program_files

FILES = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
SECOND = RING.replace("title: Ring after discharge", "title: Ring soon after discharge")
DEFINITIONS = ("PlanDefinition", "ActivityDefinition", "CodeSystem", "ValueSet")


def faults(resources: list[Resource]) -> list[str]:
    return [str(issue) for one in resources for issue in check(one) if issue.severity in ("error", "fatal")]


@given(program_files())
@example(RING)
@FILES
def test_what_a_program_publishes_is_valid_and_hangs_together(text: str) -> None:
    program = replace(read_program(text), version=3)
    made = program_resources.of_program(program, "active")
    made += program_resources.of_program(replace(program, version=2), "retired")
    assert faults(made) == []
    ids = [(one["resourceType"], one["id"]) for one in made]
    assert len(set(ids)) == len(ids)
    assert all(is_legal_id(id_) for _, id_ in ids)
    plans = {one["version"]: one for one in made if one["resourceType"] == "PlanDefinition"}
    assert (plans["3"]["status"], plans["2"]["status"]) == ("active", "retired")
    for version, plan in plans.items():
        named = [action["definitionCanonical"] for action in plan.get("action", ())]
        activities = [one for one in made if one["resourceType"] == "ActivityDefinition" and one["version"] == version]
        assert named == [f"{one['url']}|{version}" for one in activities]
        assert {one["status"] for one in activities} == {plan["status"]}


@given(program_files())
@FILES
def test_codes_titles_and_meanings_are_published_as_they_were_written(text: str) -> None:
    program = replace(read_program(text), version=1)
    written: dict[str, Any] = yaml.safe_load(text)
    made = program_resources.of_program(program, "active")
    by_id = {one["id"]: one for one in made if one["resourceType"] == "CodeSystem"}
    concepts = by_id["made-status"]["concept"]
    assert [(one["code"], one["display"], one["definition"]) for one in concepts] == [
        (row["code"], row["title"], row["means"]) for row in written["statuses"]
    ]
    shown = {one["code"]: one["display"] for one in by_id["made-task"]["concept"]}
    assert {row["code"]: row["title"] for row in written["tasks"]}.items() <= shown.items()
    assert {one["title"] for one in made if one["resourceType"] == "PlanDefinition"} == {written["title"]}


@given(program_files())
@example(RING)
@FILES
def test_each_piece_of_work_is_a_valid_task_that_is_read_back_as_it_was_meant(text: str) -> None:
    program = replace(read_program(text), version=1)
    for template in program.tasks:
        new = task_resources.NewTask(
            id="t", patient="ann", plan="CarePlan/p", due_at=MONDAY + timedelta(days=2), reason="Because", about=None
        )
        task = task_resources.from_template(program, template, new, MONDAY)
        assert faults([task]) == []
        assert program_named(task["instantiatesCanonical"]) == (program.code, 1)
        item = task_item(task, program, mirrored=False, created_at=MONDAY)
        assert (item.code, item.role, item.priority, item.title) == (
            template.code,
            template.role,
            template.priority,
            template.title,
        )
        assert (item.plan, item.patient, item.due_at) == ("CarePlan/p", "ann", MONDAY + timedelta(days=2))
        assert patient_of(task) == "ann"
        assert item.status in {one.code for one in program.statuses}
        assert item.open


@given(program_files(), st.randoms(use_true_random=False))
@FILES
def test_from_every_status_each_allowed_move_makes_a_valid_task_in_the_status_it_names(text: str, chance: Any) -> None:
    program = replace(read_program(text), version=1)
    new = task_resources.NewTask(id="t", patient="ann", plan=None, due_at=None)
    task = task_resources.from_template(program, program.tasks[0], new, MONDAY)
    everyone = frozenset(role for move in program.moves for role in move.by) | {"rn"}
    for step in range(6):
        item = task_item(task, program, mirrored=False, created_at=MONDAY)
        ways = allowed_moves(program, item, everyone)
        if not ways:
            assert not item.open
            return
        way = chance.choice(ways)
        now = MONDAY + timedelta(hours=step)
        task = task_resources.with_status(task, program, way.to, now)
        own = program.status(way.to)
        assert own is not None
        assert (task["status"], faults([task])) == (own.fhir, [])
        moved = task_item(task, program, mirrored=False, created_at=MONDAY)
        assert (moved.status, moved.clock, moved.open) == (way.to, own.clock, own.clock != "stopped")
        assert ("executionPeriod" in task) == (own.clock == "stopped")


@given(program_files())
@example(RING)
@FILES
def test_a_program_can_be_told_in_words_and_names_each_of_its_parts(text: str) -> None:
    program = read_program(text)
    told = "\n".join(program_summary(program))
    for code, title in [(one.code, one.title) for one in program.statuses]:
        assert code in told or title in told
    for code, title in [(one.code, one.title) for one in program.tasks]:
        assert code in told or title in told
    assert bool(program.ladders) == ("ladders" in yaml.safe_load(text))


@given(program_files())
@FILES
def test_reading_a_file_twice_gives_the_same_program(text: str) -> None:
    assert read_program(text) == read_program(text)
    assert read_program(text).warnings == read_program(text + "\n# a remark\n").warnings


@pytest.fixture
def clinic(database: Database) -> Clinic:
    return Clinic(database)


def on_record(clinic: Clinic) -> list[tuple[str, int, str]]:
    with clinic.database.read() as tx:
        return [(one.code, one.version, one.status) for one in programs.all_programs(tx)]


def definitions(clinic: Clinic) -> set[tuple[str, str, str]]:
    return {
        (one["resourceType"], one["version"], one["status"])
        for one in clinic.stored("PlanDefinition", "ActivityDefinition")
    }


def test_going_back_and_forth_between_two_texts_keeps_one_version_active(clinic: Clinic) -> None:
    for number, text in enumerate((SECOND, RING, SECOND, SECOND, RING), start=1):
        clinic.publish(text, MONDAY + timedelta(hours=number))
        rows = on_record(clinic)
        assert [version for _, version, _ in rows] == list(range(len(rows), 0, -1))
        assert [status for _, _, status in rows] == ["active"] + ["retired"] * (len(rows) - 1)
        assert definitions(clinic) == {
            (type_, str(version), status)
            for _, version, status in rows
            for type_ in ("PlanDefinition", "ActivityDefinition")
        }
    assert len(on_record(clinic)) == 5
    assert [one.title for one in clinic.active()] == ["Ring after discharge"]


def test_a_publication_that_is_rolled_back_leaves_nothing(clinic: Clinic) -> None:
    before, rows = clinic.stored(*DEFINITIONS), on_record(clinic)

    def publish_and_fail() -> None:
        with clinic.acting(MONDAY) as (tx, by):
            assert publishing.publish(tx, SECOND, by).version == 2
            tx.flush()
            raise Fault("the power failed")

    with pytest.raises(Fault, match="the power failed"):
        publish_and_fail()
    assert (clinic.stored(*DEFINITIONS), on_record(clinic)) == (before, rows)
    assert clinic.publish(SECOND, MONDAY).version == 2


def test_each_plan_stays_on_the_version_it_was_opened_under_through_many_publications(clinic: Clinic) -> None:
    for number in range(1, 5):
        clinic.patient(f"p{number}")
        clinic.discharge(f"p{number}", MONDAY + timedelta(hours=number))
        clinic.program = clinic.publish(RING + f"# edition {number}\n", MONDAY + timedelta(hours=number))
        clinic.enrol(MONDAY + timedelta(hours=number))
    for number in range(1, 5):
        assert {item.program_version for item in clinic.items(f"p{number}")} == {number}
    clinic.sweep(MONDAY + timedelta(days=3))
    assert all(len(clinic.escalations(f"p{number}")) == 1 for number in range(1, 5))


@given(texts=st.lists(program_files(), min_size=1, max_size=3))
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_program_can_be_published_and_a_patient_enrolled_by_hand(
    tmp_path_factory: pytest.TempPathFactory, prepared_file: Path, texts: list[str]
) -> None:
    path = tmp_path_factory.mktemp("made") / "tracker.db"
    path.write_bytes(prepared_file.read_bytes())
    with closing(Database.open(f"sqlite:///{path}")) as database:
        clinic = Clinic(database, texts[0])
        for text in texts:
            clinic.program = clinic.publish(text, MONDAY)
        assert faults(clinic.stored(*DEFINITIONS)) == []
        clinic.patient("ann")
        with clinic.acting(MONDAY, COORDINATOR) as (tx, by):
            enrolment.by_hand(tx, clinic.program, "ann", by)
        check_plan(clinic, clinic.program)
        clinic.sweep(MONDAY + timedelta(days=40))
        assert faults(clinic.stored("CarePlan", "Task", "Provenance", "Flag")) == []
    path.unlink()


def check_plan(clinic: Clinic, program: Program) -> None:
    """The plan has the work that comes with it, each piece open, in its first status and of its role."""
    items = clinic.items("ann")
    (plan,) = [item for item in items if item.kind == "plan"]
    assert (plan.program, plan.program_version, plan.open) == (program.code, program.version, True)
    wanted = {one.code: one for one in program.tasks if one.on == "enrolment"}
    tasks = {item.code: item for item in items if item.kind == "task"}
    assert set(tasks) == set(wanted)
    for code, item in tasks.items():
        assert (item.role, item.open, item.plan) == (wanted[code].role, True, plan.ref)
        assert (item.due_at is None) == (wanted[code].due is None)
