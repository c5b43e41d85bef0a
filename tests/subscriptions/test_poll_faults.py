"""What servers do wrong while they are polled: nothing is lost, nothing believed that cannot be, and the state shows it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest

from fhir_tracker.fhir.dates import instant
from fhir_tracker.storage import cursors
from fhir_tracker.storage.cursors import Cursor
from tests.subscriptions.fake_ehr import BASE, START, FakeEhr, Twist
from tests.subscriptions.tracker import Tracker


def cursor(tracker: Tracker, type_: str = "Patient") -> Cursor:
    with tracker.database.read() as tx:
        found = cursors.find(tx, "clinic", type_)
    assert found is not None
    return found


def load(ehr: FakeEhr, count: int, *, apart: float = 1.0) -> set[str]:
    ids = {f"p{number:03}" for number in range(count)}
    for id_ in sorted(ids):
        ehr.put("Patient", id_, active=True)
        ehr.pass_time(apart)
    return ids


def on_page(number: int, answer: Callable[[], httpx.Response], times: int = 1) -> Twist:
    """Answer a paging request (the `number`th of them) with something else, `times` times."""
    seen = {"pages": 0, "left": times}

    def twist(request: httpx.Request) -> httpx.Response | None:
        if "Patient?" not in str(request.url) and "_getpages" not in str(request.url):
            return None
        seen["pages"] += 1
        if seen["pages"] >= number and seen["left"]:
            seen["left"] -= 1
            return answer()
        return None

    return twist


def test_equal_timestamps_over_a_page_border_lose_nothing(tracker: Tracker, ehr: FakeEhr) -> None:
    ehr.page_size = 7
    ids = load(ehr, 40, apart=0)
    assert tracker.patients().error is None
    assert tracker.held() == ids
    ehr.pass_time(3600)
    tracker.sync()
    for id_ in sorted(ids):
        ehr.put("Patient", id_, active=False)
    assert tracker.patients().tally.applied == 40


def test_a_server_that_ignores_sort_and_filter_is_followed_all_the_same(tracker: Tracker, ehr: FakeEhr) -> None:
    ehr.sorts = ehr.filters = False
    ehr.page_size = 7
    ids = load(ehr, 30)
    tracker.sync()
    ehr.put("Patient", "p005", active=False)
    assert tracker.patients().tally.applied == 1
    assert tracker.held() == ids


@pytest.mark.parametrize("refused", ["_sort", "_lastUpdated"])
def test_a_server_that_refuses_a_parameter_is_asked_more_plainly(tracker: Tracker, ehr: FakeEhr, refused: str) -> None:
    def twist(request: httpx.Request) -> httpx.Response | None:
        return (
            httpx.Response(400, text="no")
            if refused in request.url.params and "_history" not in request.url.path
            else None
        )

    ids = load(ehr, 3)
    ehr.twists.append(twist)
    assert tracker.patients().error is None
    ehr.put("Patient", "p001", active=False)
    assert tracker.patients().tally.applied == 1
    assert tracker.held() == ids


def test_rows_that_move_while_an_offset_server_is_paged_are_not_lost(tracker: Tracker, ehr: FakeEhr) -> None:
    ids = load(ehr, 60)
    asked = {"pages": 0}

    def by_offset(request: httpx.Request) -> httpx.Response | None:
        if not request.url.path.endswith("/Patient"):
            return None
        asked["pages"] += 1
        if asked["pages"] == 2:
            for id_ in ("p000", "p001", "p002"):
                ehr.put("Patient", id_, active=False)
            ehr.delete("Patient", "p003")
        offset = int(request.url.params.get("_offset", 0))
        whole = json.loads(ehr.answer(request).text)
        entries = [json.dumps(entry) for entry in whole["entry"]]
        more = f"{BASE}/Patient?{request.url.copy_set_param('_offset', offset + 10).query.decode()}"
        return ehr.bundle(entries[offset : offset + 10], following=more if offset + 10 < len(entries) else None)

    ehr.page_size = 1000
    ehr.twists.append(by_offset)
    assert tracker.patients().error is None
    assert tracker.held() == ids - {"p003"}


def test_an_expired_paging_link_restarts_the_window_and_finishes(tracker: Tracker, ehr: FakeEhr) -> None:
    ehr.page_size = 10
    ids = load(ehr, 35)

    def expired() -> httpx.Response:
        ehr.expire_pages()
        return ehr.json({"resourceType": "OperationOutcome", "issue": [{"code": "not-found"}]}, 410)

    ehr.twists.append(on_page(3, expired))
    done = tracker.patients()
    assert done.error is None
    assert "a paging link had expired; the window was read again" in done.notes
    assert done.tally.applied == 35
    assert tracker.held() == ids


def test_a_pass_that_breaks_off_goes_on_where_it_stopped(tracker: Tracker, ehr: FakeEhr) -> None:
    ehr.page_size = 10
    ids = load(ehr, 35)
    ehr.twists.append(on_page(3, lambda: httpx.Response(502), times=2))
    broken = tracker.patients()
    assert broken.error == "The server answered 502."
    assert broken.tally.applied == 20
    assert cursor(tracker).watermark is None
    before = len(ehr.requests)
    done = tracker.patients()
    assert done.error is None
    assert (done.tally.applied, done.tally.unchanged) == (15, 0)
    assert "_getpages" in ehr.requests[before]
    assert tracker.held() == ids


def test_a_page_that_never_can_be_had_is_begun_anew(tracker: Tracker, ehr: FakeEhr) -> None:
    ehr.page_size = 10
    load(ehr, 25)
    ehr.twists.append(lambda request: httpx.Response(500) if "_getpagesoffset=20" in str(request.url) else None)
    for _ in range(3):
        assert tracker.patients().error is not None
    before = len(ehr.requests)
    tracker.sync()
    assert "Patient?" in ehr.requests[before]


BAD_ANSWERS = [
    (
        "truncated",
        lambda: httpx.Response(200, headers={"content-type": "application/json"}, text='{"resourceType":"Bu'),
        "JSON",
    ),
    (
        "html",
        lambda: httpx.Response(200, headers={"content-type": "text/html"}, text="<form>Log in</form>"),
        "login page",
    ),
    ("empty", lambda: httpx.Response(200, headers={"content-type": "application/fhir+json"}, text=""), "JSON"),
    ("no bundle", lambda: httpx.Response(200, json={"resourceType": "Patient", "id": "x"}), "no Bundle"),
    ("batch", lambda: httpx.Response(200, json={"resourceType": "Bundle", "type": "batch"}), "not a searchset"),
    ("array", lambda: httpx.Response(200, json=[]), "JSON"),
    (
        "entry no list",
        lambda: httpx.Response(200, json={"resourceType": "Bundle", "type": "searchset", "entry": {}}),
        "list",
    ),
    (
        "deep",
        lambda: httpx.Response(200, headers={"content-type": "application/json"}, text='{"a":' + "[" * 90000),
        "JSON",
    ),
    (
        "outcome",
        lambda: httpx.Response(200, json={"resourceType": "OperationOutcome", "issue": [{"code": "throttled"}]}),
        "OperationOutcome throttled",
    ),
    ("unauthorised", lambda: httpx.Response(401), "credentials"),
    ("too many", lambda: httpx.Response(429, headers={"retry-after": "900"}), "slow down"),
    ("server error", lambda: httpx.Response(503), "503"),
    ("huge", lambda: httpx.Response(200, headers={"content-type": "application/json"}, text=" " * 2_000_001), "larger"),
]


@pytest.mark.parametrize(("answer", "said"), [bad[1:] for bad in BAD_ANSWERS], ids=[bad[0] for bad in BAD_ANSWERS])
def test_an_answer_that_is_no_page_stops_the_type_and_costs_nothing(
    tracker: Tracker, ehr: FakeEhr, answer: Callable[[], httpx.Response], said: str
) -> None:
    ehr.page_size = 10
    ids = load(ehr, 25)
    ehr.twists.append(on_page(2, answer, times=8))
    done = tracker.patients()
    assert done.error is not None
    assert said in done.error
    assert cursor(tracker).watermark is None
    ehr.twists.clear()
    while (again := tracker.patients()).error:
        assert again.error
    assert tracker.held() == ids
    assert all(len(tracker.versions(id_)) == 1 for id_ in ids)


@pytest.mark.parametrize(
    ("following", "said"),
    [
        ("https://evil.example/fhir?_getpages=1", "another origin"),
        ("https://ehr.example:444/fhir?_getpages=1", "another origin"),
        (f"{BASE}/Patient?_sort=_lastUpdated&_count=100", "circle"),
        ("javascript:alert(1)", "not http"),
    ],
)
def test_a_next_link_that_leads_astray_is_not_followed_but_its_page_is_kept(
    tracker: Tracker, ehr: FakeEhr, following: str, said: str
) -> None:
    text = ehr.put("Patient", "a", active=True)
    ehr.twists.append(
        lambda request: (
            ehr.bundle([f'{{"resource":{text}}}'], following=following) if "Patient?" in str(request.url) else None
        )
    )
    done = tracker.patients()
    assert done.error is not None
    assert said in done.error
    assert tracker.held() == {"a"}
    assert cursor(tracker).next_url is None
    assert cursor(tracker).watermark is None


@pytest.mark.parametrize("filled", [True, False])
def test_pages_without_end_are_stopped(tracker: Tracker, ehr: FakeEhr, filled: bool) -> None:
    text = ehr.put("Patient", "a", active=True)
    count = {"pages": 0}

    def endless(request: httpx.Request) -> httpx.Response | None:
        if request.url.path.endswith("metadata"):
            return None
        count["pages"] += 1
        entries = [f'{{"resource":{text}}}'] if filled else []
        return ehr.bundle(entries, following=f"{BASE}?_getpages={count['pages']}")

    ehr.twists.append(endless)
    done = tracker.patients()
    assert done.error is not None
    assert count["pages"] < 10


BAD_ENTRIES = [
    ('{"resource":{"resourceType":"Patient"}}', "no `id`"),
    ('{"resource":{"resourceType":"Patient","id":7}}', "not a usable string"),
    ('{"resource":{"resourceType":"Patient","id":"a/b"}}', "no FHIR id"),
    ('{"resource":{"resourceType":"Nonsense","id":"n"}}', "not one of FHIR R4"),
    ('{"resource":{"resourceType":"Task","id":"t"}}', "Task where Patient was asked for"),
    ('{"resource":{"resourceType":"Patient","id":"d","id":"d"}}', "more than once"),
    ('{"resource":{"resourceType":"Patient","id":"m","meta":[]}}', "`meta` is not an object"),
    ('{"resource":{"resourceType":"Patient","id":"s","x":"\\ud800"}}', "surrogate"),
    ('{"resource":{"resourceType":"Patient","id":"z","x":"\\u0000"}}', "U+0000"),
    ('{"resource":{"resourceType":"Patient","id":"e","x":1e99999}}', "exponent"),
    ('{"resource":{"resourceType":"Patient","id":"p","x":' + "[" * 70 + "]" * 70 + "}}", "nested deeper"),
    ('{"fullUrl":"urn:uuid:1"}', "no resource"),
    ('{"resource":"text"}', "JSON object"),
    ("7", "not an object"),
    ('{"resource":{"resourceType":"Patient","id":"n","x":NaN}}', "NaN is not a JSON number"),
]


@pytest.mark.parametrize(("bad", "reason"), BAD_ENTRIES, ids=[reason for _, reason in BAD_ENTRIES])
def test_one_bad_entry_goes_to_quarantine_and_the_others_are_applied(
    tracker: Tracker, ehr: FakeEhr, bad: str, reason: str
) -> None:
    good = [f'{{"resource":{ehr.put("Patient", id_, active=True)}}}' for id_ in ("a", "b")]
    ehr.twists.append(lambda request: ehr.bundle([good[0], bad, good[1]]) if "Patient?" in str(request.url) else None)
    done = tracker.patients()
    assert done.error is None
    assert (done.tally.applied, done.tally.quarantined) == (2, 1)
    assert tracker.held() == {"a", "b"}
    tracker.sync()
    waiting = tracker.quarantined()
    assert len(waiting) == 1
    assert reason in waiting[0].reason
    assert waiting[0].times == 2


def test_two_bad_entries_without_id_stay_two(tracker: Tracker, ehr: FakeEhr) -> None:
    bad = ['{"resource":{"resourceType":"Patient","active":true}}', '{"resource":{"resourceType":"Patient"}}']
    ehr.twists.append(lambda request: ehr.bundle(bad) if "Patient?" in str(request.url) else None)
    tracker.sync()
    assert len(tracker.quarantined()) == 2


def test_an_entry_that_was_mended_leaves_quarantine_by_itself(tracker: Tracker, ehr: FakeEhr) -> None:
    ehr.put_text("Patient", "a", '{"resourceType":"Patient","id":"a","id":"a"}')
    ehr.put_text("Patient", "b", '{"resourceType":"Patient","id":"b","meta":"none"}')
    tracker.sync()
    assert len(tracker.quarantined()) == 2
    ehr.put("Patient", "b", active=True)
    tracker.sync()
    assert [one.remote_id[0] for one in tracker.quarantined()] == ["?"]


def test_words_about_the_answer_are_told_and_not_stored(tracker: Tracker, ehr: FakeEhr) -> None:
    outcome = '{"resource":{"resourceType":"OperationOutcome","issue":[{"code":"not-found","details":{"coding":[{"code":"4119"}]}}]}'
    text = ehr.put("Patient", "a", active=True)
    entries = [outcome + ',"search":{"mode":"outcome"}}', f'{{"resource":{text}}}', outcome + "}"]
    ehr.twists.append(lambda request: ehr.bundle(entries) if "Patient?" in str(request.url) else None)
    done = tracker.patients()
    assert done.notes == ("the server says that its answer is not the whole story (not-found 4119)",)
    assert done.tally.quarantined == 0
    assert tracker.held() == {"a"}


def test_a_stamp_from_the_future_hides_nothing_that_comes_later(tracker: Tracker, ehr: FakeEhr) -> None:
    ehr.put("Patient", "late", stamp="2099-01-01T00:00:00Z")
    ehr.put("Patient", "a")
    tracker.sync()
    ehr.pass_time(3600)
    ehr.put("Patient", "b")
    tracker.sync()
    assert tracker.held() == {"late", "a", "b"}
    watermark = cursor(tracker).watermark
    assert watermark is not None
    assert watermark <= ehr.now


def test_a_commit_that_becomes_visible_late_is_found_within_the_overlap(tracker: Tracker, ehr: FakeEhr) -> None:
    ehr.put("Patient", "a")
    tracker.sync()
    ehr.pass_time(600)
    ehr.put("Patient", "b")
    tracker.sync()
    ehr.pass_time(100)
    ehr.put("Patient", "c")
    tracker.sync()
    ehr.put("Patient", "slow", stamp=instant(ehr.now - timedelta(seconds=120)))
    tracker.sync()
    assert tracker.held() == {"a", "b", "c", "slow"}


@pytest.mark.parametrize("form", ["%Y-%m-%dT%H:%MZ", "%Y-%m-%d"])
def test_times_without_seconds_or_hours_are_enough(tracker: Tracker, ehr: FakeEhr, form: str) -> None:
    for number in range(20):
        ehr.put("Patient", f"p{number}", stamp=ehr.now.strftime(form))
        tracker.sync()
        ehr.pass_time(3000)
    assert len(tracker.held()) == 20
    assert tracker.quarantined() == []


def test_without_any_lastUpdated_everything_is_read_and_only_changes_written(tracker: Tracker, ehr: FakeEhr) -> None:  # noqa: N802
    ehr.put_text("Patient", "a", '{"resourceType":"Patient","id":"a","active":true}')
    ehr.put_text("Patient", "b", '{"resourceType":"Patient","id":"b"}')
    tracker.sync()
    ehr.pass_time(86_400)
    ehr.put_text("Patient", "a", '{"resourceType":"Patient","id":"a","active":false}')
    done = tracker.patients()
    assert (done.tally.applied, done.tally.unchanged) == (1, 1)


def test_without_a_date_header_changes_are_still_found(tracker: Tracker, ehr: FakeEhr) -> None:
    ehr.dated = False
    for number in range(5):
        ehr.put("Patient", f"p{number}")
        tracker.sync()
        ehr.pass_time(3600)
    assert len(tracker.held()) == 5


def test_the_same_resource_twice_in_a_pass_is_written_once_and_the_newest_wins(tracker: Tracker, ehr: FakeEhr) -> None:
    old = ehr.put("Patient", "a", active=True)
    new = ehr.put("Patient", "a", active=False)
    entries = [f'{{"resource":{text}}}' for text in (new, old, new)]
    ehr.twists.append(lambda request: ehr.bundle(entries) if "Patient?" in str(request.url) else None)
    tracker.sync()
    assert len(tracker.versions("a")) == 1
    assert tracker.verbatim("a") == new


@pytest.mark.parametrize("versions", [("2", "1"), ("10", "9"), ("b", "a"), (None, None)])
def test_an_older_version_never_overwrites_a_newer(
    tracker: Tracker, ehr: FakeEhr, versions: tuple[str | None, str | None]
) -> None:
    def text(version: str | None, minutes: int) -> str:
        meta = {"lastUpdated": instant(START + timedelta(minutes=minutes))} | (
            {"versionId": version} if version else {}
        )
        return json.dumps({"resourceType": "Patient", "id": "a", "meta": meta, "active": minutes > 0})

    new, old = text(versions[0], 1), text(versions[1], 0)
    ehr.put_text("Patient", "a", new)
    tracker.sync()
    ehr.put_text("Patient", "a", old)
    tracker.sync()
    assert tracker.verbatim("a") == new


def test_what_was_sent_is_kept_to_the_letter(tracker: Tracker, ehr: FakeEhr) -> None:
    text = '{ "resourceType" : "Patient","id":"a",\n "extension":[{"url":"u","valueDecimal":1.00}],"x":"\\u00e9é" }'
    ehr.put_text("Patient", "a", text)
    tracker.sync()
    assert tracker.verbatim("a") == text
    stored = tracker.find("a")
    assert stored is not None
    assert '"valueDecimal":1.00' in stored.body
