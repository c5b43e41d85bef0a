from __future__ import annotations

import re

import pytest

from scripts.budgets import ROOT
from tests.threat_table import NOTHING_YET, THREATS, verdict

_MARK = re.compile(r"mark\.security\(([^)]*)\)", re.DOTALL)


def test_the_table_has_every_threat_and_safeguard_once() -> None:
    assert len(THREATS) == len(set(THREATS)) == 78
    assert set(NOTHING_YET) < set(THREATS)


@pytest.mark.parametrize(
    ("results", "told"),
    [
        ({}, "no test"),
        ({"S1": ["passed", "passed"]}, "passed 2"),
        ({"S1": ["passed", "failed", "failed"]}, "FAILED 2 of 3"),
        ({"S1": ["skipped"]}, "no test"),
    ],
)
def test_one_test_that_failed_spoils_the_threat_and_a_skipped_one_shows_nothing(
    results: dict[str, list[str]], told: str
) -> None:
    assert verdict("S1", results) == told


def test_what_is_absent_says_why_beside_the_test_of_its_absence() -> None:
    assert verdict("S47", {"S47": ["passed"]}).startswith("passed 1")
    assert NOTHING_YET["S47"] in verdict("S47", {"S47": ["passed"]})


def test_every_threat_is_named_by_a_test_of_the_tree() -> None:
    named: set[str] = set()
    for path in (ROOT / "tests").rglob("*.py"):
        for arguments in _MARK.findall(path.read_text()):
            named |= set(re.findall(r'"([A-Z][0-9]+)"', arguments))
    assert sorted(set(THREATS) - named) == []
