"""No text of a caller ever becomes part of a statement: every search parameter, modifier and sort of every type."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, event
from starlette.testclient import TestClient

from api.app import create_app
from api.context import Access
from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.definitions.registry import resource_types, search_parameters
from fhir_tracker.fhir.query_results import read_sort
from fhir_tracker.storage.database import Database
from tests.api.conftest import Serve
from tests.api.fhir.talk import outcome, put
from tests.support.contexts import context_of

MARK = "zqxinjectedqz"
"""A word that no table, column or value of ours has: where it stands in a statement, a caller's text does."""
BREAKS = [
    "'{}",
    "{}' OR '1'='1",
    '"{}"',
    "{};--",
    "{}')) UNION SELECT 1 --",
    "\\'{}",
    "%({})s",
    ":{}",
    "{}\x1f",
    "{{{}}}",
]
MODIFIERS = [
    "",
    ":exact",
    ":contains",
    ":not",
    ":missing",
    ":text",
    ":in",
    ":above",
    ":of-type",
    ":identifier",
    ":Patient",
]
TYPES = sorted(resource_types())
BATCHES = [TYPES[number::12] for number in range(12)]


@contextmanager
def heard() -> Iterator[list[str]]:
    """The text of every statement of any database in the meantime."""
    texts: list[str] = []

    def listen(_one: object, _two: object, text: str, *_rest: object) -> None:
        texts.append(text)

    event.listen(Engine, "before_cursor_execute", listen)
    try:
        yield texts
    finally:
        event.remove(Engine, "before_cursor_execute", listen)


@pytest.fixture
def victim(client: TestClient) -> TestClient:
    """A server that holds one patient whom no injected search may find."""
    put(client, "Patient/kept", '{"resourceType":"Patient","id":"kept","name":[{"family":"Untouched"}],"active":true}')
    return client


@pytest.fixture(scope="module")
def on_sqlite(prepared_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """An open server on SQLite, for what is asked of the many types of which nothing is stored."""
    path = tmp_path_factory.mktemp("injection") / "t.db"
    shutil.copyfile(prepared_file, path)
    with closing(Database.open(f"sqlite:///{path}")) as database:
        yield TestClient(create_app(context_of(database)))


def asked(client: TestClient, path: str, query: dict[str, str]) -> None:
    answer = client.get(path, params=query, headers={"Prefer": "handling=strict"})
    assert answer.status_code in (200, 400), (path, query, answer.status_code, answer.text[:200])
    if answer.status_code == 400:
        assert answer.json()["resourceType"] == "OperationOutcome"
    else:
        found = [one["resource"] for one in answer.json().get("entry", []) if one["search"]["mode"] == "match"]
        assert found == [] or any(":not" in name for name in query), (path, query)


@pytest.mark.security("S32")
@pytest.mark.parametrize("number", range(len(BATCHES)))
def test_no_value_of_any_parameter_of_any_type_becomes_part_of_a_statement(on_sqlite: TestClient, number: int) -> None:
    victim, count = on_sqlite, 0
    with heard() as texts:
        for type_ in BATCHES[number]:
            for place, name in enumerate(sorted(search_parameters(type_))):
                text = BREAKS[(place + number) % len(BREAKS)].format(MARK)
                asked(victim, f"/fhir/{type_}", {name: text})
                count += 1
    assert count > 50
    assert texts, "some of them were asked of the database"
    assert [one for one in texts if MARK in one] == []


@pytest.mark.security("S32", "S43")
@pytest.mark.parametrize("type_", ["Task", "Patient", "Observation", "CarePlan", "Encounter"])
def test_no_modifier_chain_or_prefix_carries_text_into_a_statement(victim: TestClient, type_: str) -> None:
    with heard() as texts:
        for place, name in enumerate(sorted(search_parameters(type_))):
            text = BREAKS[place % len(BREAKS)].format(MARK)
            for modifier in MODIFIERS:
                asked(victim, f"/fhir/{type_}", {f"{name}{modifier}": text})
            for query in (
                {f"{name}.{text}": "x"},
                {f"{name}:{text}": "x"},
                {f"{name}:Patient.family": text},
                {f"_has:Task:patient:{text}": "x"},
                {"_has:Task:patient:status": text},
                {name: f"gt{text}"},
                {name: f"http://x|{text}"},
                {name: f"a,{text}"},
                {name: f"Patient/{text}"},
            ):
                asked(victim, f"/fhir/{type_}", query)
    assert [one for one in texts if MARK in one] == []


@pytest.mark.security("S32")
@pytest.mark.parametrize("number", range(len(BATCHES)))
def test_no_sort_by_any_parameter_of_any_type_takes_more_than_a_name(number: int) -> None:
    """CVE-2026-24908: the way into another product was its sort."""
    for type_ in BATCHES[number]:
        for name in search_parameters(type_):
            for text in BREAKS:
                value = text.format(MARK)
                for sort in (f"{name} {value}", f"-{name}{value}", f"{name},{value}", value, f"{name} DESC, {name}"):
                    with pytest.raises(Incorrect):
                        read_sort((type_,), sort)


@pytest.mark.security("S32")
def test_a_sort_that_is_refused_asks_the_database_nothing(victim: TestClient) -> None:
    with heard() as texts:
        for text in BREAKS:
            outcome(victim.get("/fhir/Patient", params={"_sort": f"family{text.format(MARK)}"}), 400)
    assert [one for one in texts if MARK in one] == []


@pytest.mark.security("S32")
@pytest.mark.parametrize("text", BREAKS)
def test_no_address_header_or_body_of_a_write_becomes_part_of_a_statement(victim: TestClient, text: str) -> None:
    value = text.format(MARK)
    written = value.replace("\x1f", "")
    body = {
        "resourceType": "Basic",
        "id": "b",
        "code": {"text": written or "x"},
        "subject": {"display": written or "x"},
    }
    with heard() as texts:
        for answer in (
            victim.put("/fhir/Basic/b", json=body, headers={"If-Match": f'W/"{written}"'}),
            victim.put("/fhir/Basic/b", json=body),
            victim.put("/fhir/Basic", params={"identifier": value}, json=body),
            victim.post("/fhir/Basic", json=body, headers={"If-None-Exist": f"identifier={MARK}' OR 1=1"}),
            victim.delete("/fhir/Basic", params={"identifier": value}),
            victim.get(f"/fhir/Basic/{MARK}'"),
            victim.get("/fhir/Basic/b/_history", params={"_since": value, "_at": value, "_count": value}),
            victim.get("/fhir/_history", params={"_since": value}),
            victim.post("/fhir/Basic/_search", data={"identifier": value}),
        ):
            assert answer.status_code < 500, answer.text[:200]
    assert [one for one in texts if MARK in one] == []


@pytest.mark.security("S33")
@pytest.mark.parametrize("wild", ["%", "_", "%%", "\\%", "%\\", "\\", "[A-Z]%", "U_touched", "Unt%"])
def test_wildcards_of_the_database_mean_nothing_in_any_way_to_ask_for_text(victim: TestClient, wild: str) -> None:
    for name in ("family", "name", "given", "address", "family:contains", "family:exact", "name:contains", "_id"):
        answer = victim.get("/fhir/Patient", params={name: wild})
        assert answer.status_code in (200, 400)
        assert answer.status_code == 400 or answer.json()["total"] == 0, (name, wild)
    assert victim.get("/fhir/Patient?family:contains=ntouch").json()["total"] == 1


@pytest.mark.security("S32", "S33")
@pytest.mark.parametrize(
    "text", ["'{}", '"{};--', "%", "<script>alert(1)</script>", "../../etc/passwd", "{{7*7}}\r\nb: c"]
)
def test_pages_take_filters_and_searches_as_plain_text(victim: TestClient, text: str) -> None:
    value = text.replace("{}", MARK)
    with heard() as texts:
        for path in ("/", "/operations", "/patients", "/tasks/kept", "/patients/kept"):
            for name in ("q", "sort", "program", "owner", "role", "page", "status", "priority", "group", "overdue"):
                answer = victim.get(path, params={name: value})
                assert answer.status_code in (200, 303, 307, 400, 404, 422), (path, name, answer.status_code)
                assert "<script>alert(1)" not in answer.text
    assert [one for one in texts if MARK in one] == []


@pytest.mark.security("S32", "A1")
def test_a_stranger_reaches_no_statement_with_his_text(serve: Serve) -> None:
    client = serve(Access.LOCKED)
    with heard() as texts:
        for text in BREAKS:
            value = text.format(MARK)
            client.get("/fhir/Patient", params={"family": value}, headers={"Authorization": f"Bearer {MARK}' OR 1=1"})
            client.get("/", params={"q": value}, headers={"Cookie": f"tracker_session={MARK}"})
            client.post("/hooks/clinic", params={"x": MARK}, headers={"X-Hook-Secret": MARK})
            client.get(f"/l/{MARK}'/tasks")
            client.get("/callback", params={"state": value, "code": value, "iss": value})
            client.get("/launch", params={"iss": value, "launch": value})
            client.post("/auth/token", data={"client_assertion": value, "scope": value})
    assert [one for one in texts if re.search(MARK, one)] == []
