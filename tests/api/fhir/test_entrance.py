"""Bearer tokens at the FHIR API: one good one opens it, each way of sending another is refused in the words of RFC 6750."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.context import Access
from fhir_tracker import access_tokens, clients, clock
from fhir_tracker.access_tokens import NewToken
from fhir_tracker.admission import MOST_REMEMBERED
from fhir_tracker.digests import digest_of
from fhir_tracker.model.viewer import open_viewer
from fhir_tracker.storage import audit, epochs, tokens
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.schema import prepare
from tests.api.conftest import Serve
from tests.support.contexts import context_of
from tests.support.systems import let_in

JSON = {"Content-Type": "application/fhir+json"}
TASK = {"resourceType": "Task", "status": "requested", "intent": "order"}


def token_of(database: Database, scope: str = "system/*.cruds", *, lasts: int = 300, id_: str = "reports") -> str:
    """A token of a system that may have everything, for `scope`."""
    now = clock.now()
    with database.begin() as tx:
        made = access_tokens.issue(tx, clients.known(tx, id_), scope, timedelta(seconds=lasts), now)
        assert isinstance(made, NewToken)
        return made.value


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def client(serve: Serve, database: Database) -> TestClient:
    let_in(database)
    return serve(Access.LOCKED)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, str]]:
    """A server on SQLite and a good token, for questions that leave nothing behind."""
    with closing(Database.open(f"sqlite:///{tmp_path_factory.mktemp('shared') / 'tracker.db'}")) as database:
        prepare(database)
        let_in(database)
        with closing(TestClient(create_app(context_of(database, access=Access.LOCKED)))) as client:
            yield client, token_of(database, lasts=3600)


@pytest.mark.requirement(81)
@pytest.mark.security("A1")
def test_without_a_token_the_answer_says_how_to_come_in_and_nothing_of_an_error(shared: tuple[TestClient, str]) -> None:
    answer = shared[0].get("/fhir/Task")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="fhir-tracker"'
    assert answer.json()["issue"][0]["code"] == "login"


@pytest.mark.requirement(81)
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR", "Bearer  "])
def test_the_scheme_has_no_case(shared: tuple[TestClient, str], scheme: str) -> None:
    client, token = shared
    assert client.get("/fhir/Task", headers={"Authorization": f"{scheme} {token}"}).status_code == 200


@pytest.mark.requirement(81)
@pytest.mark.security("S1", "S4", "S33")
@pytest.mark.parametrize(
    "given",
    [
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Bearer ft_" + "A" * 43,
        "Bearer ft_" + "A" * 42,
        "Bearer " + "x" * 20_000,
        "Bearer a b",
        "Bearer a,b",
        "Bearer '",
        "Bearer ' OR 1=1 --",
        "Bearer %",
        "Bearer ../../etc/passwd",
        "Bearer null",
        "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.",
    ],
    ids=lambda one: one[:24],
)
def test_a_token_that_nobody_was_given_is_invalid(shared: tuple[TestClient, str], given: str) -> None:
    answer = shared[0].get("/fhir/Task", headers={"Authorization": given})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="fhir-tracker", error="invalid_token"'
    assert answer.json()["issue"][0]["code"] == "login"
    assert given[7:20] not in answer.text or len(given) < 12


@pytest.mark.requirement(81)
@pytest.mark.parametrize("change", [lambda t: t[:-1], lambda t: t + "A", lambda t: t.swapcase(), lambda t: t[3:]])
def test_nearly_right_is_wrong(shared: tuple[TestClient, str], change: object) -> None:
    client, token = shared
    assert client.get("/fhir/Task", headers=bearer(change(token))).status_code == 401  # type: ignore[operator]


@pytest.mark.requirement(81)
@pytest.mark.parametrize("given", ["Basic YTpi", "Digest x", "Negotiate x", "ft_x", "Token x", "", "Bearerx y"])
def test_other_schemes_are_no_login_at_all(shared: tuple[TestClient, str], given: str) -> None:
    assert shared[0].get("/fhir/Task", headers={"Authorization": given}).status_code == 401


@pytest.mark.requirement(81)
@pytest.mark.security("S18")
def test_a_token_is_sent_once_and_in_the_header_alone(shared: tuple[TestClient, str]) -> None:
    client, token = shared
    assert client.get(f"/fhir/Task?access_token={token}").status_code == 401
    for path in (f"/fhir/Task?access_token={token}", "/fhir/Task?a=b&access%5Ftoken=x"):
        answer = client.get(path, headers=bearer(token))
        assert answer.status_code == 400
        assert token not in answer.text
    twice = [("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer {token}")]
    assert client.get("/fhir/Task", headers=twice).status_code == 400
    assert client.get("/fhir/Task", headers={"X-Access-Token": token, "Cookie": f"token={token}"}).status_code == 401


@pytest.mark.requirement(82)
def test_what_anybody_may_read_needs_no_token_and_minds_no_bad_one(shared: tuple[TestClient, str]) -> None:
    for headers in ({}, bearer("nobody's"), {"Authorization": "Basic x"}):
        assert shared[0].get("/fhir/metadata", headers=headers).status_code == 200
        assert shared[0].get("/fhir/.well-known/smart-configuration", headers=headers).status_code == 200


@pytest.mark.requirement(81, 83)
@pytest.mark.security("S9", "S40")
def test_a_token_that_does_not_reach_that_far_says_so(serve: Serve, database: Database) -> None:
    let_in(database)
    client, token = serve(Access.LOCKED), token_of(database, "system/Patient.r")
    calls: tuple[tuple[str, str, Mapping[str, object] | None], ...] = (
        ("GET", "/fhir/Task", None),
        ("GET", "/fhir/Patient", None),
        ("POST", "/fhir/Task", TASK),
        ("DELETE", "/fhir/Patient/x", None),
        ("GET", "/fhir/Patient/_history", None),
    )
    for method, path, body in calls:
        answer = client.request(method, path, headers={**bearer(token), **JSON}, json=body)
        assert answer.status_code == 403, (method, path)
        assert answer.headers["www-authenticate"] == 'Bearer realm="fhir-tracker", error="insufficient_scope"'
        assert answer.json()["issue"][0]["code"] == "forbidden"
    assert client.get("/fhir/Patient/x", headers=bearer(token)).status_code == 404


@pytest.mark.requirement(81)
def test_a_token_ends_in_time_also_for_who_was_let_in_with_it(client: TestClient, database: Database) -> None:
    token = token_of(database, lasts=300)
    assert client.get("/fhir/Task", headers=bearer(token)).status_code == 200
    with database.begin() as tx:
        found = tokens.find(tx, digest_of(token))
        assert found is not None
        tokens.end(tx, found.digest)
        tokens.add(tx, replace(found, expires_at=clock.now()))
        epochs.bump(tx)
    assert client.get("/fhir/Task", headers=bearer(token)).status_code == 401


@pytest.mark.requirement(81)
def test_a_remembered_token_ends_by_the_clock_alone(database: Database) -> None:
    let_in(database)
    context = context_of(database, access=Access.LOCKED)
    token, now = token_of(database, lasts=2), clock.now()
    entered = context.admission.admit(token, "here", now)
    assert context.admission.remembered(token, "here", now) == entered
    assert context.admission.remembered(token, "here", now + timedelta(seconds=3)) is None


@pytest.mark.security("S50", "A2")
def test_a_system_that_is_shut_out_is_out_with_its_next_request_whatever_that_is(
    serve: Serve, database: Database
) -> None:
    let_in(database)
    client, token = serve(Access.LOCKED), token_of(database)
    calls: tuple[tuple[str, str, Mapping[str, object] | None], ...] = (
        ("GET", "/fhir/Task", None),
        ("GET", "/fhir/Task/x", None),
        ("GET", "/fhir/Task/_history", None),
        ("POST", "/fhir/Task", TASK),
        ("POST", "/fhir", {"resourceType": "Bundle", "type": "batch", "entry": []}),
        ("GET", "/fhir/Task?_has:Provenance:target:agent=x", None),
    )
    before = [
        client.request(method, path, headers=bearer(token), json=body).status_code for method, path, body in calls
    ]
    assert not {401, 403} & set(before)
    for at, (method, path, body) in enumerate(calls):
        with database.begin() as tx:
            clients.revoke(tx, "reports", clock.now())
        assert client.request(method, path, headers=bearer(token), json=body).status_code == 401, (method, path)
        let_in(database)
        token = token_of(database)
        assert client.get("/fhir/Task", headers=bearer(token)).status_code == 200, at


@pytest.mark.security("S50", "A2")
def test_what_is_there_is_read_no_more_from_the_next_request_on(
    serve: Serve, database: Database, ready_url: str
) -> None:
    """By whichever process the system was shut out, and though the one that answers has remembered it."""
    let_in(database)
    client, token = serve(Access.LOCKED), token_of(database)
    made = client.post("/fhir/Task", headers=bearer(token), json=TASK).json()
    there = f"/fhir/Task/{made['id']}"
    ways = [("GET", there), ("GET", f"{there}/_history/1"), ("HEAD", there), ("GET", f"/fhir/Task?_id={made['id']}")]
    for method, path in ways:
        for _ in range(2):
            assert client.request(method, path, headers=bearer(token)).status_code == 200, path
    with closing(Database.open(ready_url)) as other, other.begin() as tx:
        clients.revoke(tx, "reports", clock.now())
    for method, path in ways:
        assert client.request(method, path, headers=bearer(token)).status_code == 401, path
    with database.read() as tx:
        latest = audit.list(tx, open_viewer(), limit=len(ways))
    assert {(row.who, row.outcome, row.patient) for row in latest} == {("nobody", "denied", None)}


WRITES: tuple[tuple[str, str, object], ...] = (
    ("POST", "/fhir/Task", TASK),
    ("POST", "/fhir/Task", TASK | {"status": "nonsense"}),
    ("POST", "/fhir/Task", {"resourceType": "Task"}),
    ("POST", "/fhir/Task", []),
    ("POST", "/fhir/Patient", {"resourceType": "Patient"}),
    ("PUT", "/fhir/Task/{id}", TASK | {"id": "{id}", "status": "accepted"}),
    ("PUT", "/fhir/Task/none", TASK | {"id": "none"}),
    ("PATCH", "/fhir/Task/{id}", [{"op": "replace", "path": "/status", "value": "accepted"}]),
    ("PATCH", "/fhir/Task/none", [{"op": "remove", "path": "/status"}]),
    ("DELETE", "/fhir/Task/{id}", None),
    ("DELETE", "/fhir/Task/none", None),
)


@pytest.mark.security("S50", "A2")
def test_who_is_shut_out_changes_nothing_and_is_told_nothing_of_what_would_have_been_wrong(
    serve: Serve, database: Database
) -> None:
    let_in(database)
    client, token = serve(Access.LOCKED), token_of(database)
    made = client.post("/fhir/Task", headers=bearer(token), json=TASK).json()
    for method, path, body in WRITES:
        with database.begin() as tx:
            clients.revoke(tx, "reports", clock.now())
        content = "application/json-patch+json" if method == "PATCH" else "application/fhir+json"
        sent = None if body is None else json.dumps(body).replace("{id}", made["id"])
        headers = {**bearer(token), "Content-Type": content}
        answer = client.request(method, path.format(id=made["id"]), headers=headers, content=sent)
        assert answer.status_code == 401, (method, path, answer.text)
        let_in(database)
        token = token_of(database)
        assert client.get("/fhir/Task", headers=bearer(token)).json()["total"] == 1, "the new token is remembered"
    assert client.get(f"/fhir/Task/{made['id']}/_history", headers=bearer(token)).json()["total"] == 1


@pytest.mark.security("S50")
def test_a_change_that_is_no_business_of_a_token_lets_it_go_on(client: TestClient, database: Database) -> None:
    token = token_of(database)
    for _ in range(3):
        assert client.post("/fhir/Task", headers=bearer(token), json=TASK).status_code == 201
        with database.begin() as tx:
            epochs.bump(tx)
        assert client.get("/fhir/Task", headers=bearer(token)).status_code == 200


@pytest.mark.security("S50")
def test_new_keys_let_tokens_run_to_their_end(client: TestClient, database: Database) -> None:
    token = token_of(database)
    with database.begin() as tx:
        clients.rotate(tx, "reports", clients.Keys(url="https://reports.example/jwks.json"), clock.now())
    assert client.get("/fhir/Task", headers=bearer(token)).status_code == 200


@pytest.mark.security("A2", "B1")
def test_the_trail_names_the_system_and_of_strangers_their_address(client: TestClient, database: Database) -> None:
    client.get("/fhir/Task", headers=bearer(token_of(database)))
    client.get("/fhir/Task", headers=bearer("nobody's"))
    with database.read() as tx:
        latest, before = audit.list(tx, open_viewer(), limit=2)
    assert (before.who, before.client, before.address) == ("Device/reports", "reports", "testclient")
    assert (latest.who, latest.outcome, latest.address) == ("nobody", "denied", "testclient")


@pytest.mark.security("S55")
def test_what_is_remembered_of_a_token_does_not_show_it_and_stays_bounded(database: Database) -> None:
    let_in(database)
    admission, token, now = context_of(database, access=Access.LOCKED).admission, token_of(database), clock.now()
    for number in range(30):
        admission.admit(token, f"10.0.0.{number}", now)
    held = vars(admission)["_known"]
    assert len(held) == 30
    assert token not in repr(held)
    assert MOST_REMEMBERED <= 10_000


@pytest.mark.security("S5")
def test_while_the_database_is_away_a_token_is_neither_good_nor_bad(serve: Serve) -> None:
    answer = serve(Access.LOCKED, reached=False).get("/fhir/Task", headers=bearer("ft_" + "A" * 43))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


@pytest.mark.security("S56")
@pytest.mark.requirement(14)
def test_a_system_that_asks_too_often_is_slowed_and_no_other(database: Database) -> None:
    let_in(database)
    let_in(database, id_="other")
    context = context_of(database, access=Access.LOCKED)
    slow = replace(context, settings=replace(context.settings, rate_limit=5))
    with closing(TestClient(create_app(slow))) as client:
        mine, theirs = bearer(token_of(database)), bearer(token_of(database, id_="other"))
        answers = [client.get("/fhir/Task/x", headers=mine) for _ in range(60)]
        assert answers[0].status_code == 404
        slowed = [one for one in answers if one.status_code == 429]
        assert slowed
        assert slowed[0].headers["retry-after"] == "1"
        assert slowed[0].json()["issue"][0]["code"] == "throttled"
        assert client.get("/fhir/Task/x", headers=theirs).status_code == 404


@pytest.mark.security("S56")
@pytest.mark.requirement(14)
def test_each_of_two_processes_gives_a_system_its_own_share_and_no_more(database: Database) -> None:
    """As docs/clients.md tells: a bucket of twice the rate in each, whatever the other has given."""
    let_in(database)
    known = bearer(token_of(database))
    given = []
    for _ in range(2):
        context = context_of(database, access=Access.LOCKED)
        few = replace(context, settings=replace(context.settings, rate_limit=1))
        with closing(TestClient(create_app(few))) as client:
            given.append([client.get("/fhir/Task/x", headers=known).status_code for _ in range(30)])
    for answers in given:
        assert answers[:2] == [404, 404]
        assert 429 in answers[2:]


@pytest.mark.security("S56", "M3")
def test_bad_tokens_from_an_address_slow_bad_tokens_and_no_good_one(client: TestClient, database: Database) -> None:
    answers = [client.get("/fhir/Task", headers=bearer(f"x{n}")).status_code for n in range(130)]
    assert (answers[0], answers[-1]) == (401, 429)
    assert client.get("/fhir/Task", headers=bearer(token_of(database))).status_code == 200
    assert client.get("/fhir/Task").status_code == 401
