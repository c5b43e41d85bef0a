"""The smart-configuration: read by anybody from anywhere, absolute in every address, and true."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.testclient import TestClient

from api.context import Access
from fhir_tracker.fhir.body import read_resource
from fhir_tracker.fhir.checks import check
from fhir_tracker.model.grants import parse_scope
from fhir_tracker.storage.database import Database
from tests.api.conftest import BASE, Serve
from tests.support.systems import System, let_in

PLACE = "/fhir/.well-known/smart-configuration"


@pytest.fixture
def told(serve: Serve) -> dict[str, Any]:
    found: dict[str, Any] = serve(Access.LOCKED).get(PLACE).json()
    return found


@pytest.mark.requirement(82)
@pytest.mark.security("A1")
@pytest.mark.parametrize(
    "accept", [None, "text/html", "application/fhir+xml", "application/fhir+json", "*/*", "image/png"]
)
def test_anybody_may_read_it_and_it_is_json_whatever_is_accepted(serve: Serve, accept: str | None) -> None:
    for access in Access:
        answer = serve(access).get(PLACE, headers={"Accept": accept} if accept else {})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers
        assert serve(access).head(PLACE).status_code == 200
        assert serve(access).post(PLACE).status_code == 405


@pytest.mark.requirement(82)
def test_every_address_is_absolute_and_ours(told: dict[str, Any]) -> None:
    addresses = {name: value for name, value in told.items() if name.endswith("_endpoint")}
    assert addresses.keys() == {"token_endpoint", "introspection_endpoint", "revocation_endpoint"}
    for value in addresses.values():
        parts = urlsplit(value)
        assert value.startswith(f"{BASE}/"), value
        assert parts.scheme
        assert not parts.query


@pytest.mark.requirement(82, 85)
def test_it_says_what_backend_services_need_and_nothing_of_what_is_not_there(told: dict[str, Any]) -> None:
    assert told["grant_types_supported"] == ["client_credentials"]
    assert told["token_endpoint_auth_methods_supported"] == ["private_key_jwt"]
    assert told["token_endpoint_auth_signing_alg_values_supported"] == ["RS384", "ES384"]
    assert {"client-confidential-asymmetric", "permission-v1", "permission-v2"} == set(told["capabilities"])
    assert "plain" not in told["code_challenge_methods_supported"]
    assert not {"issuer", "jwks_uri", "authorization_endpoint", "registration_endpoint"} & told.keys()


@pytest.mark.requirement(82, 85)
def test_every_scope_that_it_names_can_be_had(serve: Serve, database: Database, told: dict[str, Any]) -> None:
    assert all(parse_scope(one) is not None for one in told["scopes_supported"])
    let_in(database)
    answer = serve(Access.LOCKED).post("/auth/token", data=System().form(" ".join(told["scopes_supported"])))
    assert answer.status_code == 200, answer.text
    assert set(answer.json()["scope"].split()) == set(told["scopes_supported"])


@pytest.mark.requirement(82, 81)
def test_what_it_names_is_there(serve: Serve, told: dict[str, Any]) -> None:
    client = serve(Access.LOCKED)
    for name in ("token_endpoint", "introspection_endpoint", "revocation_endpoint"):
        answer = client.post(told[name].removeprefix(BASE), data={"token": "x", "grant_type": "client_credentials"})
        assert (answer.status_code, answer.json()["error"]) == (401 if "introspect" in name else 400, "invalid_client")


@pytest.mark.requirement(82)
def test_the_statement_says_the_same_where_a_token_is_needed_and_nothing_where_none_is(serve: Serve) -> None:
    statement = serve(Access.LOCKED).get("/fhir/metadata")
    assert statement.headers["access-control-allow-origin"] == "*"
    assert check(read_resource(statement.content)) == ()
    security = statement.json()["rest"][0]["security"]
    assert security["service"][0]["coding"][0]["code"] == "SMART-on-FHIR"
    assert "smart-configuration" in security["description"]
    (told,) = security["extension"]
    assert told["url"] == "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
    assert {one["url"]: one.get("valueUri") for one in told["extension"]} == {
        "authorize": None,
        "token": f"{BASE}/auth/token",
    }
    assert "security" not in serve(Access.OPEN).get("/fhir/metadata").json()["rest"][0]


@pytest.mark.requirement(82)
@pytest.mark.parametrize("path", [PLACE, "/fhir/metadata", "/fhir/metadata/"])
def test_a_browser_that_asks_first_may_read_what_all_may_read(serve: Serve, path: str) -> None:
    page = {"Origin": "https://app.example"}
    asks = page | {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "content-type"}
    for access in Access:
        client = serve(access)
        first = client.options(path, headers=asks)
        assert (first.status_code, first.content) == (204, b"")
        assert first.headers["access-control-allow-origin"] == "*"
        assert "content-type" in first.headers["access-control-allow-headers"].lower()
        assert first.headers["access-control-allow-methods"] == "GET, HEAD"
        assert "access-control-allow-credentials" not in first.headers
        assert client.get(path, headers=page).headers["access-control-allow-origin"] == "*"
        assert client.options(path, headers=page).status_code == 405
        for other in ("/fhir/Task", "/fhir/Patient/x", f"{path}x", "/auth/token"):
            refused = client.options(other, headers=asks)
            assert refused.status_code in (401, 404, 405), other
            assert "access-control-allow-origin" not in refused.headers, other


@pytest.mark.security("S57")
@pytest.mark.requirement(82)
def test_pages_of_other_sites_may_read_nothing_else(serve: Serve, database: Database) -> None:
    let_in(database)
    client: TestClient = serve(Access.LOCKED)
    token = client.post("/auth/token", data=System().form("system/*.rs")).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}", "Origin": "https://evil.example"}
    for path in ("/fhir/Task", "/fhir/Patient/x", "/auth/token", "/.well-known/jwks.json"):
        assert "access-control-allow-origin" not in client.get(path, headers=headers).headers, path
