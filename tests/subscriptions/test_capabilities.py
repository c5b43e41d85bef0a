"""A CapabilityStatement of any shape says what it can and never raises anything but RemoteFailure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import respx
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_tracker.errors import RemoteFailure
from subscriptions import Capabilities, EhrClient, Limits, read_capabilities

BASE = "https://ehr.example/fhir"
HEADERS = {"content-type": "application/fhir+json", "date": "Mon, 06 May 2024 12:00:00 GMT"}


def read(text: str, status: int = 200) -> Capabilities:
    with respx.mock as router, EhrClient(BASE, limits=Limits(tries=1)) as client:
        router.get(f"{BASE}/metadata").mock(return_value=httpx.Response(status, headers=HEADERS, text=text))
        return read_capabilities(client)


def statement(**members: Any) -> str:
    return json.dumps({"resourceType": "CapabilityStatement", **members})


def test_everything_that_is_said_is_found() -> None:
    patient = {
        "type": "Patient",
        "interaction": [{"code": "read"}, {"code": "search-type"}, {"code": "history-type"}],
        "searchParam": [{"name": "_lastUpdated"}, {"name": "name"}],
    }
    task = {"type": "Task", "interaction": [{"code": "read"}]}
    client = {"mode": "client", "resource": [{"type": "Goal", "interaction": [{"code": "search-type"}]}]}
    found = read(
        statement(
            fhirVersion="4.0.1",
            software={"name": "Some EHR", "version": "7.2"},
            rest=[client, {"mode": "server", "resource": [patient]}, {"resource": [task]}],
        )
    )
    assert (found.fhir_version, found.software, found.is_r4) == ("4.0.1", "Some EHR 7.2", True)
    assert (found.searchable, found.history) == (frozenset({"Patient"}), frozenset({"Patient"}))
    assert found.searches == {"Patient": frozenset({"_lastUpdated", "name"}), "Task": frozenset()}
    assert found.served_at is not None
    assert found.served_at.hour == 12


@pytest.mark.parametrize(
    ("version", "is_r4"),
    [("4.0.1", True), ("4.0.0", True), ("4.0", True), ("4.0.1-ballot", True), ("4.1.0", False), ("4.3.0", False),
     ("4.00", False), ("40.0.1", False), ("5.0.0", False), ("3.0.2", False), ("", False), (4.0, False), (None, False)],
)  # fmt: skip
def test_only_4_0_is_r4(version: object, is_r4: bool) -> None:
    assert read(statement(fhirVersion=version)).is_r4 is is_r4


@pytest.mark.parametrize(
    "rest",
    [None, {}, "x", 7, [], [None], [7], ["x"], [{}], [{"resource": {}}], [{"resource": [7, None, {}]}],
     [{"resource": [{"type": 7, "interaction": {}, "searchParam": "x"}]}],
     [{"resource": [{"type": "Patient", "interaction": [7, {"code": 7}], "searchParam": [None, {"name": []}]}]}]],
)  # fmt: skip
def test_parts_of_a_strange_shape_are_as_though_not_there(rest: object) -> None:
    found = read(statement(fhirVersion="4.0.1", rest=rest))
    assert (found.searchable, found.history) == (frozenset(), frozenset())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "not a CapabilityStatement"),
        ('{"resourceType":"Bundle"}', "not a CapabilityStatement"),
        ('{"resourceType":["CapabilityStatement"]}', "not a CapabilityStatement"),
        ('{"resourceType":"CapabilityStatement","rest":NaN}', "not valid JSON"),
        ('{"resourceType":"CapabilityStatement","software":"\\ud800"}', "not valid JSON"),
        ('{"resourceType":"CapabilityStatement"', "not complete JSON"),
        ("<html>", "not complete JSON"),
        ("", "not complete JSON"),
    ],
)
def test_what_is_no_statement_is_refused(text: str, said: str) -> None:
    with pytest.raises(RemoteFailure, match=said):
        read(text)


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 406, 500])
def test_an_answer_other_than_200_is_refused(status: int) -> None:
    with pytest.raises(RemoteFailure, match=str(status)):
        read("", status)


def shapes() -> Iterator[st.SearchStrategy[Any]]:
    leaf = st.none() | st.integers() | st.text(max_size=6) | st.sampled_from(["search-type", "Patient", "server"])
    names = st.sampled_from(["mode", "resource", "type", "interaction", "code", "searchParam", "name"])
    yield st.recursive(
        leaf, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4), max_leaves=15
    )


@given(next(shapes()), next(shapes()))
@settings(max_examples=60, deadline=None)
def test_no_shape_of_its_parts_makes_it_raise(rest: object, software: object) -> None:
    found = read(statement(rest=rest, software=software))
    assert found.fhir_version == ""
    assert all(isinstance(name, str) for name in found.searchable | found.history)
