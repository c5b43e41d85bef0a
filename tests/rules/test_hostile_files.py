"""Program files made to hurt: each is refused, or read, with little work and in few words."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fhir_tracker.errors import Incorrect
from fhir_tracker.model.program import Program
from fhir_tracker.rules.program_file import read_program
from fhir_tracker.rules.source import MAX_PROBLEMS

STATUSES = """program: p
statuses:
  - {code: to-do, is: requested, means: x}
  - {code: done, is: completed, means: y}
"""
ONE_TASK = "tasks: [{code: call, role: rn}]\n"
FILE = STATUSES + ONE_TASK
NOWHERE = {chr(number) for number in (*range(0xD800, 0xE000), 0xFFFE, 0xFFFF)}
MUCH = 1_000_000
"""Calls of functions other than those of the YAML parser: a file of the greatest size needs half of them."""


def many(line: str, count: int) -> str:
    return "".join(f"  - {line.replace('@', str(number)).replace('<', str(number - 1))}\n" for number in range(count))


def tasks(line: str, count: int) -> str:
    return f"{STATUSES}tasks:\n  - {{code: first, role: rn}}\n{many(line, count)}"


@contextmanager
def little_work() -> Iterator[None]:
    """Fails when much more is done than reading takes; counted in calls, which no busy machine makes more of."""
    calls = 0

    def count(frame: FrameType, event: str, _: object) -> None:
        nonlocal calls
        calls += event == "call" and "yaml" not in frame.f_code.co_filename
        assert calls < MUCH, f"still at work in {frame.f_code.co_qualname}"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(before)


def read(text: str) -> Program | Incorrect:
    try:
        with little_work():
            return read_program(text)
    except Incorrect as error:
        return error


HOSTILE = {
    "brackets": FILE + "rules: " + "[" * 20_000,
    "braces": FILE + "rules: " + "{a: " * 20_000 + "1" + "}" * 20_000,
    "doubled not": FILE + "rules: [{id: a, do: {raise_flag: x}, when: " + "{not: " * 9_000 + "{flag: x}" + "}" * 9_002,
    "a bomb of aliases": "a: &a [1, 1]\n" + "".join(f"b{n}: &b{n} [*a, *a, *a]\n" for n in range(5_000)) + FILE,
    "a merge key": FILE + "<<: {title: x}\n",
    "objects": "!!python/object/apply:os.system [ls]\n" + FILE,
    "ten thousand tasks": tasks("{code: t@, role: rn}", 10_000),
    "unknown keys": FILE + "".join(f"key{n}: 1\n" for n in range(9_900)),
    "nothing right": tasks("{codex: t@, rule: rn}", 2_000),
    "references to nothing": tasks("{code: t@, role: rn, part_of: tt@}", 2_000),
    "a circle of thousands": tasks("{code: t@, role: rn, starts: {after: t<}}", 2_000).replace("t-1", "t1999"),
    "parts of each other": tasks("{code: t@, role: rn, part_of: t<}", 2_000).replace("t-1", "t1999"),
    "thousands of statuses": f"program: p\nstatuses:\n{many('{code: s@, is: requested, means: x}', 2_000)}" + ONE_TASK,
    "endless work ahead": STATUSES + "tasks: [{code: c, role: rn, every: 1 second, horizon: 400 days}]\n",
    "a zone out of the file system": FILE + "calendar: {zone: ../../../etc/passwd}\n",
    "a date that is none": FILE + "calendar: {zone: UTC, closed: [2027-02-29]}\n",
}
GREAT = {
    "a chain of work": tasks("{code: t@, role: rn, starts: {after: t<}}", 2_000).replace("t-1", "first"),
    "parts within parts": tasks("{code: t@, role: rn, part_of: t<}", 2_000).replace("t-1", "first"),
    "four thousand tasks": tasks("{code: t@, role: rn}", 4_000),
    "two thousand rules": f"{FILE}rules:\n{many('{id: r@, when: {overdue_by: 1 hour}, do: {raise_flag: x}}', 2_000)}",
    "a ladder to the moon": FILE
    + "rules: [{id: a, when: {overdue_by: 1 hour}, do: {escalate: l}}]\nladders:\n  l:\n    levels:\n"
    + "".join(f"      - {{to: role/rn, after: {n + 1} minutes}}\n" for n in range(2_000)),
}


@pytest.mark.security("S37")
@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_made_to_hurt_is_refused_with_little_work_and_few_words(name: str) -> None:
    found = read(HOSTILE[name])
    assert isinstance(found, Incorrect)
    assert 0 < len(found.issues) <= MAX_PROBLEMS
    assert all(len(issue.message) < 1_000 and issue.message.startswith("line ") for issue in found.issues)


@pytest.mark.security("S37")
@pytest.mark.parametrize("name", GREAT)
def test_what_is_great_and_right_is_read_with_little_work(name: str) -> None:
    found = read(GREAT[name])
    assert isinstance(found, Program), found


def test_of_many_problems_the_first_are_told_and_that_there_are_more() -> None:
    found = read(HOSTILE["unknown keys"])
    assert isinstance(found, Incorrect)
    assert (len(found.issues), found.message) == (MAX_PROBLEMS, "program: the first 100 problems")


def test_a_circle_is_told_by_its_shortest_way_and_what_only_leads_to_it_is_not_blamed() -> None:
    text = STATUSES + (
        "tasks:\n  - {code: a, role: rn}\n  - {code: b, role: rn, starts: {after: [a, c]}}\n"
        "  - {code: c, role: rn, starts: {after: b}}\n  - {code: d, role: rn, starts: {after: c}}\n"
        "  - {code: e, role: rn, part_of: f}\n  - {code: f, role: rn, part_of: e}\n  - {code: g, role: rn, part_of: e}\n"
    )
    with pytest.raises(Incorrect) as refused:
        read_program(text)
    assert [(one.expression, one.message.partition(": ")[2]) for one in refused.value.issues] == [
        ("tasks[1].starts", "could never start: it waits for itself, b after c after b"),
        ("tasks[2].starts", "could never start: it waits for itself, c after b after c"),
        ("tasks[4].part_of", "is part of itself, e in f in e"),
        ("tasks[5].part_of", "is part of itself, f in e in f"),
    ]


@given(st.characters(categories=("Cc", "Cs")) | st.sampled_from("\ufffe\uffff\x7f\x9b"))
@example("\x00")
@example("\x1b")
@example("\ud800")
@settings(max_examples=100, deadline=None)
def test_a_character_that_no_fhir_text_can_hold_is_named(character: str) -> None:
    if character in "\t\n\r" or (ord(character) > 0x9F and character not in NOWHERE):
        return
    found = read(f'{FILE}title: "a\\U{ord(character):08X}b"\n')
    assert isinstance(found, Incorrect)
    assert [one.message for one in found.issues] == [
        f"line 6, column 8: the character U+{ord(character):04X} is not allowed in a text"
    ]
