"""What a resource puts into the search index (https://hl7.org/fhir/R4/search.html#ptypes)."""

from __future__ import annotations

import math

import pytest

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.body import read_json
from fhir_tracker.fhir.dates import OPEN_END, date_range
from fhir_tracker.fhir.folding import fold
from fhir_tracker.fhir.json_types import Exact, Resource
from fhir_tracker.fhir.quantities import decimal_range
from fhir_tracker.fhir.search_rows import (
    CompositeRow,
    DateRow,
    QuantityRow,
    ReferenceRow,
    SearchValues,
    StringRow,
    TokenRow,
)
from fhir_tracker.fhir.search_values import extract
from tests.fhir.examples import examples

TASK: Resource = {
    "resourceType": "Task",
    "id": "t1",
    "meta": {"tag": [{"system": "http://x", "code": "synthetic"}]},
    "identifier": [{"system": "urn:x", "value": "7"}, {"value": "8"}],
    "instantiatesCanonical": "http://x/PlanDefinition/tcm|3",
    "status": "requested",
    "intent": "order",
    "businessStatus": {"coding": [{"system": "http://s", "code": "to-call"}, {"code": "plain"}]},
    "for": {"reference": "Patient/p1"},
    "owner": {"reference": "https://ehr.example/fhir/Practitioner/d1/_history/2"},
    "requester": {"type": "Organization", "identifier": {"system": "urn:npi", "value": "1"}},
    "focus": {"reference": "urn:uuid:00000000-0000-4000-8000-000000000000"},
    "authoredOn": "2024-03-01",
    "executionPeriod": {"start": "2024-03-01T10:00:00Z"},
    "restriction": {"period": {"end": "2024-03-05"}},
}


def of(values: SearchValues, param: str) -> set[object]:
    groups = (values.tokens, values.references, values.uris, values.dates, values.strings, values.numbers)
    rows = [row for group in (*groups, values.quantities, values.composites) for row in group]
    return {row for row in rows if row.param == param}


def test_a_task_gives_its_tokens() -> None:
    values = extract(TASK)
    assert of(values, "status") == {TokenRow("status", "http://hl7.org/fhir/task-status", "requested")}
    assert of(values, "business-status") == {
        TokenRow("business-status", "http://s", "to-call"),
        TokenRow("business-status", None, "plain"),
    }
    assert of(values, "identifier") == {TokenRow("identifier", "urn:x", "7"), TokenRow("identifier", None, "8")}
    assert of(values, "_tag") == {TokenRow("_tag", "http://x", "synthetic")}


def test_a_task_gives_its_references() -> None:
    values = extract(TASK)
    assert of(values, "patient") == {ReferenceRow("patient", "Patient", "p1", None)}
    assert of(values, "subject") == {ReferenceRow("subject", "Patient", "p1", None)}
    text = "https://ehr.example/fhir/Practitioner/d1/_history/2"
    assert of(values, "owner") == {ReferenceRow("owner", "Practitioner", "d1", text)}
    assert of(values, "requester:identifier") == {TokenRow("requester:identifier", "urn:npi", "1")}
    assert of(values, "focus") == {ReferenceRow("focus", None, None, TASK["focus"]["reference"])}
    assert of(values, "instantiates-canonical") == {
        ReferenceRow("instantiates-canonical", None, None, "http://x/PlanDefinition/tcm|3"),
        ReferenceRow("instantiates-canonical", None, None, "http://x/PlanDefinition/tcm"),
    }


def test_a_task_gives_its_dates_with_open_periods() -> None:
    values = extract(TASK)
    assert of(values, "authored-on") == {DateRow("authored-on", *date_range("2024-03-01"))}
    assert of(values, "period") == {DateRow("period", date_range("2024-03-01T10:00:00Z")[0], OPEN_END)}
    (due,) = of(values, "due")
    assert isinstance(due, DateRow)
    assert due.high == date_range("2024-03-05")[1]


def test_the_parameters_with_a_value_are_known_for_missing() -> None:
    present = extract(TASK).present
    assert {"status", "due", "requester", "focus", "_tag"} <= present
    assert not {"code", "encounter", "part-of"} & present


def test_a_patient_reference_must_be_to_a_patient() -> None:
    group = TASK | {"for": {"reference": "Group/g1"}}
    assert of(extract(group), "patient") == set()
    assert of(extract(group), "subject") == {ReferenceRow("subject", "Group", "g1", None)}


def test_names_are_folded_and_every_part_is_found() -> None:
    patient: Resource = {
        "resourceType": "Patient",
        "name": [{"family": "Müller-Lüdenscheidt", "given": ["José  Ángel", "STRASSE"]}],
        "telecom": [{"system": "phone", "value": "555"}, {"system": "email", "value": "a@b.example"}],
        "deceasedDateTime": "2024",
    }
    values = extract(patient)
    assert StringRow("name", "jose angel", "José  Ángel") in values.strings
    assert StringRow("family", "muller-ludenscheidt", "Müller-Lüdenscheidt") in values.strings
    assert of(values, "phone") == {TokenRow("phone", None, "555")}
    assert of(values, "email") == {TokenRow("email", None, "a@b.example")}
    assert of(values, "deceased") == {TokenRow("deceased", None, "true")}
    assert of(extract({"resourceType": "Patient"}), "deceased") == {TokenRow("deceased", None, "false")}
    assert fold("Straße ﬁn") == "strasse fin"


def test_quantities_keep_unit_and_precision_and_combine_with_the_code() -> None:
    observation: Resource = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "1"}, {"system": "http://x", "code": "2"}]},
        "valueQuantity": {"value": Exact("5.40"), "system": "http://unitsofmeasure.org", "code": "mg", "unit": "mg"},
    }
    values = extract(observation)
    (row,) = of(values, "value-quantity")
    assert row == QuantityRow("value-quantity", "http://unitsofmeasure.org", "mg", "mg", 5.395, 5.405)
    combined = of(values, "code-value-quantity")
    assert len(combined) == 2
    for composite in combined:
        assert isinstance(composite, CompositeRow)
        assert [type(part) for part in composite.parts] == [TokenRow, QuantityRow]
    below = observation | {"valueQuantity": {"value": 5, "comparator": "<"}}
    (row,) = of(extract(below), "value-quantity")
    assert row == QuantityRow("value-quantity", None, None, None, -math.inf, 5.5)


def test_parts_of_different_components_do_not_combine() -> None:
    def part(code: str, value: int) -> Resource:
        return {"code": {"coding": [{"code": code}]}, "valueQuantity": {"value": value}}

    observation: Resource = {"resourceType": "Observation", "component": [part("a", 1), part("b", 2)]}
    rows = extract(observation).composites
    found = {row.parts for row in rows if row.param == "component-code-value-quantity"}
    assert {(parts[0][2], parts[1][4]) for parts in found} == {("a", 0.5), ("b", 1.5)}  # type: ignore[misc]


def test_the_exchanged_parts_of_document_relationship_are_put_right() -> None:
    document: Resource = {
        "resourceType": "DocumentReference",
        "relatesTo": [{"code": "replaces", "target": {"reference": "DocumentReference/d1"}}],
    }
    (row,) = of(extract(document), "relationship")
    assert isinstance(row, CompositeRow)
    assert [type(part) for part in row.parts] == [ReferenceRow, TokenRow]


def test_only_the_first_entry_of_a_bundle_is_its_composition() -> None:
    entries = [{"resource": {"resourceType": "Composition", "id": id_}} for id_ in ("c1", "c2")]
    values = extract({"resourceType": "Bundle", "type": "document", "entry": entries})
    assert of(values, "composition") == {ReferenceRow("composition", "Composition", "c1", None)}


def test_a_timing_gives_its_outer_limits() -> None:
    timing = {"event": ["2024-03-01", "2024-05-01"], "repeat": {"boundsPeriod": {"start": "2024-04", "end": "2024-06"}}}
    request: Resource = {"resourceType": "ServiceRequest", "occurrenceTiming": timing}
    assert of(extract(request), "occurrence") == {
        DateRow("occurrence", date_range("2024-03-01")[0], date_range("2024-06")[1])
    }


WRONG: list[object] = [
    None,
    5,
    "x",
    True,
    [],
    {},
    [None],
    [[]],
    {"reference": 5},
    {"coding": {}},
    {"coding": [5]},
    "0000",
]


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_values_of_a_wrong_kind_give_no_rows_and_no_fault(wrong: object) -> None:
    for resource in examples():
        assert isinstance(
            extract(dict.fromkeys(resource, wrong) | {"resourceType": resource["resourceType"]}), SearchValues
        )
    for name in TASK.keys() - {"resourceType"}:
        extract(TASK | {name: wrong})
    extract(TASK | {"restriction": {"period": wrong}, "executionPeriod": {"start": wrong, "end": wrong}})


def test_rows_do_not_repeat() -> None:
    twice = TASK | {"identifier": [{"system": "urn:x", "value": "7"}] * 2}
    assert extract(twice).tokens.count(TokenRow("identifier", "urn:x", "7")) == 1


RANGES = [
    ("100", 99.5, 100.5),
    ("100.00", 99.995, 100.005),
    ("1e2", 95, 105),
    ("0", -0.5, 0.5),
    ("-5.4", -5.45, -5.35),
    ("5e-1", 0.45, 0.55),
]


@pytest.mark.parametrize(("text", "low", "high"), RANGES)
def test_a_number_covers_its_precision(text: str, low: float, high: float) -> None:
    assert decimal_range(text) == (low, high)
    assert decimal_range(read_json(text.encode())) == (low, high)


@pytest.mark.parametrize(
    "text", ["", "x", "1_000", "nan", "inf", "1e999", "1e-999", "0x1", "１", "1 ", "--1", "1e", "9" * 65]
)
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(Incorrect):
        decimal_range(text)
