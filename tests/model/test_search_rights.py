"""What of a search a role or token may ask."""

from __future__ import annotations

import pytest

from fhir_tracker.errors import Forbidden
from fhir_tracker.fhir.query import Query, parse_query, parse_system_query
from fhir_tracker.model.grants import grants_of
from fhir_tracker.model.held_filters import is_understood
from fhir_tracker.model.policy import Policy
from fhir_tracker.model.search_rights import permitted
from fhir_tracker.model.sight import EVERYTHING, Sight, sight_of

HIDDEN = {"Task": frozenset({"owner", "input.value[x]", "restriction"}), "Patient": frozenset({"name", "telecom"})}


def role(*grants: str) -> Sight:
    return sight_of(None, Policy(grants=grants_of(grants or ["user/*.rs"]), hidden=HIDDEN, restricted=True), None)


def asked(type_: str, text: str, compartment: tuple[str, str] | None = None) -> Query:
    pairs = [(one.partition("=")[0], one.partition("=")[2]) for one in text.split("&") if one]
    if type_:
        return parse_query(type_, pairs, strict=True, compartment=compartment)
    return parse_system_query(pairs, strict=True, compartment=compartment)


@pytest.mark.security("A3", "S43")
@pytest.mark.parametrize(
    ("type_", "text"),
    [
        ("Task", "owner=Practitioner/a"), ("Task", "owner:missing=true"), ("Task", "owner:identifier=x|y"),
        ("Task", "owner:Practitioner.name=a"), ("Task", "_sort=owner"), ("Task", "_sort=status,-due"), ("Task", "due=gt2020"),
        ("Task", "_include=Task:owner"), ("Task", "_include:iterate=Task:owner:Practitioner"), ("Task", "patient.name=a"),
        ("Task", "part-of.owner=x"), ("Task", "patient:Patient.telecom=1"), ("Patient", "name=a"), ("Patient", "family=a"),
        ("Patient", "phone=1"), ("Patient", "name:missing=false"), ("Patient", "_has:Task:owner:status=x"),
        ("Patient", "_has:Task:patient:owner=x"), ("Practitioner", "_has:Task:owner:status=requested"),
        ("Practitioner", "_revinclude=Task:owner"), ("Observation", "patient.name=a"),
        ("Observation", "subject:Patient.family=a"), ("", "_type=Task,Patient&_sort=_id&_include=Task:owner"),
    ],
)  # fmt: skip
def test_nobody_searches_sorts_or_includes_by_what_is_not_shown(type_: str, text: str) -> None:
    query = asked(type_, text)
    with pytest.raises(Forbidden):
        permitted(role(), query)
    assert permitted(EVERYTHING, query) is query


@pytest.mark.security("A3")
@pytest.mark.parametrize(
    ("type_", "text"),
    [
        ("Task", "status=requested&patient=Patient/a&_sort=-authored-on"), ("Task", "_include=Task:patient"),
        ("Task", "_include=*"), ("Patient", "identifier=x|y&gender=female"), ("Practitioner", "name=a"),
        ("Patient", "_has:Task:patient:status=requested"), ("", "_type=Task,Patient&_sort=_id"),
    ],
)  # fmt: skip
def test_other_parameters_are_free(type_: str, text: str) -> None:
    query = asked(type_, text)
    assert permitted(role(), query) == query


@pytest.mark.security("S43", "A3")
def test_types_that_are_named_must_be_allowed_and_others_are_left_out() -> None:
    some = sight_of(grants_of(["system/Task.rs", "system/Patient.r"]), None, None)
    assert permitted(some, asked("", "")).types == ("Task",)
    assert permitted(some, asked("", "", ("Patient", "a"))).types == ("Task",)
    for query in (asked("Patient", ""), asked("", "_type=Task,Patient"), asked("Patient", "", ("Patient", "a"))):
        with pytest.raises(Forbidden):
            permitted(some, query)
    with pytest.raises(Forbidden):
        permitted(sight_of(grants_of(["system/Patient.r"]), None, None), asked("", ""))


@pytest.mark.security("S43")
def test_a_chain_goes_only_to_types_that_may_be_searched() -> None:
    some = sight_of(grants_of(["system/Observation.rs", "system/Patient.rs"]), None, None)
    chain = asked("Observation", "subject.identifier=x")
    assert len(chain.filters[0].links) > 1 or len(chain.filters[0].links[0].types) > 1
    left = permitted(some, chain).filters[0].links
    assert {type_ for link in left for type_ in link.types} == {"Patient"}
    with pytest.raises(Forbidden):
        permitted(some, asked("Observation", "encounter.status=x"))
    with pytest.raises(Forbidden):
        permitted(some, asked("Patient", "_has:Encounter:patient:status=x"))
    with pytest.raises(Forbidden):
        permitted(some, asked("Patient", "_has:Observation:patient:encounter.status=x"))


@pytest.mark.security("A3", "S43")
def test_a_compartment_by_a_reference_that_is_not_shown_is_refused() -> None:
    hiding = Policy(grants=grants_of(["user/*.rs"]), hidden={"Task": frozenset({"for"})}, restricted=True)
    sight = sight_of(None, hiding, None)
    with pytest.raises(Forbidden):
        permitted(sight, asked("Task", "", ("Patient", "a")))
    assert "Task" not in permitted(sight, asked("", "", ("Patient", "a"))).types


@pytest.mark.requirement(84)
@pytest.mark.parametrize(
    ("scope", "understood"),
    [
        ("system/Task.rs", True), ("system/Task.rs?status=requested", True), ("system/Task.rs?owner=Practitioner/a", True),
        ("system/*.rs?_tag=urn:x|a", True), ("system/*.rs?status=final", True), ("system/Patient.rs?_id=a,b", True),
        ("system/Task.rs?status:not=x", False), ("system/Task.rs?due=gt2020", False), ("system/Task.rs?nothing=x", False),
        ("system/Patient.rs?name=a", False), ("system/Task.rs?patient.name=a", False), ("system/Task.rs?owner:missing=true", False),
        ("system/Task.rs?status=x&due=gt2020", False), ("system/*.rs?nothing=x", False), ("system/Task.rs?_lastUpdated=2020", False),
    ],
)  # fmt: skip
def test_scopes_that_nobody_can_be_held_to_are_known(scope: str, understood: bool) -> None:
    (grant,) = grants_of([scope])
    assert is_understood(grant) == understood
