"""The token endpoint: who shows a good assertion gets a token for what it may have, everybody else the same refusal."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import httpx
import pytest
import respx
from sqlalchemy import text
from starlette.testclient import TestClient

from api.app import create_app
from api.context import Access
from fhir_tracker import clock
from fhir_tracker.fhir.definitions.registry import resource_types
from fhir_tracker.model.viewer import open_viewer
from fhir_tracker.storage import audit, clients
from fhir_tracker.storage.client_tables import access_token
from fhir_tracker.storage.clients import Client
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.schema import prepare
from subscriptions.key_sets import MOST_FOR_ONE
from tests.api.conftest import Serve
from tests.support.contexts import context_of
from tests.support.hostile_assertions import hostile
from tests.support.systems import System, key_set, let_in

SYSTEM = System()
TOKEN = "/auth/token"
FORM = "application/x-www-form-urlencoded"
REFUSED = {
    "error": "invalid_client",
    "error_description": "The client is not known, or its assertion is not accepted.",
}


@pytest.fixture
def client(serve: Serve, database: Database) -> TestClient:
    """A server that lets `reports` have what it wants of Tasks, and read Patients."""
    let_in(database, "system/Task.cruds", "system/Patient.rs")
    return serve(Access.LOCKED)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The same on SQLite, for questions that the database has no say in and that leave nothing behind."""
    with closing(Database.open(f"sqlite:///{tmp_path_factory.mktemp('shared') / 'tracker.db'}")) as database:
        prepare(database)
        let_in(database, "system/Task.cruds", "system/Patient.rs")
        with closing(TestClient(create_app(context_of(database, access=Access.LOCKED)))) as client:
            yield client


def asked(client: TestClient, scope: str = "system/Task.rs", **changed: Any) -> Any:
    return client.post(TOKEN, data=SYSTEM.form(scope, **changed))


def kept(database: Database) -> list[dict[str, Any]]:
    with database.begin() as tx:
        return [dict(row) for row in tx.rows(access_token.select())]


def trail(database: Database) -> list[tuple[str, str, str]]:
    """Of each row who, what, and with which detail, the latest first."""
    with database.read() as tx:
        rows = audit.list(tx, open_viewer())
    return [(row.who, row.action, json.dumps(dict(row.detail))) for row in rows]


@pytest.mark.requirement(104)
@pytest.mark.security("A1")
@pytest.mark.parametrize("form", [{}, {"grant_type": "client_credentials"}, {"scope": "system/*.rs"}], ids=str)
def test_who_shows_nothing_gets_nothing(shared: TestClient, form: dict[str, str]) -> None:
    answer = shared.post(TOKEN, data=form)
    assert answer.status_code == 400
    assert answer.json()["error"] in {"invalid_request", "invalid_client"}


@pytest.mark.requirement(106)
@pytest.mark.parametrize("kid", ["ec", "rsa"])
def test_a_good_assertion_gives_a_token_that_opens_the_api(client: TestClient, kid: str) -> None:
    answer = client.post(TOKEN, data=System(kid=kid).form("system/Task.rs"))
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert told.keys() == {"access_token", "token_type", "expires_in", "scope"}
    assert (told["token_type"], told["expires_in"], told["scope"]) == ("bearer", 300, "system/Task.rs")
    bearer = {"Authorization": f"Bearer {told['access_token']}"}
    assert client.get("/fhir/Task", headers=bearer).status_code == 200
    assert client.get("/fhir/Patient", headers=bearer).status_code == 403


@pytest.mark.security("E2", "S55", "S18")
def test_of_a_token_only_a_digest_is_kept_and_none_is_like_another(client: TestClient, database: Database) -> None:
    values = [asked(client).json()["access_token"] for _ in range(3)]
    assert len(set(values)) == 3
    assert all(len(one) >= 43 for one in values)
    stored = json.dumps([kept(database), trail(database)], default=str)
    assert not any(one in stored for one in values)
    assert len(kept(database)) == 3


@pytest.mark.requirement(107)
@pytest.mark.parametrize(
    ("scope", "granted"),
    [
        ("system/Task.rs", "system/Task.rs"),
        ("system/Task.cruds", "system/Task.cruds"),
        ("system/Task.rs system/Patient.rs", "system/Task.rs system/Patient.rs"),
        ("system/Patient.cruds", "system/Patient.rs"),
        ("system/*.rs", "system/Task.rs system/Patient.rs"),
        ("system/Patient.read", "system/Patient.read"),
        ("system/*.read", "system/Task.read system/Patient.read"),
        ("system/*.*", "system/Task.* system/Patient.read"),
        ("system/Task.rs?status=requested", "system/Task.rs?status=requested"),
        ("openid launch system/Task.r", "system/Task.r"),
        ("system/Task.rs system/Task.rs", "system/Task.rs"),
        ("system/Task.rs?patient.name=x system/Task.r?_lastUpdated=gt2020 system/Patient.r", "system/Patient.r"),
        ("system/Task.rs?status=a&nonsense=b system/Task.rs?status=a,b", "system/Task.rs?status=a,b"),
        ("system/Task.rs system/Task.sr system/\x00 System/Patient.r *", "system/Task.rs"),
        ("system/Task.rs\tsystem/Patient.rs", "system/Task.rs system/Patient.rs"),
    ],
)
def test_a_token_has_what_was_asked_for_as_far_as_the_system_may_have_it(
    shared: TestClient, scope: str, granted: str
) -> None:
    answer = asked(shared, scope)
    assert answer.status_code == 200, answer.text
    assert sorted(answer.json()["scope"].split()) == sorted(granted.split())


@pytest.mark.requirement(107)
@pytest.mark.security("S9", "S48")
@pytest.mark.parametrize(
    "scope",
    [
        None,
        "",
        " ",
        "openid fhirUser",
        "system/Observation.rs",
        "patient/Task.rs",
        "user/Task.rs",
        "system/Patient.u",
        "system/task.rs",
        "system/Task.sr",
        "system/Task",
        "system/Nope.rs",
        "SYSTEM/Task.rs",
        "offline_access",
        "launch/patient",
        "x" * 5000,
        "system/Task.rs " * 600,
        "system/Task.rs?",
        "system/Task.rs?patient.name=x",
        "system/*.rs?_lastUpdated=gt2020",
        "system/Task.rs?status:not=draft",
        "\u00e9",
    ],
)
def test_what_it_may_not_have_gives_no_token_at_all(shared: TestClient, scope: str | None) -> None:
    answer = shared.post(TOKEN, data={**SYSTEM.form(), "scope": scope} if scope is not None else _without_scope())
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")
    assert answer.headers["cache-control"] == "no-store"


def _without_scope() -> dict[str, Any]:
    return {name: value for name, value in SYSTEM.form().items() if name != "scope"}


@pytest.mark.requirement(85, 107)
def test_every_type_may_be_asked_for_by_itself_in_either_version(client: TestClient, database: Database) -> None:
    let_in(database, "system/*.cruds", id_="all")
    types = sorted(resource_types())
    for rights in ("cruds", "read", "r"):
        scope = " ".join(f"system/{one}.{rights}" for one in types)
        answer = client.post(TOKEN, data=System(id="all").form(scope))
        assert answer.status_code == 200, answer.text
        assert answer.json()["scope"] == scope
    bearer = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    assert client.get("/fhir/Task/none", headers=bearer).status_code == 404
    assert client.get("/fhir/Task", headers=bearer).status_code == 403


@pytest.mark.requirement(107)
@pytest.mark.security("S9", "S56")
def test_queries_asked_for_and_queries_held_do_not_multiply_without_end(client: TestClient, database: Database) -> None:
    let_in(database, *(f"system/Task.rs?code=held-{number}" for number in range(60)), id_="many")
    few, more = (" ".join(f"system/Task.r?status=a{number}" for number in range(count)) for count in (8, 9))
    answer = client.post(TOKEN, data=System(id="many").form(few))
    assert len(answer.json()["scope"].split()) == 480
    refused = client.post(TOKEN, data=System(id="many").form(more))
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_scope")
    assert "too many" in refused.json()["error_description"]


@pytest.mark.requirement(104)
@pytest.mark.parametrize("grant", ["authorization_code", "refresh_token", "password", "CLIENT_CREDENTIALS", "x" * 1000])
def test_there_is_one_grant_type(shared: TestClient, grant: str) -> None:
    answer = asked(shared, grant_type=grant)
    assert (answer.status_code, answer.json()["error"]) == (400, "unsupported_grant_type")


def forgive(database: Database) -> None:
    """Let nothing be counted of what any address has failed at."""
    with database.begin() as tx:
        tx.connection.execute(text("DELETE FROM login_guess"))


@pytest.mark.requirement(104)
@pytest.mark.security("S1", "S2", "S3", "S4", "S5", "S6", "M3")
def test_whatever_is_wrong_with_an_assertion_the_answer_is_the_same(serve: Serve, database: Database) -> None:
    let_in(database)
    seen = set()
    client = serve(Access.LOCKED)
    for number, (what, compact) in enumerate(hostile(SYSTEM), 1):
        if number % 90 == 0:
            client = serve(Access.LOCKED)
            forgive(database)
        answer = client.post(TOKEN, data=SYSTEM.form(client_assertion=compact))
        if len(compact) < 60_000:
            assert (answer.status_code, answer.json()) == (400, REFUSED), what
            headers = {name: value for name, value in answer.headers.items() if name != "x-request-id"}
            seen.add(json.dumps(sorted(headers.items())))
        else:
            assert answer.status_code in (400, 413), what
    assert len(seen) == 1
    assert kept(database) == []


@pytest.mark.requirement(104)
@pytest.mark.security("M3")
@pytest.mark.parametrize(
    "changed",
    [
        {"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"},
        {"client_assertion_type": None},
        {"client_assertion": None},
        {"client_id": "somebody-else"},
        {"client_secret": "guess"},
    ],
    ids=str,
)
def test_another_way_to_show_who_one_is_is_refused_alike(shared: TestClient, changed: dict[str, Any]) -> None:
    answer = asked(shared, **changed)
    assert (answer.status_code, answer.json()) == (400, REFUSED)


@pytest.mark.requirement(104)
def test_who_tries_a_password_is_told_so_in_the_way_of_http(client: TestClient) -> None:
    answer = client.post(TOKEN, data=SYSTEM.form(), auth=("reports", "guess"))
    assert (answer.status_code, answer.json()) == (401, REFUSED)
    assert answer.headers["www-authenticate"].startswith("Basic")


@pytest.mark.requirement(104)
def test_its_id_may_be_said_besides(client: TestClient) -> None:
    assert asked(client, client_id="reports").status_code == 200


@pytest.mark.security("S34")
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{}", "application/json"),
        (b"grant_type=client_credentials", "text/plain"),
        (b"grant_type=client_credentials", "multipart/form-data; boundary=x"),
        (b"grant_type=client_credentials&grant_type=client_credentials", FORM),
        (b"grant_type=client_credentials&scope=a&scope=b", FORM),
        (b"grant_type", FORM),
        (b"&".join(b"f%d=1" % number for number in range(100)), FORM),
        (b"grant_type=%ff%fe", FORM),
        (b"grant_type=\xff", FORM),
        (b"a=" + b"x" * 70_000, FORM),
        (b"", FORM),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_no_form_is_refused(shared: TestClient, body: bytes, kind: str) -> None:
    answer = shared.post(TOKEN, content=body, headers={"Content-Type": kind})
    assert answer.status_code in (400, 413), answer.text
    assert answer.json()["error"] == "invalid_request"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.security("S18")
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
def test_it_is_asked_by_post_alone_and_not_in_the_address(shared: TestClient, method: str) -> None:
    answer = shared.request(method, TOKEN, params=SYSTEM.form())
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert shared.post(TOKEN, params=SYSTEM.form(), headers={"Content-Type": FORM}).status_code == 400


@pytest.mark.requirement(105)
@pytest.mark.security("S5")
def test_an_assertion_counts_once_whatever_it_was_used_for(client: TestClient, database: Database) -> None:
    compact = SYSTEM.assertion()
    assert asked(client, client_assertion=compact).status_code == 200
    again = asked(client, client_assertion=compact)
    assert (again.status_code, again.json()) == (400, REFUSED)
    wasted = SYSTEM.assertion()
    assert asked(client, "nothing", client_assertion=wasted).json()["error"] == "invalid_scope"
    assert asked(client, client_assertion=wasted).json() == REFUSED
    assert len(kept(database)) == 1


@pytest.mark.requirement(105)
@pytest.mark.security("S5", "D1")
def test_of_many_who_show_one_assertion_at_the_same_moment_one_gets_a_token(
    serve: Serve, client: TestClient, database: Database
) -> None:
    other, compact = serve(Access.LOCKED), SYSTEM.assertion()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda one: asked(one, client_assertion=compact), [client, other] * 4))
    assert sorted(one.status_code for one in answers) == [200] + [400] * 7
    assert len(kept(database)) == 1


@pytest.mark.security("S5")
def test_two_systems_may_use_the_same_jti(client: TestClient, database: Database) -> None:
    let_in(database, "system/Task.rs", id_="other")
    both = [System(id=one).assertion(jti="same") for one in ("reports", "other")]
    assert [asked(client, client_assertion=one).status_code for one in both] == [200, 200]


@pytest.mark.security("S3")
def test_a_jku_is_taken_only_from_a_system_registered_by_that_very_address(client: TestClient) -> None:
    for jku in ("https://reports.example/jwks.json", "http://127.0.0.1:9/jwks.json"):
        assert asked(client, client_assertion=SYSTEM.assertion({"jku": jku})).json() == REFUSED


@pytest.mark.security("S4")
def test_two_keys_of_one_id_open_nothing_even_when_they_got_into_the_store(serve: Serve, database: Database) -> None:
    let_in(database, id_="twice", keys=key_set("ec"))
    with database.begin() as tx:
        one = key_set("ec")["keys"][0]
        clients.change(tx, "twice", jwks={"keys": [one, one]})
    answer = serve(Access.LOCKED).post(TOKEN, data=System(id="twice").form())
    assert (answer.status_code, answer.json()) == (400, REFUSED)


@pytest.mark.requirement(104)
def test_the_trail_has_each_token_and_each_refusal_with_its_reason(client: TestClient, database: Database) -> None:
    asked(client)
    asked(client, "nothing")
    asked(client, client_assertion=SYSTEM.assertion(aud="http://other.example"))
    found = trail(database)
    assert [(who, action) for who, action, _ in found[:3]] == [
        ("nobody", "token-refused"),
        ("Device/reports", "token-refused"),
        ("Device/reports", "token"),
    ]
    assert '"aud"' in found[0][2]
    assert "system/Task.rs" in found[2][2]


@pytest.mark.security("S5")
def test_while_the_database_is_away_nobody_gets_a_token_and_is_told_to_come_back(serve: Serve) -> None:
    answer = serve(Access.LOCKED, reached=False).post(TOKEN, data=SYSTEM.form())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert answer.json()["error"] == "temporarily_unavailable"


@pytest.mark.security("S56", "M3")
@pytest.mark.requirement(14)
def test_who_fails_too_often_is_told_to_wait_and_others_behind_the_same_address_are_not(
    client: TestClient, database: Database
) -> None:
    answers = [asked(client, client_assertion="x") for _ in range(130)]
    assert answers[0].status_code == 400
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert asked(client).status_code == 200
    assert len([one for one in trail(database) if one[1] == "token-refused"]) <= 100


@pytest.mark.fault("F29")
@pytest.mark.security("S7", "S56")
def test_while_keys_at_an_address_do_not_come_few_wait_and_whose_keys_are_here_is_served(
    client: TestClient, database: Database
) -> None:
    url, more, go_on = "https://slow.example/jwks.json", 6, threading.Event()
    with database.begin() as tx:
        clients.add(tx, Client(id="slow", name="", scopes=("system/*.rs",), jwks_url=url, added_at=clock.now()))
    answers: queue.Queue[Any] = queue.Queue()

    def stand_still(request: httpx.Request) -> httpx.Response:
        assert go_on.wait(60)
        return httpx.Response(200, json=key_set("ec"))

    def knock(number: int) -> None:
        answers.put(client.post(TOKEN, data=System(id="slow").form()))

    with respx.mock as router, ThreadPoolExecutor(MOST_FOR_ONE + more) as pool:
        router.get(url).mock(side_effect=stand_still)
        try:
            waiting = [pool.submit(knock, number) for number in range(MOST_FOR_ONE + more)]
            for _ in range(more):
                answer = answers.get(timeout=60)
                assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
                assert int(answer.headers["retry-after"]) > 0
            assert asked(client).status_code == 200
        finally:
            go_on.set()
        for one in waiting:
            one.result()
    assert {answers.get_nowait().status_code for _ in range(MOST_FOR_ONE)} == {200}
