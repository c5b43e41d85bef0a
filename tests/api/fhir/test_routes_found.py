"""Every address leads where the first template of the table that fits it leads, however the table is looked through."""

from __future__ import annotations

from itertools import product

import pytest

from api.fhir.actions import Route
from api.fhir.routes import ROUTES, find_route
from api.fhir.searching import is_in_compartment
from fhir_tracker.errors import NotFound, UnknownType
from fhir_tracker.fhir.definitions.registry import resource_types

PARTS = (
    "Task", "PlanDefinition", "Patient", "Nothing", "one", "7", "metadata", "_search", "_history", "$validate", "$move", "$apply",
    "$evidence", "{id}", "",
)  # fmt: skip


def fits(route: Route, path: tuple[str, ...]) -> bool:
    """Whether an address is of a template, told part by part."""
    named = dict(zip(route.template, path, strict=False))
    is_of = len(path) == len(route.template) and all(
        not part.startswith("$") if place.startswith("{") else part == place
        for place, part in zip(route.template, path, strict=False)
    )
    return is_of and ("{member}" not in named or is_in_compartment(named["{type}"], named["{member}"]))


def expected(path: tuple[str, ...]) -> str:
    route = next((one for one in ROUTES if fits(one, path)), None)
    if route is None:
        return "nothing"
    is_known = route.template[:1] != ("{type}",) or path[0] in resource_types()
    return route.name if is_known else "no type"


def found(path: tuple[str, ...]) -> str:
    try:
        route, parts = find_route(path)
    except UnknownType:
        return "no type"
    except NotFound:
        return "nothing"
    named = {place.strip("{}"): part for place, part in zip(route.template, path, strict=True) if place[:1] == "{"}
    named.pop("member", None)
    assert parts == named
    return route.name


@pytest.mark.parametrize("length", range(5))
def test_an_address_leads_to_the_first_template_that_fits(length: int) -> None:
    for path in product(PARTS, repeat=min(length, 3)):
        for end in PARTS[:: 1 if length < 4 else 3] if length == 4 else [None]:
            whole = path if end is None else (*path, end)
            assert found(whole) == expected(whole), whole


def test_what_is_longer_than_every_template_leads_nowhere() -> None:
    for length in range(5, 12):
        assert found(("Task", "one", "_history", "1", *["more"] * (length - 4))) == "nothing"


def test_every_template_is_reached_by_an_address_of_its_own_form() -> None:
    samples = {"{type}": "Patient", "{id}": "one", "{version}": "1", "{member}": "Task"}
    for route in ROUTES:
        path = tuple(samples.get(part, part) for part in route.template)
        assert found(path) == route.name
