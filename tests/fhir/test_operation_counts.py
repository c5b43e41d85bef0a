"""The work done grows with the size of what was sent and no faster, and what was compiled once is not compiled again."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from types import FrameType
from typing import Any

import pytest

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.body import read_json, write_json
from fhir_tracker.fhir.checks import MOST_ISSUES, check
from fhir_tracker.fhir.dates import date_range
from fhir_tracker.fhir.expressions import compile_expression
from fhir_tracker.fhir.identity import content_hash
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.query import parse_query
from fhir_tracker.fhir.references import rewrite_references, walk_references
from fhir_tracker.fhir.search_values import MOST_COMBINATIONS, extract
from tests.fhir.examples import examples

SIZES = (50, 100, 200, 400)


def calls(work: Callable[[], object]) -> int:
    """How many functions, ours and built-in, one piece of work calls, after it was done once to fill the caches."""
    work()
    count = 0

    def note(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def task(size: int) -> Resource:
    """A Task with so many identifiers, inputs, notes and extensions."""
    return {
        "resourceType": "Task",
        "status": "requested",
        "intent": "order",
        "identifier": [{"system": "urn:x", "value": str(number)} for number in range(size)],
        "basedOn": [{"reference": f"CarePlan/{number}"} for number in range(size)],
        "note": [{"text": "words", "time": "2026-01-01"} for _ in range(size)],
        "extension": [{"url": "urn:x", "valueReference": {"reference": f"Patient/{number}"}} for number in range(size)],
        "input": [{"type": {"coding": [{"code": "c"}]}, "valueDecimal": 1} for _ in range(size)],
    }


def observation(size: int) -> Resource:
    parts = [{"code": {"coding": [{"code": f"c{one}"}]}, "valueQuantity": {"value": one}} for one in range(size)]
    return {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "component": parts}


def text_of(size: int) -> bytes:
    return write_json(task(size)).encode()


# name -> what makes the material of a size, and the work on it
WORK: dict[str, tuple[Callable[[int], Any], Callable[[Any], object]]] = {
    "reading a body": (text_of, read_json),
    "checking a shape": (task, check),
    "search values": (task, extract),
    "search values of components": (observation, extract),
    "walking references": (task, lambda one: list(walk_references(one))),
    "rewriting references": (task, lambda one: rewrite_references(one, str.upper)),
    "writing": (task, write_json),
    "hashing": (task, content_hash),
    "reading a search": (
        lambda size: ",".join(["x"] * (size // 2)),
        lambda text: parse_query("Task", [("code", text)], strict=True),
    ),
}


@pytest.mark.parametrize("name", WORK)
def test_twice_as_much_is_at_most_twice_the_work(name: str) -> None:
    make, work = WORK[name]
    counted = [calls(partial(work, make(size))) for size in SIZES]
    assert all(larger <= 2.1 * smaller + 50 for smaller, larger in pairwise(counted)), counted


@pytest.mark.parametrize("form", ["[", '{"a":', '["]]",', '["\\"]]",'])
def test_deep_nesting_is_refused_after_a_bounded_number_of_steps(form: str) -> None:
    def refused(depth: int) -> Callable[[], object]:
        def work() -> None:
            with pytest.raises(Incorrect):
                read_json(form.encode() * depth)

        return work

    assert calls(refused(100_000)) <= calls(refused(100)) + 50


def test_a_flood_of_mistakes_is_cut_short() -> None:
    def flooded(size: int) -> Callable[[], object]:
        wrong = {"resourceType": "Task", "input": [{"type": {"nonsense": 1}} for _ in range(size)]}
        return lambda: check(wrong)

    assert len(check({"resourceType": "Task", "input": [{"type": {"nonsense": 1}}] * 5000})) == MOST_ISSUES
    few, many = calls(flooded(500)), calls(flooded(5000))
    assert many <= 12 * few


def test_combinations_are_limited() -> None:
    codings = [{"code": f"c{number}"} for number in range(3 * MOST_COMBINATIONS)]
    many = {"resourceType": "Observation", "code": {"coding": codings}, "valueQuantity": {"value": 1}}
    rows = [row for row in extract(many).composites if row.param == "code-value-quantity"]
    assert len(rows) == MOST_COMBINATIONS


def test_the_second_of_a_kind_compiles_nothing() -> None:
    for resource in examples():
        extract(resource)
    before = compile_expression.cache_info().misses
    for resource in examples():
        extract(resource)
    assert compile_expression.cache_info().misses == before


def test_the_caches_of_texts_that_others_choose_are_bounded() -> None:
    for cached in (date_range,):
        size = cached.cache_info().maxsize
        assert size is not None
        assert size <= 10_000


def test_search_values_of_a_resource_without_any_cost_little() -> None:
    empty: dict[str, Any] = {"resourceType": "Task"}
    assert calls(lambda: extract(empty)) < 120
    assert calls(lambda: check(empty)) < 60
