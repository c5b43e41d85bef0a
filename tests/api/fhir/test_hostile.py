"""Hostile bodies and parameters are refused as OperationOutcome, soon, and never with 500."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from api.app import create_app
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.schema import prepare
from tests.api.fhir.talk import JSON, outcome, post, put
from tests.support.contexts import context_of

START = '{"resourceType":"Basic","id":"b1","code":{"text":"x"}'
BODIES: dict[str, tuple[bytes, int]] = {
    "nothing": (b"", 400),
    "not json": (b"<Patient/>", 400),
    "cut off": (START.encode(), 400),
    "not an object": (b"[]", 400),
    "null": (b"null", 400),
    "no type": (b'{"id":"x"}', 400),
    "unknown type": (b'{"resourceType":"Nope"}', 400),
    "type is a list": (b'{"resourceType":["Basic"]}', 400),
    "another type": (b'{"resourceType":"Flag"}', 400),
    "deep arrays": (b'{"resourceType":"Basic","x":' + b"[" * 5000 + b"]" * 5000 + b"}", 400),
    "deep objects": (b'{"a":' * 20000 + b"1" + b"}" * 20000, 400),
    "NaN": (START.encode() + b',"x":NaN}', 400),
    "Infinity": (START.encode() + b',"x":-Infinity}', 400),
    "duplicate keys": (START.encode() + b',"id":"b2"}', 400),
    "lone surrogate": (START.encode() + b',"language":"\\ud800"}', 400),
    "NUL": (START.encode() + b',"language":"a\\u0000b"}', 400),
    "huge integer": (START.encode() + b',"x":' + b"9" * 5000 + b"}", 400),
    "huge exponent": (START.encode() + b',"x":1e400}', 400),
    "bad UTF-8": (START.encode() + b',"language":"\xff\xfe"}', 400),
    "byte order mark": (b"\xef\xbb\xbf" + START.encode() + b"}", 400),
    "over the limit": (START.encode() + b',"x":"' + b"a" * 250_000 + b'"}', 413),
    "white space in base64": (
        START.encode() + b',"extension":[{"url":"http://x/y","valueBase64Binary":"' + b" " * 190_000 + b'!"}]}',
        400,
    ),
    "many extensions": (START.encode() + b',"extension":[' + b'{"url":"u"},' * 100_000 + b'{"url":"u"}]}', 413),
}
SEARCHES = [
    "_sort=name;drop table resource--",
    "_sort=name) desc --",
    "_sort=-_lastUpdated,_id,_id,_id,_id,_id,_id",
    "name=' OR 1=1 --",
    "name='); DROP TABLE resource; --",
    "name=%25",
    "name=_",
    "name=%5C",
    "name:contains=%25",
    "name:exact=%25%25",
    "name' OR '1'='1=x",
    "identifier=%7C%7C%7C",
    "identifier=" + ",".join(["a"] * 300),
    "_id=" + "a" * 10_000,
    "_count=999999999999999999999999999",
    "_count=-1",
    "_count=1e9",
    "birthdate=9999-99-99",
    "birthdate=ap99999",
    "birthdate=0000-00-00T99:99:99",
    "_lastUpdated=gt%00",
    "name=%00",
    "name=%ED%A0%80",
    "name=%ff%fe",
    "_page=AAAA",
    "_page=" + "A" * 5000,
    "_include=*",
    "_include:iterate=Patient:link",
    "_revinclude=Task:patient:Nope",
    "_has:Task:patient:status=requested",
    "general-practitioner.name=x",
    "_elements=" + "a," * 1000,
    "&".join(f"p{number}=1" for number in range(1000)),
    "_filter=name eq 'x'",
    "_query=drop",
]


@pytest.mark.security("S34")
@pytest.mark.requirement(4, 14)
@pytest.mark.parametrize("name", sorted(BODIES))
def test_a_hostile_body_is_refused_soon(client: TestClient, name: str) -> None:
    body, status = BODIES[name]
    began = time.process_time()
    for answer in (post(client, "Basic", body), put(client, "Basic/b1", body)):
        assert outcome(answer, status)["severity"] in ("error", "fatal")
    assert time.process_time() - began < 20.0
    assert client.get("/fhir/Basic").json()["total"] == 0


@pytest.mark.security("S34")
def test_a_hundred_thousand_extensions_are_taken_or_refused_soon(quick: TestClient) -> None:
    body = START.encode() + b',"extension":[' + b'{"url":"http://x/y","valueBoolean":true},' * 100_000
    began = time.process_time()
    answer = quick.post("/fhir/Basic", content=body[:-1] + b"]}", headers=JSON)
    assert answer.status_code in (201, 413)
    assert time.process_time() - began < 40.0


@pytest.mark.security("S34")
def test_a_body_that_says_it_is_too_large_is_not_read(client: TestClient) -> None:
    answer = client.post("/fhir/Basic", content=b"{}", headers=JSON | {"Content-Length": "999999999999"})
    assert outcome(answer, 413)["code"] == "too-long"


@pytest.mark.security("S32")
@pytest.mark.parametrize("query", SEARCHES)
def test_a_hostile_search_is_harmless(client: TestClient, query: str) -> None:
    put(client, "Patient/p1", '{"resourceType":"Patient","id":"p1","name":[{"family":"Plain"}]}')
    answer = client.get(f"/fhir/Patient?{query}")
    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 200 and query.startswith("name"):
        assert answer.json()["total"] in ((1,) if "'1'='1" in query else (0,))
    if answer.status_code == 400:
        outcome(answer, 400)
    assert client.get("/fhir/Patient/p1").status_code == 200


@pytest.mark.security("S33")
def test_wildcards_of_the_database_are_plain_characters(client: TestClient) -> None:
    for id_, family in (("p1", "100%"), ("p2", "a_b"), ("p3", "axb")):
        put(client, f"Patient/{id_}", f'{{"resourceType":"Patient","id":"{id_}","name":[{{"family":"{family}"}}]}}')

    def found(query: str) -> list[str]:
        entries = client.get(f"/fhir/Patient?{query}").json().get("entry", [])
        return sorted(entry["resource"]["id"] for entry in entries)

    assert found("name=a_") == ["p2"]
    assert found("name:contains=0%25") == ["p1"]
    assert found("name:exact=%25") == []


def test_script_in_a_type_or_value_comes_back_as_json_only(client: TestClient) -> None:
    for path in ("<script>alert(1)</script>", "Patient?birthdate=<script>"):
        answer = client.get(f"/fhir/{path}")
        assert answer.headers["content-type"].startswith("application/fhir+json")
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    """A server for many requests, on SQLite only."""
    database = Database.open(f"sqlite:///{tmp_path_factory.mktemp('quick') / 'tracker.db'}")
    prepare(database)
    context = context_of(database)
    return TestClient(create_app(context), base_url="http://testserver", raise_server_exceptions=False)


SIMPLE = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
NAMES = st.sampled_from(["resourceType", "id", "meta", "status", "intent", "for", "code", "restriction", "period"])
TREES = st.recursive(
    SIMPLE, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.text(max_size=8), inner, max_size=5)
)


@pytest.mark.security("S34")
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=TREES, type_=st.sampled_from(["Task", "CarePlan", "Patient", "Appointment", "Communication"]))
def test_no_body_at_all_is_answered_500(quick: TestClient, tree: object, type_: str) -> None:
    body = tree if not isinstance(tree, dict) else {"resourceType": type_, "status": "requested"} | tree
    answer = quick.post(f"/fhir/{type_}", content=json.dumps(body).encode("utf-8", "surrogatepass"), headers=JSON)
    assert answer.status_code in (201, 400, 413, 422), answer.text


@pytest.mark.security("S34")
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=200))
def test_no_bytes_at_all_are_answered_500(quick: TestClient, body: bytes) -> None:
    assert quick.put("/fhir/Task/t1", content=body, headers=JSON).status_code == 400


@pytest.mark.security("S32")
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["status", "patient", "due", "_sort", "_count", "_id", "_lastUpdated", "code", "_include"]),
    suffix=st.sampled_from(["", ":not", ":missing", ":exact", ":identifier", ":x"]),
    value=st.text(max_size=30),
)
def test_no_search_at_all_is_answered_500(quick: TestClient, name: str, suffix: str, value: str) -> None:
    text = value.encode("utf-8", "replace").decode()
    assert quick.get("/fhir/Task", params={name + suffix: text}).status_code in (200, 400)
