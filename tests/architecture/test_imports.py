from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from scripts.budgets import PACKAGES, ROOT

CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
# One wrong import for each contract, in the order of pyproject.toml.
WRONG = {
    "mappings/wrong.py": "import api",
    "fhir_tracker/storage/wrong.py": "import fhir_tracker.rules",
    "fhir_tracker/rules/wrong.py": "import fhir_tracker.wrong_detour",
    "fhir_tracker/wrong_detour.py": "import sqlalchemy\nimport fastapi",
    "subscriptions/wrong.py": "import httpx",
    "api/wrong.py": "import celery",
}


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "lint-imports"
    return subprocess.run([program, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False)


def test_every_import_contract_is_kept() -> None:
    run = lint_imports(ROOT)
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"{len(CONTRACTS)} kept, 0 broken" in run.stdout


def test_one_wrong_import_for_each_contract_breaks_each_contract(tmp_path: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name, text in WRONG.items():
        (tmp_path / name).write_text(f'"""Wrong on purpose."""\n\n{text}\n')
    run = lint_imports(tmp_path)
    assert run.returncode != 0
    assert f"0 kept, {len(CONTRACTS)} broken" in run.stdout, run.stdout
