"""Forms: how they are read, what answers come to, which flags and scores follow, and that each follows once."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.checks import check
from fhir_tracker.form_resources import answer_systems, questionnaires
from fhir_tracker.model.answers import ORDINAL
from fhir_tracker.model.effects import ClearFlag, Effect, RaiseFlag, RecordScore
from fhir_tracker.model.event import event_of
from fhir_tracker.model.facts import Facts
from fhir_tracker.model.program import Program
from fhir_tracker.model.work import Event, Firing
from fhir_tracker.rules.conditions import judge
from fhir_tracker.rules.engine import evaluate
from fhir_tracker.rules.forms import latest, score_words, wanted
from fhir_tracker.rules.program_file import read_program
from fhir_tracker.rules.summary import program_summary
from tests.rules.samples import BASE, MONDAY, PATIENT, facts, hours, plan_item

FORMS = """
forms:
  - code: mood
    title: Mood
    same_as: ["http://example.org/q/mood", Questionnaire/ehr-7]
    score: {code: "http://loinc.org|44261-6", needs: 2}
    answers: {Not at all: 0, Several days: 1, More than half the days: 2, Nearly every day: 3}
    items:
      - {code: interest, text: Little interest, links: "/44250-9"}
      - {code: down, text: Feeling down}
      - {code: harm, text: Thoughts of harm, answers: [{text: Never, weight: 0}, {text: Often, weight: 3, code: "urn:a|often"}]}
      - {code: age, text: Age, least: 0, most: 120, scored: no}
    flags:
      - {at_least: 4, raise: low-mood}
      - {item: harm, at_least: 1, raise: self-harm}
"""
WHEN = """
rules:
  - {id: low, when: {score: {form: mood, at_least: 4}}, do: {create_task: rebook}}
  - {id: fine, when: {score: {form: mood, at_most: 3}}, do: {notify: role/rn}}
"""


def demo(forms: str = FORMS, rules: str = WHEN) -> Program:
    return replace(read_program(BASE + forms + rules), version=3)


def response(
    name: str, *answers: tuple[str, Any], status: str = "completed", after: float = 1, form: str = ""
) -> Event:
    items = [
        {"linkId": link, "answer": [value if isinstance(value, dict) else plain(value)]} for link, value in answers
    ]
    body = {
        "resourceType": "QuestionnaireResponse",
        "id": name,
        "status": status,
        "questionnaire": form or "https://fhir-tracker.example/Questionnaire/demo.mood|2",
        "subject": {"reference": f"Patient/{PATIENT}"},
        "authored": (MONDAY + hours(after)).isoformat(),
        "item": items,
    }
    found = event_of(body, seen_at=MONDAY + hours(after))
    assert found is not None
    return found


def plain(value: Any) -> dict[str, Any]:
    return {"valueInteger": value} if isinstance(value, int) else {"valueCoding": {"display": value}}


def known(*events: Event, fired: tuple[Firing, ...] = ()) -> Facts:
    return facts(plan_item(), events=events, fired=fired)


def score(*answers: tuple[str, Any]) -> Decimal | None:
    program = demo()
    found = latest(program, known(response("a", *answers)), program.forms[0])
    assert found is not None
    return found.score


WEIGHED = {"code": "x", "extension": [{"url": ORDINAL[0], "valueDecimal": Decimal(2)}]}


@pytest.mark.parametrize(
    ("answers", "wanted_score"),
    [
        ([("interest", "Several days"), ("down", "nearly every day"), ("harm", "Never")], 4),
        ([("/44250-9", 1), ("down", 3)], 4),
        ([("interest", {"valueCoding": {"code": "more-than-half-the-days"}}), ("down", 0)], 2),
        ([("interest", {"valueCoding": WEIGHED}), ("down", 1)], 3),
        ([("harm", {"valueCoding": {"system": "urn:a", "code": "often"}}), ("down", 1)], 4),
        ([("interest", {"valueDecimal": Decimal("1.0")}), ("down", 1)], 2),
        ([("interest", 7), ("down", 1)], None),
        ([("interest", "Sometimes"), ("down", 1)], None),
        ([("interest", {"valueString": "Several days"}), ("down", {"valueBoolean": True})], 2),
        ([("interest", 1)], None),
        ([("age", 50), ("interest", 1)], None),
        ([], None),
        ([("interest", 1), ("interest", 2), ("down", 1)], None),
        ([("interest", 1), ("interest", 1), ("down", 1)], 2),
    ],
)
def test_a_score_is_the_sum_of_known_answers_and_none_when_too_few(
    answers: list[tuple[str, Any]], wanted_score: int | None
) -> None:
    assert score(*answers) == wanted_score


def test_why_says_what_is_missing_and_what_is_no_answer() -> None:
    program = demo()
    found = latest(program, known(response("a", ("interest", 9), ("down", 1))), program.forms[0])
    assert (
        score_words(program.forms[0], found)
        == "Mood has no score: 1 of 3 answers, it needs 2; no answer of theirs: interest"
    )
    assert score_words(program.forms[0], None) == "Mood was not filled in"


@pytest.mark.parametrize(
    ("form", "counts"),
    [
        ("https://fhir-tracker.example/Questionnaire/demo.mood", True),
        ("http://example.org/q/mood|1.2", True),
        ("Questionnaire/ehr-7", True),
        ("https://fhir-tracker.example/Questionnaire/demo.other", False),
        ("http://example.org/q", False),
    ],
)
def test_a_response_is_known_by_its_canonical(form: str, counts: bool) -> None:
    program = demo()
    found = latest(program, known(response("a", ("interest", 3), ("down", 3), form=form)), program.forms[0])
    assert (found is not None) is counts


class Play:
    """The engine at work on one plan: what it wants is fired, each under its key."""

    def __init__(self) -> None:
        self.program = demo()
        self.fired: list[Firing] = []
        self.up: set[str] = set()
        self.scores: dict[str, Decimal | None] = {}

    def see(self, *events: Event) -> list[Effect]:
        """One look; a second one at the same facts wants nothing more."""
        done: list[Effect] = []
        for _ in range(3):
            wishes = list(wanted(self.program, known(*events, fired=tuple(self.fired))))
            done += wishes
            for one in wishes:
                self._do(one)
        assert list(wanted(self.program, known(*events, fired=tuple(self.fired)))) == []
        return done

    def _do(self, one: Effect) -> None:
        kinds = {RaiseFlag: "raise-flag", ClearFlag: "clear-flag", RecordScore: "record-score"}
        assert one.key not in [firing.key for firing in self.fired]
        self.fired.append(
            Firing(key=one.key, fired_at=MONDAY + timedelta(seconds=len(self.fired)), kind=kinds[type(one)])
        )
        if isinstance(one, RaiseFlag):
            self.up.add(one.code)
        elif isinstance(one, ClearFlag):
            self.up.discard(one.code)
        elif isinstance(one, RecordScore):
            self.scores[one.response] = one.score


def test_flags_follow_the_latest_score_up_and_down_and_up_again() -> None:
    play = Play()
    bad = response("a", ("interest", 3), ("down", 3), ("harm", "Often"))
    play.see(bad)
    assert (play.up, play.scores) == ({"low-mood", "self-harm"}, {"QuestionnaireResponse/a": Decimal(9)})
    good = response("b", ("interest", 0), ("down", 1), ("harm", "Never"), after=2)
    play.see(bad, good)
    assert play.up == set()
    play.see(bad, replace(good, status="entered-in-error"))
    assert (play.up, play.scores["QuestionnaireResponse/b"]) == ({"low-mood", "self-harm"}, None)
    play.see(replace(bad, status="entered-in-error"), replace(good, status="entered-in-error"))
    assert play.up == set()


def test_an_amended_response_is_scored_again() -> None:
    play = Play()
    play.see(response("a", ("interest", 3), ("down", 3)))
    play.see(response("a", ("interest", 0), ("down", 1), status="amended"))
    assert (play.up, play.scores) == (set(), {"QuestionnaireResponse/a": Decimal(1)})
    play.see(response("a", ("interest", 3), ("down", 3), status="amended"))
    assert (play.up, play.scores) == ({"low-mood"}, {"QuestionnaireResponse/a": Decimal(6)})


def test_a_half_answered_form_takes_no_flag_down_and_one_in_progress_counts_for_nothing() -> None:
    play = Play()
    bad = response("a", ("interest", 3), ("down", 3), ("harm", "Often"))
    play.see(bad)
    play.see(bad, response("b", ("interest", 0), after=2))
    assert play.up == {"low-mood", "self-harm"}
    play.see(bad, response("c", ("interest", 0), ("down", 0), ("harm", "Never"), after=3, status="in-progress"))
    assert play.up == {"low-mood", "self-harm"}


def test_a_form_of_long_before_the_plan_counts_for_nothing() -> None:
    old = response("a", ("interest", 3), ("down", 3), after=-24 * 31)
    assert list(wanted(demo(), known(old))) == []
    assert list(wanted(demo(), known(response("a", ("interest", 3), ("down", 3), after=-24 * 29))))


def test_rules_see_the_score_and_that_there_is_none() -> None:
    program, later = demo(), MONDAY + hours(2)
    found = known(response("a", ("interest", 3), ("down", 3)))
    (low,) = judge(program, found, program.rules[0].when, later)
    assert (low.holds, low.occurrence, low.facts["score"]) == (True, "QuestionnaireResponse/a", "6")
    assert low.why.startswith("Mood scored 6 on 2 of 3 answers")
    (fine,) = judge(program, found, program.rules[1].when, later)
    assert not fine.holds
    (unanswered,) = judge(program, known(), program.rules[1].when, later)
    assert (unanswered.holds, unanswered.why) == (False, "Mood was not filled in")
    effects = evaluate(program, found, later).effects
    assert {type(one).__name__ for one in effects} >= {"CreateTask", "RaiseFlag", "RecordScore"}


VALUES = st.one_of(
    st.integers(-5, 5),
    st.sampled_from(["Not at all", "Often", "x", ""]),
    st.dictionaries(
        st.sampled_from(["valueInteger", "valueCoding", "valueString", "valueDecimal"]), st.none() | st.text()
    ),
)
RESPONSES = st.lists(
    st.tuples(
        st.lists(st.tuples(st.sampled_from(["interest", "down", "harm", "age", "zz"]), VALUES), max_size=5),
        st.sampled_from(["completed", "amended", "in-progress", "entered-in-error", "stopped", ""]),
        st.integers(0, 3),
    ),
    max_size=3,
)


@given(st.lists(RESPONSES, max_size=4))
@settings(max_examples=60, deadline=None)
def test_any_history_of_responses_settles_and_flags_agree_with_the_last_look(history: list[Any]) -> None:
    play = Play()
    for look in history:
        seen = [response(str(n), *answers, status=status, after=at) for n, (answers, status, at) in enumerate(look)]
        play.see(*seen)
        found = latest(play.program, known(*seen), play.program.forms[0])
        if found is None:
            assert play.up == set()
        elif found.score is not None:
            assert ("low-mood" in play.up) == (found.score >= 4)


@pytest.mark.parametrize(
    ("before", "after", "says", "where"),
    [
        ("at_least: 4,", "at_least: four,", '"four" is not a number', "forms[0].flags[0].at_least"),
        ("at_least: 4, raise", "raise", '"at_least" or "at_most"', "forms[0].flags[0]"),
        ("item: harm", "item: hram", 'did you mean "harm"?', "forms[0].flags[1].item"),
        ("needs: 2", "needs: 4", "not a whole number from 1 to 3", "forms[0].score.needs"),
        ("http://loinc.org|44261-6", "44261-6", "is not a code with its system", "forms[0].score.code"),
        ("{code: down, text", "{code: interest, text", "already defined", "forms[0].items[1].code"),
        ("/44250-9", "down", 'two items are known as "down"', "forms[0].items"),
        ("least: 0, most: 120", "least: 130, most: 120", "130 is more than 120", "forms[0].items[3]"),
        ("Several days: 1", "Several days: one", '"one" is not a number', "forms[0].answers.Several days"),
        ("title: Mood\n", "titel: Mood\n", 'did you mean "title"?', "forms[0].titel"),
        ("form: mood, at_least", "form: modd, at_least", 'did you mean "mood"?', "rules[0].when.score.form"),
        ("form: mood, at_least: 4}", "form: mood}", "say which score", "rules[0].when.score"),
    ],
)  # fmt: skip
def test_a_bad_form_is_refused_with_its_place(before: str, after: str, says: str, where: str) -> None:
    with pytest.raises(Incorrect) as refused:
        demo(FORMS.replace(before, after, 1), WHEN.replace(before, after, 1))
    found = [issue for issue in refused.value.issues if says in issue.message]
    assert found, refused.value.issues
    assert (found[0].expression, found[0].message.startswith("line ")) == (where, True)


def test_a_form_is_told_to_who_approves_it_and_published_as_a_valid_questionnaire() -> None:
    (line,) = [one for one in program_summary(demo()) if one.strip().startswith("mood:")]
    assert line.strip() == (
        "mood: Mood, 4 questions, score needs 2 of 3 answers; flag low-mood while the score is 4 or more; "
        "flag self-harm while the answer to harm is 1 or more"
    )
    (form,) = questionnaires(demo(), "active")
    assert [issue for issue in check(form) if issue.severity in ("error", "fatal")] == []
    assert [one["type"] for one in form["item"]] == ["choice", "choice", "choice", "integer"]
    assert (form["url"], form["version"]) == ("https://fhir-tracker.example/Questionnaire/demo.mood", "3")
    (codes,) = answer_systems(demo())
    assert [issue for issue in check(codes) if issue.severity in ("error", "fatal")] == []
    said = form["item"][0]["answerOption"][1]["valueCoding"]
    assert (said["system"], said["code"]) == (codes["url"], "several-days")
    assert {one["code"] for one in codes["concept"]} >= {"not-at-all", "several-days", "never"}
    weights = [one["valueCoding"]["extension"][0]["valueDecimal"] for one in form["item"][0]["answerOption"]]
    assert weights == [0, 1, 2, 3]
    assert json.dumps(form, default=str)
