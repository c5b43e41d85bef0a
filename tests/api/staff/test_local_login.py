"""Logging in with a local account over HTTP: its two pages, their forms, and what they tell whom."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import cast

import httpx
import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.context import Access, AppContext
from api.staff.local_login import COOKIE
from fhir_tracker import local_accounts
from fhir_tracker.errors import TooMany
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.passwords import Cost
from fhir_tracker.roles import built_in
from fhir_tracker.storage import audit
from fhir_tracker.storage.database import Database
from tests.api.staff.markup import problems
from tests.support.codes import code_at
from tests.support.contexts import context_of

CHEAP = Cost(n=2**4, r=1, p=1)
PASSWORD = "correct horse battery"
PAGES = ("/login/local", "/login/enrol")


@pytest.fixture
def ready_url(one_file: str) -> str:
    """The subject is the pages."""
    return one_file


@pytest.fixture
def context(database: Database) -> AppContext:
    """A server on which local accounts are on."""
    known = context_of(database, access=Access.LOCKED)
    return replace(known, settings=replace(known.settings, local_login=True))


@pytest.fixture
def client(context: AppContext) -> Iterator[TestClient]:
    """Somebody at that server."""
    with TestClient(create_app(context), base_url="http://testserver") as client:
        yield client


@pytest.fixture
def key(context: AppContext, now: datetime) -> str:
    """Ada has a local account; what her app knows."""
    before = now - timedelta(hours=1)
    with context.database.begin() as tx:
        _, code, _ = local_accounts.invite(tx, "ada", "Ada Example", ["rn"], known=built_in(), now=before)
        invitation = local_accounts.invitation(tx, code, context.secret_key, before)
    shown = code_at(invitation.key, before)
    local_accounts.enrol(context.database, invitation.kept, PASSWORD, shown, context.secret_key, before, CHEAP)
    return invitation.key


def opened(client: TestClient, path: str) -> tuple[dict[str, str], str]:
    """The headers by which the browser is known from then on, and the form's token."""
    page = cast(httpx.Response, client.get(path))
    assert page.status_code == 200
    cookie = page.headers["set-cookie"].partition(";")[0]
    return {"Cookie": cookie, "Sec-Fetch-Site": "same-origin"}, hidden(page, "csrf")


def hidden(page: httpx.Response, name: str) -> str:
    match = re.search(rf'name="{name}" value="([^"]*)"', page.text)
    assert match, name
    return html.unescape(match[1])


def sent(client: TestClient, path: str, fields: dict[str, str]) -> httpx.Response:
    headers, token = opened(client, path)
    answer = client.post(path, data={"csrf": token, **fields}, headers=headers, follow_redirects=False)
    return cast(httpx.Response, answer)


def trail(database: Database) -> list[audit.AuditRow]:
    with database.begin() as tx:
        return [one for one in audit.list(tx, worker_viewer("auditor")) if one.action.startswith("login")]


@pytest.mark.security("A2", "S20")
def test_who_knows_all_three_is_in(client: TestClient, context: AppContext, key: str, now: datetime) -> None:
    answer = sent(client, "/login/local", {"name": "Ada", "password": PASSWORD, "code": code_at(key, now)})
    assert answer.status_code == 303
    assert re.fullmatch(r"/l/[A-Za-z0-9_-]{24}/open", answer.headers["location"])
    cookie = answer.headers["set-cookie"].partition(";")[0]
    home = answer.headers["location"].removesuffix("open")
    page = client.get(home, headers={"Cookie": cookie})
    assert page.status_code == 200
    assert "Ada Example" in page.text
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    (row,) = trail(context.database)
    assert (row.action, row.outcome, row.issuer, row.name) == ("login", "success", "local", "Ada Example")


@pytest.mark.security("M3", "B1", "S53")
def test_a_refusal_tells_nothing_and_is_in_the_trail_without_what_was_typed(
    client: TestClient, context: AppContext, key: str, now: datetime
) -> None:
    pages = [
        sent(client, "/login/local", {"name": name, "password": password, "code": code})
        for name, password, code in (
            ("ada", "wrong horse battery", code_at(key, now)),
            ("ada", PASSWORD, "000000"),
            ("zebra-nobody", PASSWORD, code_at(key, now)),
        )
    ]
    assert {page.status_code for page in pages} == {403}
    plain = {re.sub(r'name="csrf" value="[^"]*"', "", page.text) for page in pages}
    assert len(plain) == 1
    assert "is wrong" in pages[0].text
    assert not any("__Host-l-" in page.headers.get("set-cookie", "") for page in pages)
    rows = trail(context.database)
    assert [(one.action, one.outcome) for one in rows] == [("login-refused", "denied")] * 3
    assert [bool(one.detail.get("account")) for one in rows] == [False, True, True]
    assert not any(text in str(one) for one in rows for text in ("zebra", "horse"))


@pytest.mark.security("S56", "M3")
def test_who_guesses_has_to_wait_and_is_told_how_long(client: TestClient, key: str, now: datetime) -> None:
    fields = {"name": "ada", "password": "wrong", "code": "1"}
    statuses = [sent(client, "/login/local", fields).status_code for _ in range(6)]
    assert statuses == [403] * 5 + [429]
    answer = sent(client, "/login/local", {**fields, "password": PASSWORD, "code": code_at(key, now)})
    assert answer.status_code == 429
    assert "too many tries: wait" in answer.text
    assert 1 <= int(answer.headers["retry-after"]) <= 16


@pytest.mark.security("S56", "M3")
def test_one_address_may_not_keep_the_server_busy_with_guesses(client: TestClient, context: AppContext) -> None:
    headers, token = opened(client, "/login/local")
    with suppress(TooMany):
        while True:
            context.limits.login("testclient")
    answer = client.post("/login/local", data={"csrf": token, "name": "nobody"}, headers=headers)
    assert answer.status_code == 429
    assert "retry-after" in answer.headers


@pytest.mark.security("S22")
def test_a_login_sent_from_elsewhere_is_refused(client: TestClient, key: str, now: datetime) -> None:
    fields = {"name": "ada", "password": PASSWORD, "code": code_at(key, now)}
    headers, token = opened(client, "/login/local")
    other, _ = opened(client, "/login/local")
    for form, shown in (
        ({}, headers),
        ({"csrf": ""}, headers),
        ({"csrf": token}, {}),
        ({"csrf": token}, other),
        ({"csrf": token}, {**headers, "Sec-Fetch-Site": "cross-site"}),
        ({"csrf": token}, {**headers, "Sec-Fetch-Site": "same-site"}),
        ({"csrf": token}, {**headers, "Origin": "https://evil.example"}),
        ({"csrf": token}, {**headers, "Cookie": f"{COOKIE}=x"}),
    ):
        answer = client.post("/login/local", data={**fields, **form}, headers=shown, follow_redirects=False)
        assert answer.status_code == 403, (form, shown)
    in_address = client.get("/login/local", params={**fields, "csrf": token}, headers=headers, follow_redirects=False)
    assert in_address.status_code == 200
    assert PASSWORD not in in_address.text


@pytest.mark.security("S20", "S23")
@pytest.mark.parametrize("path", PAGES)
def test_the_pages_are_framed_by_nobody_and_kept_nowhere(client: TestClient, path: str) -> None:
    answer = client.get(path)
    policy = answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self'" in policy
    assert "no-store" in answer.headers["cache-control"]
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    assert {"Path=/", "Secure", "HttpOnly", "SameSite=Strict"} <= set(cookie.split("; "))
    assert problems(answer.text) == []


@pytest.mark.security("A1", "S57")
@pytest.mark.parametrize("path", PAGES)
def test_unless_they_are_on_there_are_no_local_accounts(context: AppContext, path: str) -> None:
    off = replace(context, settings=replace(context.settings, local_login=False))
    client = TestClient(create_app(off))
    for answer in (client.get(path), client.post(path, data={"name": "ada"})):
        assert answer.status_code == 401
        assert "password" not in answer.text.lower()
    assert "local account" not in client.get("/login").text
    assert "local account" in TestClient(create_app(context)).get("/login").text


def test_an_invitation_is_taken_up_in_two_steps(client: TestClient, context: AppContext, now: datetime) -> None:
    with context.database.begin() as tx:
        _, code, _ = local_accounts.invite(tx, "eve", "Eve Example", ["rn"], known=built_in(), now=now)
    first = sent(client, "/login/enrol", {"invitation": f" {code} "})
    assert first.status_code == 200
    assert problems(first.text.replace("otpauth://", "/otpauth")) == []
    spelled = re.search(r"<code>([A-Z2-7 ]+)</code>", first.text)
    assert spelled
    assert f"secret={spelled[1].replace(' ', '')}" in first.text
    fields = {"kept": hidden(first, "kept"), "password": PASSWORD, "again": PASSWORD}
    for wrong, told in (
        ({"again": "another"}, "The two are not the same."),
        ({"password": "short", "again": "short"}, "Use 12 characters or more"),
        ({"code": "000000"}, "This is not the code"),
    ):
        again = sent(client, "/login/enrol", {**fields, "code": code_at(spelled[1], now), **wrong})
        assert (again.status_code, told in again.text) == (422, True)
        assert 'aria-invalid="true"' in again.text
        assert PASSWORD not in again.text
    done = sent(client, "/login/enrol", {**fields, "code": code_at(spelled[1], now)})
    assert (done.status_code, "You are enrolled" in done.text) == (200, True)
    assert "the next code of your app" in done.text
    assert sent(client, "/login/enrol", {**fields, "code": code_at(spelled[1], now)}).status_code == 403


@pytest.mark.security("S14", "S34")
@pytest.mark.parametrize(
    "fields",
    [{}, {"invitation": ""}, {"invitation": "x"}, {"kept": "x"}, {"kept": "x", "password": PASSWORD}, {"name": "x\0"}],
)
def test_a_form_that_fits_nothing_opens_nothing(client: TestClient, fields: dict[str, str]) -> None:
    assert sent(client, "/login/enrol", fields).status_code in (400, 403)
    assert sent(client, "/login/local", fields).status_code in (400, 403)
