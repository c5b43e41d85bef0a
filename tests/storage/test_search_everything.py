"""Every parameter of many types can be missing, sorted by, chained over and turned round without the database refusing.

https://hl7.org/fhir/R4/searchparameter-registry.html
"""

from __future__ import annotations

import random

import pytest

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.definitions.registry import SearchParameter, resource_types, search_parameter
from fhir_tracker.fhir.own_parameters import parameters_of
from fhir_tracker.fhir.query import parse_query
from fhir_tracker.fhir.query_filters import common_parameter
from fhir_tracker.fhir.query_results import SORTED_BY
from fhir_tracker.storage import search, search_plan
from fhir_tracker.storage.database import Database
from tests.storage.samples import VIEWER, locked, put_all, task

PLAIN = {
    "token": "s|c", "reference": "Patient/ann", "string": "x", "date": "ge2026-01", "number": "gt1", "quantity": "5||mg",
    "uri": "http://x", "special": "1|2|3|km",
}  # fmt: skip
SOME = [*random.Random(11).sample(sorted(resource_types()), 8), "Task", "MolecularSequence"]


def value_for(parameter: SearchParameter) -> str:
    """Some value that can be asked for; of a composite one for each part."""
    parts = [search_parameter(one.definition) for one in parameter.components]
    return "$".join(PLAIN[part.type] for part in parts if part) if parts else PLAIN[parameter.type]


def questions(type_: str) -> list[list[tuple[str, str]]]:
    asked: list[list[tuple[str, str]]] = []
    for code in parameters_of(type_):
        known = common_parameter((type_,), code)
        if known is None:
            continue
        asked.append([(f"{code}:missing", "true"), ("_total", "accurate")])
        if known.type in SORTED_BY:
            asked.append([("_sort", f"-{code},_id")])
        asked += [[(code, value_for(known))], [(code, value_for(known)), ("_lastUpdated", "gt2000")]]
        if known.type == "reference":
            asked += [[(f"{code}._lastUpdated", "gt2000")], [("_include", f"{type_}:{code}")]]
    return asked


@pytest.mark.requirement(23, 28, 30)
@pytest.mark.parametrize("few", [2000, -1])
def test_every_question_about_every_parameter_is_answered(
    database: Database, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(search_plan, "FEW", few)
    put_all(database, [task("a"), {"resourceType": "Patient", "id": "ann"}])
    with database.read() as tx:
        for type_ in SOME:
            for asked in questions(type_):
                query = parse_query(type_, asked, strict=True)
                assert search.search(tx, VIEWER, query).matches is not None, asked


@pytest.mark.requirement(26)
def test_every_combination_of_every_type_can_be_asked_for(database: Database) -> None:
    with database.read() as tx:
        for type_ in sorted(resource_types()):
            for known in parameters_of(type_).values():
                if known.components:
                    query = parse_query(type_, [(known.code, value_for(known))], strict=True)
                    assert search.search(tx, VIEWER, query).matches == (), known.code


@pytest.mark.requirement(28)
def test_every_reverse_chain_to_a_patient_is_answered(database: Database) -> None:
    put_all(database, [task("a"), {"resourceType": "Patient", "id": "ann"}])
    found: list[str] = []
    with database.read() as tx:
        for source in sorted(resource_types()):
            try:
                query = parse_query("Patient", [(f"_has:{source}:patient:_lastUpdated", "gt2000")], strict=True)
            except Incorrect:
                continue
            assert not search.search(tx, locked("bob"), query).matches
            found += [source for _ in search.search(tx, VIEWER, query).matches]
    assert found == ["Task"]
