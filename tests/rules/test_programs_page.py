"""The page on program files keeps in step with what can be read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fhir_tracker.model.moves import FIELDS
from fhir_tracker.rules.action_section import ACTIONS
from fhir_tracker.rules.catalog import PREDICATES
from fhir_tracker.rules.program_file import OPTIONAL, REQUIRED, read_program

PAGE = (Path(__file__).parents[2] / "docs" / "programs.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
HEAD = """program: p
services: {visit: [visit]}
statuses: [{code: a, is: requested, means: A}, {code: b, is: completed, means: B}]
"""
TASKS = "tasks: [{code: letter, role: rn}]\n"


def test_every_predicate_has_its_row_as_the_catalog_says_it() -> None:
    for one in PREDICATES.values():
        takes = one.takes.replace("|", "\\|")
        assert f"| `{one.name}` | {takes} | {one.says} | {', '.join(one.subjects)} |" in PAGE


def test_every_key_field_and_action_is_on_the_page() -> None:
    missing = [word for word in (*REQUIRED, *OPTIONAL, *FIELDS, *ACTIONS) if f"`{word}" not in PAGE]
    assert missing == []


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_every_example_is_read(block: str) -> None:
    text = block if block.startswith("program:") else HEAD + ("" if "tasks:" in block else TASKS) + block
    assert read_program(text).code
