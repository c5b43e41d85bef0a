from __future__ import annotations

from pathlib import Path

import pytest

from scripts.budgets import PACKAGES, ROOT
from tests.architecture.import_graph import cycles, import_graph

LOW = (
    "storage",
    "rules",
    "model",
    "fhir",
    "errors",
    "clock",
    "config",
    "addresses",
    "failpoints",
    "starter_programs",
    "setting_texts",
    "loopback",
)


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert cycles(import_graph(ROOT, PACKAGES)) == []


def test_the_layers_below_import_no_use_case() -> None:
    graph = import_graph(ROOT, PACKAGES)
    upward = [
        f"{module} -> {target}"
        for module, targets in graph.items()
        for target in targets
        if module.startswith(tuple(f"fhir_tracker.{name}" for name in LOW))
        and target.startswith("fhir_tracker.")
        and target.split(".")[1] not in LOW
    ]
    assert upward == []


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("import pack.b", "from pack import a", [["pack.a", "pack.b"]]),
        ("from pack.b import x", "def f():\n    import pack.a", [["pack.a", "pack.b"]]),
        ("import pack.b", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pack.a", []),
        ("import pack.b", "import os", []),
    ],
)
def test_a_circle_is_found_where_there_is_one(
    tmp_path: Path, first: str, second: str, expected: list[list[str]]
) -> None:
    package = tmp_path / "pack"
    package.mkdir()
    for name, text in {"__init__": "", "a": first, "b": second}.items():
        (package / f"{name}.py").write_text(text)
    assert cycles(import_graph(tmp_path, ("pack",))) == expected
