"""From the scope that a system asks for to what its token opens: each letter, the first version, and filters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.context import Access
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.schema import prepare
from tests.storage.samples import put_all
from tests.support.contexts import context_of
from tests.support.systems import System, let_in

SYSTEM = System()
JSON = {"Content-Type": "application/fhir+json"}
REQUESTED, DONE = "asked-for", "done"


def task(id_: str, status: str) -> dict[str, Any]:
    return {"resourceType": "Task", "id": id_, "status": status, "intent": "order"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A server on SQLite with two tasks, one requested and one completed, and a system that may have everything."""
    with closing(Database.open(f"sqlite:///{tmp_path_factory.mktemp('scopes') / 'tracker.db'}")) as database:
        prepare(database)
        let_in(database)
        put_all(database, [task(REQUESTED, "requested"), task(DONE, "completed")])
        with closing(TestClient(create_app(context_of(database, access=Access.LOCKED)))) as one:
            yield one


def bearer(client: TestClient, scope: str) -> dict[str, str]:
    answer = client.post("/auth/token", data=SYSTEM.form(scope))
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['access_token']}", **JSON}


CALLS: Mapping[str, tuple[str, str, Mapping[str, object] | None]] = {
    "read": ("GET", f"/fhir/Task/{DONE}", None),
    "vread": ("GET", f"/fhir/Task/{DONE}/_history/1", None),
    "history": ("GET", f"/fhir/Task/{DONE}/_history", None),
    "search": ("GET", "/fhir/Task?status=completed", None),
    "search by form": ("POST", "/fhir/Task/_search", None),
    "history of the type": ("GET", "/fhir/Task/_history", None),
    "create": ("POST", "/fhir/Task", {"resourceType": "Task", "status": "requested", "intent": "order"}),
    "update": ("PUT", f"/fhir/Task/{DONE}", task(DONE, "completed")),
    "delete": ("DELETE", "/fhir/Task/no-such", None),
}
OPENED = {
    "r": {"read", "vread", "history"},
    "s": {"search", "search by form", "history of the type"},
    "c": {"create"},
    "u": {"update"},
    "d": {"delete"},
}


def opened(client: TestClient, headers: Mapping[str, str]) -> set[str]:
    """The calls that are not refused for want of a right."""
    found = set()
    for name, (method, path, body) in CALLS.items():
        given = {**headers, "Content-Type": "application/x-www-form-urlencoded"} if "form" in name else dict(headers)
        answer = (
            client.request(method, path, headers=given, json=body)
            if body
            else client.request(method, path, headers=given)
        )
        assert answer.status_code not in (401, 500), (name, answer.text)
        if answer.status_code != 403:
            found.add(name)
    return found


@pytest.mark.requirement(83)
@pytest.mark.security("S40", "S9")
@pytest.mark.parametrize("letter", list(OPENED))
def test_each_letter_opens_what_it_stands_for_and_nothing_else(client: TestClient, letter: str) -> None:
    assert opened(client, bearer(client, f"system/Task.{letter}")) == OPENED[letter]


@pytest.mark.requirement(83, 85)
@pytest.mark.parametrize(
    ("scope", "letters"),
    [
        ("system/Task.rs", "rs"),
        ("system/*.cud", "cud"),
        ("system/Task.cruds", "cruds"),
        ("system/Task.read", "rs"),
        ("system/*.write", "cud"),
        ("system/Task.*", "cruds"),
        ("system/Task.r system/Task.c", "rc"),
    ],
)
def test_letters_and_words_of_the_first_version_add_up(client: TestClient, scope: str, letters: str) -> None:
    assert opened(client, bearer(client, scope)) == {call for letter in letters for call in OPENED[letter]}


@pytest.mark.requirement(83)
@pytest.mark.security("S9")
def test_a_scope_of_another_type_opens_none_of_it(client: TestClient) -> None:
    assert opened(client, bearer(client, "system/Patient.cruds")) == set()


@pytest.mark.requirement(84)
@pytest.mark.security("S44")
def test_a_filter_bounds_searches_reads_and_writes(client: TestClient) -> None:
    headers = bearer(client, "system/Task.cruds?status=requested")
    found = client.get("/fhir/Task?_total=accurate", headers=headers).json()
    ids = {one["resource"]["id"] for one in found["entry"]}
    assert REQUESTED in ids
    assert DONE not in ids
    assert {one["resource"]["status"] for one in found["entry"]} == {"requested"}
    assert found["total"] == len(ids)
    assert client.get(f"/fhir/Task?_id={DONE}", headers=headers).json()["total"] == 0
    assert client.get(f"/fhir/Task/{REQUESTED}", headers=headers).status_code == 200
    assert client.get(f"/fhir/Task/{DONE}", headers=headers).status_code in (403, 404)
    assert client.put(f"/fhir/Task/{DONE}", headers=headers, json=task(DONE, "requested")).status_code in (403, 404)
    assert client.post("/fhir/Task", headers=headers, json=task("x", "completed")).status_code in (403, 404)


@pytest.mark.requirement(87)
@pytest.mark.security("S40", "S44")
def test_each_entry_of_a_batch_is_looked_at_by_itself(client: TestClient) -> None:
    headers = bearer(client, "system/Task.r?status=requested")
    asked = [
        {"request": {"method": "GET", "url": f"Task/{REQUESTED}"}},
        {"request": {"method": "GET", "url": f"Task/{DONE}"}},
        {"request": {"method": "GET", "url": "Task?status=requested"}},
        {"request": {"method": "POST", "url": "Task"}, "resource": task("y", "requested")},
    ]
    answer = client.post("/fhir", headers=headers, json={"resourceType": "Bundle", "type": "batch", "entry": asked})
    assert answer.status_code == 200, answer.text
    statuses = [one["response"]["status"][:3] for one in answer.json()["entry"]]
    assert statuses[0] == "200"
    assert statuses[1] in ("403", "404")
    assert statuses[2:] == ["403", "403"]
