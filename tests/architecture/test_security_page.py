"""The page on security names tests that are there, settings that are there, and every safeguard that HIPAA lists."""

from __future__ import annotations

import ast
import re

import pytest

from api.cli import COMMANDS
from fhir_tracker.config import SETTINGS
from scripts.budgets import ROOT
from tests.support.command_line import all_leaves
from tests.threat_table import NOTHING_YET, THREATS

PAGE = (ROOT / "docs" / "security.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", PAGE)))
STANDARDS = ["(a)(1)", "(a)(2)(i)", "(a)(2)(ii)", "(a)(2)(iii)", "(a)(2)(iv)", "(b)", "(c)(1)", "(c)(2)", "(d)"]
STANDARDS += ["(e)(1)", "(e)(2)(i)", "(e)(2)(ii)"]


@pytest.mark.parametrize(("file", "name"), NAMED, ids=lambda one: str(one)[-60:])
def test_each_test_that_the_page_names_is_there(file: str, name: str) -> None:
    tree = ast.parse((ROOT / file).read_text())
    (found,) = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == name]
    assert found.body


@pytest.mark.parametrize("standard", STANDARDS)
def test_each_standard_of_the_technical_safeguards_has_a_row_with_a_test(standard: str) -> None:
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| {standard} ")]
    assert re.search(r"`tests/[\w/]+\.py::test_\w+`", row)


def test_what_the_page_says_to_set_can_be_set() -> None:
    known = {setting.variable for setting in SETTINGS}
    assert set(re.findall(r"FHIR_TRACKER_[A-Z_]+[A-Z]", PAGE)) <= known


def test_the_page_names_no_threat_that_is_none_and_tells_of_those_without_anything_to_test() -> None:
    ids = set(re.findall(r"\b([SABCDELM][0-9]{1,2})\b", PAGE))
    assert ids <= set(THREATS)
    missing = PAGE.partition("## What is not there yet")[2]
    assert all(one in missing for one in NOTHING_YET)


def test_links_of_the_page_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / link).resolve().exists(), link
    assert "docs/security.md" in (ROOT / "SECURITY.md").read_text()


DUTIES = [
    "TLS",
    "Keys",
    "Disks and backups",
    "The database",
    "The anchor",
    "Clocks",
    "Logs",
    "Reviews",
    "People",
    "Contracts",
]
DUTIES += ["Patches", "Watch"]


@pytest.mark.parametrize("duty", DUTIES)
def test_the_operators_list_has_each_duty_with_something_to_do(duty: str) -> None:
    listed = PAGE.partition("## What the operator has to do")[2].partition("\n## ")[0]
    (item,) = [one for one in re.split(r"^- ", listed, flags=re.MULTILINE) if one.startswith(f"**{duty}**")]
    assert len(item.split()) > 10


def test_commands_of_the_operators_list_are_there() -> None:
    listed = PAGE.partition("## What the operator has to do")[2].partition("\n## ")[0]
    known = {" ".join(words[:2]) for words, _ in all_leaves()}
    named = {
        one.removeprefix("fhir-tracker ")
        for one in re.findall(r"`([a-z][a-z-]*(?: [a-z][a-z-]*)*)(?: --[a-z]+)?`", listed)
    }
    found = {one for one in named if one in known}
    assert {
        "audit grants",
        "audit verify",
        "staff list",
        "client list",
        "break-glass list",
        "keys rotate",
        "doctor",
    } <= found
    assert {one for one in named - known if one.split()[0] in COMMANDS} == set()
