"""What every answer carries, whoever asks, and the last resort for errors."""

from __future__ import annotations

import logging
from typing import cast

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from api.app import create_app
from api.context import Access
from api.logs import LineFormatter
from fhir_tracker.storage.database import Database
from tests.api.conftest import Serve
from tests.api.fhir.talk import outcome
from tests.support.contexts import context_of

HEADERS = ("x-request-id", "cache-control", "x-content-type-options", "referrer-policy")


@pytest.mark.security("L3")
@pytest.mark.parametrize("access", list(Access))
@pytest.mark.parametrize("path", ["/", "/livez", "/fhir/metadata", "/fhir/Patient", "/fhir/Nope", "/no/such/page"])
def test_nothing_is_kept_by_caches_and_each_answer_has_an_id(serve: Serve, access: Access, path: str) -> None:
    answer = serve(access).get(path)
    assert all(name in answer.headers for name in HEADERS)
    if not path.startswith("/static"):
        assert "no-store" in answer.headers["cache-control"]


def test_a_locked_server_shows_a_helpful_page_and_no_data(serve: Serve) -> None:
    for path in ("/", "/operations", "/tasks/x"):
        answer = serve(Access.LOCKED).get(path)
        assert answer.status_code == 401
        assert "fhir-tracker demo" in answer.text
    assert serve(Access.LOCKED).get("/livez").status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "evil.example:8080", "[::2]", "", "a b"])
def test_a_foreign_host_name_is_refused_without_login(serve: Serve, host: str) -> None:
    answer = serve(Access.OPEN).get("/fhir/Patient", headers={"Host": host})
    assert outcome(answer, 421)["code"] == "forbidden"
    assert serve(Access.OPEN).get("/", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9", "[::1]:8080", "LOCALHOST", "testserver"])
def test_our_own_names_are_answered(serve: Serve, host: str) -> None:
    assert serve(Access.OPEN).get("/fhir/Patient", headers={"Host": host}).status_code == 200


def broken(_: Request) -> Response:
    raise ValueError("Secretname 1990-01-01")


class BrokenDatabase:
    """A database that nothing in the product is prepared for."""

    dialect = "sqlite"

    @property
    def drivers(self) -> object:
        """A mistake."""
        raise ValueError("Secretname 1990-01-01")

    def read(self) -> object:
        """A mistake."""
        raise ValueError("Secretname 1990-01-01")


@pytest.mark.requirement(14)
@pytest.mark.security("L1")
@pytest.mark.parametrize("address", ["Patient/x", "Patient", "Patient/x/_history"])
def test_a_mistake_of_ours_is_500_without_details(caplog: pytest.LogCaptureFixture, address: str) -> None:
    app = create_app(context_of(cast(Database, BrokenDatabase())))
    app.router.routes[:0] = [Route("/broken", broken)]
    client = TestClient(app, base_url="http://testserver")
    answer = client.get(f"/fhir/{address}?name=Secretname", headers={"X-Request-Id": "r-1"})
    assert outcome(answer, 500)["code"] == "exception"
    assert client.get("/broken").status_code == 500
    lines = [LineFormatter().format(record) for record in caplog.records if record.levelno == logging.ERROR]
    assert "request=r-1" in lines[0]
    assert "ValueError" in lines[0]
    assert "Secretname" not in answer.text + "".join(lines)


def test_who_has_the_whole_answer_finds_it_counted(database: Database) -> None:
    context = context_of(database)
    app = create_app(context)
    serving = app.fhir
    counted: list[int] = []

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        async def pass_on(message: Message) -> None:
            if message["type"] == "http.response.body" and not message.get("more_body"):
                counted.append(context.tally.answered(0))
            await send(message)

        await serving(scope, receive, pass_on)

    app.fhir = watched
    client = TestClient(app, base_url="http://testserver")
    assert [client.get(f"/fhir/{path}").status_code for path in ("Basic/none", "Basic", "metadata")] == [404, 200, 200]
    assert counted == [1, 2, 3]


@pytest.mark.security("L1", "L2")
def test_logs_hold_no_query_body_or_id(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="api")
    client.post(
        "/fhir/Patient",
        content='{"resourceType":"Patient","name":[{"family":"Canary"}],"birthDate":"nonsense-canary"}',
        headers={"Content-Type": "application/fhir+json"},
    )
    client.get("/fhir/Patient?name=Canary&birthdate=1911-11-11")
    client.get("/fhir/Patient/canary-id")
    lines = "\n".join(LineFormatter().format(record) for record in caplog.records if record.name.startswith("api"))
    assert "route=/fhir/{type}/{id}" in lines
    assert "anary" not in lines
    assert "1911" not in lines


def test_a_log_line_cannot_be_broken_in_two() -> None:
    record = logging.LogRecord("api.edge", logging.INFO, "", 0, "a\nb", None, None)
    record.fields = {"route": "x\r\ny z", "empty": "", "none": None}
    line = LineFormatter().format(record)
    assert len(line.splitlines()) == 1
    assert line.endswith('INFO api.edge "a\\nb" route="x\\r\\ny z"')
