"""The audit of dependencies never fails for want of an answer and never passes over a weakness; the SBOM is whole."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from scripts import dependencies
from scripts.budgets import ROOT

WEAK = {"id": "CVE-2026-27962", "fix_versions": ["1.6.9"], "description": "x"}
PINS = dependencies.pinned((ROOT / "constraints.txt").read_text())


def row(name: str, *vulns: object) -> dict[str, object]:
    return {"name": name, "version": "1", "vulns": list(vulns)}


def said(*rows: dict[str, object]) -> str:
    return json.dumps({"dependencies": list(rows), "fixes": []})


def test_a_known_weakness_fails_and_says_what_mends_it() -> None:
    code, lines = dependencies.audited(said(row("a"), row("b", WEAK)), 2)
    assert code == 1
    assert lines == ["b 1: CVE-2026-27962, mended in 1.6.9"]


@pytest.mark.parametrize("out", ["", "Traceback", "{}", "[]", "null", '{"dependencies": 7}'])
def test_nobody_to_ask_is_said_loudly_and_is_no_failure(out: str) -> None:
    code, (line,) = dependencies.audited(out, 9)
    assert code == 0
    assert line.startswith("SKIPPED")
    assert "NOT audited" in line


def test_what_could_not_be_asked_of_is_counted() -> None:
    skipped: dict[str, object] = {"name": "c", "version": "1", "skip_reason": "not there"}
    code, lines = dependencies.audited(said(row("a"), skipped), 3)
    assert code == 0
    assert lines == [
        "SKIPPED: 2 of 3 dependencies are NOT audited.",
        "dependencies: 1 audited, no known weakness",
    ]
    assert dependencies.audited(said(row("a"), row("b"), row("c")), 3)[1] == [
        "dependencies: 3 audited, no known weakness"
    ]


def test_an_audit_that_hangs_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    def hang(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        raise subprocess.TimeoutExpired(list(command), 1)

    assert dependencies.audit(hang) == 0
    assert "SKIPPED" in capsys.readouterr().out


def test_the_list_of_parts_names_every_pin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "made" / "sbom.json"
    assert dependencies.main(["sbom", str(file)]) == 0
    assert f"{len(PINS)} of {len(PINS)} dependencies" in capsys.readouterr().out
    told = json.loads(file.read_text())
    assert told["bomFormat"] == "CycloneDX"
    assert told["metadata"]["component"]["name"] == "fhir-tracker"
    assert all(one["purl"].startswith("pkg:pypi/") for one in told["components"])
    assert "timestamp" not in told["metadata"], "the same tree gives the same list"


def test_a_list_that_leaves_one_out_is_told() -> None:
    listed = json.dumps({"components": [{"name": "A.b", "version": "1"}, {"name": "c", "version": "2"}]})
    assert dependencies.missing(listed, {"a-b": "1", "c": "1", "d": "1"}) == ["c==1", "d==1"]


def test_every_dependency_that_the_product_declares_is_pinned() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [*project["dependencies"], *(one for more in project["optional-dependencies"].values() for one in more)]
    names = {dependencies.plain(one.partition("[")[0]) for one in declared}
    assert names - PINS.keys() == set()


def test_an_unknown_word_is_answered_with_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert dependencies.main(["nonsense"]) == 2
    assert "sbom FILE" in capsys.readouterr().out
