"""What is asked for with a token and how, where nobody has said it by hand: scopes, ways to show a secret, the budget."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from fhir_tracker.errors import RemoteFailure
from subscriptions.backend_auth import TokenAuthorizer, registration_of
from subscriptions.token_discovery import OAUTH_URIS
from tests.subscriptions.test_backend_auth import BASE, WELL_KNOWN, Service, options
from tests.subscriptions.token_server import CLIENT, JSON, SECRET, TOKEN_URL, TokenServer, refusal

OWN_URL = "https://ehr.example/oauth2/token"


@dataclass
class Purse:
    """A budget that counts."""

    taken: int = 0
    served_with: list[tuple[int, float | None]] = field(default_factory=list)
    wait: float = 0.0

    def take(self) -> float:
        self.taken += 1
        return self.wait

    def served(self, status: int, retry_after: float | None) -> None:
        self.served_with.append((status, retry_after))


@pytest.fixture
def router() -> Iterator[respx.MockRouter]:
    with respx.mock(assert_all_called=False) as made:
        yield made


@pytest.fixture
def server(router: respx.MockRouter) -> TokenServer:
    made = TokenServer()
    made.serve(router)
    made.serve(router, OWN_URL)
    return made


def service(server: TokenServer, folder: Path, **more: Any) -> Service:
    """One that shows a secret; `more` are members of the connection, or options."""
    own = {name: more.pop(name) for name in ("token_url", "scopes") if name in more}
    made = Service(server, options(folder, "client_secret", **own))
    told = {**made.connection.options, **more.pop("options", {})}
    made.connection = replace(made.connection, options=told, **more)
    made.authorizer = made.made()
    return made


@pytest.mark.requirement(102, 103)
@pytest.mark.parametrize(
    ("capabilities", "subscribe", "writes", "scope"),
    [
        ([], "none", [], "system/*.read"),
        ([], "none", ["Task", "Communication"], "system/*.read system/Task.write system/Communication.write"),
        ([], "auto", [], "system/*.read system/Subscription.write"),
        (
            ["permission-v1", "permission-v2"],
            "auto",
            ["Task"],
            "system/*.read system/Task.write system/Subscription.write",
        ),
        (["permission-v2"], "auto", ["Task"], "system/*.rs system/Task.cud system/Subscription.cud"),
    ],
)
def test_what_is_written_there_is_asked_for_too(
    server: TokenServer,
    router: respx.MockRouter,
    tmp_path: Path,
    capabilities: list[str],
    subscribe: str,
    writes: list[str],
    scope: str,
) -> None:
    router.get(WELL_KNOWN).respond(200, json={"token_endpoint": OWN_URL, "capabilities": capabilities})
    made = service(server, tmp_path, token_url="", scopes="", subscribe=subscribe, options={"write_back": writes})
    assert made.header() == "Bearer made-up-token-1"
    assert server.forms[0]["scope"] == scope


def test_scopes_that_a_person_named_are_asked_for_as_they_are(server: TokenServer, tmp_path: Path) -> None:
    made = service(server, tmp_path, scopes="system/Task.read", subscribe="auto", options={"write_back": ["Task"]})
    made.header()
    assert server.forms[0]["scope"] == "system/Task.read"
    server.twist = lambda number: refusal(400, "invalid_scope")
    made.pass_time(3600)
    with pytest.raises(RemoteFailure, match="check --scopes"):
        made.header()
    assert server.asked == 2


def test_a_server_that_refuses_the_right_to_write_is_read_at_least(server: TokenServer, tmp_path: Path) -> None:
    def grudging(_: int) -> httpx.Response | None:
        return refusal(400, "invalid_scope") if "write" in server.forms[-1]["scope"] else None

    server.twist = grudging
    made = service(server, tmp_path, scopes="", options={"write_back": ["Task"]})
    assert made.header() == "Bearer made-up-token-2"
    made.pass_time(3600)
    assert made.header() == "Bearer made-up-token-3"
    assert [one["scope"] for one in server.forms] == [
        "system/*.read system/Task.write",
        "system/*.read",
        "system/*.read",
    ]


SECURITY = {
    "extension": [
        {"url": "http://example.org/other"},
        "odd",
        {
            "url": OAUTH_URIS,
            "extension": [{"url": "authorize", "valueUri": BASE}, {"url": "token", "valueUri": OWN_URL}],
        },
    ]
}


@pytest.mark.parametrize(
    "configured",
    [httpx.Response(404), httpx.Response(200, headers=JSON, text="{}"), httpx.Response(200, text="<html>")],
)
def test_an_older_server_says_in_its_capability_statement_where_tokens_are(
    server: TokenServer, router: respx.MockRouter, tmp_path: Path, configured: httpx.Response
) -> None:
    router.get(WELL_KNOWN).mock(return_value=configured)
    statement = {"resourceType": "CapabilityStatement", "rest": [{"mode": "server", "security": SECURITY}]}
    asked = router.get(f"{BASE}/metadata").respond(200, json=statement)
    assert service(server, tmp_path, token_url="").header() == "Bearer made-up-token-1"
    assert "authorization" not in asked.calls.last.request.headers


@pytest.mark.parametrize(
    "statement",
    [
        "<html>",
        "[" * 9000,
        json.dumps({"rest": 7}),
        json.dumps({"rest": [{"security": {"extension": [{"url": OAUTH_URIS}]}}]}),
        json.dumps({"rest": [{"security": SECURITY}]}).replace(OWN_URL, "http://ehr.example/token"),
    ],
)
def test_a_server_that_says_it_nowhere_is_told_so(
    server: TokenServer, router: respx.MockRouter, tmp_path: Path, statement: str
) -> None:
    router.get(WELL_KNOWN).respond(404)
    router.get(f"{BASE}/metadata").respond(200, headers=JSON, text=statement)
    with pytest.raises(RemoteFailure, match="give --token-url") as caught:
        service(server, tmp_path, token_url="").header()
    assert caught.value.auth
    assert server.asked == 0


@pytest.mark.parametrize("methods", [["client_secret_post"], []])
def test_a_server_that_reads_the_secret_in_the_body_only_gets_it_there(
    server: TokenServer, router: respx.MockRouter, tmp_path: Path, methods: list[str]
) -> None:
    def in_body(number: int) -> httpx.Response:
        form = server.forms[-1]
        right = (form.get("client_id"), form.get("client_secret")) == (CLIENT, SECRET)
        return server.token(number) if right else refusal(401, "invalid_client")

    server.twist = in_body
    told = {"token_endpoint": OWN_URL, "token_endpoint_auth_methods_supported": methods}
    router.get(WELL_KNOWN).respond(200, json=told)
    made = service(server, tmp_path, token_url="")
    assert made.header() is not None
    tries = server.asked
    assert tries == (1 if methods else 3)
    assert "authorization" not in server.requests[-1].headers
    made.pass_time(3600)
    made.header()
    assert server.asked == tries + 1


def test_a_server_that_names_the_header_only_never_gets_the_secret_in_a_body(
    server: TokenServer, router: respx.MockRouter, tmp_path: Path
) -> None:
    told = {"token_endpoint": OWN_URL, "token_endpoint_auth_methods_supported": ["client_secret_basic"]}
    router.get(WELL_KNOWN).respond(200, json=told)
    server.twist = lambda number: refusal(401, "invalid_client")
    with pytest.raises(RemoteFailure):
        service(server, tmp_path, token_url="").header()
    assert server.asked == 2
    assert all("client_secret" not in form for form in server.forms)


@pytest.mark.requirement(79)
def test_requests_for_tokens_count_in_the_budget_of_the_ehr(
    server: TokenServer, router: respx.MockRouter, tmp_path: Path
) -> None:
    router.get(WELL_KNOWN).respond(200, json={"token_endpoint": OWN_URL})
    made = service(server, tmp_path, token_url="")
    purse = Purse()
    authorizer = TokenAuthorizer(registration_of(made.connection), None, made.tokens, lambda: made.now, purse)
    authorizer.header(made.now)
    authorizer.header(made.now)
    assert (purse.taken, purse.served_with) == (2, [(200, None), (200, None)])
    server.twist = lambda number: httpx.Response(429, headers={"retry-after": "7"})
    made.pass_time(3600)
    with pytest.raises(RemoteFailure):
        authorizer.header(made.now)
    assert purse.served_with[-1] == (429, 7.0)


def test_a_token_that_has_to_wait_for_the_budget_says_for_how_long(server: TokenServer, tmp_path: Path) -> None:
    made = service(server, tmp_path)
    purse = Purse(wait=90.0)
    authorizer = TokenAuthorizer(registration_of(made.connection), None, made.tokens, lambda: made.now, purse)
    with pytest.raises(RemoteFailure, match="held back") as caught:
        authorizer.header(made.now)
    assert (caught.value.auth, caught.value.retry_after, server.asked) == (False, 90.0, 0)


def test_the_address_of_another_server_is_still_asked_for_by_name(
    server: TokenServer, router: respx.MockRouter, tmp_path: Path
) -> None:
    security = json.loads(json.dumps(SECURITY).replace(OWN_URL, TOKEN_URL))
    router.get(WELL_KNOWN).respond(404)
    router.get(f"{BASE}/metadata").respond(200, json={"rest": [{"security": security}]})
    with pytest.raises(RemoteFailure, match="--token-url if that is right"):
        service(server, tmp_path, token_url="").header()
    assert server.asked == 0
