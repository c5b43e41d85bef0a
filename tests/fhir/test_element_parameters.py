"""Which search parameters read which elements."""

from __future__ import annotations

import pytest

from fhir_tracker.fhir.definitions.registry import resource_types
from fhir_tracker.fhir.element_parameters import parameters_reading
from fhir_tracker.fhir.own_parameters import parameters_of
from fhir_tracker.fhir.search_values import unindexed_reason


def reading(type_: str, *paths: str) -> set[str]:
    found = parameters_reading(type_, frozenset(paths))
    return {code for code in found if unindexed_reason(type_, code) is None}


@pytest.mark.security("A3")
@pytest.mark.parametrize(
    ("type_", "path", "codes"),
    [
        ("Task", "owner", {"owner"}),
        ("Task", "for", {"patient", "subject"}),
        ("Task", "restriction", {"due"}),
        ("Task", "restriction.period", {"due"}),
        ("Task", "restriction.repetitions", set()),
        ("Task", "note", set()),
        ("Patient", "name", {"name", "family", "given", "phonetic"}),
        ("Patient", "name.family", {"name", "family", "phonetic"}),
        ("Patient", "telecom", {"telecom", "email", "phone"}),
        ("Patient", "deceased[x]", {"deceased", "death-date"}),
        ("Patient", "meta.tag", {"_tag"}),
        ("Patient", "meta", {"_tag", "_security", "_profile", "_source"}),
        ("Observation", "effective[x]", {"date"}),
        ("Observation", "component", {
            "component-code", "combo-code", "component-value-concept", "combo-value-concept", "component-value-quantity",
            "combo-value-quantity", "component-data-absent-reason", "combo-data-absent-reason",
            "component-code-value-concept", "component-code-value-quantity", "combo-code-value-concept",
            "combo-code-value-quantity"}),
        ("Communication", "subject", {"subject", "patient"}),
    ],
)  # fmt: skip
def test_parameters_are_known_by_what_they_read(type_: str, path: str, codes: set[str]) -> None:
    assert reading(type_, path) == codes


@pytest.mark.security("A3")
def test_parts_of_composites_count() -> None:
    hidden = reading("Observation", "value[x]")
    assert {"value-concept", "code-value-quantity", "combo-value-quantity", "value-string", "value-date"} <= hidden
    assert "code" not in hidden
    assert "valuation" not in hidden
    assert {"code-value-quantity", "combo-code-value-concept", "code"} <= reading("Observation", "code")


def test_nothing_hidden_is_nothing_read() -> None:
    assert parameters_reading("Task", frozenset()) == frozenset()


@pytest.mark.security("A3")
def test_of_every_parameter_that_is_searched_by_it_is_known_what_it_reads() -> None:
    for type_ in sorted(resource_types()):
        known = {code for code in parameters_of(type_) if unindexed_reason(type_, code) is None}
        unread = parameters_reading(type_, frozenset({"noSuchElement"}))
        assert not known & unread, type_
