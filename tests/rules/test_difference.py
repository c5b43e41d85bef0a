"""Two versions of a program compared in words: complete, and empty only for the same content."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_tracker.errors import Incorrect
from fhir_tracker.model.program import Program
from fhir_tracker.rules.difference import differences
from fhir_tracker.rules.program_file import read_program
from fhir_tracker.rules.starters import starter_programs
from tests.support.clinic import RING

OLD = read_program(RING)
TEXTS = (RING, *starter_programs().values())
EDITS = (
    ("within: 2 days", "within: 1 business day", "task first-call: due changes from"),
    ("08:00-17:00", "09:00-17:00", "calendar: hours changes from"),
    ("holidays: US", "holidays: none", "calendar: holidays changes from US to"),
    ('means: "Attempts exhausted"', 'means: "Nobody answers"', "status unreachable: means changes from"),
    ("overdue_by: 0 hours", "overdue_by: 2 hours", "rule late: its condition changes from"),
    ("id: late\n", "id: too-late\n", "rule too-late is new:"),
    ("id: late\n", "id: too-late\n", "rule late is gone:"),
    ("role: front-desk", "role: rn", "task reschedule: role changes from front-desk to rn"),
    ("after: 4 hours", "after: 5 hours", "ladder late-call: levels changes from"),
    ("require: [outreach.outcome, note]", "require: [note]", "transition to-call, calling -> reached: require changes"),
    ("service|visit", "service|call", "service visit changes from"),
    ("title: Ring after discharge", "title: Ring", 'title changes from "Ring after discharge" to Ring'),
    ("within: 30 days", "within: 31 days", "eligible: condition changes from"),
)


@pytest.mark.parametrize(("before", "after", "said"), EDITS, ids=[one[2] for one in EDITS])
def test_an_edit_is_told_in_words(before: str, after: str, said: str) -> None:
    assert before in RING
    found = [one.text for one in differences(OLD, read_program(RING.replace(before, after)))]
    assert any(text.startswith(said) for text in found), found


@pytest.mark.parametrize("text", TEXTS)
def test_a_program_does_not_differ_from_itself_whatever_its_number(text: str) -> None:
    program = read_program(text)
    assert differences(program, replace(program, version=7, warnings=("x",))) == ()
    assert differences(program, read_program(f"# a comment\n{text}")) == ()


def test_another_order_is_told() -> None:
    turned = replace(OLD, statuses=tuple(reversed(OLD.statuses)))
    (found,) = differences(OLD, turned)
    assert found.kind == "order"
    assert found.text.startswith("the order of statuses changes from to-call, calling")


def test_codes_that_read_alike_are_told_exactly() -> None:
    other = read_program(RING.replace("http://example.org/service|visit", "http://example.com/service|visit"))
    assert any("http://example.com/service|visit" in one.after for one in differences(OLD, other))


@st.composite
def edited(draw: st.DrawFn) -> str:
    """A shipped or a small program with some lines left out, doubled, swapped or changed in one character."""
    lines = draw(st.sampled_from(TEXTS)).splitlines()
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        kind = draw(st.sampled_from(("drop", "double", "swap", "change", "number")))
        if kind == "drop":
            del lines[at]
        elif kind == "double":
            lines.insert(at, lines[at])
        elif kind == "swap":
            other = draw(st.integers(0, len(lines) - 1))
            lines[at], lines[other] = lines[other], lines[at]
        elif kind == "change" and lines[at]:
            place = draw(st.integers(0, len(lines[at]) - 1))
            lines[at] = lines[at][:place] + draw(st.sampled_from("a9-:, {}[]\"'|")) + lines[at][place + 1 :]
        else:
            lines[at] = lines[at].translate(str.maketrans("123458", "234561"))
        if not lines:
            lines = [""]
    return "\n".join(lines) + "\n"


def content(program: Program) -> Program:
    return replace(program, version=0, warnings=())


@given(edited(), st.sampled_from(TEXTS))
def test_the_diff_is_empty_just_for_the_same_content_and_reading_never_crashes(text: str, against: str) -> None:
    old = read_program(against)
    try:
        new = read_program(text)
    except Incorrect:
        return
    found = differences(old, new)
    assert (found == ()) == (content(old) == content(new))
    assert all(one.text and one.before != one.after for one in found)
    assert len(differences(new, old)) == len(found)
