"""Writes fhir_tracker/fhir/definitions/code_systems.json: the codes of each CodeSystem that R4 lists completely.

Input: the folder that generate_definitions.py reads, with valuesets.json, v2-tables.json and v3-codesystems.json.

    python tools/generate_code_systems.py FOLDER
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent.parent / "fhir_tracker" / "fhir" / "definitions" / "code_systems.json"
SOURCES = ("valuesets.json", "v2-tables.json", "v3-codesystems.json")
RANGES = ("...", "nnnn", "zzz")
"""In some old tables a code stands for a range of codes: they are not complete."""


def main(folder: Path) -> None:
    """Read the definitions in `folder` and write the table, one system a line."""
    lines = sorted(
        f"{json.dumps(one['url'])}: {json.dumps(_row(one), ensure_ascii=False)}" for one in _complete(folder)
    )
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def _row(system: Any) -> list[str]:
    """All codes, tabs between them; before them "=" where their case counts, "~" where it does not."""
    return ["=" if system.get("caseSensitive") else "~", "\t".join(sorted(_codes(system["concept"])))]


def _complete(folder: Path) -> Iterator[Any]:
    for name in SOURCES:
        for entry in json.loads((folder / name).read_text())["entry"]:
            one = entry["resource"]
            if one["resourceType"] != "CodeSystem" or one["content"] != "complete" or "|" in one["url"]:
                continue
            if one.get("concept") and not any(part in code for code in _codes(one["concept"]) for part in RANGES):
                yield one


def _codes(concepts: list[Any]) -> Iterator[str]:
    for one in concepts:
        yield one["code"]
        yield from _codes(one.get("concept", []))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
