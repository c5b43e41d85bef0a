from __future__ import annotations

import pytest

from fhir_tracker.errors import Unsupported
from subscriptions.ways import STATUS_ONLY, Abilities, Way, abilities_from, way_to_change, way_to_create

ALL = frozenset({"create", "update", "patch"})
NONE: frozenset[str] = frozenset()


def able(**types: frozenset[str]) -> Abilities:
    return Abilities(interactions=types, conditional_create=frozenset({"Task"}))


@pytest.mark.parametrize(
    ("abilities", "writes", "way"),
    [
        (able(Task=ALL), {}, Way(kind="create", type="Task")),
        (Abilities(), {}, Way(kind="create", type="Task")),
        (able(Task=ALL), {"Task": "create"}, Way(kind="create", type="Task")),
        (able(Task=frozenset({"update"}), Communication=ALL), {}, Way(kind="communication", type="Communication")),
        (able(Task=ALL, Communication=ALL), {"Task": "update"}, Way(kind="communication", type="Communication")),
        (able(Task=ALL, Communication=ALL), {"Task": "status"}, Way(kind="communication", type="Communication")),
        (able(DocumentReference=ALL), {}, Way(kind="note", type="DocumentReference")),
        (able(Communication=ALL, DocumentReference=ALL), {"Task": "note"}, Way(kind="note", type="DocumentReference")),
        (Abilities(), {"Task": "communication"}, Way(kind="communication", type="Communication")),
    ],
)
def test_something_new_goes_by_the_best_way_there_is(abilities: Abilities, writes: dict[str, str], way: Way) -> None:
    assert way_to_create("Task", abilities, writes) == way


@pytest.mark.parametrize(
    ("type_", "abilities", "writes"),
    [
        ("Task", able(), {}),
        ("Task", able(Task=ALL, Communication=ALL), {"Task": "none"}),
        ("Task", Abilities(), {"Task": "update"}),
        ("CarePlan", able(Communication=ALL, DocumentReference=ALL), {}),
        ("Task", able(DocumentReference=ALL), {"Task": "communication"}),
    ],
)
def test_where_there_is_no_way_it_is_said(type_: str, abilities: Abilities, writes: dict[str, str]) -> None:
    with pytest.raises(Unsupported, match=f"takes no new {type_}; this one stays here"):
        way_to_create(type_, abilities, writes)


def test_a_change_is_an_update_else_a_patch_and_of_what_the_vendor_takes() -> None:
    assert way_to_change("Task", able(Task=ALL), {}) == Way(kind="update", type="Task")
    assert way_to_change("Task", able(Task=ALL), {"Task": "status"}) == Way(
        kind="update", type="Task", only=STATUS_ONLY
    )
    for writes in ({}, {"Appointment": "patch"}):
        able_to_patch = able(Appointment=frozenset({"patch"}))
        assert way_to_change("Appointment", able_to_patch, writes) == Way(kind="patch", type="Appointment")
    assert way_to_change("Appointment", able(Appointment=ALL), {"Appointment": "patch"}).kind == "patch"
    for abilities, told in (
        (able(Task=NONE), {}),
        (able(Task=ALL), {"Task": "none"}),
        (able(Task=ALL), {"Task": "note"}),
    ):
        with pytest.raises(Unsupported, match="takes no changes to a Task"):
            way_to_change("Task", abilities, told)


@pytest.mark.parametrize("abilities", [Abilities(), able(Task=ALL, Patient=NONE)])
def test_what_is_known_of_a_server_can_be_kept(abilities: Abilities) -> None:
    assert abilities_from(abilities.as_detail()) == abilities
