"""What the product defines is in the store, valid, and written once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fhir_tracker import built_in, records
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.own_parameters import OWN_PARAMETERS
from fhir_tracker.model.author import Author
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage import resources
from fhir_tracker.storage.database import Database

NOW = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)
VIEWER = worker_viewer("set-up")


def author(minutes: int = 0) -> Author:
    return Author(viewer=VIEWER, origin="cli", at=NOW + timedelta(minutes=minutes))


def test_everything_defined_here_is_valid_and_has_an_id_and_address_of_its_own() -> None:
    found = built_in.built_in_resources()
    for resource in found:
        assert check(resource) == ()
        assert resource["url"].endswith(f"/{resource['resourceType']}/{resource['id']}")
    assert len({(one["resourceType"], one["id"]) for one in found}) == len(found)


@pytest.mark.requirement(31)
def test_each_own_search_parameter_is_a_resource() -> None:
    found = {one["url"]: one for one in built_in.own_search_parameters()}
    assert set(found) == {one.url for one in OWN_PARAMETERS}
    due = next(one for one in found.values() if one["code"] == "due")
    assert (due["base"], due["type"], due["expression"]) == (["Task"], "date", "Task.restriction.period.end")


def test_publishing_writes_what_is_missing_or_different_and_nothing_else(database: Database) -> None:
    many = len(built_in.built_in_resources())
    with database.begin() as tx:
        assert not built_in.is_published(tx)
        assert built_in.publish(tx, author()) == many
        assert built_in.is_published(tx)
        assert built_in.publish(tx, author(1)) == 0
        first = built_in.built_in_resources()[0]
        records.save(tx, first | {"description": "changed"}, author(2))
        assert built_in.publish(tx, author(3)) == 1
        stored = resources.find(tx, VIEWER, first["resourceType"], first["id"])
        assert stored is not None
        assert stored.version == 3
        assert records.resource_of(stored)["description"] == first["description"]
