"""The measures as FHIR Measure resources, made from their definitions.

https://hl7.org/fhir/R4/measure.html
"""

from __future__ import annotations

from collections.abc import Iterable

from fhir_tracker.fhir.codeable import concept
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.narrative import narrative
from fhir_tracker.measures.definitions import MEASURES, Key, Measure
from fhir_tracker.model.program import CANONICAL

SCORING = "http://terminology.hl7.org/CodeSystem/measure-scoring"
POPULATION = "http://terminology.hl7.org/CodeSystem/measure-population"
NOTATION = "http://terminology.hl7.org/CodeSystem/measure-improvement-notation"
VALUE_SYSTEM = f"{CANONICAL}/CodeSystem/measure-value"
KEY_SYSTEM = f"{CANONICAL}/CodeSystem/measure-key"


def measure_resources() -> Iterable[Resource]:
    """Every Measure, and the CodeSystems of their values and of what they count by."""
    yield from (_measure(one) for one in MEASURES.values())
    yield _codes("measure-value", "Values of measures", {v.name: v.means for m in MEASURES.values() for v in m.values})
    yield _codes("measure-key", "What measures count by", {k.name: k.means for m in MEASURES.values() for k in m.keys})


def scoring(measure: Measure) -> str:
    """proportion for a share, continuous-variable for times, cohort for counts."""
    if measure.rate:
        return "proportion"
    return "cohort" if measure.value(measure.main).unit == "count" else "continuous-variable"


def _measure(measure: Measure) -> Resource:
    rows = [("Population", measure.population), ("Left out", measure.exclusions), ("As of a moment", measure.as_of)]
    rows += [(one.name, f"{one.means} ({one.unit})") for one in measure.values]
    return {
        "resourceType": "Measure",
        "id": measure.name,
        "text": narrative("Measure", measure.title, rows),
        "url": measure.canonical,
        "name": "".join(part.title() for part in measure.name.split("-")),
        "title": measure.title,
        "status": "active",
        "experimental": False,
        "publisher": "fhir-tracker",
        "description": f"{measure.population} Left out: {measure.exclusions}",
        "scoring": concept(SCORING, scoring(measure)),
        "type": [concept("http://terminology.hl7.org/CodeSystem/measure-type", "process")],
        "rationale": f"As of a moment: {measure.as_of}",
        "improvementNotation": concept(NOTATION, measure.better),
        "definition": [f"{one.name} ({one.unit}): {one.means}" for one in measure.values],
        "group": [
            {
                "code": {"text": measure.title},
                "population": list(_populations(measure)),
                "stratifier": [{"component": [_component(measure, one) for one in measure.keys]}],
            }
        ],
    }


def _populations(measure: Measure) -> Iterable[Resource]:
    kind, words = scoring(measure), {"initial-population": measure.population}
    if measure.rate:
        part, whole = measure.rate
        words |= {"denominator": measure.value(whole).means, "numerator": measure.value(part).means}
    elif kind == "continuous-variable":
        words |= {"measure-population": measure.population, "measure-observation": measure.value(measure.main).means}
    for code, text in words.items():
        yield {"code": concept(POPULATION, code), "criteria": _criteria(measure, text)}


def _component(measure: Measure, key: Key) -> Resource:
    return {"code": concept(KEY_SYSTEM, key.name), "criteria": _criteria(measure, key.means)}


def _criteria(measure: Measure, words: str) -> Resource:
    """In words, with the query that works it out."""
    query = f"Measure/{measure.name}/$evaluate-measure"
    return {"description": words, "language": "application/x-fhir-query", "expression": query}


def _codes(id_: str, title: str, means: dict[str, str]) -> Resource:
    return {
        "resourceType": "CodeSystem",
        "id": id_,
        "url": f"{CANONICAL}/CodeSystem/{id_}",
        "name": "".join(part.title() for part in id_.split("-")),
        "title": title,
        "status": "active",
        "publisher": "fhir-tracker",
        "caseSensitive": True,
        "content": "complete",
        "concept": [
            {"code": code, "display": code.replace("_", " "), "definition": text} for code, text in means.items()
        ],
    }
