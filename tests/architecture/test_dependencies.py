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
    code, lines = dependencies.audited(said(row("a"), row("b", WEAK)), "", 2)
    assert code == 1
    assert lines == ["b 1: CVE-2026-27962, mended in 1.6.9"]


def test_a_weakness_fails_the_check_itself(capsys: pytest.CaptureFixture[str]) -> None:
    def found(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        rows = [row(name, *([WEAK] if name == "celery" else [])) for name in PINS]
        return subprocess.CompletedProcess(list(command), 1, stdout=said(*rows), stderr="Found 1 known vulnerability")

    assert dependencies.audit(found) == 1
    assert "celery 1: CVE-2026-27962" in capsys.readouterr().out
    makefile = (ROOT / "Makefile").read_text()
    assert "\t$(BIN)/python -m scripts.dependencies audit\n" in makefile, "its exit code is not thrown away"


UNREACHED = [
    "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='x', port=443): Max retries exceeded with url: /v1/query",
    "requests.exceptions.ProxyError: HTTPSConnectionPool(host='x', port=443)",
    "requests.exceptions.ReadTimeout: HTTPSConnectionPool(host='x', port=443): Read timed out.",
    "requests.exceptions.HTTPError: 503 Server Error: Service Unavailable for url: x",
    "requests.exceptions.HTTPError: 403 Client Error: Forbidden for url: x",
    "ERROR:pip_audit._cli:Could not connect to OSV's vulnerability feed",
]


@pytest.mark.parametrize("errors", UNREACHED)
@pytest.mark.parametrize("out", ["", "{}", '{"dependencies": 7}'])
def test_nobody_to_ask_is_said_loudly_and_is_no_failure(errors: str, out: str) -> None:
    code, (line,) = dependencies.audited(out, f"Traceback\n{errors}\n", 9)
    assert code == 0
    assert line.startswith("SKIPPED")
    assert "NOT audited" in line


@pytest.mark.parametrize("out", ["", "Traceback", "{}", "[]", "null", '{"dependencies": 7}'])
@pytest.mark.parametrize(
    ("errors", "told"),
    [
        ("", "said nothing"),
        ("ERROR:pip_audit._cli:invalid requirements input: constraints.txt", "invalid requirements input"),
        ("usage: pip-audit\npip-audit: error: unrecognized arguments: --odd", "unrecognized arguments"),
        ("Traceback\nModuleNotFoundError: No module named 'cachecontrol'", "No module named"),
        ("requests.exceptions.HTTPError: 400 Client Error: Bad Request for url: x", "400 Client Error"),
        ("Traceback\njson.decoder.JSONDecodeError: Expecting value", "JSONDecodeError"),
    ],
)
def test_an_audit_that_failed_for_any_other_reason_fails_the_check(out: str, errors: str, told: str) -> None:
    code, (line,) = dependencies.audited(out, errors, 9)
    assert code == 1
    assert "NOT audited" in line
    assert told in line


def test_what_was_not_asked_of_is_counted_and_fails() -> None:
    skipped: dict[str, object] = {"name": "c", "version": "1", "skip_reason": "not there"}
    code, lines = dependencies.audited(said(row("a"), skipped), "", 3)
    assert (code, lines) == (1, ["2 of 3 dependencies are NOT audited."])
    assert dependencies.audited(said(row("a"), row("b"), row("c")), "", 3) == (
        0,
        ["dependencies: 3 audited, no known weakness"],
    )


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
