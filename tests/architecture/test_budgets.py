from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

from scripts.budgets import PACKAGES, ROOT, broad_excepts, functions, modules, sources

CODE = sources(*PACKAGES)
TESTS = sources("tests")
CLOCK_CALLS = {
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
    "time": {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "sleep", "localtime", "gmtime"},
    "func": {"now", "current_timestamp", "localtimestamp"},
}
# Written in pieces, or this file would name them itself.
HOSTS = ("pypi" + ".org", "python" + "hosted.org", "npm" + "js.", "repo1.maven" + ".org", "repo.maven" + ".apache.org")
PLACES = ("/" + "work/", "/" + "root/", "../" + "shared", "/opt/" + "wheels", "/" + "tmp/probe")


def clock_reads(text: str) -> Iterator[int]:
    """The lines on which the clock is read, `datetime.datetime.now()` and `from time import time` among them."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            yield from (node.lineno for name in node.names if name.name in CLOCK_CALLS["time"])
        if isinstance(node, ast.Attribute):
            owner = node.value
            name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
            if node.attr in CLOCK_CALLS.get(name, ()):
                yield node.lineno


def tracked_texts() -> Iterator[tuple[str, str]]:
    """Name and text of every file under version control that is text."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if path.is_file():
            data = path.read_bytes()
            if b"\0" not in data[:8000] and not name.endswith((".gz", ".png", ".woff2")):
                yield name, data.decode("utf-8", errors="replace")


def test_no_module_is_over_600_lines() -> None:
    assert [module for module in modules([*CODE, *TESTS]) if module.lines > 600] == []


def test_half_of_the_modules_are_under_150_lines() -> None:
    assert median(module.lines for module in modules(CODE)) <= 150


def test_no_function_is_over_80_lines() -> None:
    # A migration is a list of statements in the order they are run: cut up, it would only be harder to read.
    written = [path for path in (*CODE, *TESTS) if path.parent.name != "versions"]
    assert [function for function in functions(written) if function.lines > 80] == []


def test_nineteen_functions_of_twenty_are_under_45_lines() -> None:
    lengths = sorted(function.lines for function in functions(CODE))
    assert lengths[int(0.95 * len(lengths))] <= 45


def test_everything_is_caught_in_five_places_at_most() -> None:
    found = broad_excepts(CODE)
    assert len(found) <= 5, found


def test_only_the_clock_module_reads_the_clock() -> None:
    reads = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in CODE
        if path != ROOT / "fhir_tracker" / "clock.py"
        for line in clock_reads(path.read_text())
    ]
    assert reads == []


@pytest.mark.parametrize(
    "text",
    [
        "import datetime\ndatetime.datetime.now()",
        "from datetime import datetime\nx = datetime.utcnow",
        "from datetime import date\ndate.today()",
        "import time\ntime.time()",
        "from time import monotonic",
        "from sqlalchemy import func\nfunc.now()",
    ],
)
def test_each_way_to_read_the_clock_is_noticed(text: str) -> None:
    assert list(clock_reads(text))


def test_every_module_says_in_its_first_line_what_it_is() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in CODE
        if path.read_text().strip() and ast.get_docstring(ast.parse(path.read_text())) is None
    ]
    assert silent == []


def test_no_test_patches_our_own_code() -> None:
    patching = [
        str(path.relative_to(ROOT))
        for path in TESTS
        if re.search(r"^\s*(from|import) (unittest\.)?mock\b|^\s*from unittest import mock", path.read_text(), re.M)
    ]
    assert patching == []


def test_there_is_no_package_under_tests() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_nothing_imports_tests_or_fixtures() -> None:
    guilty = [
        str(path.relative_to(ROOT))
        for path in CODE
        if re.search(r"^\s*(from|import) (tests|fixtures|scripts|tools)\b", path.read_text(), re.M)
    ]
    assert guilty == []


def test_no_tracked_file_names_a_registry_host_or_a_path_of_one_machine() -> None:
    named = [f"{name}: {bad}" for name, text in tracked_texts() for bad in (*HOSTS, *PLACES) if bad in text]
    assert named == []


def test_every_folder_of_fixtures_names_source_and_licence() -> None:
    held = [path for path in (ROOT / "fixtures").rglob("*") if path.is_file()]
    folders = {path.relative_to(ROOT / "fixtures").parts[0] for path in held}
    told = {path.parent.name for path in held if path.name in {"README.md", "SOURCES.md"}}
    assert folders - told == set()


def test_the_places_a_function_is_long_are_told_with_file_and_line(tmp_path: Path) -> None:
    source = tmp_path / "long.py"
    source.write_text("def f():\n" + "    x = 1\n" * 90)
    assert [(one.lines, one.place.rsplit("/", 1)[1]) for one in functions([source])] == [(91, "long.py:1 f")]
