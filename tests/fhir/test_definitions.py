"""The generated tables."""

from __future__ import annotations

import pytest

from fhir_tracker.fhir.definitions.registry import (
    ancestors,
    elements,
    resource_types,
    search_parameter,
    search_parameters,
    value_set,
)
from fhir_tracker.fhir.own_parameters import OWN_PARAMETERS, parameters_of


def test_r4_has_146_concrete_resource_types() -> None:
    assert len(resource_types()) == 146
    assert {"Task", "CarePlan", "Appointment", "Parameters"} <= resource_types()
    assert not {"Resource", "DomainResource", "Element", "Nope"} & resource_types()


def test_elements_are_inherited() -> None:
    assert ancestors("Task") == ("Task", "DomainResource", "Resource")
    task = elements("Task")
    assert {"id", "meta", "text", "extension", "status", "restriction"} <= set(task)
    assert task["status"].required
    assert task["status"].codes == "task-status"
    assert task["owner"].targets >= {"Practitioner", "PractitionerRole"}
    assert task["identifier"].many
    assert elements("Task.input")["value[x]"].is_choice
    assert elements("Nope") == {}


def test_required_codes_have_their_system() -> None:
    (codes,) = value_set("task-status").values()
    assert {"requested", "on-hold", "failed"} <= codes
    assert len(codes) == 12


@pytest.mark.requirement(24, 31)
def test_search_parameters_are_inherited_and_ours_are_added() -> None:
    assert {"_id", "_lastUpdated", "_tag", "status", "owner", "business-status"} <= set(search_parameters("Task"))
    assert "due" not in search_parameters("Task")
    assert parameters_of("Task")["due"].type == "date"
    assert parameters_of("Task")["due"].expression == "Task.restriction.period.end"
    assert all(own.url.startswith("https://fhir-tracker.example/") for own in OWN_PARAMETERS)
    assert search_parameters("Nope") == {}


def test_a_composite_names_its_components() -> None:
    found = search_parameters("Observation")["code-value-quantity"]
    assert len(found.components) == 2
    for component in found.components:
        assert search_parameter(component.definition) is not None


def test_own_parameters_never_hide_an_official_one() -> None:
    for own in OWN_PARAMETERS:
        for base in own.base:
            assert own.code not in search_parameters(base)
