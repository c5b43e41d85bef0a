"""The compartments of R4 and ours for Task.

https://hl7.org/fhir/R4/compartmentdefinition.html
"""

from __future__ import annotations

import pytest

from fhir_tracker.fhir.compartments import COMPARTMENTS, compartment_parameters, compartment_types
from fhir_tracker.fhir.definitions.registry import resource_types
from fhir_tracker.fhir.own_parameters import parameters_of


@pytest.mark.requirement(32)
@pytest.mark.parametrize(
    ("name", "type_", "params"),
    [
        ("Patient", "CarePlan", ("patient", "performer")),
        ("Patient", "Appointment", ("actor",)),
        ("Patient", "Task", ("patient",)),
        ("Patient", "Patient", ("link",)),
        ("Encounter", "Encounter", ()),
        ("Practitioner", "Task", ()),
        ("Patient", "Subscription", ()),
        ("Nothing", "Task", ()),
    ],
)
def test_a_type_is_in_a_compartment_by_these_parameters(name: str, type_: str, params: tuple[str, ...]) -> None:
    assert compartment_parameters(name, type_) == params


@pytest.mark.requirement(32)
def test_every_parameter_named_is_a_reference_that_can_point_to_the_compartment() -> None:
    assert compartment_types("Task") == ()
    for name in COMPARTMENTS:
        types = compartment_types(name)
        assert name in types
        assert set(types) <= resource_types()
        assert list(types) == sorted(types)
        for type_ in types:
            for param in compartment_parameters(name, type_):
                assert name in parameters_of(type_)[param].targets, (type_, param)
    assert "Task" in compartment_types("Patient")
    assert "Subscription" not in compartment_types("Patient")
