"""An EHR that is away for an hour of simulated time: the first poll after it is back brings everything, once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import respx

from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage import resources
from fhir_tracker.storage.database import Database
from tests.subscriptions.test_due import Town

POLL = 1200
HOUR = 3600
VIEWER = worker_viewer("test")


@pytest.fixture
def town(database: Database, ready_url: str) -> Iterator[Town]:
    with respx.mock(assert_all_called=False) as router:
        yield Town(database, ready_url, router)


@pytest.mark.fault("F30")
@pytest.mark.requirement(78)
def test_after_an_hour_away_an_ehr_is_caught_up_with_by_the_next_poll(town: Town) -> None:
    town.add("a", poll=POLL)
    assert town.synced() == ["a"]
    ehr = town.ehrs["a"]
    town.down("a", 503)
    for number in range(HOUR // POLL):
        ehr.pass_time(POLL)
        ehr.put("Patient", f"away{number}")
        ehr.put("Patient", "of-a", active=bool(number % 2))
        town.work(POLL)
    ehr.put("Patient", "away0", active=True)
    ehr.delete("Patient", "away1")
    assert town.held("a") == {"of-a"}
    town.up("a")
    ehr.pass_time(POLL)
    assert town.synced(POLL) == ["a"], "it is asked again after one poll interval, however long it was away"
    assert town.held("a") == {"of-a", *(f"away{number}" for number in range(HOUR // POLL))} - {"away1"}
    once = _versions(town)
    assert set(once.values()) == {1, 2}
    ehr.pass_time(POLL)
    assert town.synced(POLL) == ["a"]
    assert _versions(town) == once, "and nothing twice"


def _versions(town: Town) -> dict[str, int]:
    """How many versions of each Patient there are here; that of the first load counts."""
    with town.database.read() as tx:
        return {
            one: len(resources.history(tx, VIEWER, "Patient", f"a-{one}", count=100)) for one in sorted(town.held("a"))
        }
