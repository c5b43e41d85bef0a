"""Doctor's further questions to an EHR and its own surroundings: each line when it is well, and what it says when it is not."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import respx

from api.broker import examine_broker
from api.doctor import examine
from api.rights import missing_rights
from api.stores import open_store
from fhir_tracker import clock, connections
from fhir_tracker.config import Settings, load_settings
from fhir_tracker.signing_keys import Keyring, key_set
from fhir_tracker.storage.database import Database
from tests.peers.redis.server import RedisServer

EHR = "https://ehr.example/fhir"
TOKENS = "https://ehr.example/token"
US = "https://tracker.example"
JSON = {"content-type": "application/fhir+json"}
SEARCHED = ("Patient", "Task")
STATEMENT = {
    "resourceType": "CapabilityStatement",
    "fhirVersion": "4.0.1",
    "rest": [
        {
            "mode": "server",
            "resource": [{"type": one, "interaction": [{"code": "search-type"}]} for one in SEARCHED],
        }
    ],
}
KEYED = {"auth": "private_key_jwt", "client_id": "us", "token_url": TOKENS}


@pytest.fixture
def settings(tmp_path: Path, prepared_file: Path) -> Settings:
    """On one kind of database: what is looked at is elsewhere."""
    (tmp_path / "t.db").write_bytes(prepared_file.read_bytes())
    environ = {
        "XDG_DATA_HOME": str(tmp_path),
        "FHIR_TRACKER_SECRET_KEY": "k" * 40,
        "FHIR_TRACKER_PUBLIC_URL": US,
    }
    return load_settings(environ, database=f"sqlite:///{tmp_path / 't.db'}")


@pytest.fixture
def store(settings: Settings) -> Iterator[Database]:
    with open_store(settings) as database:
        yield database


@pytest.fixture
def ehr() -> Iterator[respx.MockRouter]:
    """An EHR that finds by `_lastUpdated` and gives out tokens for everything."""
    with respx.mock(assert_all_called=False) as router:
        router.get(f"{EHR}/metadata").respond(json=STATEMENT, headers=JSON)
        router.get(url__startswith=f"{EHR}/.well-known").respond(404)
        token = {"access_token": "t", "token_type": "Bearer", "expires_in": 300, "scope": "system/*.read"}
        router.post(TOKENS).respond(json=token)
        for one in SEARCHED:
            router.get(url__startswith=f"{EHR}/{one}?_last").respond(json=bundle(f"{one}?_lastUpdated=x"), headers=JSON)
            router.get(f"{EHR}/{one}?_count=1").respond(json=bundle(one), headers=JSON)
        yield router


def bundle(self_link: str, *resources: Mapping[str, Any]) -> dict[str, Any]:
    link = [{"relation": "self", "url": f"{EHR}/{self_link}"}]
    entries = [{"resource": dict(one)} for one in resources]
    return {"resourceType": "Bundle", "type": "searchset", "link": link, "entry": entries}


def looked_at(settings: Settings, store: Database, what: str, address: str = EHR, **told: Any) -> tuple[str, str, str]:
    """Status, detail and fix of one line about the connection `north`; empty texts when there is no such line."""
    options = told.pop("options", {})
    with store.begin() as tx:
        connections.add(tx, "north", address, now=clock.now(), types=SEARCHED, options=options, **told)
    found = {one.what: one for one in examine(settings)}
    one = found.get(f"north {what}")
    return (one.status, one.detail, one.fix) if one else ("", "", "")


@pytest.mark.parametrize(
    ("address", "status", "detail"),
    [
        (EHR, "OK", "https"),
        ("http://127.0.0.1:9/fhir", "OK", "on this machine"),
        ("http://ehr.example/fhir", "WARN", "patient data travels unencrypted"),
    ],
)
def test_whether_data_travels_encrypted_is_said(
    settings: Settings, store: Database, ehr: respx.MockRouter, address: str, status: str, detail: str
) -> None:
    ehr.get(url__regex=r"http://.*").mock(side_effect=httpx.ConnectError("refused"))
    told = looked_at(settings, store, "tls", address)
    assert (told[0], detail in told[1], bool(told[2])) == (status, True, status == "WARN")


@pytest.mark.requirement(78)
@pytest.mark.parametrize(
    ("answer", "status", "detail"),
    [
        (bundle("Patient?_lastUpdated=ge2999-01-01"), "OK", "Patient is found by _lastUpdated"),
        (bundle("Patient?_count=1"), "WARN", "(ignored)"),
        (bundle("", {"resourceType": "Patient", "id": "1"}), "WARN", "(ignored)"),
        ({"resourceType": "OperationOutcome"}, "WARN", "did not say"),
    ],
)
def test_whether_the_server_looks_at_last_updated_is_tried(
    settings: Settings, store: Database, ehr: respx.MockRouter, answer: dict[str, Any], status: str, detail: str
) -> None:
    ehr.get(url__startswith=f"{EHR}/Patient?_last").respond(json=answer, headers=JSON)
    told = looked_at(settings, store, "search")
    assert told[0] == status, told
    assert detail in told[1]
    if status == "WARN":
        assert "fhir-tracker" in told[2]


@pytest.mark.parametrize(
    ("granted", "status", "detail"),
    [
        ("system/*.read system/Task.write", "OK", "granted: system/*.read system/Task.write"),
        ("", "OK", "what was asked for"),
        ("system/Patient.rs", "WARN", "not granted: Task (read), Task (write)"),
        ("system/*.rs launch", "WARN", "not granted: Task (write)"),
    ],
)
def test_what_was_not_granted_is_named(
    settings: Settings, store: Database, ehr: respx.MockRouter, granted: str, status: str, detail: str
) -> None:
    ehr.get(url__startswith=US).respond(404)
    own = f"{TOKENS}/{hashlib.sha256(granted.encode()).hexdigest()}"
    ehr.post(own).respond(json={"access_token": "t", "token_type": "Bearer", "expires_in": 300, "scope": granted})
    told = looked_at(settings, store, "scopes", options={**KEYED, "token_url": own, "write_back": ["Task"]})
    assert told[0] == status, told
    assert detail in told[1]
    assert ("--scopes" in told[2]) is (status == "WARN")


def test_a_login_without_scopes_has_no_line_about_them(
    settings: Settings, store: Database, ehr: respx.MockRouter
) -> None:
    assert looked_at(settings, store, "scopes") == ("", "", "")


def the_key_page(settings: Settings, store: Database) -> str:
    Keyring(database=store, secret_key=settings.secret_key or "").ensure(clock.now())
    with store.read() as tx:
        return json.dumps(key_set(tx))


def test_the_page_of_our_keys_is_asked_for_where_the_ehr_finds_it(
    settings: Settings, store: Database, ehr: respx.MockRouter
) -> None:
    page = the_key_page(settings, store)
    route = ehr.get(f"{US}/.well-known/jwks.json").respond(text=page)
    status, detail, fix = looked_at(settings, store, "keys", options=KEYED)
    assert (status, detail, fix) == ("OK", f"{US}/.well-known/jwks.json has our key", "")
    for answer in (httpx.Response(404), httpx.Response(200, json={"keys": []}), httpx.ConnectError("refused")):
        route.mock(side_effect=[answer])
        with store.begin() as tx:
            connections.remove(tx, "north")
        status, detail, fix = looked_at(settings, store, "keys", options=KEYED)
        assert status == "WARN", answer
        assert "fhir-tracker serve" in fix


def test_a_table_of_codes_that_cannot_be_read_fails_with_its_line(
    settings: Settings, store: Database, ehr: respx.MockRouter, tmp_path: Path
) -> None:
    file = tmp_path / "clinic.toml"
    file.write_text("[status.Task]\nopen = 'requested'\n[reason.codes]\n'a|b' = 'pat'\n", encoding="utf-8")
    assert looked_at(settings, store, "codes", options={"codes": str(file)}) == (
        "OK",
        "2 codes of the practice's own",
        "",
    )
    file.write_text("[status.Task]\nopen = 'ajar'\n", encoding="utf-8")
    found = {one.what: one for one in examine(settings)}
    assert found["north codes"].status == "FAIL"
    assert "clinic.toml (line 2) gives 'ajar'" in found["north codes"].detail


def test_a_roster_with_nobody_on_it_says_how_patients_are_named(
    settings: Settings, store: Database, ehr: respx.MockRouter
) -> None:
    told = looked_at(settings, store, "types", options={"strategies": {"Patient": "roster", "Task": "roster"}})
    assert told[:2] == ("WARN", "nobody is on the roster of Patient, Task, so nothing of it is read")
    assert "--roster FILE" in told[2]


@pytest.mark.parametrize(("free", "status"), [(10**10, "OK"), (10**8, "WARN"), (10**6, "FAIL")])
def test_a_disk_that_is_nearly_full_is_told(
    settings: Settings, store: Database, monkeypatch: pytest.MonkeyPatch, free: int, status: str
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    (one,) = [one for one in examine(settings) if one.what == "disk"]
    assert one.status == status
    assert ("make room" in one.fix) is (status != "OK")


def test_the_broker_is_asked_whether_it_answers_and_keeps_its_data(
    settings: Settings, store: Database, redis_server: RedisServer
) -> None:
    found = {one.what: one for one in examine(replace(settings, redis_url=redis_server.url))}
    assert (found["broker"].status, found["broker"].fix) == ("OK", "")
    assert "broker" not in {one.what for one in examine(settings)}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    told = examine_broker(f"redis://127.0.0.1:{port}/0")
    assert told.status == "WARN"
    assert "FHIR_TRACKER_REDIS_URL" in told.fix


@pytest.mark.requirement(102)
@pytest.mark.parametrize(
    ("granted", "missing"),
    [
        ("system/*.*", []),
        ("system/*.cruds", []),
        ("user/*.rs patient/Task.cu", []),
        ("system/Patient.read system/Task.*", []),
        ("system/*.r", ["Patient (read)", "Task (read)", "Task (write)"]),
        ("system/*.write", ["Patient (read)", "Task (read)"]),
        ("system/Patient.rs?_id=1 system/Task.rs", ["Task (write)"]),
        ("openid offline_access nonsense/*.read", ["Patient (read)", "Task (read)", "Task (write)"]),
        (" ", []),
    ],
)
def test_scopes_of_both_forms_are_understood(granted: str, missing: list[str]) -> None:
    assert missing_rights(granted, ["Patient", "Task"], ["Task"]) == missing
