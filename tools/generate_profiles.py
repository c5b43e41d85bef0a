"""Writes fhir_tracker/fhir/profiles/us_core.json from US Core's StructureDefinitions in fixtures/us-core/definitions.

What a profile adds to its base is its differential; each row of the table is one of its elements, by element id
(`Patient.identifier`, `CarePlan.category:AssessPlan`). Extension definitions that a profile names are profiles themselves.

    python tools/generate_profiles.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "fixtures" / "us-core" / "definitions"
TARGET = ROOT / "fhir_tracker" / "fhir" / "profiles" / "us_core.json"
US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition/"
VALUE_SETS = "http://hl7.org/fhir/us/core/ValueSet/"
PROFILES = ("us-core-careplan", "us-core-careteam", "us-core-goal", "us-core-patient")
CDC_RACE = "urn:oid:2.16.840.1.113883.6.238"
NULL_FLAVOR = "http://terminology.hl7.org/CodeSystem/v3-NullFlavor"
GENDER = "http://terminology.hl7.org/CodeSystem/v3-AdministrativeGender"
LISTED_ELSEWHERE = {
    "omb-race-category": {
        CDC_RACE: ["1002-5", "2028-9", "2054-5", "2076-8", "2106-3"],
        NULL_FLAVOR: ["UNK", "ASKU"],
    },
    "omb-ethnicity-category": {CDC_RACE: ["2135-2", "2186-5"], NULL_FLAVOR: ["UNK", "ASKU"]},
    "birthsex": {GENDER: ["F", "M"], NULL_FLAVOR: ["UNK", "ASKU", "OTH"]},
    "us-core-usps-state": {
        "https://www.usps.com/": (
            "AA AE AK AL AP AR AS AZ CA CO CT DC DE FL FM GA GU HI IA ID IL IN KS KY LA MA MD ME MH MI MN MO MP MS MT NC "
            "ND NE NH NJ NM NV NY OH OK OR PA PR PW RI SC SD TN TX UM UT VA VI VT WA WI WV WY"
        ).split()
    },
}
"""6.1.0 names value sets of the VSAC for these, whose codes are those of US Core 3.1.1 and 4.0.0, and all of USPS for states."""
EXTENSIBLE = (VALUE_SETS + "us-core-usps-state",)
"""A text bound to these is one of the codes: every state has one."""


def main() -> None:
    """Read the definitions and write the table."""
    definitions = {one["url"]: one for one in _all("StructureDefinition")}
    value_sets = {one["url"]: one for one in _all("ValueSet")}
    wanted = [US_CORE + name for name in PROFILES]
    profiles: dict[str, Any] = {}
    for url in wanted:
        profiles[url] = _profile(definitions[url], definitions)
        wanted += [one for row in profiles[url]["elements"].values() for one in row.get("profiles", ())]
    bound = {row["codes"] for one in profiles.values() for row in one["elements"].values() if "codes" in row}
    codes = {url: _codes(url, value_sets) for url in sorted(bound)}
    table = {"profiles": profiles, "value_sets": {url: found for url, found in codes.items() if found}}
    TARGET.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n")


def _all(kind: str) -> list[Any]:
    return [json.loads(path.read_bytes()) for path in sorted(SOURCE.glob(f"{kind}-*.json"))]


def _profile(definition: Any, definitions: dict[str, Any]) -> Any:
    rows = {one["id"]: _row(one, definitions) for one in definition["differential"]["element"]}
    return {
        "version": definition["version"],
        "title": definition["title"],
        "type": definition["type"],
        "elements": {name: row for name, row in rows.items() if row and "." in name},
    }


def _row(element: Any, definitions: dict[str, Any]) -> Any:
    row: dict[str, Any] = {}
    if element.get("min"):
        row["min"] = element["min"]
    if element.get("max", "*") != "*":
        row["max"] = int(element["max"])
    types = element.get("type", [])
    if types and element["path"].endswith("[x]"):
        row["types"] = [one["code"] for one in types]
    targets = [url for one in types for url in one.get("targetProfile", ())]
    if targets:
        row["targets"] = sorted({_type_of(url, definitions) for url in targets})
    profiles = [url for one in types for url in one.get("profile", ()) if url in definitions]
    if profiles:
        row["profiles"] = profiles
    binding = element.get("binding", {})
    if binding.get("strength") == "required" or binding.get("valueSet") in EXTENSIBLE:
        row["codes"] = binding["valueSet"]
    for name, value in element.items():
        if name.startswith(("pattern", "fixed")):
            row[name[: 7 if name.startswith("pattern") else 5]] = value
    rules = [one for one in element.get("constraint", ()) if one["severity"] == "error"]
    if rules:
        row["constraints"] = [{name: one[name] for name in ("key", "human", "expression")} for one in rules]
    return row


def _type_of(url: str, definitions: dict[str, Any]) -> str:
    return str(definitions[url]["type"]) if url in definitions else url.rpartition("/")[2]


def _codes(url: str, value_sets: dict[str, Any]) -> Any:
    if url.startswith(VALUE_SETS) and url.removeprefix(VALUE_SETS) in LISTED_ELSEWHERE:
        return LISTED_ELSEWHERE[url.removeprefix(VALUE_SETS)]
    includes = value_sets.get(url, {}).get("compose", {}).get("include", [])
    if not all("concept" in one for one in includes):
        return {}
    return {one["system"]: [concept["code"] for concept in one["concept"]] for one in includes}


if __name__ == "__main__":
    main()
