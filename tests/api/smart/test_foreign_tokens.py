"""Tokens of an EHR at our API: what the EHR says of them counts, and the roles of the person here besides."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
import respx
from starlette.testclient import TestClient

from api.context import Access
from fhir_tracker import accounts, clock, connections, issuers
from fhir_tracker.issuers import Terms
from fhir_tracker.storage.database import Database
from tests.api.conftest import Serve
from tests.storage.samples import put_all

EHR = "https://ehr.example/fhir"
ASKED_AT = "https://ehr.example/oauth/introspect"
BEARER = {"Authorization": "Bearer token-of-the-ehr"}
ROLES = ("rn", "provider", "front-desk", "auditor")


class Ehr:
    """An EHR that says `told` of every token, or answers `answer`; `asked` are the forms it was sent."""

    def __init__(self) -> None:
        self.told: dict[str, Any] = self.good()
        self.answer: httpx.Response | Exception | None = None
        self.asked: list[dict[str, list[str]]] = []
        self.headers: list[str] = []

    def good(self, **changed: object) -> dict[str, Any]:
        """Of a nurse's token for everything she may do."""
        told = {
            "active": True,
            "scope": "user/*.cruds launch",
            "client_id": "some-app",
            "fhirUser": f"{EHR}/Practitioner/nurse",
            "exp": int(time.time()) + 600,
        }
        return {name: value for name, value in (told | changed).items() if value is not None}

    def introspected(self, request: httpx.Request) -> httpx.Response:
        """The answer to one question."""
        self.asked.append(parse_qs(request.content.decode()))
        self.headers.append(request.headers.get("authorization", ""))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer or httpx.Response(200, json=self.told)


@pytest.fixture
def ehr() -> Iterator[Ehr]:
    made = Ehr()
    with respx.mock(assert_all_called=False) as router:
        known = {
            "authorization_endpoint": "https://ehr.example/oauth/authorize",
            "token_endpoint": "https://ehr.example/oauth/token",
            "code_challenge_methods_supported": ["S256"],
            "capabilities": [],
        }
        router.get(f"{EHR}/.well-known/smart-configuration").respond(json=known)
        router.post(ASKED_AT).mock(side_effect=made.introspected)
        yield made


def set_up(database: Database, **terms: str) -> None:
    """A connection whose tokens are taken, with a nurse who has an account; two patients of it, with a task each."""
    now = clock.now()
    with database.begin() as tx:
        connections.add(tx, "clinic", EHR, now=now)
        told = Terms(url=EHR, client_id="tracker", introspection_url=ASKED_AT, **terms)  # type: ignore[arg-type]
        issuers.of_connection(tx, "clinic", told, "k" * 40, now)
        accounts.add(
            tx, "Nora Nurse", ("rn",), known=ROLES, now=now, connection="clinic", fhir_user="Practitioner/nurse"
        )
    put_all(database, [{"resourceType": "Patient", "id": f"clinic-{one}"} for one in ("ada", "ben")])


@pytest.fixture
def client(serve: Serve, database: Database, ehr: Ehr) -> TestClient:
    set_up(database, secret="made-up")
    return serve(Access.LOCKED)


def status(client: TestClient, path: str = "/fhir/Task", **headers: str) -> int:
    return client.get(path, headers={**BEARER, **headers}).status_code


@pytest.mark.requirement(88, 89)
def test_a_token_of_the_ehr_lets_its_person_in_as_far_as_their_roles_go(client: TestClient, ehr: Ehr) -> None:
    assert status(client) == 200
    assert status(client, "/fhir/AuditEvent") == 403, "the scopes would let her, her role does not"
    assert ehr.asked[0]["token"] == ["token-of-the-ehr"]
    assert ehr.headers[0].startswith("Basic "), "we show who we are"


@pytest.mark.requirement(88)
def test_scopes_bound_what_a_role_allows(client: TestClient, ehr: Ehr) -> None:
    ehr.told = ehr.good(scope="user/Patient.rs openid")
    assert status(client, "/fhir/Patient") == 200
    assert status(client) == 403
    assert client.post("/fhir/Task", headers=BEARER, json={"resourceType": "Task"}).status_code == 403


@pytest.mark.requirement(86, 88)
@pytest.mark.security("A4", "S41")
def test_patient_scopes_show_the_one_patient_of_the_token_by_its_local_id(client: TestClient, ehr: Ehr) -> None:
    ehr.told = ehr.good(scope="patient/*.rs", patient="ada")
    assert status(client, "/fhir/Patient/clinic-ada") == 200
    assert status(client, "/fhir/Patient/clinic-ben") == 404
    found = client.get("/fhir/Patient", headers=BEARER).json()
    assert [one["resource"]["id"] for one in found["entry"]] == ["clinic-ada"]


@pytest.mark.security("A4", "S48")
def test_patient_scopes_without_a_patient_show_nobody(client: TestClient, ehr: Ehr) -> None:
    ehr.told = ehr.good(scope="patient/*.rs")
    assert status(client, "/fhir/Patient/clinic-ada") in (403, 404)


@pytest.mark.requirement(81, 88)
@pytest.mark.security("S9")
@pytest.mark.parametrize(
    "told",
    [
        {"active": False},
        {"active": True, "exp": 1},
        {"active": True, "exp": "tomorrow"},
        {"active": True, "exp": True},
        {"active": True, "exp": 1e300},
    ],
    ids=str,
)
def test_a_token_that_does_not_count_there_does_not_count_here(
    client: TestClient, ehr: Ehr, told: dict[str, object]
) -> None:
    ehr.told = {**ehr.good(), **told}
    answer = client.get("/fhir/Task", headers=BEARER)
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert status(client) == 401
    assert len(ehr.asked) == 1, "what nobody knows is not asked about again at once"


@pytest.mark.requirement(81)
def test_a_token_for_somebody_else_s_server_is_none_for_us(client: TestClient, ehr: Ehr, serve: Serve) -> None:
    ehr.told = ehr.good(aud="https://other.example/fhir")
    assert status(client) == 401
    for good in (EHR, f"{EHR}/", "http://testserver/fhir", ["https://other.example", EHR]):
        ehr.told = ehr.good(aud=good)
        assert status(serve(Access.LOCKED)) == 200, good


@pytest.mark.requirement(89)
@pytest.mark.security("S50", "A2")
@pytest.mark.parametrize(
    "user",
    [None, "", "Practitioner/other", "Patient/nurse", "https://other.example/fhir/Practitioner/nurse", 7, ["x"]],
    ids=str,
)
def test_whom_we_do_not_know_may_nothing(client: TestClient, ehr: Ehr, user: object) -> None:
    ehr.told = ehr.good(fhirUser=user)
    assert status(client) == 403
    assert status(client, "/fhir/Patient/clinic-ada") in (403, 404)


@pytest.mark.requirement(88)
@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500),
        httpx.Response(401, json={"error": "invalid_client"}),
        httpx.Response(302, headers={"Location": "https://attacker.example/"}),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"active": "true"}),
        httpx.Response(200, json={"scope": "user/*.cruds"}),
        httpx.Response(200, content=b'{"active":' + b"[" * 50_000, headers={"Content-Type": "application/json"}),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
    ],
    ids=lambda one: repr(one)[:40],
)
def test_an_ehr_that_says_nothing_of_use_opens_nothing_and_shuts_nobody_out_for_good(
    client: TestClient, ehr: Ehr, answer: httpx.Response | Exception
) -> None:
    ehr.answer = answer
    refused = client.get("/fhir/Task", headers=BEARER)
    assert refused.status_code == 503
    assert refused.headers["retry-after"]
    ehr.answer = None
    assert status(client) == 200


@pytest.mark.requirement(88)
@pytest.mark.security("S50")
def test_what_the_ehr_said_is_kept_for_a_moment_and_a_change_of_rights_here_counts_at_once(
    client: TestClient, ehr: Ehr, database: Database
) -> None:
    assert [status(client) for _ in range(3)] == [200] * 3
    assert len(ehr.asked) == 1
    with database.begin() as tx:
        accounts.disable(tx, accounts.find(tx, "Practitioner/nurse").id, clock.now())
    assert status(client) == 403
    assert len(ehr.asked) == 2


@pytest.mark.requirement(88)
def test_an_ehr_that_nobody_trusts_with_that_is_never_asked(serve: Serve, database: Database, ehr: Ehr) -> None:
    now = clock.now()
    with database.begin() as tx:
        connections.add(tx, "clinic", EHR, now=now)
        issuers.of_connection(tx, "clinic", Terms(url=EHR, client_id="tracker"), "k" * 40, now)
    assert status(serve(Access.LOCKED)) == 401
    assert ehr.asked == []


@pytest.mark.security("S56")
def test_who_sends_made_up_tokens_does_not_have_the_ehr_asked_for_ever(client: TestClient, ehr: Ehr) -> None:
    ehr.told = {"active": False}
    answers = [client.get("/fhir/Task", headers={"Authorization": f"Bearer x{n}"}).status_code for n in range(130)]
    assert answers[0] == 401
    assert answers[-1] == 429
    assert len(ehr.asked) < 125
