from __future__ import annotations

from tests.subscriptions.fake_ehr import FakeEhr
from tests.subscriptions.tracker import Tracker


def test_everything_is_loaded_once_and_then_nothing_is_written_again(tracker: Tracker, ehr: FakeEhr) -> None:
    ehr.page_size = 10
    for number in range(25):
        ehr.put("Patient", f"p{number}", active=True)
    first = tracker.patients()
    assert (first.tally.fetched, first.tally.applied, first.pages, first.error) == (25, 25, 3, None)
    assert "_lastUpdated=" not in ehr.requests[1]
    second = tracker.patients()
    assert (second.tally.applied, second.tally.unchanged) == (0, 25)
    assert tracker.held() == {f"p{number}" for number in range(25)}
    assert len(tracker.versions("p3")) == 1


def test_creates_updates_and_deletes_are_found_later(tracker: Tracker, ehr: FakeEhr) -> None:
    ehr.put("Patient", "a", active=True)
    ehr.put("Patient", "b", active=True)
    tracker.sync()
    ehr.pass_time(3600)
    tracker.sync()
    ehr.put("Patient", "a", active=False)
    ehr.put("Patient", "c", active=True)
    ehr.delete("Patient", "b")
    done = tracker.patients()
    assert (done.tally.fetched, done.tally.applied, done.tally.deleted) == (2, 2, 1)
    assert tracker.held() == {"a", "c"}
    gone = tracker.find("b")
    assert gone is not None
    assert gone.deleted
    assert [version.op for version in tracker.versions("a")] == ["update", "create"]
    assert tracker.patients().tally.deleted == 0
