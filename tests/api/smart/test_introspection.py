"""Asking about tokens and ending them: for their own systems, and for who looks after systems; others learn nothing."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.context import Access, AppContext
from api.smart.forms import Form
from api.smart.introspection import TokenQuestions
from api.smart.systems import Systems
from fhir_tracker import clients, clock
from fhir_tracker.admission import Admitted
from fhir_tracker.digests import digest_of
from fhir_tracker.model.sight import EVERYTHING
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage import tokens
from fhir_tracker.storage.database import Database
from tests.api.conftest import BASE, Serve
from tests.support.contexts import context_of
from tests.support.systems import System, let_in

INTROSPECT, REVOKE = "/auth/introspect", "/auth/revoke"
SYSTEM, OTHER = System(), System(id="other")
INACTIVE = {"active": False}
NOT_SHOWN = {INTROSPECT: 401, REVOKE: 400}
"""As RFC 7662 (2.3) and RFC 7009 (2.2.1) have it."""


@pytest.fixture
def client(serve: Serve, database: Database) -> TestClient:
    let_in(database)
    let_in(database, id_="other")
    return serve(Access.LOCKED)


def token_for(client: TestClient, system: System = SYSTEM, scope: str = "system/Task.rs system/Patient.r") -> str:
    return str(client.post("/auth/token", data=system.form(scope)).json()["access_token"])


def about(client: TestClient, token: str, system: System = SYSTEM, **more: Any) -> Any:
    return client.post(INTROSPECT, data={"token": token, **system.shown(), **more})


@pytest.mark.requirement(109)
def test_a_system_learns_what_its_token_lets_do(client: TestClient) -> None:
    told = client.post("/auth/token", data=SYSTEM.form("system/Task.rs")).json()
    answer = about(client, told["access_token"], token_type_hint="access_token")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    found = answer.json()
    assert found["active"] is True
    assert (found["scope"], found["client_id"], found["sub"]) == (told["scope"], "reports", "reports")
    assert (found["iss"], found["aud"], found["token_type"]) == (f"{BASE}/fhir", f"{BASE}/fhir", "bearer")
    assert isinstance(found["exp"], int)
    assert abs(found["exp"] - time.time() - told["expires_in"]) < 60


@pytest.mark.requirement(109)
def test_of_what_is_no_token_it_learns_that_and_nothing_more(client: TestClient, database: Database) -> None:
    foreign = token_for(client, OTHER)
    spent = token_for(client)
    with database.begin() as tx:
        tokens.end(tx, digest_of(spent))
    for token in ("x", "", "ft_" + "A" * 43, foreign, spent, foreign[:-1], "\0", "é", "x" * 50_000):
        if token:
            assert (about(client, token).status_code, about(client, token).json()) == (200, INACTIVE), token[:20]
        else:
            assert about(client, token).json()["error"] == "invalid_request"


@pytest.mark.requirement(109)
@pytest.mark.security("A1", "M3")
def test_who_does_not_show_who_they_are_is_told_nothing(client: TestClient) -> None:
    token = token_for(client)
    for shown in ({}, OTHER.shown(aud="http://other.example"), {"client_id": "reports"}, SYSTEM.shown(jti="")):
        for place in (INTROSPECT, REVOKE):
            answer = client.post(place, data={"token": token, **shown})
            assert (answer.status_code, answer.json()["error"]) == (NOT_SHOWN[place], "invalid_client")
            assert ("www-authenticate" in answer.headers) is (answer.status_code == 401)
    for place in (INTROSPECT, REVOKE):
        answer = client.post(place, data={"token": token}, headers={"Authorization": "Bearer nobody's"})
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
        assert client.post(place, data={"token": token}, auth=("reports", "guess")).status_code == 401
        assert client.get(place, params={"token": token}).status_code == 405
    assert client.get("/fhir/Task", headers={"Authorization": f"Bearer {token}"}).status_code == 200


@pytest.mark.requirement(109)
def test_a_token_shows_who_asks_as_well_and_may_be_made_for_that_address(client: TestClient) -> None:
    token, second = token_for(client), token_for(client)
    answer = client.post(INTROSPECT, data={"token": second}, headers={"Authorization": f"Bearer {token}"})
    assert answer.json()["active"] is True
    foreign = client.post(
        INTROSPECT, data={"token": second}, headers={"Authorization": f"Bearer {token_for(client, OTHER)}"}
    )
    assert foreign.json() == INACTIVE
    there = System(audience=f"{BASE}{INTROSPECT}")
    assert about(client, token, there).json()["active"] is True
    elsewhere = System(audience=f"{BASE}{REVOKE}")
    assert about(client, token, elsewhere).status_code == 401
    assert client.post("/auth/token", data=there.form()).status_code == 400


@pytest.mark.security("S5")
def test_an_assertion_used_here_is_used_up_there(client: TestClient) -> None:
    shown = SYSTEM.shown()
    assert client.post(INTROSPECT, data={"token": "x", **shown}).status_code == 200
    answer = client.post("/auth/token", data={"grant_type": "client_credentials", "scope": "system/*.rs", **shown})
    assert answer.json()["error"] == "invalid_client"


@pytest.mark.requirement(109)
@pytest.mark.security("S50")
def test_a_system_ends_its_token_which_opens_nothing_from_then_on(client: TestClient) -> None:
    token, kept = token_for(client), token_for(client)
    bearer = {"Authorization": f"Bearer {token}"}
    assert client.get("/fhir/Task", headers=bearer).status_code == 200
    answer = client.post(REVOKE, data={"token": token, **SYSTEM.shown()})
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert client.get("/fhir/Task", headers=bearer).status_code == 401
    assert about(client, token).json() == INACTIVE
    assert client.get("/fhir/Task", headers={"Authorization": f"Bearer {kept}"}).status_code == 200


@pytest.mark.requirement(109)
@pytest.mark.security("M3")
def test_nobody_ends_the_token_of_another_nor_learns_whether_there_is_one(client: TestClient) -> None:
    token = token_for(client)
    answers = [client.post(REVOKE, data={"token": one, **OTHER.shown()}) for one in (token, "x", "ft_" + "A" * 43)]
    assert {(one.status_code, one.text) for one in answers} == {(200, answers[0].text)}
    assert client.get("/fhir/Task", headers={"Authorization": f"Bearer {token}"}).status_code == 200


@pytest.mark.requirement(109)
@pytest.mark.security("S40")
def test_who_looks_after_systems_may_ask_about_any_token_and_a_namesake_from_elsewhere_may_not(
    client: TestClient, database: Database
) -> None:
    token = token_for(client)
    keeper = Viewer(who="Practitioner/keeper", client="some-app", issuer="https://ehr.example", sight=EVERYTHING)
    namesake = Viewer(who="nobody", client="reports", issuer="https://ehr.example")
    for who, active in ((keeper, True), (namesake, False)):
        context = context_of(database, access=Access.LOCKED)
        _remember(context, who)
        questions = TokenQuestions(context, Systems(context))
        form = Form(fields={"token": token}, authorization="Bearer of-an-ehr", address="127.0.0.1", request_id="x")
        told = questions.introspect(form)
        assert (b'"active": true' in bytes(told.body)) is active


def _remember(context: AppContext, who: Viewer) -> None:
    """Have a token of an EHR stand for somebody."""
    admitted = Admitted(viewer=who, epoch=0, ends_at=clock.now().replace(year=9000))
    vars(context.admission)["_elsewhere"] = lambda token, address, now: replace(admitted)


@pytest.mark.security("S50")
def test_a_system_that_was_shut_out_may_not_even_ask(client: TestClient, database: Database) -> None:
    token = token_for(client)
    with database.begin() as tx:
        clients.revoke(tx, "reports", clock.now())
    assert about(client, token).json()["error"] == "invalid_client"
    assert about(client, token, OTHER).json() == INACTIVE
