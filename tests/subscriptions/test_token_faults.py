"""F28: a token that ends in mid-page, and a token endpoint that fails then; a sync loses no row and no place."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import respx

from fhir_tracker import connections
from fhir_tracker.storage import cursors
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.cursors import Cursor
from subscriptions import EhrClient, SyncReport
from subscriptions.backend_auth import TokenAuthorizer, Tokens, registration_of
from tests.subscriptions.fake_ehr import BASE, FakeEhr
from tests.subscriptions.token_server import CLIENT, SECRET, TOKEN_URL, TokenServer, refusal
from tests.subscriptions.tracker import Tracker

ROWS = 7


class Guarded:
    """An EHR that serves pages of two to whoever shows a token that still counts; `spent` tokens count no more."""

    def __init__(self, tracker: Tracker, ehr: FakeEhr, folder: Path) -> None:
        self.tracker = tracker
        self.ehr = ehr
        self.server = TokenServer()
        self.spent: set[str] = set()
        self.uses = 0
        self.ends_after: int | None = None
        self.tokens = Tokens()
        (folder / "secret").write_text(SECRET, encoding="utf-8")
        told = {"auth": "client_secret", "client_id": CLIENT, "token_url": TOKEN_URL, "secret_file": f"{folder}/secret"}
        self.registration = registration_of(
            Connection(key="clinic", base_url=BASE, created_at=tracker.now, options=told)
        )
        ehr.page_size = 2
        for number in range(ROWS):
            ehr.pass_time(1)
            ehr.put("Patient", f"p{number}")
        ehr.twists.append(self._guard)

    def _guard(self, request: httpx.Request) -> httpx.Response | None:
        shown = request.headers.get("authorization", "").removeprefix("Bearer ")
        if str(request.url).endswith("/metadata"):
            return None
        self.uses += 1
        if self.ends_after is not None and self.uses > self.ends_after:
            self.spent |= set(self.server.given)
            self.ends_after = None
        return None if shown in self.server.given and shown not in self.spent else httpx.Response(401)

    def sync(self) -> SyncReport:
        authorizer = TokenAuthorizer(self.registration, None, self.tokens, lambda: self.tracker.now)
        with EhrClient(BASE, authorizer=authorizer, pause=lambda _: None, now=lambda: self.tracker.now) as client:
            return self.tracker.sync_with(client)

    def connection(self) -> Connection:
        with self.tracker.database.read() as tx:
            return connections.get(tx, "clinic")

    def cursor(self) -> Cursor | None:
        with self.tracker.database.read() as tx:
            return cursors.find(tx, "clinic", "Patient")

    def all_here(self) -> bool:
        return self.tracker.held() == {f"p{number}" for number in range(ROWS)}


@pytest.fixture
def guarded(tracker: Tracker, ehr: FakeEhr, tmp_path: Path) -> Iterator[Guarded]:
    made = Guarded(tracker, ehr, tmp_path)
    with respx.mock(assert_all_called=False) as router:
        ehr.serve(router)
        made.server.serve(router)
        yield made


@pytest.mark.fault("F28")
@pytest.mark.requirement(103)
@pytest.mark.parametrize("after", range(6))
def test_a_token_that_ends_at_any_page_is_renewed_and_that_page_read_again(guarded: Guarded, after: int) -> None:
    guarded.ends_after = after
    report = guarded.sync()
    assert report.complete, report.error
    assert guarded.all_here()
    assert guarded.server.asked <= 2
    assert guarded.connection().state == "ok"


@pytest.mark.fault("F28")
@pytest.mark.requirement(103)
@pytest.mark.parametrize("after", [0, 1, 2, 3])
@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (refusal(400, "invalid_client"), "auth_failed"),
        (refusal(401, "invalid_client"), "auth_failed"),
        (httpx.Response(408), "failing"),
        (httpx.Response(500), "failing"),
        (httpx.Response(503, headers={"retry-after": "5"}), "failing"),
    ],
)
def test_a_renewal_that_fails_leaves_the_sync_where_it_was_and_it_goes_on_from_there(
    guarded: Guarded, answer: httpx.Response, state: str, after: int
) -> None:
    guarded.ends_after = after
    guarded.server.twist = lambda number: (
        None if number == 1 else httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)
    )
    report = guarded.sync()
    assert not report.complete
    held, cursor = guarded.tracker.held(), guarded.cursor()
    assert len(held) == min(2 * after, ROWS)
    assert cursor is None or cursor.watermark is None
    connection = guarded.connection()
    assert connection.state == state
    assert connection.last_error is not None
    assert ("To mend it: check the client id" in connection.last_error) is (state == "auth_failed")
    guarded.server.twist = lambda number: None
    asked = len(guarded.ehr.requests)
    assert guarded.sync().complete
    assert guarded.all_here()
    assert guarded.connection().state == "ok"
    pages = [url for url in guarded.ehr.requests[asked:] if "Patient?" in url or "_getpages" in url]
    assert after == 0 or "_getpages" in pages[0]


@pytest.mark.requirement(103)
def test_a_server_that_takes_no_token_at_all_is_left_after_one_renewal(guarded: Guarded) -> None:
    guarded.ehr.twists.insert(0, lambda request: None if "metadata" in str(request.url) else httpx.Response(401))
    report = guarded.sync()
    assert "401" in (report.error or "")
    assert not report.unreachable
    assert guarded.server.asked == 2
    assert guarded.connection().state == "auth_failed"
    assert guarded.tracker.held() == set()
    before = guarded.cursor()
    guarded.sync()
    assert guarded.cursor() == before
    assert guarded.server.asked == 3


@pytest.mark.requirement(103)
def test_neither_token_nor_secret_is_written_anywhere(guarded: Guarded, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    guarded.ends_after = 1
    guarded.server.twist = lambda number: None if number == 1 else refusal(400, "invalid_client", detail=SECRET)
    report = guarded.sync()
    told = caplog.text + repr(report) + repr(guarded.connection()) + repr(guarded.cursor()) + repr(guarded.tokens)
    assert SECRET not in told
    assert "made-up-token" not in told
