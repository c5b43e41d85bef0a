"""Answers to short texts are kept, those to long ones are worked out each time."""

from __future__ import annotations

from fhir_tracker.fhir.search_values import extract
from fhir_tracker.storage.hashes import token_key
from fhir_tracker.storage.indexing import index_rows
from fhir_tracker.storage.remembering import LONGEST, remembered
from tests.fhir.examples import examples


def test_only_what_is_short_is_kept() -> None:
    asked: list[tuple[object, ...]] = []

    @remembered(8)
    def length(name: str, rest: tuple[object, ...]) -> int:
        asked.append((name, rest))
        return len(name)

    long = "x" * (LONGEST + 1)
    for _ in range(2):
        assert length("a", ("b", None, ("c",))) == 1
    assert len(asked) == 1
    for _ in range(2):
        assert length("a", (("b", long),)) == 1
        assert length(name="a", rest=()) == 1
    assert len(asked) == 5


def test_a_key_is_the_same_whether_it_is_kept_or_not() -> None:
    keys = {token_key("Task", "code", "http://x", "c" * size) for size in range(LONGEST - 50, LONGEST + 50)}
    assert len(keys) == 100
    assert token_key("Task", "code", "http://x", "c" * 2000) == token_key("Task", "code", "http://x", "c" * 2000)


def test_rows_of_the_index_are_the_same_the_second_time() -> None:
    for resource in examples():
        values = extract(resource)
        assert index_rows(resource["resourceType"], values) == index_rows(resource["resourceType"], values)
