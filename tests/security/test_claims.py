"""Systems with tokens and people in sessions claim the same work at the same instant: one gets it, and all traces name that one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from threading import Barrier
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from fhir_tracker import access_tokens, clock
from fhir_tracker.digests import digest_of
from fhir_tracker.storage import tokens
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.tokens import IssuedToken
from tests.conformance.server import Tracker, running_tracker
from tests.peers.postgres.server import Postgres
from tests.support.launched import LIFETIME, Tab, launched, person
from tests.support.systems import let_in

PUBLIC = "http://127.0.0.1:9"
SYSTEMS = ("scheduler", "pathways", "robot", "portal")
PEOPLE = ("rosa", "ivo")
ROUNDS = 6


@dataclass
class Claimant:
    """Who claims, by a way of their own; `who` is how traces name them."""

    who: str
    claim: Callable[[str], httpx.Response]

    def wins(self, answer: httpx.Response) -> bool:
        """Whether the claim was taken; a page answers by leading back."""
        return answer.status_code in (200, 303)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def servers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Tracker]]:
    """Servers of one store behind one address: three processes on PostgreSQL, the one that SQLite can have."""
    options = ("--no-worker", "--public-url", PUBLIC)
    with ExitStack() as undo:
        if request.param == "sqlite":
            folder = tmp_path_factory.mktemp("claims")
            yield [undo.enter_context(running_tracker(f"sqlite:///{folder / 'tracker.db'}", folder, *options))]
            return
        postgres: Postgres = request.getfixturevalue("postgres")
        url = postgres.url(postgres.create())
        folders = [tmp_path_factory.mktemp(name) for name in ("one", "two")]
        one = undo.enter_context(running_tracker(url, folders[0], *options, "--processes", "2"))
        yield [one, undo.enter_context(running_tracker(url, folders[1], *options))]


@pytest.fixture(scope="module")
def store(servers: list[Tracker]) -> Iterator[Database]:
    """What the servers share."""
    with closing(Database.open(servers[0].database)) as opened:
        yield opened


def token_of(store: Database, client: str) -> str:
    now = clock.now()
    value = f"{access_tokens.PREFIX}{client.ljust(43, '0')}"
    issued = IssuedToken(
        digest=digest_of(value), client=client, scopes=("system/*.cruds",), issued_at=now, expires_at=now + LIFETIME
    )  # fmt: skip
    let_in(store, id_=client)
    with store.begin() as tx:
        tokens.add(tx, issued)
    return value


def body(id_: str, owner: str) -> dict[str, Any]:
    made = {"resourceType": "Task", "id": id_, "status": "requested", "intent": "order", "code": {"text": "Call"}}
    return made | {"status": "accepted", "owner": {"reference": owner}} if owner else made


def system(client: httpx.Client, id_: str, way: str) -> Claimant:
    """A system that claims for a practitioner of its own by one of the ways of the API."""
    owner = f"Practitioner/{id_}"
    guard = {"If-Match": 'W/"1"'}
    patch = [
        {"op": "test", "path": "/status", "value": "requested"},
        {"op": "replace", "path": "/status", "value": "accepted"},
        {"op": "add", "path": "/owner", "value": {"reference": owner}},
    ]

    def claim(task: str) -> httpx.Response:
        if way == "put":
            return client.put(f"/Task/{task}", json=body(task, owner), headers=guard)
        if way == "patch":
            kind = {"Content-Type": "application/json-patch+json"}
            return client.patch(f"/Task/{task}", content=json.dumps(patch), headers=guard | kind)
        if way == "condition":
            return client.put("/Task", params={"_id": task}, json=body(task, owner), headers=guard)
        entry = {"request": {"method": "PUT", "url": f"Task/{task}", "ifMatch": 'W/"1"'}, "resource": body(task, owner)}
        return client.post("/", json={"resourceType": "Bundle", "type": "transaction", "entry": [entry]})

    return Claimant(f"Device/{id_}", claim)


def member(tab: Tab, who: str) -> Claimant:
    """A nurse who presses the button of the page that showed the first version."""
    return Claimant(who, lambda task: tab.post(f"/tasks/{task}/claim", {"version": "1"}))


@pytest.fixture(scope="module")
def claimants(servers: list[Tracker], store: Database) -> Iterator[list[Claimant]]:
    """Each at one of the servers; the systems first."""
    with ExitStack() as undo:
        found = []
        ways = ("put", "patch", "condition", "transaction")
        for number, (id_, way) in enumerate(zip(SYSTEMS, ways, strict=True)):
            headers = {"Authorization": f"Bearer {token_of(store, id_)}"}
            base = servers[number % len(servers)].fhir
            client = undo.enter_context(httpx.Client(base_url=base, timeout=60, trust_env=False, headers=headers))
            found.append(system(client, id_, way))
        for number, name in enumerate(PEOPLE):
            account = person(store, name, "rn", now=clock.now())
            session, secret, handle = launched(store, account, clock.now())
            base = servers[-1 - number % len(servers)].url
            client = undo.enter_context(httpx.Client(base_url=base, timeout=60, trust_env=False))
            tab = Tab(client, session, secret, handle)
            tab.csrf = tab.token()
            found.append(member(tab, account.ref))
        yield found


@pytest.mark.requirement(132, 42, 105)
@pytest.mark.security("S10", "A2")
def test_of_all_who_claim_at_once_one_has_it_and_the_others_are_told(
    servers: list[Tracker], store: Database, claimants: list[Claimant]
) -> None:
    headers = {"Authorization": f"Bearer {access_tokens.PREFIX}{SYSTEMS[0].ljust(43, '0')}"}
    with (
        httpx.Client(base_url=servers[0].fhir, timeout=60, trust_env=False, headers=headers) as reader,
        ThreadPoolExecutor(len(claimants)) as pool,
    ):
        for number in range(ROUNDS):
            task = f"work-{number}"
            assert reader.put(f"/Task/{task}", json=body(task, "")).status_code == 201
            here = claimants[len(SYSTEMS) :] if number % 3 == 2 else claimants
            start = Barrier(len(here))

            def run(one: Claimant, task: str = task, start: Barrier = start) -> httpx.Response:
                start.wait(30)
                return one.claim(task)

            answers = list(pool.map(run, here))
            told = [(one.who, answer.status_code) for one, answer in zip(here, answers, strict=True)]
            winners = [one for one, answer in zip(here, answers, strict=True) if one.wins(answer)]
            assert len(winners) == 1, told
            (winner,) = winners
            lost = [answer for one, answer in zip(here, answers, strict=True) if one is not winner]
            assert {answer.status_code for answer in lost} <= {409, 412}, told
            assert all("Traceback" not in answer.text and answer.text for answer in lost)
            found = reader.get(f"/Task/{task}").json()
            check_traces(reader, store, found, winner.who)


def check_traces(reader: httpx.Client, store: Database, found: dict[str, Any], winner: str) -> None:
    """One further version, whose owner, Provenance and row of the trail are of the winner; no other row says success."""
    ref = f"Task/{found['id']}"
    assert found["meta"]["versionId"] == "2"
    proof = reader.get("/Provenance", params={"target": ref, "_count": "20"}).json()
    by_version = {one["resource"]["target"][0]["reference"]: one["resource"] for one in proof["entry"]}
    assert sorted(by_version) == [f"{ref}/_history/1", f"{ref}/_history/2"]
    agents = json.dumps(by_version[f"{ref}/_history/2"]["agent"])
    owner = found["owner"]["reference"]
    with store.read() as tx:
        rows = tx.connection.execute(
            text(
                "SELECT who, action, outcome FROM audit WHERE ref = :ref AND action NOT IN ('read', 'create', 'vread')"
            ),
            {"ref": ref},
        ).all()
    done = [one for one in rows if one.outcome == "success" and one.action not in ("search", "search-type")]
    assert f'"{winner.removeprefix("Device/")}"' in agents, agents
    assert {one.who for one in done} == {winner}, rows
    assert owner == winner.replace("Device/", "Practitioner/")
