"""Ids and content hashes."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_tracker.fhir.body import read_json, with_meta
from fhir_tracker.fhir.identity import content_hash, is_legal_id, local_id, new_id
from tests.fhir.examples import examples

NOW = datetime(2024, 3, 1, 10, tzinfo=UTC)


def test_a_legal_remote_id_stays_readable() -> None:
    assert local_id("hapi", "123", "Task") == "hapi-123"
    assert local_id("hapi", "a.b-C", "Task") == "hapi-a.b-C"


@given(st.text(max_size=200), st.sampled_from(["Task", "Patient"]))
def test_any_remote_id_gives_one_legal_id(remote: str, type_: str) -> None:
    found = local_id("epic-prod", remote, type_)
    assert is_legal_id(found)
    assert found.startswith("epic-prod-")
    assert found == local_id("epic-prod", remote, type_)


def test_long_ids_that_differ_at_the_end_stay_apart() -> None:
    found = {local_id("epic", "x" * 64 + str(number), "Task") for number in range(500)}
    assert len(found) == 500
    assert local_id("epic", "a/b", "Task") != local_id("epic", "a/b", "Patient")


@pytest.mark.parametrize("connection", ["", "a b", "x" * 41, "a/b"])
def test_a_connection_key_that_cannot_begin_an_id_is_refused(connection: str) -> None:
    with pytest.raises(ValueError, match="connection key"):
        local_id(connection, "1")


def test_new_ids_are_version_7_and_sort_by_time() -> None:
    source = random.Random(7)
    ids = [new_id(NOW + timedelta(milliseconds=step), source.randbytes) for step in range(50)]
    assert ids == sorted(ids)
    assert {(UUID(text).version, UUID(text).variant) for text in ids} == {(7, "specified in RFC 4122")}
    assert len({new_id(NOW) for _ in range(1000)}) == 1000


def test_the_hash_is_of_the_content_alone() -> None:
    first = read_json(b'{"resourceType":"Task","meta":{"versionId":"1","lastUpdated":"x"},"a":[1,2],"b":1.0}')
    same = read_json(b'{"b":1.0,"a":[1,2],"resourceType":"Task"}')
    assert content_hash(first) == content_hash(same)
    for other in (b'{"b":1.0,"a":[2,1],"resourceType":"Task"}', b'{"b":1.00,"a":[1,2],"resourceType":"Task"}'):
        assert content_hash(read_json(other)) != content_hash(first)
    tagged = read_json(b'{"b":1.0,"a":[1,2],"resourceType":"Task","meta":{"tag":[{"code":"t"}]}}')
    assert content_hash(tagged) != content_hash(first)


def test_stamping_a_version_does_not_change_the_hash() -> None:
    for resource in examples():
        again = with_meta(resource, id=resource.get("id", "x"), version="5", last_updated=NOW)
        if "id" in resource:
            assert content_hash(again) == content_hash(resource)
