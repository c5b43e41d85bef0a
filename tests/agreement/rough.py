"""Mistakes that people and programs make in resources, one in each copy: names, places, systems, units, extensions."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

from fhir_tracker.fhir.body import write_json
from fhir_tracker.fhir.json_types import Json, Resource
from tests.agreement.places import Place, at, holders, places
from tests.agreement.values import BUNDLES, EXTENSIONS, MIME_TYPES, SYSTEMS, UNITS, VITAL_CODES, VITAL_PROFILES

Change = tuple[str, str]
Shown = tuple[str | int, ...]
R4 = "http://hl7.org/fhir/StructureDefinition/"
UCUM = "http://unitsofmeasure.org"
LOINC = "http://loinc.org"
CATEGORIES = "http://terminology.hl7.org/CodeSystem/observation-category"


def _changed(resource: Resource, path: Shown, edit: Callable[[Any], None], name: str = "") -> Change:
    fresh = copy.deepcopy(resource)
    edit(at(fresh, path))
    return write_json(fresh), ".".join(map(str, (*path, name)))


def _any(resource: Resource, rng: random.Random, wanted: Callable[[Place, Json], bool]) -> Place | None:
    found = [one for one in places(resource) if wanted(one, at(resource, (*one.path, one.name)))]
    return rng.choice(found) if found else None


def _text_of(value: Json) -> str | None:
    first = value[0] if isinstance(value, list) and value else value
    return first if isinstance(first, str) else None


def _with_text(value: Json, text: Json) -> Json:
    return [text, *value[1:]] if isinstance(value, list) else text


def rewritten_text(resource: Resource, rng: random.Random) -> Change | None:
    """The text that is there, with blanks, in another case, cut short, or as a number."""
    place = _any(resource, rng, lambda one, value: one.leaf != "xhtml" and _text_of(value) is not None)
    if place is None:
        return None
    now = at(resource, (*place.path, place.name))
    text = _text_of(now) or ""
    cut = text[: len(text) // 2]
    fresh: Json = rng.choice(
        [
            f" {text}",
            f"{text} ",
            f"{text}\n",
            text.upper(),
            text.lower(),
            text.capitalize(),
            f"{text}  {text}",
            cut,
            7,
            f"\t{text}",
        ]
    )
    return _changed(
        resource, place.path, lambda holder: holder.update({place.name: _with_text(now, fresh)}), place.name
    )


def number_as_text(resource: Resource, rng: random.Random) -> Change | None:
    """A number or truth value in quotes, negative, or with a fraction."""
    place = _any(resource, rng, lambda one, value: one.is_primitive and not isinstance(value, (str, list, dict)))
    if place is None:
        return None
    now = at(resource, (*place.path, place.name))
    fresh = rng.choice([write_json({"x": now})[5:-1], -7, 1, "1", "yes", [now]])
    return _changed(resource, place.path, lambda holder: holder.update({place.name: fresh}), place.name)


def renamed(resource: Resource, rng: random.Random) -> Change | None:
    """A member under a name like its own: another case, plural, another type of a choice."""
    place = _any(resource, rng, lambda *_: True)
    if place is None:
        return None
    base = place.element.name.removesuffix("[x]")
    names = [place.name.capitalize(), f"{place.name}s", place.name.lower(), f"{place.name}[x]", f" {place.name}"]
    if place.element.is_choice:
        names += [base, f"{base}Nonsense", f"{base}String", f"{base}Boolean", f"{base}Quantity", f"{base}Code"] * 2
    name = rng.choice([one for one in names if one != place.name])
    return _changed(resource, place.path, lambda holder: holder.update({name: holder.pop(place.name)}), name)


def moved(resource: Resource, rng: random.Random) -> Change | None:
    """A member in another object than its own."""
    place = _any(resource, rng, lambda *_: True)
    if place is None:
        return None
    others = [one.path for one in holders(resource) if one.path != place.path]
    others = [path for path in others if place.name not in at(resource, path)]
    if not others:
        return None
    target, value = rng.choice(others), copy.deepcopy(at(resource, (*place.path, place.name)))
    return _changed(resource, target, lambda holder: holder.update({place.name: value}), place.name)


def exchanged(resource: Resource, rng: random.Random) -> Change | None:
    """An object where one of another type belongs."""
    place = _any(resource, rng, lambda one, _: not one.is_primitive)
    other = _any(resource, rng, lambda one, _: not one.is_primitive and place is not None and one.leaf != place.leaf)
    if place is None or other is None:
        return None
    value = at(resource, (*other.path, other.name))
    single = copy.deepcopy(value[0] if isinstance(value, list) else value)
    now = at(resource, (*place.path, place.name))
    return _changed(
        resource, place.path, lambda holder: holder.update({place.name: _with_text(now, single)}), place.name
    )


def extension(resource: Resource, rng: random.Random) -> Change:
    """Extensions of any kind in any object: without a url, with value and extensions, R4's own, out of place."""
    holder = rng.choice(holders(resource))
    value = copy.deepcopy(rng.choice(EXTENSIONS))
    name = rng.choice(["extension"] * 9 + ["modifierExtension"])
    return _changed(
        resource,
        holder.path,
        lambda one: one.update({name: [*_listed(one.get(name)), value]}),
        f"{name} {value.get('url')}",
    )


def _listed(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def dangling(resource: Resource, rng: random.Random) -> Change | None:
    """A reference to something contained that is not there, or is not what may stand here."""
    place = _any(resource, rng, lambda one, _: one.leaf in ("Reference", "canonical"))
    if place is None:
        return None
    text = rng.choice(["#nobody", "#", "#inner", "#inner"])
    now = at(resource, (*place.path, place.name))
    value: Json = _with_text(now, text if place.leaf == "canonical" else {"reference": text})
    inner = rng.choice(
        [{"resourceType": "Patient", "id": "inner"}, {"resourceType": "Patient", "id": "#inner"}, {"id": "inner"}]
    )
    fresh = copy.deepcopy(resource)
    at(fresh, place.path)[place.name] = value
    if rng.random() < 0.7:
        fresh["contained"] = [*_listed(fresh.get("contained")), inner]
    return write_json(fresh), f"{place.name} {text}"


def another_coding(resource: Resource, rng: random.Random) -> Change | None:
    """A coding of another system, without one, with a code its system does not have, with only a display."""
    place = _any(resource, rng, lambda one, _: one.leaf in ("Coding", "CodeableConcept"))
    if place is None:
        return None
    now = at(resource, (*place.path, place.name))
    first = now[0] if isinstance(now, list) else now
    codings = _listed(first.get("coding")) if place.leaf == "CodeableConcept" else [first]
    coding = copy.deepcopy(codings[0]) if codings else {}
    coding = rng.choice(
        [
            {**coding, "system": rng.choice(SYSTEMS)}, {**coding, "code": "nonsense"}, {**coding, "display": "Nonsense"},
            {"display": "words"}, {"system": rng.choice(SYSTEMS)}, {"system": rng.choice(SYSTEMS), "code": "active"},
            {"code": "x"}, {**coding, "userSelected": "true"}, {**coding, "version": "99"},
        ]
    )  # fmt: skip
    value = {"coding": [coding]} if place.leaf == "CodeableConcept" else coding
    return _changed(
        resource, place.path, lambda holder: holder.update({place.name: _with_text(now, value)}), place.name
    )


def units(resource: Resource, rng: random.Random) -> Change | None:
    """A unit of UCUM or one that only looks like it."""
    place = _any(resource, rng, lambda one, _: one.leaf in ("Quantity", "Duration", "Age"))
    if place is None:
        return None
    now = at(resource, (*place.path, place.name))
    value = {"value": 1, "unit": "words", "system": UCUM, "code": rng.choice(UNITS)}
    return _changed(
        resource,
        place.path,
        lambda holder: holder.update({place.name: _with_text(now, value)}),
        f"{place.name} {value['code']}",
    )


def vital_signs(resource: Resource, rng: random.Random) -> Change | None:
    """An Observation coded as a vital sign, with a value that fits it or does not."""
    if resource["resourceType"] != "Observation":
        return None
    fresh = copy.deepcopy(resource)
    if rng.random() < 0.7:
        fresh["category"] = [{"coding": [{"system": CATEGORIES, "code": "vital-signs"}]}]
    if rng.random() < 0.7:
        fresh["code"] = {"coding": [{"system": LOINC, "code": rng.choice(VITAL_CODES)}]}
    if rng.random() < 0.5:
        for name in [one for one in fresh if one.startswith("value")]:
            del fresh[name]
        unit = rng.choice(["kg", "cm", "mm[Hg]", "Cel", "/min", "%", "kg/m2", "mg"])
        fresh["valueQuantity"] = {"value": 1, "unit": "x", "system": UCUM, "code": unit}
    if rng.random() < 0.7:
        fresh["meta"] = {"profile": [R4 + rng.choice(VITAL_PROFILES)]}
    gone = rng.choice(["", "", "subject", "category", "component", "code", "effectiveDateTime"])
    fresh.pop(gone, None)
    return write_json(fresh), f"vital {gone}"


def mime_type(resource: Resource, rng: random.Random) -> Change | None:
    place = _any(resource, rng, lambda one, _: one.name in ("contentType", "mimeType", "payload"))
    if place is None:
        return None
    return _changed(resource, place.path, lambda one: one.update({place.name: rng.choice(MIME_TYPES)}), place.name)


def in_a_bundle(resource: Resource, rng: random.Random) -> Change:
    """The resource as an entry of a Bundle that keeps or breaks one rule."""
    text = rng.choice(BUNDLES)
    return text.replace("RESOURCE", write_json(resource)).replace("TYPE", str(resource["resourceType"])), "Bundle"


ROUGH = (
    rewritten_text, number_as_text, renamed, moved, exchanged, extension, dangling, another_coding, units, vital_signs, mime_type,
    in_a_bundle,
)  # fmt: skip
"""Every mutation of this module."""
