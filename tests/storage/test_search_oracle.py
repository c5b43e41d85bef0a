"""Random searches over random resources give what a naive look at each JSON gives, on both databases, after any writes."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from fhir_tracker.fhir.query import parse_query
from fhir_tracker.storage import search
from fhir_tracker.storage.database import Database
from tests.storage.samples import VIEWER, found, locked, pairs, walk
from tests.storage.shelf import MAKERS, PEOPLE, Body, Shelf, filters, folded, span_of


@pytest.mark.parametrize("seed", range(2))
def test_random_searches_find_what_a_naive_look_finds(database: Database, seed: int) -> None:
    chance = random.Random(seed)
    shelf = Shelf(chance)
    for _ in range(3):
        shelf.write(database, 60)
        for _ in range(50):
            type_ = chance.choice(list(MAKERS))
            asked = [filters(chance, type_) for _ in range(chance.randint(0, 3))]
            text = "&".join([*(one.text for one in asked), f"_count={chance.choice((4, 20, 50))}"])
            assert found(database, type_, text) == shelf.fitting(type_, asked), text


def test_a_locked_viewer_finds_and_counts_exactly_their_share(database: Database) -> None:
    chance = random.Random(100)
    shelf = Shelf(chance)
    shelf.write(database, 150)
    for _ in range(60):
        type_, patient = chance.choice(("Task", "Observation")), chance.choice(PEOPLE)
        asked = [filters(chance, type_) for _ in range(chance.randint(0, 2))]
        text = "&".join(one.text for one in asked)
        expected = shelf.fitting(type_, asked, patient)
        assert found(database, type_, text, locked(patient)) == expected, text
        query = parse_query(type_, pairs(f"{text}&_summary=count"), strict=True, own_base="http://here/fhir")
        with database.read() as tx:
            assert search.search(tx, locked(patient), query).total == len(expected), text


SORTS: dict[str, tuple[str, Callable[[Body], Any]]] = {
    "authored-on": ("Task", lambda body: span_of(body["authoredOn"])[0] if "authoredOn" in body else None),
    "_id": ("Task", lambda body: body["id"]),
    "family": ("Patient", lambda body: folded(body["name"][0]["family"]) if "name" in body else None),
    "birthdate": ("Patient", lambda body: span_of(body["birthDate"])[0] if "birthDate" in body else None),
    "value-quantity": (
        "Observation",
        lambda body: float(body["valueQuantity"]["value"]) if "valueQuantity" in body else None,
    ),
}


def test_sorted_walks_are_in_order_complete_and_without_repetition(database: Database) -> None:
    chance = random.Random(200)
    shelf = Shelf(chance)
    shelf.write(database, 150)
    for _ in range(40):
        param = chance.choice(list(SORTS))
        type_, value = SORTS[param]
        asked = [filters(chance, type_) for _ in range(chance.randint(0, 1))]
        down = chance.random() < 0.5
        sort = f"_sort={'-' if down else ''}{param}&_count={chance.choice((3, 10, 50))}"
        text = "&".join([*(one.text for one in asked), sort])
        ids = [one.id for one in walk(database, type_, text)]
        assert sorted(ids) == shelf.fitting(type_, asked), text
        values = [value(shelf.bodies[type_, id_]) for id_ in ids]
        there = [one for one in values if one is not None]
        assert values == [*there, *[None] * (len(values) - len(there))], text
        assert there == sorted(there, reverse=down), text


def test_the_total_is_exact_whatever_the_page(database: Database) -> None:
    chance = random.Random(300)
    shelf = Shelf(chance)
    shelf.write(database, 120)
    for _ in range(40):
        type_ = chance.choice(list(MAKERS))
        asked = [filters(chance, type_) for _ in range(chance.randint(0, 2))]
        text = "&".join([*(one.text for one in asked), "_total=accurate&_count=3"])
        query = parse_query(type_, pairs(text), strict=True, own_base="http://here/fhir")
        with database.read() as tx:
            page = search.search(tx, VIEWER, query)
        expected = shelf.fitting(type_, asked)
        assert (page.total, len(page.matches)) == (len(expected), min(3, len(expected))), text
