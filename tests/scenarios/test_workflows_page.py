"""The page of the workflows says what the starter programs do."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhir_tracker.model.vocabulary import EXCEPTIONS
from fhir_tracker.rules.program_file import read_program
from fhir_tracker.rules.starters import starter_programs
from tests.scenarios.workflow_tables import tables

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "workflows.md").read_text(encoding="utf-8")
PAGES = PAGE + "".join(one.read_text(encoding="utf-8") for one in sorted((DOCS / "workflows").glob("*.md")))


@pytest.mark.parametrize("code", sorted(starter_programs()))
def test_the_tables_of_a_starter_program_are_the_programs_own(code: str) -> None:
    wanted = tables(read_program(starter_programs()[code]))
    shown = PAGE.split(f"<!-- {code} -->\n", 1)[1].split(f"<!-- /{code} -->", 1)[0]
    assert shown.strip() == wanted


def test_every_story_the_page_names_is_told() -> None:
    folder = Path(__file__).parent
    named = {word.strip("`.,;()") for word in PAGES.split() if word.strip("`.,;()").startswith("test_")}
    files = {one for one in named if one.endswith(".py")}
    assert files == {one.name for one in folder.glob("test_*.py")} - {Path(__file__).name}
    told = "".join((folder / one).read_text(encoding="utf-8") for one in files)
    assert not [one for one in named - files if f"def {one}(" not in told]


def test_every_exception_has_its_line_with_its_story() -> None:
    text = (DOCS / "workflows" / "exceptions.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    assert {line.split("`")[1] for line in lines} == set(EXCEPTIONS)
    assert all("`test_" in line for line in lines)
