"""Writes fhir_tracker/fhir/profiles/vital_signs.json: R4's own profiles of vital signs, each with what its base adds.

Input: the folder that generate_definitions.py reads, with profiles-others.json and valuesets.json.

    python tools/generate_vital_signs.py FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent.parent / "fhir_tracker" / "fhir" / "profiles" / "vital_signs.json"
R4 = "http://hl7.org/fhir/StructureDefinition/"
BASE = "vitalsigns"
REPEATED = ("coding",)
CORRECTED = {"vs-1": "$this.matches('^.{8,}$')"}
"""Rules of a text that are published as one of `$this as dateTime`."""


def main(folder: Path) -> None:
    """Read the definitions in `folder` and write the table."""
    found = {
        one["id"]: one for one in _all(folder / "profiles-others.json") if one["resourceType"] == "StructureDefinition"
    }
    sets = {one["url"]: one for one in _all(folder / "valuesets.json") if one["resourceType"] == "ValueSet"}
    names = [BASE, *sorted(name for name, one in found.items() if one["baseDefinition"] == R4 + BASE)]
    base = _rows(found[BASE])
    profiles = {
        R4 + name: {
            "version": found[name]["version"],
            "title": found[name].get("title") or found[name]["name"],
            "type": "Observation",
            "elements": _merged(base, _rows(found[name])),
        }
        for name in names
    }
    bound = {row["codes"] for one in profiles.values() for row in one["elements"].values() if "codes" in row}
    table = {"profiles": profiles, "value_sets": {url: _codes(sets[url]) for url in sorted(bound)}}
    TARGET.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n")


def _all(path: Path) -> list[Any]:
    return [entry["resource"] for entry in json.loads(path.read_bytes())["entry"]]


def _merged(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    return {name: {**base.get(name, {}), **own.get(name, {})} for name in sorted({*base, *own})}


def _rows(profile: Any) -> dict[str, Any]:
    """Element id -> what the profile asks; a slice has a pattern made of the values its parts are told apart by."""
    elements = profile["differential"]["element"]
    rows = {one["id"]: _row(one) for one in elements}
    for one in elements:
        for told in one.get("slicing", {}).get("discriminator", ()):
            for name in [name for name in rows if name.rpartition(":")[0] == one["id"]]:
                _add(rows, name, told["path"].split("."))
    return {name: row for name, row in rows.items() if row}


def _add(rows: dict[str, Any], name: str, steps: list[str]) -> None:
    """Put the value that is fixed below a slice into its pattern."""
    for other, row in rows.items():
        below = other.removeprefix(f"{name}.").split(".")
        if other.startswith(f"{name}.") and [part.partition(":")[0] for part in below] == steps and "fixed" in row:
            place = rows[name].setdefault("pattern", {})
            for step in steps[:-1]:
                inner = place.setdefault(step, [{}] if step in REPEATED else {})
                place = inner[0] if step in REPEATED else inner
            place[steps[-1]] = row["fixed"]


def _row(element: Any) -> dict[str, Any]:
    row: dict[str, Any] = {}
    if element.get("min"):
        row["min"] = element["min"]
    if element.get("max", "*") != "*":
        row["max"] = int(element["max"])
    types = element.get("type", [])
    if types and element["path"].endswith("[x]"):
        row["types"] = [one["code"] for one in types]
    targets = [url.removeprefix(R4) for one in types for url in one.get("targetProfile", ())]
    if targets:
        row["targets"] = sorted({"Observation" if url == BASE else url for url in targets})
    binding = element.get("binding", {})
    if binding.get("strength") == "required" and "ucum" in binding["valueSet"]:
        row["codes"] = binding["valueSet"].partition("|")[0]
    for name, value in element.items():
        if name.startswith("fixed"):
            row["fixed"] = value
    rules = [one for one in element.get("constraint", ()) if one["severity"] == "error"]
    if rules:
        row["constraints"] = [
            {"key": one["key"], "human": one["human"], "expression": CORRECTED.get(one["key"], one["expression"])}
            for one in rules
        ]
    return row


def _codes(value_set: Any) -> dict[str, list[str]]:
    return {one["system"]: [concept["code"] for concept in one["concept"]] for one in value_set["compose"]["include"]}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
