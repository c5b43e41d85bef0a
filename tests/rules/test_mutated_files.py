"""The six starter programs damaged by chance: each is refused with a place in its text, or is a program that works throughout."""

from __future__ import annotations

import copy
import random
import re
from dataclasses import replace
from functools import cache
from typing import Any, Final

import pytest
import yaml

from fhir_tracker import program_resources
from fhir_tracker.errors import Incorrect
from fhir_tracker.model.program import Program
from fhir_tracker.rules.difference import differences
from fhir_tracker.rules.engine import evaluate, look
from fhir_tracker.rules.program_file import read_program
from fhir_tracker.rules.source import MAX_PROBLEMS
from fhir_tracker.rules.starters import starter_programs
from fhir_tracker.rules.summary import program_summary
from tests.rules.samples import MONDAY, attempt, facts, item, plan_item, visit

STARTERS: Final = sorted(starter_programs())
PLACE: Final = re.compile(r"line (\d+), column (\d+): \S")
VALUES: Final[tuple[Any, ...]] = (
    None, "", 0, -1, 1e300, 10**30, True, [], {}, [[]], {"a": "b"}, {"from": "any"}, ["a", "a"], "x", "no", "~", " ", "A",
    "2 business days", "0 seconds", "9999 days", "1000000 seconds", "2020-01-01", "any", "all", "a" * 2100, "é", "\u202ex",
    "role/", "role/rn", "system|code", "|", "1", "999999", "requested", "completed", "on-hold", "appointment.booked",
    "enrolment", "discharge", "created", "50 mm[Hg]", "1e9999 %", "NaN %", "0 %", "9" * 40 + " %", "UTC", "US-XX",
)  # fmt: skip
KEYS: Final = ("x", "codes", "whn", "do", "when", "after", "", " ", "code", "not", "all", "é", "k" * 900)
LETTERS: Final = "0-|/: .éx\u200b9"


class Plain(yaml.SafeDumper):
    """Writes everything out."""

    def ignore_aliases(self, data: Any) -> bool:
        """No anchors: program files refuse them."""
        return True


@cache
def tree_of(name: str) -> Any:
    """A starter as lists, mappings and the words as they stand in the file."""
    return yaml.load(starter_programs()[name], Loader=yaml.BaseLoader)  # noqa: S506


@cache
def whole(name: str) -> Program:
    return read_program(starter_programs()[name])


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to each node below."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [step for key, child in inner for step in ((*path, key), *paths(child, (*path, key)))]


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def damaged(tree: Any, chance: random.Random) -> Any:
    """The tree with one to three things gone, doubled, swapped, renamed, wrapped, or replaced by something odd."""
    tree = copy.deepcopy(tree)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        known = paths(tree)
        *above, last = chance.choice(known)
        parent, other = at(tree, tuple(above)), copy.deepcopy(at(tree, chance.choice(known)))
        what = chance.randrange(7)
        if what == 0 and len(parent) > 1:
            del parent[last]
        elif what == 1:
            parent[last] = other
        elif what == 2 and isinstance(parent, dict):
            parent[chance.choice(KEYS)] = parent.pop(last)
        elif what == 3 and isinstance(parent, list):
            parent.append(copy.deepcopy(parent[last]))
        elif what == 4:
            parent[last] = [parent[last]]
        elif what == 5 and isinstance(parent[last], str):
            index = chance.randrange(len(parent[last]) + 1)
            rest = parent[last][index + chance.randrange(2) :]
            parent[last] = parent[last][:index] + chance.choice(LETTERS) + rest
        else:
            parent[last] = chance.choice(VALUES)
    return tree


def scratched(text: str, chance: random.Random) -> str:
    """The text with characters gone, doubled, or put in: what a hand that slips makes of it."""
    for _ in range(chance.choice((1, 1, 2, 4))):
        start = chance.randrange(len(text))
        end = min(len(text), start + chance.choice((0, 0, 1, 2, 30)))
        put = chance.choice(
            ("", "\t", "\n", " ", ":", "- ", "[", "}", "'", '"', "&a ", "*a", "!t ", "? ", "| ", "#", "\x85", "%")
        )
        text = text[:start] + put + text[end:]
    return text


def check_refused(text: str, error: Incorrect) -> None:
    """Each problem names a line and column of the text, and says something short."""
    lines = re.split(r"\r\n|[\r\n\x85\u2028\u2029]", text)
    assert 0 < len(error.issues) <= MAX_PROBLEMS
    assert len({(one.message, one.expression) for one in error.issues}) == len(error.issues)
    for one in error.issues:
        place = PLACE.match(one.message)
        assert place is not None, one.message
        line, column = int(place[1]), int(place[2])
        assert 1 <= line <= len(lines), one.message
        assert 1 <= column <= len(lines[line - 1]) + 2, (one.message, lines[line - 1])
        assert len(one.message) < 3_000


def check_works(found: Program, before: Program) -> None:
    """It can be told, compared, published and asked about work in each of its statuses."""
    assert program_summary(found)
    assert bool(differences(before, found)) == bool(differences(found, before))
    assert program_resources.of_program(replace(found, version=3), "active")
    events = (visit("a1", "noshow", MONDAY), attempt("c1", MONDAY))
    for template in found.tasks:
        for status in found.statuses[:2]:
            work = item(program=found.code, code=template.code, status=status.code, due_at=MONDAY, role=template.role)
            known = facts(work, events=events)
            assert look(found, known, MONDAY).effects == evaluate(found, known, MONDAY).effects
    known = facts(plan_item(program=found.code, status=found.stages[0].code), events=events)
    assert look(found, known, MONDAY).effects == evaluate(found, known, MONDAY).effects


def check(text: str, before: Program) -> bool:
    """Whether the text is a program; fails when it is neither that nor refused as it should be."""
    try:
        found = read_program(text)
    except Incorrect as error:
        check_refused(text, error)
        return False
    check_works(found, before)
    return True


@pytest.mark.parametrize("name", STARTERS)
def test_a_starter_with_something_wrong_in_it_is_refused_in_place_or_works(name: str) -> None:
    chance = random.Random(f"tree {name}")
    texts = [
        yaml.dump(damaged(tree_of(name), chance), Dumper=Plain, sort_keys=False, allow_unicode=True) for _ in range(12)
    ]
    right = [check(text, whole(name)) for text in texts]
    assert not all(right)


@pytest.mark.parametrize("name", STARTERS)
def test_a_starter_that_a_hand_slipped_on_is_refused_in_place_or_works(name: str) -> None:
    chance = random.Random(f"text {name}")
    right = [check(scratched(starter_programs()[name], chance), whole(name)) for _ in range(10)]
    assert not all(right)


@pytest.mark.parametrize("name", STARTERS)
def test_a_starter_written_in_another_style_is_the_same_program(name: str) -> None:
    """Block or flow, quoted or not, in short lines: what is said is the same."""
    for options in ({"default_flow_style": True}, {"default_style": '"'}, {"width": 40}):
        text = str(yaml.dump(tree_of(name), Dumper=Plain, sort_keys=False, allow_unicode=True, **options))
        try:
            found = read_program(text)
        except Incorrect as error:
            raise AssertionError([one.message for one in error.issues]) from error
        assert not differences(whole(name), found)
        assert program_summary(found) == program_summary(whole(name))


@pytest.mark.parametrize("name", STARTERS)
def test_whatever_one_starter_leaves_out_is_named_where_it_is_missed(name: str) -> None:
    """Without a task, status or ladder that something else names, the problem stands where it is named."""
    for section in ("tasks", "statuses"):
        for index in range(len(tree_of(name)[section])):
            tree = copy.deepcopy(tree_of(name))
            gone = tree[section].pop(index)["code"]
            text = yaml.dump(tree, Dumper=Plain, sort_keys=False, allow_unicode=True)
            try:
                found = read_program(text)
            except Incorrect as error:
                check_refused(text, error)
                named = [one for one in error.issues if gone in one.message]
                told = " ".join(one.message for one in error.issues)
                assert named or "status" in told or "missing" in told, (gone, told)
                for one in named:
                    place = PLACE.match(one.message)
                    assert place is not None
                    assert gone in "\n".join(text.split("\n")[int(place[1]) - 1 :]), one.message
            else:
                assert gone not in {each.code for each in found.statuses} or section == "tasks"


@pytest.mark.parametrize(
    ("line", "told", "column"),
    [
        ("&a title: x", "anchors and aliases are not allowed", 1),
        ("title: &a x", "anchors and aliases are not allowed", 8),
        ("!!str title: x", "tags such as", 1),
        ("title: !!str x", "tags such as", 8),
        ("*a : x", "a key must be a plain word", 1),
        ("? [a]\n: x", "a key must be a plain word", 3),
        ("title: x\ntitle: y", '"title" is given twice', 1),
        ("\ttitle: x", "not YAML", 1),
        ("title: 'x", "not YAML", 8),
        ("titel: x", 'did you mean "title"', 1),
        ("'': x", 'unknown key ""', 1),
        ("---\ntitle: x", "a second document", 1),
        ("%TAG ! tag:x,2000:", "not YAML", 1),
    ],
)
def test_what_yaml_can_do_and_program_files_must_not_is_told_in_place(line: str, told: str, column: int) -> None:
    head = (
        "program: p\nstatuses:\n  - {code: to-do, is: requested, means: x}\n  - {code: done, is: completed, means: y}\n"
        "tasks: [{code: call, role: rn}]\n"
    )
    with pytest.raises(Incorrect) as refused:
        read_program(head + line + "\n")
    first = refused.value.issues[0]
    check_refused(head + line + "\n", refused.value)
    assert told in first.message
    place = PLACE.match(first.message)
    assert place is not None
    assert int(place[2]) == column or told == "not YAML"


@pytest.mark.parametrize("length", [64, 65, 900, 1_900])
def test_a_word_of_any_length_is_told_in_few_words(length: int) -> None:
    text = starter_programs()["tcm"].replace("role: rn", f"role: {'R' * length}", 1)
    text += f"\n? {'k' * length}\n: x\n"
    with pytest.raises(Incorrect) as refused:
        read_program(text)
    assert all(len(one.message) < 1_000 for one in refused.value.issues)
