"""Programs made to hurt publish what is valid FHIR, says what they say, and takes no other program's place."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from decimal import Decimal

import pytest

from fhir_tracker import program_resources, publishing
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.identity import is_legal_id
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.model.work import Event
from fhir_tracker.rules.forms import answer_codes, scored
from fhir_tracker.rules.program_file import read_program
from fhir_tracker.rules.summary import program_summary
from fhir_tracker.storage.database import Database
from tests.support.clinic import COORDINATOR, MONDAY, Clinic, author
from tests.support.hostile_programs import LONGEST, TEXTS, hostile


def published(text: str, version: int = 1, status: program_resources.DefinitionStatus = "active") -> list[Resource]:
    return program_resources.of_program(replace(read_program(text), version=version), status)


@pytest.mark.requirement(138)
@pytest.mark.parametrize("name", TEXTS)
def test_whatever_a_program_is_called_its_artefacts_are_valid_and_say_it(name: str) -> None:
    made = published(hostile(TEXTS[name]), version=999_999)
    wrong = [(one["resourceType"], each) for one in made for each in check(one) if each.severity in ("error", "fatal")]
    assert wrong == []
    assert all(is_legal_id(one["id"]) for one in made)
    assert len({(one["resourceType"], one["id"]) for one in made}) == len(made)
    assert len({(one["resourceType"], one["url"]) for one in made}) == len(made)
    titles = {one["title"] for one in made if one["resourceType"] == "PlanDefinition"}
    said = TEXTS[name].strip()
    assert {one.strip() for one in titles} == {said}
    assert "<script>" not in " ".join(one["text"]["div"] for one in made if "text" in one)
    assert any(said in line for line in program_summary(read_program(hostile(TEXTS[name]))))


@pytest.mark.parametrize("name", ["pipes", "scripts", "quotes"])
def test_such_a_program_is_published_and_worked_by_on_both_databases(database: Database, name: str) -> None:
    clinic = Clinic(database, hostile(TEXTS[name]))
    with database.begin() as tx:
        publishing.publish(tx, hostile(TEXTS[name]).replace('"rn"', '"provider"'), author(MONDAY, COORDINATOR))
    active = [one for one in clinic.stored("PlanDefinition") if one["status"] == "active"]
    assert [one["version"] for one in active] == ["2"]
    assert json.dumps(active[0]["title"], ensure_ascii=False).count("|") == TEXTS[name].count("|")
    system = next(one for one in clinic.stored("CodeSystem") if one["url"] == clinic.program.status_system)
    assert [one["code"] for one in system["concept"]] == ["o" * 64, "done"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "b-c"), ("a-b", "c")),
        (("a", "b-answer"), ("a-b", "answer")),
        (("a-b-c", "d"), ("a", "b-c-d")),
        ((LONGEST, "c" * 60), (LONGEST[:-1], "c" * 61)),
        ((LONGEST, "c" * 63), (LONGEST, "c" * 64)),
    ],
)
def test_no_two_forms_of_any_programs_share_an_id_or_an_address(one: tuple[str, str], other: tuple[str, str]) -> None:
    made = [published(hostile("A title", program=program, form=form)) for program, form in (one, other)]
    kinds = ("Questionnaire", "CodeSystem")
    names = [
        {
            (row["resourceType"], row[key])
            for row in some
            if row["resourceType"] in kinds and (row["resourceType"] == "Questionnaire" or "answers" in row["title"])
            for key in ("id", "url")
        }
        for some in made
    ]
    assert len(names[0]) == 4
    assert not names[0] & names[1]
    questions = [row for some in made for row in some if row["resourceType"] == "Questionnaire"]
    systems = [{o["valueCoding"]["system"] for item in row["item"] for o in item["answerOption"]} for row in questions]
    assert systems[0].isdisjoint(systems[1])


def test_each_answer_has_a_code_of_its_own_whatever_script_it_is_written_in() -> None:
    form = read_program(hostile(TEXTS["scripts"])).forms[0]
    codes = answer_codes(form)
    assert len(codes) == 6
    assert not [code for code, often in Counter(codes.values()).items() if often > 1]
    assert all(0 < len(code) <= 64 for code in codes.values())
    plain = read_program(hostile("plain words")).forms[0]
    assert answer_codes(plain)["plain words 0"] == "plain-words-0", "what was published before stays readable"
    (system,) = [one for one in published(hostile("x")) if one["title"] == "x: answers"]
    assert len(system["concept"]) == 6
    assert {one["display"] for one in system["concept"]} == {"x 0", "x 1", "Нет", "Да", "Yes!", "Yes?"}


@pytest.mark.parametrize(
    ("text", "weight"), [("Нет", 2), ("Да", 3), ("Yes!", 4), ("Yes?", 5), ("😀 0", 0), ("😀 1", 1)]
)
def test_an_answer_weighs_what_it_says_by_its_code_alone(text: str, weight: int) -> None:
    form = read_program(hostile("😀")).forms[0]
    answers = json.dumps([["q" * 64, f"https://fhir-tracker.example/x|{answer_codes(form)[text]}", "", "", ""]])
    response = Event(
        ref="QuestionnaireResponse/1",
        type="QuestionnaireResponse",
        status="completed",
        patient="ann",
        seen_at=MONDAY,
        detail={"answers": answers},
    )
    assert scored(form, response).answers == {"q" * 64: Decimal(weight)}


def test_a_code_that_two_answers_could_have_had_before_is_neither() -> None:
    form = read_program(hostile("x")).forms[0]
    response = Event(
        ref="QuestionnaireResponse/1",
        type="QuestionnaireResponse",
        status="completed",
        patient="ann",
        seen_at=MONDAY,
        detail={"answers": json.dumps([["q2", "yes", "", "", ""]])},
    )
    found = scored(form, response)
    assert (found.answers, found.wrong) == ({}, ("q2",))
