"""FHIRPath behind one module: values stay exact, wrong syntax is refused, and no expression can cost without bound."""

from __future__ import annotations

import copy
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.body import read_json, write_json
from fhir_tracker.fhir.fhirpath import evaluate
from fhir_tracker.fhir.json_types import Exact

NOW = datetime(2026, 3, 9, 14, 30, tzinfo=UTC)
WEIGHT: dict[str, Any] = {
    "resourceType": "Observation",
    "status": "final",
    "_status": {"extension": [{"url": "http://example.org/why", "valueString": "x"}]},
    "effectiveDateTime": "2026-03-01",
    "valueQuantity": {"value": Exact("1.00"), "unit": "kg"},
    "note": [{"text": "a"}, {"text": "b"}],
}


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("Observation.value.value", "[1.00]"),
        ("value.unit", '["kg"]'),
        ("Observation.value.ofType(Quantity).unit", '["kg"]'),
        ("note.text", '["a","b"]'),
        ("note.where(text = 'b').text", '["b"]'),
        ("note[0].text & '!'", '["a!"]'),
        ("status = 'final' and note.count() = 2", "[true]"),
        ("Patient.name", "[]"),
        ("{}", "[]"),
        ("%resource.status", '["final"]'),
        ("%patient.id", '["p"]'),
        ("1.5 + 1", "[2.5]"),
        ("3 days", '[{"value":3,"unit":"days","system":"http://unitsofmeasure.org","code":"d"}]'),
        ("1.5 'mg'", '[{"value":1.5,"unit":"mg","system":"http://unitsofmeasure.org","code":"mg"}]'),
        ("@2026-01-01", '["2026-01-01"]'),
        ("today()", '["2026-03-09"]'),
        ("today() + 7 days", '["2026-03-16"]'),
        ("now()", '["2026-03-09T14:30:00.000Z"]'),
        ("effective + 3 days", '["2026-03-04"]'),
        ("iif(note.exists(), 'yes', 'no')", '["yes"]'),
        ("value", '[{"value":1.00,"unit":"kg"}]'),
    ],
)
def test_an_expression_selects_values_as_they_were_written(expression: str, found: str) -> None:
    assert write_json(evaluate(expression, WEIGHT, {"patient": {"id": "p"}}, now=NOW)) == found


@pytest.mark.parametrize(
    "expression",
    [
        "",
        " ",
        "a b",
        "Observation..x",
        "a.",
        "'a",
        "note.where(",
        "where()",
        "'a' +",
        "nonsense()",
        "%unknown.id",
        "true and 1",
        "now()",
        "note.single().text + 1",
        "matches('(a+)+$')",
        "status.replaceMatches('a', 'b')",
        "trace('x')",
        "aggregate($total & $total, 'x')",
        "(" * 70 + "1" + ")" * 70,
        "a" * 5000,
        "select($this & $this).x(",
    ],
)
def test_what_cannot_be_read_or_is_not_supported_is_refused(expression: str) -> None:
    with pytest.raises(Incorrect) as refused:
        evaluate(expression, WEIGHT)
    assert "final" not in refused.value.message


def test_primitives_with_extensions_count_once_and_come_back_whole() -> None:
    assert evaluate("status.count()", WEIGHT) == [1]
    assert evaluate("Observation", WEIGHT)[0] is WEIGHT
    assert evaluate("%patient", WEIGHT, {"patient": {"birthDate": "2000", "_birthDate": {"id": "a"}}})[0]["_birthDate"]


@pytest.mark.parametrize(
    "expression",
    [
        "'aaaaaaaaaa'" + ".select($this & $this)" * 25,
        "'aaaaaaaaaa'" + ".replace('a', 'aaaaaaaaaa')" * 8,
        "1.repeat($this + 1)",
        "descendants().select(%resource.descendants().select(%resource.descendants().select(%resource.descendants())))",
        "descendants()" + ".children() | descendants()" * 40,
        "(1|2|3|4|5|6|7|8)" + ".select((1|2|3|4|5|6|7|8).combine(%resource.note))" * 12,
    ],
)
def test_no_expression_costs_without_bound(expression: str) -> None:
    big = WEIGHT | {"note": [{"text": str(number)} for number in range(300)]}
    begun = time.process_time()
    try:
        found = evaluate(expression, big)
    except Incorrect:
        found = []
    assert len(found) < 60_000
    assert time.process_time() - begun < 10


def test_what_is_asked_stays_unchanged() -> None:
    before = copy.deepcopy(WEIGHT)
    evaluate("Observation.descendants()", WEIGHT)
    evaluate("value | effective | %context", WEIGHT)
    assert before == WEIGHT


def test_exact_numbers_survive_a_round_through_the_engine() -> None:
    body = read_json(b'{"resourceType":"Observation","valueQuantity":{"value":1.50e1}}')
    assert write_json(evaluate("Observation.value", body)) == '[{"value":1.50e1}]'


def test_starting_up_does_not_load_the_engine() -> None:
    asked = "import sys, fhir_tracker.fhir.fhirpath; print('fhirpathpy' in sys.modules, 'antlr4' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["False", "False"]
