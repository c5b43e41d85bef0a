"""The edge of a server for real patients: names it answers to, what only operators see, pages of other sites, headers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.context import Access
from api.edge import OPERATORS, PROBES
from fhir_tracker.config import load_settings
from fhir_tracker.storage.database import Database
from tests.support.contexts import context_of

TOKEN = "m3tr1cs-" + "t" * 30
APP, EVIL = "https://app.example", "https://evil.example"
ASKS = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}


def server(
    database: Database, access: Access = Access.LOCKED, public_url: str = "https://tracker.example", **env: str
) -> TestClient:
    given = {"HOME": "/nowhere"} | {f"FHIR_TRACKER_{name}": text for name, text in env.items()}
    context = replace(context_of(database, access=access, public_url=public_url), settings=load_settings(given))
    return TestClient(create_app(context), base_url=public_url, raise_server_exceptions=False)


@pytest.mark.security("S57")
@pytest.mark.parametrize("path", sorted(OPERATORS))
@pytest.mark.parametrize(
    "given",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Basic {TOKEN}",
        TOKEN,
        "bearer é",
    ],
)
def test_numbers_and_reference_are_shown_to_nobody_without_the_token(database: Database, path: str, given: str) -> None:
    for client in (server(database), server(database, METRICS_TOKEN=TOKEN)):
        for method in ("GET", "HEAD", "POST", "OPTIONS"):
            answer = client.request(method, path, headers={b"Authorization": given.encode("latin-1")})
            assert answer.status_code == 401, (method, path)
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert "http_requests" not in answer.text


@pytest.mark.security("S57")
@pytest.mark.parametrize("path", sorted(OPERATORS))
def test_operators_with_the_token_and_everybody_in_open_mode_see_them(database: Database, path: str) -> None:
    secured = server(database, METRICS_TOKEN=TOKEN)
    assert secured.get(path, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert secured.get(path, headers={"Authorization": f"bearer  {TOKEN} "}).status_code == 200
    assert server(database, Access.OPEN, "http://testserver").get(path).status_code == 200


@pytest.mark.security("S57")
@pytest.mark.parametrize(
    "path", ["/metrics/", "//metrics", "/METRICS", "/metrics%2f", "/./metrics", "/docs/", "/%6detrics"]
)
def test_no_other_way_of_writing_an_address_opens_them(database: Database, path: str) -> None:
    answer = server(database).get(path)
    assert answer.status_code in (401, 404), path
    assert "http_requests" not in answer.text


@pytest.mark.security("S57")
@pytest.mark.parametrize(
    "host", ["evil.example", "tracker.example.evil.example", "10.0.0.5", "", "a b", "tracker.example@x"]
)
def test_a_secured_server_answers_to_its_public_name_alone(database: Database, host: str) -> None:
    client = server(database)
    for path in (
        "/fhir/Patient",
        "/fhir/metadata",
        "/",
        "/metrics",
        "/launch",
        "/fhir/.well-known/smart-configuration",
    ):
        answer = client.get(path, headers={"Host": host})
        assert answer.status_code == 421, (path, answer.status_code)
        assert EVIL not in answer.text
    for path in PROBES:
        assert client.get(path, headers={"Host": host}).status_code == 200, "a probe knows the server by its number"
    for ours in ("tracker.example", "tracker.example:443", "TRACKER.example", "127.0.0.1:8080", "localhost"):
        assert client.get("/fhir/metadata", headers={"Host": ours}).status_code == 200, ours


@pytest.mark.security("S57")
def test_no_web_page_may_call_unless_its_origin_is_named(database: Database) -> None:
    client = server(database)
    for origin in (APP, EVIL, "null", "*", ""):
        for answer in (
            client.get("/fhir/Patient/none", headers={"Origin": origin}),
            client.options("/fhir/Patient", headers={"Origin": origin, **ASKS}),
        ):
            assert [name for name in answer.headers if name.startswith("access-control")] == []


@pytest.mark.security("S57")
def test_a_named_origin_may_call_without_cookies_and_no_other_origin_may(database: Database) -> None:
    client = server(database, CORS_ORIGINS=f"{APP}, http://localhost:3000")
    for path in ("/fhir/Patient", "/fhir/Patient/none"):
        answer = client.get(path, headers={"Origin": APP})
        assert answer.headers["access-control-allow-origin"] == APP
        assert answer.headers["vary"] == "Origin"
        assert "access-control-allow-credentials" not in answer.headers
    asked = client.options("/fhir/Patient", headers={"Origin": APP, **ASKS})
    assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (204, APP)
    assert "Authorization" in asked.headers["access-control-allow-headers"]
    for origin in (
        EVIL,
        "null",
        "*",
        f"{APP}.evil.example",
        f"{APP}:443",
        APP.replace("https", "http"),
        APP.upper(),
        f"{APP}/",
    ):
        for answer in (
            client.get("/fhir/Patient/none", headers={"Origin": origin}),
            client.options("/fhir/Patient", headers={"Origin": origin, **ASKS}),
        ):
            assert [name for name in answer.headers if name.startswith("access-control")] == [], origin
            assert answer.headers["vary"] == "Origin"


@pytest.mark.security("S57")
def test_pages_are_never_opened_to_another_origin(database: Database) -> None:
    client = server(database, CORS_ORIGINS=APP)
    for path in ("/", "/livez", "/launch", "/metrics"):
        for answer in (
            client.get(path, headers={"Origin": APP}),
            client.options(path, headers={"Origin": APP, **ASKS}),
        ):
            assert "access-control-allow-origin" not in answer.headers, path


@pytest.mark.security("S26", "E1", "L3")
@pytest.mark.parametrize("path", ["/fhir/metadata", "/fhir/Patient", "/fhir/Patient/x", "/fhir/Nope", "/fhir"])
def test_an_answer_of_the_api_does_nothing_in_a_browser(database: Database, path: str) -> None:
    for access in Access:
        headers = server(database, access).get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "sandbox" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "no-store" in headers["cache-control"]
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers


@pytest.mark.security("E1")
def test_browsers_are_told_to_come_by_https_only_where_that_is_our_address(database: Database) -> None:
    for path in ("/fhir/metadata", "/livez", "/"):
        assert "max-age=31536000" in server(database).get(path).headers["strict-transport-security"]
        plain = server(database, public_url="http://127.0.0.1:8080").get(path)
        assert "strict-transport-security" not in plain.headers
