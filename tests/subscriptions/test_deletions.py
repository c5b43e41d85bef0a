"""What the history of a type tells: which deletions are believed at once, which are asked about, and how far it was read."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from fhir_tracker.fhir.dates import instant
from fhir_tracker.storage import cursors
from subscriptions.bundles import Entry
from subscriptions.deletions import Deletion, cursor_name, deletion_of
from tests.subscriptions.fake_ehr import BASE, START, FakeEhr
from tests.subscriptions.tracker import Tracker

TOLD = [
    ("as FHIR says", "DELETE", "Patient/1", 'W/"3"', Deletion(remote_id="1", version="3")),
    ("strong etag", "DELETE", "Patient/1", '"3"', Deletion(remote_id="1", version="3")),
    ("no etag", "DELETE", "Patient/1", "", Deletion(remote_id="1", version=None)),
    ("a bare etag", "DELETE", "Patient/1", "3", Deletion(remote_id="1", version=None)),
    ("version in the address", "DELETE", "Patient/1/_history/4", "", Deletion(remote_id="1", version="4")),
    ("the address before the etag", "DELETE", "Patient/1/_history/4", 'W/"5"', Deletion(remote_id="1", version="4")),
    ("absolute", "DELETE", f"{BASE}/Patient/1", 'W/"3"', Deletion(remote_id="1", version="3")),
    ("an odd id", "DELETE", "Patient/a_b", "", Deletion(remote_id="a_b", version=None)),
    ("an update", "PUT", "Patient/1", 'W/"3"', None),
    ("a creation", "POST", "Patient", 'W/"1"', None),
    ("nothing", "", "", "", None),
    ("another type", "DELETE", "Task/1", "", None),
    ("no id", "DELETE", "Patient", "", None),
    ("a search", "DELETE", "Patient?identifier=1", "", None),
    ("an empty id", "DELETE", "Patient/", "", None),
    ("a part of a resource", "DELETE", "Patient/1/$meta", "", None),
]


@pytest.mark.parametrize(
    ("method", "location", "etag", "told"), [row[1:] for row in TOLD], ids=[row[0] for row in TOLD]
)
def test_what_an_entry_of_the_history_tells(method: str, location: str, etag: str, told: Deletion | None) -> None:
    assert deletion_of(Entry(method=method, location=location, etag=etag), "Patient") == told


def watermark(tracker: Tracker, name: str = "Patient/_history") -> datetime | None:
    with tracker.database.read() as tx:
        found = cursors.find(tx, "clinic", name)
    return found.watermark if found else None


def on_read(ehr: FakeEhr, id_: str, answer: httpx.Response) -> None:
    """Answer a read of one Patient with something else."""
    ehr.twists.append(lambda request: answer if request.url.path.endswith(f"/Patient/{id_}") else None)


def unversioned(ehr: FakeEhr, id_: str, **members: Any) -> str:
    meta = {"lastUpdated": instant(ehr.now)}
    return ehr.put_text("Patient", id_, json.dumps({"resourceType": "Patient", "id": id_, "meta": meta, **members}))


def deleted(tracker: Tracker) -> int:
    report = tracker.patients()
    assert report.error is None, report.error
    return report.tally.deleted


def reads(ehr: FakeEhr) -> list[str]:
    return [url for url in ehr.requests if "/Patient/" in url and "_history" not in url]


def test_an_ordered_deletion_is_believed_without_a_read_and_others_are_asked_about(
    tracker: Tracker, ehr: FakeEhr
) -> None:
    ehr.put("Patient", "numbered")
    unversioned(ehr, "plain")
    tracker.sync()
    for id_ in ("numbered", "plain"):
        ehr.delete("Patient", id_)
    assert deleted(tracker) == 2
    assert reads(ehr) == [f"{BASE}/Patient/plain"]
    assert deleted(tracker) == 0
    assert len(reads(ehr)) == 1


@pytest.mark.parametrize("status", [404, 410])
def test_gone_and_unknown_both_confirm(tracker: Tracker, ehr: FakeEhr, status: int) -> None:
    unversioned(ehr, "a")
    tracker.sync()
    ehr.delete("Patient", "a")
    on_read(ehr, "a", httpx.Response(status))
    assert deleted(tracker) == 1
    assert tracker.held() == set()


UNSURE = [
    ("down", httpx.Response(503)),
    ("refused", httpx.Response(401)),
    ("login page", httpx.Response(200, headers={"content-type": "text/html"}, text="<form>")),
    ("another thing", httpx.Response(200, json={"resourceType": "OperationOutcome", "issue": []})),
    ("another type", httpx.Response(200, json={"resourceType": "Task", "id": "a"})),
    ("cut off", httpx.Response(200, headers={"content-type": "application/json"}, text='{"resourceType":"Pat')),
]


@pytest.mark.parametrize("answer", [row[1] for row in UNSURE], ids=[row[0] for row in UNSURE])
def test_while_the_server_cannot_say_nothing_is_deleted_and_nothing_forgotten(
    tracker: Tracker, ehr: FakeEhr, answer: httpx.Response
) -> None:
    unversioned(ehr, "a")
    tracker.sync()
    before = watermark(tracker)
    ehr.pass_time(5)
    ehr.delete("Patient", "a")
    on_read(ehr, "a", answer)
    for _ in range(2):
        report = tracker.patients()
        assert report.error is not None
        assert report.error.startswith("deletions: ")
        ehr.pass_time(4000)
    assert tracker.held() == {"a"}
    assert watermark(tracker) == before
    assert tracker.quarantined() == []
    ehr.twists.clear()
    assert deleted(tracker) == 1
    assert tracker.held() == set()


def test_a_deletion_we_may_not_confirm_is_in_quarantine_for_a_person_to_see(tracker: Tracker, ehr: FakeEhr) -> None:
    unversioned(ehr, "a")
    tracker.sync()
    ehr.delete("Patient", "a")
    on_read(ehr, "a", httpx.Response(403))
    assert deleted(tracker) == 0
    (waiting,) = tracker.quarantined()
    assert (waiting.remote_id, waiting.reason) == ("a", "The server says that it was deleted, and forbids to read it.")
    assert tracker.held() == {"a"}


def test_what_a_read_shows_to_be_alive_is_taken_as_it_is_now(tracker: Tracker, ehr: FakeEhr) -> None:
    unversioned(ehr, "a", active=True)
    tracker.sync()
    ehr.delete("Patient", "a")
    ehr.pass_time(1)
    text = unversioned(ehr, "a", active=False)
    ehr.twists.append(lambda request: ehr.bundle([]) if "Patient?" in str(request.url) else None)
    tracker.sync()
    assert tracker.verbatim("a") == text
    assert [one.op for one in tracker.versions("a")] == ["update", "create"]


def test_what_a_read_shows_to_be_spoilt_waits_under_its_own_id(tracker: Tracker, ehr: FakeEhr) -> None:
    unversioned(ehr, "a")
    tracker.sync()
    ehr.delete("Patient", "a")
    on_read(ehr, "a", httpx.Response(200, json={"resourceType": "Patient", "id": 7}))
    assert deleted(tracker) == 0
    assert [one.remote_id for one in tracker.quarantined()] == ["a"]


def test_what_was_deleted_while_it_waited_in_quarantine_never_comes_to_life(tracker: Tracker, ehr: FakeEhr) -> None:
    ehr.put_text("Patient", "a", '{"resourceType":"Patient","id":"a","meta":"spoilt"}')
    ehr.put("Patient", "b")
    tracker.sync()
    assert len(tracker.quarantined()) == 1
    ehr.versions["Patient", "a"] = 1
    ehr.delete("Patient", "a")
    assert deleted(tracker) == 0
    assert tracker.quarantined() == []
    assert tracker.held() == {"b"}


def test_what_waits_stays_when_it_was_written_again_after_the_deletion(tracker: Tracker, ehr: FakeEhr) -> None:
    ehr.put("Patient", "a")
    tracker.sync()
    ehr.delete("Patient", "a")
    ehr.put_text("Patient", "a", '{"resourceType":"Patient","id":"a","meta":"spoilt"}')
    tracker.sync()
    assert [one.remote_id for one in tracker.quarantined()] == ["a"]


def test_a_deletion_before_the_first_load_is_nothing(tracker: Tracker, ehr: FakeEhr) -> None:
    ehr.put("Patient", "a")
    ehr.delete("Patient", "a")
    assert deleted(tracker) == 0
    assert tracker.find("a") is None


def test_a_deletion_during_a_long_first_load_is_found(tracker: Tracker, ehr: FakeEhr) -> None:
    ehr.page_size = 5
    for number in range(20):
        ehr.put("Patient", f"p{number:02}")

    def later(request: httpx.Request) -> None:
        if "_getpagesoffset=10" in str(request.url) and ("Patient", "p01") in ehr.texts:
            ehr.pass_time(7200)
            ehr.delete("Patient", "p01")

    ehr.twists.append(later)
    assert deleted(tracker) == 1
    assert len(tracker.held()) == 19


@pytest.mark.parametrize("skew", [-600, 0, 600])
def test_the_history_is_read_on_from_where_it_was_left_in_the_clock_that_stamps_it(
    tracker: Tracker, ehr: FakeEhr, skew: int
) -> None:
    ehr.skew = timedelta(seconds=skew)
    for number in range(12):
        ehr.put("Patient", f"p{number}")
    tracker.sync()
    for number in range(12):
        ehr.pass_time(3600)
        ehr.delete("Patient", f"p{number}")
        assert deleted(tracker) == 1
    since = [httpx.URL(url).params["_since"] for url in ehr.requests if "_history" in url]
    assert since == sorted(since)
    assert tracker.held() == set()


def test_a_server_without_history_is_followed_and_says_what_is_missing(tracker: Tracker, ehr: FakeEhr) -> None:
    ehr.put("Patient", "a")
    ehr.twists.append(lambda request: httpx.Response(404) if "_history" in str(request.url) else None)
    ehr.twists.append(lambda request: httpx.Response(404) if "metadata" in str(request.url) else None)
    report = tracker.patients()
    assert report.error is None
    assert report.notes == ("the server has no history, so deletions are not seen",)


def test_a_server_that_offers_no_history_is_not_asked_for_one(tracker: Tracker, ehr: FakeEhr) -> None:
    def metadata(request: httpx.Request) -> httpx.Response | None:
        if "metadata" not in str(request.url):
            return None
        searches = {"type": "Patient", "interaction": [{"code": "search-type"}]}
        return ehr.json(
            {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "rest": [{"resource": [searches]}]}
        )

    ehr.twists.append(metadata)
    ehr.put("Patient", "a")
    assert tracker.sync().complete
    assert not any("_history" in url for url in ehr.requests)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(503),
        httpx.Response(200, json={"resourceType": "Bundle", "type": "searchset"}),
        httpx.Response(200, headers={"content-type": "application/fhir+json"}, text="{"),
    ],
)
def test_a_history_that_cannot_be_read_is_told_and_read_later(
    tracker: Tracker, ehr: FakeEhr, answer: httpx.Response
) -> None:
    ehr.put("Patient", "a")
    tracker.sync()
    ehr.delete("Patient", "a")
    ehr.twists.append(lambda request: answer if "_history" in str(request.url) else None)
    report = tracker.patients()
    assert report.error is not None
    assert report.error.startswith("deletions: ")
    ehr.twists.clear()
    ehr.pass_time(86_400)
    assert deleted(tracker) == 1


def pages_of_history(ehr: FakeEhr, *, size: int, keep_since: bool) -> None:
    """A server that hands its history out in pages, and may forget `_since` in its next links."""

    def twist(request: httpx.Request) -> httpx.Response | None:
        if not request.url.path.endswith("_history"):
            return None
        since = request.url.params.get("_since") if keep_since or "_offset" not in request.url.params else None
        asked = httpx.Request("GET", f"{BASE}/Patient/_history?_since={(since or '2000-01-01T00:00:00Z')}")
        entries = [json.dumps(one) for one in json.loads(ehr.answer(asked).text)["entry"]]
        offset = int(request.url.params.get("_offset", 0))
        kept = f"&_since={since}" if keep_since else ""
        more = f"{BASE}/Patient/_history?_offset={offset + size}{kept}"
        return ehr.bundle(
            entries[offset : offset + size], following=more if offset + size < len(entries) else None, kind="history"
        )

    ehr.twists.append(twist)


@pytest.mark.parametrize("keep_since", [True, False])
def test_deletions_on_later_pages_are_found_and_pages_before_the_window_are_not_read(
    tracker: Tracker, ehr: FakeEhr, keep_since: bool
) -> None:
    pages_of_history(ehr, size=4, keep_since=keep_since)
    for number in range(40):
        ehr.put("Patient", f"p{number}")
    tracker.sync()
    ehr.pass_time(86_400)
    assert deleted(tracker) == 0
    for number in range(10):
        ehr.delete("Patient", f"p{number}")
    assert deleted(tracker) == 10
    asked = len([url for url in ehr.requests if "_history" in url])
    assert asked < 40


@pytest.mark.parametrize(("following", "said"), [("https://evil.example/x", "another origin"), ("", "circle")])
def test_a_history_that_leads_elsewhere_or_in_circles_is_not_followed(
    tracker: Tracker, ehr: FakeEhr, following: str, said: str
) -> None:
    ehr.put("Patient", "a")
    tracker.sync()

    def twist(request: httpx.Request) -> httpx.Response | None:
        url = str(request.url)
        return ehr.bundle([], following=following or url, kind="history") if "_history" in url else None

    ehr.twists.append(twist)
    report = tracker.patients()
    assert report.error is not None
    assert said in report.error


def test_the_history_has_a_cursor_of_its_own_that_never_goes_back(tracker: Tracker, ehr: FakeEhr) -> None:
    assert cursor_name("Patient") == "Patient/_history"
    ehr.put("Patient", "a")
    tracker.sync()
    first = watermark(tracker)
    assert first is not None
    assert first <= START
    ehr.pass_time(100)
    tracker.sync()
    second = watermark(tracker)
    ehr.pass_time(-90)
    tracker.sync()
    assert second is not None
    assert watermark(tracker) == second
    assert second > first
