"""Whatever an EHR sends, nothing here falls over: one node of an official example is replaced by any JSON value."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_tracker.fhir.body import read_json, write_json
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.codeable import identifiers
from fhir_tracker.fhir.identity import content_hash
from fhir_tracker.fhir.json_types import Exact, Json, Resource
from fhir_tracker.fhir.references import rewrite_references, walk_references
from fhir_tracker.fhir.search_rows import SearchValues
from fhir_tracker.fhir.search_values import extract
from tests.fhir.examples import example, example_names

LEAVES = st.sampled_from(
    [None, True, 0, -1, 10**40, Exact("1e300"), Exact("-0.00"), "", " ", "x", "é" * 300, "2024-02-30", "#", "Patient/1"]
)
NAMES = st.sampled_from(["reference", "coding", "system", "value", "resourceType", "code", "extension", "start", "_id"])
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3))


def places(value: Json, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The paths of every node below the top."""
    members: list[tuple[str | int, Json]] = []
    if isinstance(value, dict):
        members = list(value.items())
    elif isinstance(value, list):
        members = list(enumerate(value))
    return [place for step, member in members for place in ((*path, step), *places(member, (*path, step)))]


def replaced(resource: Resource, path: tuple[str | int, ...], value: Json) -> Resource:
    changed: Any = copy.deepcopy(resource)
    holder = changed
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = value
    whole: Resource = changed
    return whole


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=300)
@given(st.data())
def test_no_value_in_any_place_makes_anything_fail(data: st.DataObject) -> None:
    resource = example(data.draw(st.sampled_from(example_names())))
    path = data.draw(st.sampled_from([place for place in places(resource) if place != ("resourceType",)]))
    changed = replaced(resource, path, data.draw(VALUES))
    assert isinstance(check(changed), tuple)
    assert isinstance(extract(changed), SearchValues)
    assert rewrite_references(changed, lambda text: text) == changed
    assert list(walk_references(changed)) is not None
    assert isinstance(identifiers(changed), tuple)
    assert content_hash(read_json(write_json(changed).encode())) == content_hash(changed)
