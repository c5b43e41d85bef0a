"""Renewals as other servers answer them: what may be used later is kept, what may be used up is never shown again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fhir_tracker import clock
from fhir_tracker.errors import RemoteFailure, Unauthenticated
from fhir_tracker.storage import launches
from fhir_tracker.storage.launches import LaunchSession
from subscriptions import SessionTokens
from subscriptions.user_tokens import UserTokens, opened
from tests.support.other_servers import SECRET, Page, Practice, Server, one_practice, page_of

SOON, LATE = timedelta(minutes=4, seconds=30), timedelta(minutes=6)
FIRST = {"patient": "p-1", "refresh_token": "r-1", "expires_in": 300}


@pytest.fixture(scope="module")
def clinic(prepared_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Practice]:
    """One tracker for all: what is looked at goes over the wire, and each server is a connection of its own."""
    with one_practice(prepared_file, tmp_path_factory.mktemp("renewals")) as found:
        yield found


def begun(clinic: Practice, server: Server, **terms: Any) -> LaunchSession:
    key = clinic.connect(server, **terms)
    clinic.person(key)
    found = clinic.session(clinic.come_in(key))
    server.forms.clear()
    return found


def now_of(clinic: Practice, session: LaunchSession) -> LaunchSession:
    with clinic.database.read() as tx:
        found = launches.find(tx, session.id)
    assert found is not None
    return found


def kept(clinic: Practice, session: LaunchSession) -> UserTokens | None:
    sealed = now_of(clinic, session).sealed_tokens
    return opened(clinic.context.secret_key, sealed) if sealed else None


def tokens(clinic: Practice, after: timedelta) -> SessionTokens:
    return SessionTokens(clinic.database, clinic.context.secret_key, now=lambda: clock.now() + after)


def answer(**more: object) -> Page:
    return page_of(
        {name: one for name, one in {"access_token": "a-2", "expires_in": 300, **more}.items() if one is not None}
    )


GOOD: dict[str, tuple[Page, str]] = {
    "a new refresh token": (answer(refresh_token="r-2", token_type="bearer"), "r-2"),
    "the same again": (answer(refresh_token="r-1"), "r-1"),
    "none": (answer(), "r-1"),
    "an empty one": (answer(refresh_token=""), "r-1"),
    "one that is none": (answer(refresh_token=["r-2"]), "r-1"),
    "another patient": (answer(patient="p-2", encounter="e-2", intent="x", need_patient_banner=False), "r-1"),
    "fewer scopes": (answer(scope="openid"), "r-1"),
    "an id_token of nobody": (answer(id_token="a.b.c"), "r-1"),
    "no life": (answer(expires_in=None), "r-1"),
    "a life as text": (answer(expires_in="300"), "r-1"),
}


@pytest.mark.requirement(96)
@pytest.mark.security("S10", "S19")
@pytest.mark.parametrize("kind", GOOD)
def test_what_a_renewal_may_bring(clinic: Practice, kind: str) -> None:
    page, refresh = GOOD[kind]
    server = Server(token=FIRST, refreshed=[page])
    session = begun(clinic, server)
    assert tokens(clinic, SOON).access(session.id) == "a-2"
    assert kept(clinic, session) == UserTokens(access="a-2", refresh=refresh)
    after = now_of(clinic, session)
    assert (after.patient, after.encounter, after.intent, after.needs_banner) == (
        session.patient,
        session.encounter,
        session.intent,
        session.needs_banner,
    )
    assert after.tokens_end is not None
    (form,) = server.forms
    assert (form["grant_type"], form["refresh_token"], form["client_id"]) == ("refresh_token", "r-1", "care-tracker")
    assert tokens(clinic, SOON * 2).access(session.id)
    assert [one["refresh_token"] for one in server.forms] == ["r-1", refresh]


REFUSED: dict[str, Page] = {
    "invalid_grant": page_of({"error": "invalid_grant"}, 400),
    "a page of HTML": page_of(b"<h1>Bad Request</h1>", 400, "text/html"),
    "invalid_client": page_of({"error": "invalid_client"}, 401),
    "a wall": page_of(b"<h1>Forbidden</h1>", 403, "text/html"),
    "an error of its own": page_of({"error": {"code": 7}}, 400),
    "gone": page_of(b"", 410),
    "a page of HTML that says 200": page_of(b"<h1>log in</h1>", 200, "text/html"),
    "no token": page_of({"token_type": "Bearer"}),
}


@pytest.mark.requirement(96)
@pytest.mark.security("S10", "S50")
@pytest.mark.parametrize("kind", REFUSED)
def test_a_renewal_that_is_refused_ends_the_session_at_once(clinic: Practice, kind: str) -> None:
    server = Server(token=FIRST, refreshed=[REFUSED[kind]])
    session = begun(clinic, server)
    with pytest.raises(Unauthenticated, match="open the tracker again"):
        tokens(clinic, SOON).access(session.id)
    with pytest.raises(Unauthenticated):
        tokens(clinic, SOON).access(session.id)
    assert now_of(clinic, session).ended_why == "relaunch"
    assert len(server.forms) == 1


def busy(status: int, after: str = "") -> Page:
    code, headers, body = page_of({"error": "temporarily_unavailable"}, status)
    return code, {**headers, **({"Retry-After": after} if after else {})}, body


@pytest.mark.requirement(96)
@pytest.mark.security("S10")
@pytest.mark.parametrize(
    "page", [busy(429), busy(429, "1"), busy(503, "1"), busy(503, "Wed, 21 Oct 2099 07:28:00 GMT")]
)
def test_a_server_that_says_it_did_not_begin_is_asked_again(clinic: Practice, page: Page) -> None:
    server = Server(token=FIRST, refreshed=[page, answer(refresh_token="r-2")])
    session = begun(clinic, server)
    assert tokens(clinic, SOON).access(session.id) == "made-up-access"
    assert tokens(clinic, SOON).access(session.id) == "a-2"
    assert kept(clinic, session) == UserTokens(access="a-2", refresh="r-2")


@pytest.mark.requirement(96)
@pytest.mark.security("S10")
@pytest.mark.parametrize("page", [busy(500), busy(502), busy(503), busy(504, "1"), busy(408)])
def test_a_server_that_may_have_used_it_is_not_shown_it_again(clinic: Practice, page: Page) -> None:
    server = Server(token=FIRST, refreshed=[page])
    session = begun(clinic, server)
    assert tokens(clinic, SOON).access(session.id) == "made-up-access"
    assert kept(clinic, session) == UserTokens(access="made-up-access")
    with pytest.raises(Unauthenticated):
        tokens(clinic, LATE).access(session.id)
    assert len(server.forms) == 1
    assert now_of(clinic, session).ended_at is None, "pages go on, what is read as the person does not"


@pytest.mark.requirement(96)
def test_a_server_that_is_busy_after_the_end_says_so_and_keeps_the_person_in(clinic: Practice) -> None:
    server = Server(token=FIRST, refreshed=[busy(429, "1"), answer()])
    session = begun(clinic, server)
    with pytest.raises(RemoteFailure) as caught:
        tokens(clinic, LATE).access(session.id)
    assert not caught.value.auth
    assert tokens(clinic, LATE).access(session.id) == "a-2"


@pytest.mark.requirement(96)
def test_without_a_refresh_token_the_token_serves_to_its_end(clinic: Practice) -> None:
    server = Server(token={**FIRST, "refresh_token": None})
    session = begun(clinic, server)
    assert tokens(clinic, SOON).access(session.id) == "made-up-access"
    with pytest.raises(Unauthenticated):
        tokens(clinic, LATE).access(session.id)
    assert server.forms == []


@pytest.mark.requirement(96)
@pytest.mark.security("S10", "S55")
def test_a_confidential_client_shows_itself_at_each_renewal(clinic: Practice) -> None:
    terms = {"client_type": "confidential-symmetric", "secret": SECRET}
    posting = Server(token=FIRST, configuration={"token_endpoint_auth_methods_supported": ["client_secret_post"]})
    assert tokens(clinic, SOON).access(begun(clinic, posting, **terms).id)
    assert posting.forms[-1]["client_secret"] == SECRET
    basic = Server(token=FIRST, basic=True)
    assert tokens(clinic, SOON).access(begun(clinic, basic, **terms).id)
    assert "client_secret" not in basic.forms[-1]
