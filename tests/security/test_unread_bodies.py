"""What strangers send to the FHIR API is not even received; and who is let in is looked at once more when their body is there."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message

from api.app import Application, create_app
from api.context import Access
from fhir_tracker import access_tokens, clients, clock
from fhir_tracker.access_tokens import NewToken
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.schema import prepare
from tests.support.contexts import context_of
from tests.support.loops import in_own_loop
from tests.support.systems import let_in

TASK = json.dumps({"resourceType": "Task", "status": "requested", "intent": "order"}).encode()
BOMB = gzip.compress(b" " * 5_000_000)
GZIP = {"content-encoding": "gzip"}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(Database.open(f"sqlite:///{tmp_path / 'tracker.db'}")) as one:
        prepare(one)
        let_in(one)
        yield one


@pytest.fixture
def app(database: Database) -> Application:
    return create_app(context_of(database, access=Access.LOCKED))


def token_of(database: Database) -> str:
    now = clock.now()
    with database.begin() as tx:
        made = access_tokens.issue(tx, clients.known(tx, "reports"), "system/*.cruds", timedelta(minutes=5), now)
    assert isinstance(made, NewToken)
    return made.value


def asked(
    app: Application,
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes = TASK,
    meanwhile: Callable[[], object] = lambda: None,
) -> tuple[int, int]:
    """The status of the answer, and how often the body was asked for; `meanwhile` happens as it comes."""
    received = 0
    told: list[Message] = []

    async def receive() -> Message:
        nonlocal received
        received += 1
        meanwhile()
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        told.append(message)

    given = {"host": "testserver", "content-type": "application/fhir+json", "content-length": str(len(body)), **headers}
    scope: dict[str, Any] = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "scheme": "http",
        "server": ("testserver", 80),
        "client": ("203.0.113.7", 5000),
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }
    in_own_loop(lambda: app(scope, receive, send))
    return int(told[0]["status"]), received


@pytest.mark.security("S34", "S56", "A1")
@pytest.mark.parametrize("authorization", ["", "Basic YTpi", "Bearer x", "Bearer ", "Bearer " + "a" * 43])
def test_the_body_of_a_stranger_is_not_received(app: Application, authorization: str) -> None:
    shown = {"authorization": authorization} if authorization else {}
    for method, path in (
        ("POST", "/fhir"),
        ("POST", "/fhir/Task"),
        ("PUT", "/fhir/Task/x"),
        ("PATCH", "/fhir/Task/x"),
        ("POST", "/fhir/Patient/_search"),
        ("GET", "/fhir/Task/x"),
        ("POST", "/fhir/nowhere/at/all"),
    ):
        for more in ({}, GZIP, {"content-length": "99999999999"}, {"content-encoding": "nonsense"}):
            assert asked(app, method, path, shown | more, BOMB) == (401, 0), (method, path, more)


@pytest.mark.security("S34", "A1")
def test_what_everybody_may_read_is_answered_without_the_body(app: Application, database: Database) -> None:
    assert asked(app, "GET", "/fhir/metadata", {}) == (200, 0)
    assert asked(app, "POST", "/fhir/metadata", GZIP, BOMB) == (405, 0)
    assert asked(app, "GET", "/fhir/metadata", {"authorization": f"Bearer {token_of(database)}"}) == (200, 0)


@pytest.mark.security("S50", "A1")
@pytest.mark.parametrize("is_known", [False, True])
def test_who_is_shut_out_while_their_body_comes_has_done_nothing(
    app: Application, database: Database, is_known: bool
) -> None:
    shown = {"authorization": f"Bearer {token_of(database)}"}
    if is_known:
        assert asked(app, "PUT", "/fhir/Task/before", shown, TASK[:-1] + b',"id":"before"}') == (201, 1)

    def shut_out() -> None:
        with database.begin() as tx:
            clients.revoke(tx, "reports", clock.now())

    assert asked(app, "POST", "/fhir/Task", shown, meanwhile=shut_out) == (401, 1)
    with database.read() as tx:
        assert tx.connection.exec_driver_sql("SELECT count(*) FROM resource WHERE type = 'Task'").scalar() == int(
            is_known
        )


@pytest.mark.security("S34", "S56")
def test_a_bomb_of_somebody_known_is_opened_as_far_as_the_limit(app: Application, database: Database) -> None:
    shown = {"authorization": f"Bearer {token_of(database)}", **GZIP}
    assert asked(app, "POST", "/fhir/Task", shown, gzip.compress(b" " * 6_000_000)) == (413, 1)
    assert asked(app, "POST", "/fhir/Task", shown, gzip.compress(TASK)) == (201, 1)
