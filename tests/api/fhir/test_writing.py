"""create, update and delete over HTTP.

https://hl7.org/fhir/R4/http.html#create
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.testclient import TestClient

from api.context import Access
from api.fhir.policy import all_types, is_writable
from fhir_tracker.model.viewer import open_viewer
from fhir_tracker.storage import audit
from fhir_tracker.storage.database import Database
from tests.api.conftest import Serve
from tests.api.fhir.talk import BASE, JSON, outcome, post, put
from tests.support.systems import let_in_with

TEXT = '{"resourceType":"Basic","id":"b1","code":{"text":"x"}}'
TASK = '{"resourceType":"Task","id":"t1","status":"requested","intent":"order"}'


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_stranger_writes_nothing(serve: Serve, database: Database, method: str) -> None:
    path = "/fhir/Task" if method == "POST" else "/fhir/Task/t1"
    answer = serve(Access.LOCKED).request(method, path, content=TASK, headers=JSON)
    assert outcome(answer, 401)["code"] == "login"
    assert serve(Access.OPEN).get("/fhir/Task/t1").status_code == 404


@pytest.mark.requirement(8)
@pytest.mark.parametrize("type_", ["Patient", "Encounter", "Appointment", "PlanDefinition", "Provenance", "AuditEvent"])
def test_what_the_tracker_does_not_own_is_read_only_outside_open_mode(
    serve: Serve, database: Database, type_: str
) -> None:
    client = let_in_with(serve(Access.LOCKED), database)
    body = f'{{"resourceType":"{type_}","id":"a"}}'
    assert outcome(post(client, type_, body), 405)["details"]["text"].startswith(type_)
    assert outcome(put(client, f"{type_}/a", body), 405)
    assert outcome(client.delete(f"/fhir/{type_}/a"), 405)


def test_the_audit_trail_is_never_written_by_a_caller() -> None:
    closed = [type_ for type_ in all_types() if not is_writable(type_, Access.OPEN)]
    assert closed == ["AuditEvent", "Provenance"]


@pytest.mark.requirement(3)
def test_a_create_gets_a_new_id_and_says_where_it_is(client: TestClient) -> None:
    sent = '{"resourceType":"Basic","id":"mine","meta":{"versionId":"9","lastUpdated":"2001-01-01T00:00:00Z"},'
    answer = post(client, "Basic", sent + '"code":{"text":"x"}}')
    assert answer.status_code == 201
    stored = answer.json()
    assert stored["id"] != "mine"
    assert stored["meta"]["versionId"] == "1"
    assert not stored["meta"]["lastUpdated"].startswith("2001")
    assert answer.headers["location"] == f"{BASE}/Basic/{stored['id']}/_history/1"
    assert answer.headers["etag"] == 'W/"1"'
    assert answer.headers["last-modified"].endswith("GMT")
    assert client.get(answer.headers["location"]).content == answer.content


@pytest.mark.requirement(7)
def test_an_update_makes_the_next_version_and_an_unknown_id_is_created(client: TestClient) -> None:
    first = put(client, "Basic/b1", TEXT)
    assert (first.status_code, first.headers["location"]) == (201, f"{BASE}/Basic/b1/_history/1")
    second = put(client, "Basic/b1", TEXT)
    assert (second.status_code, second.headers["etag"]) == (200, 'W/"2"')
    client.delete("/fhir/Basic/b1")
    again = put(client, "Basic/b1", TEXT)
    assert (again.status_code, again.headers["etag"]) == (201, 'W/"4"')


@pytest.mark.requirement(7)
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("Basic/b2", TEXT),
        ("Basic/b1", '{"resourceType":"Basic","code":{"text":"x"}}'),
        ("Basic/b1", '{"resourceType":"Basic","id":1,"code":{"text":"x"}}'),
        ("Basic/b1", TEXT.replace("Basic", "Flag")),
        ("Basic/a_b", TEXT.replace("b1", "a_b")),
    ],
)
def test_an_update_whose_body_is_not_its_address_is_400(client: TestClient, path: str, body: str) -> None:
    assert outcome(put(client, path, body), 400)["severity"] == "error"


@pytest.mark.requirement(8)
def test_a_delete_can_be_repeated_and_is_absent_from_search(client: TestClient) -> None:
    put(client, "Basic/b1", TEXT)
    for path in ("Basic/b1", "Basic/b1", "Basic/never"):
        answer = client.delete(f"/fhir/{path}")
        assert (answer.status_code, answer.content) == (204, b"")
    assert client.get("/fhir/Basic").json()["total"] == 0


@pytest.mark.requirement(40)
def test_if_match_lets_only_the_present_version_be_replaced(client: TestClient) -> None:
    put(client, "Basic/b1", TEXT)
    assert put(client, "Basic/b1", TEXT, If_Match='W/"1"').status_code == 200
    assert put(client, "Basic/b1", TEXT, If_Match='"2"').status_code == 200
    for stale in ('W/"1"', '"7"', 'W/"abc"', 'W/"0"'):
        assert outcome(put(client, "Basic/b1", TEXT, If_Match=stale), 412)["code"] == "conflict"
    for malformed in ("3", "W/3", '"3', '"1" "2"', "**", "x" * 500):
        assert outcome(put(client, "Basic/b1", TEXT, If_Match=malformed), 400)
    assert client.delete("/fhir/Basic/b1", headers={"If-Match": 'W/"1"'}).status_code == 412
    assert client.delete("/fhir/Basic/b1", headers={"If-Match": 'W/"3"'}).status_code == 204
    assert put(client, "Basic/new", TEXT.replace("b1", "new"), If_Match='W/"1"').status_code == 412


@pytest.mark.requirement(42)
def test_of_two_writers_who_saw_the_same_version_one_wins(client: TestClient) -> None:
    put(client, "Basic/b1", TEXT)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: put(client, "Basic/b1", TEXT, If_Match='W/"1"').status_code, range(8)))
    assert sorted(answers) == [200] + [412] * 7
    assert client.get("/fhir/Basic/b1/_history").json()["total"] == 2


def test_writers_who_name_no_version_all_succeed_without_a_gap(client: TestClient) -> None:
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: put(client, "Basic/b1", TEXT).status_code, range(9)))
    assert set(answers) <= {200, 201, 503}
    total = sum(status in (200, 201) for status in answers)
    versions = client.get("/fhir/Basic/b1/_history").json()["entry"]
    assert [entry["resource"]["meta"]["versionId"] for entry in versions] == [str(n) for n in range(total, 0, -1)]


@pytest.mark.requirement(10)
def test_prefer_chooses_what_a_write_returns(client: TestClient) -> None:
    assert post(client, "Basic", TEXT).json()["resourceType"] == "Basic"
    assert post(client, "Basic", TEXT, Prefer="return=minimal").content == b""
    told = post(client, "Basic", TEXT, Prefer="return=OperationOutcome")
    assert outcome(told, 201)["severity"] == "information"
    assert post(client, "Basic", TEXT, Prefer="return=everything").json()["resourceType"] == "Basic"
    assert put(client, "Basic/b1", TEXT, Prefer="respond-async, return=minimal").content == b""


@pytest.mark.requirement(11)
@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/fhir+json", 201),
        ("application/json;charset=UTF-8", 201),
        ("application/fhir+json; fhirVersion=4.0", 201),
        ("application/fhir+json; fhirVersion=5.0", 415),
        ("application/fhir+json; charset=latin-1", 415),
        ("application/fhir+xml", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("", 415),
    ],
)
def test_only_json_is_taken(client: TestClient, kind: str, status: int) -> None:
    answer = client.post("/fhir/Basic", content=TEXT, headers={"Content-Type": kind})
    assert answer.status_code == status
    if status != 201:
        assert outcome(answer)["code"] == "not-supported"


@pytest.mark.requirement(4)
def test_a_wrong_element_is_named(client: TestClient) -> None:
    issue = outcome(post(client, "Task", TASK.replace("requested", "bogus")), 400)
    assert issue["expression"] == ["Task.status"]
    issue = outcome(post(client, "Task", TASK.replace('"intent"', '"intend"')), 400)
    assert "intend" in json.dumps(issue)


@pytest.mark.requirement(4)
def test_a_broken_business_rule_is_422_and_names_the_element(client: TestClient) -> None:
    url = "https://fhir-tracker.example/PlanDefinition/none|1"
    answer = put(client, "Task/t1", TASK[:-1] + f',"instantiatesCanonical":"{url}"}}')
    assert outcome(answer, 422)["expression"] == ["Task.instantiatesCanonical"]


def test_each_answer_leaves_one_audit_row(client: TestClient, database: Database) -> None:
    headers = {"X-Request-Id": "audited-1"}
    client.put("/fhir/Patient/p1", content='{"resourceType":"Patient","id":"p1"}', headers=JSON | headers)
    client.get("/fhir/Patient/p1")
    client.get("/fhir/Patient?name=Secretname&_count=5")
    client.get("/fhir/Patient/none")
    client.delete("/fhir/Patient/p1")
    with database.read() as tx:
        rows = list(reversed(audit.list(tx, open_viewer())))
    told = [(row.action, row.ref, row.outcome) for row in rows]
    assert told == [
        ("create", "Patient/p1", "success"),
        ("read", "Patient/p1", "success"),
        ("search", "Patient", "success"),
        ("read", "Patient/none", "denied"),
        ("delete", "Patient/p1", "success"),
    ]
    assert rows[0].request_id == "audited-1"
    assert rows[0].patient == rows[1].patient == "p1"
    assert rows[2].detail == {"parameters": ["_count", "name"], "found": 0}
    assert "Secretname" not in str(rows)


def test_a_stranger_who_was_turned_away_is_in_the_audit_trail(serve: Serve, database: Database) -> None:
    serve(Access.LOCKED).get("/fhir/Patient/p1")
    with database.read() as tx:
        assert [(row.who, row.outcome) for row in audit.list(tx, open_viewer())] == [("nobody", "denied")]
