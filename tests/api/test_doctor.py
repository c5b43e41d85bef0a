"""Doctor: each finding in each of its states, with the command that mends it; an EHR that is away is not our fault."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import respx

from api.cli import main
from api.doctor import Finding, examine
from api.stores import key_file, open_store, secret_key
from api.worker import HEARTBEAT
from fhir_tracker import brake, clock, connections
from fhir_tracker.brake import Limit
from fhir_tracker.config import Settings, load_settings
from fhir_tracker.storage import jobs, quarantine
from fhir_tracker.storage import settings as states
from fhir_tracker.storage.database import Database, Tx

EHR = "https://ehr.example/fhir"
STATEMENT = {
    "resourceType": "CapabilityStatement",
    "fhirVersion": "4.0.1",
    "software": {"name": "Test EHR", "version": "7"},
}
JSON = {"content-type": "application/fhir+json"}


@pytest.fixture
def settings(tmp_path: Path, ready_url: str) -> Settings:
    environ = {"XDG_DATA_HOME": str(tmp_path), "FHIR_TRACKER_SECRET_KEY": "k" * 40}
    return load_settings(environ, database=ready_url)


@pytest.fixture
def store(settings: Settings) -> Iterator[Database]:
    with open_store(settings) as database:
        yield database


def found(settings: Settings) -> dict[str, Finding]:
    return {one.what: one for one in examine(settings)}


def test_a_healthy_store_has_nothing_to_mend(settings: Settings, store: Database) -> None:
    with store.begin() as tx:
        states.put(tx, HEARTBEAT, clock.now().isoformat())
    told = found(settings)
    assert {one.what: one.status for one in told.values()} == {
        "settings": "OK",
        "secret key": "OK",
        "database": "OK",
        "schema": "OK",
        "durability": "OK",
        "programs": "OK",
        "worker": "OK",
        "quarantine": "OK",
        "connections": "WARN",
    }
    assert told["programs"].detail == "ccm 1, tcm 1"
    assert told["database"].detail.startswith(store.dialect)
    assert all((one.fix == "") == (one.status == "OK") for one in told.values())


def in_quarantine(tx: Tx) -> None:
    told = {"connection": "c", "type_": "Patient", "remote_id": "secret-id", "reason": "r", "detail": "d"}
    quarantine.put(tx, **told, body="{}", at=clock.now())


def dead_job(tx: Tx) -> None:
    now = clock.now()
    jobs.enqueue(tx, "push", "k", {}, now)
    held = jobs.claim(tx, ["push"], now, timedelta(minutes=1))
    assert held is not None
    jobs.fail(tx, held, "no", None, now)


def silent_worker(tx: Tx) -> None:
    states.put(tx, HEARTBEAT, (clock.now() - timedelta(minutes=10)).isoformat())


def engaged_brake(tx: Tx) -> None:
    assert not brake.check(tx, 1000, Limit(share=0.1, floor=1), clock.now())


@pytest.mark.parametrize(
    ("trouble", "what", "status", "detail", "fix"),
    [
        (in_quarantine, "quarantine", "WARN", "1 resources", "quarantine list"),
        (dead_job, "jobs", "WARN", "1 gave up", "report it"),
        (silent_worker, "worker", "WARN", "silent for 60", "fhir-tracker worker"),
        (engaged_brake, "escalations", "FAIL", "1000 escalations", "rules release"),
    ],
)
def test_each_trouble_is_told_with_what_mends_it(
    settings: Settings, store: Database, trouble: object, what: str, status: str, detail: str, fix: str
) -> None:
    assert callable(trouble)
    with store.begin() as tx:
        trouble(tx)
    one = found(settings)[what]
    assert one.status == status
    assert detail in one.detail
    assert fix in one.fix
    assert "secret-id" not in one.as_line()


def test_no_worker_and_no_ehr_are_warnings(settings: Settings, store: Database) -> None:
    told = found(settings)
    assert told["worker"].detail == "none has ever run here"
    assert "connection add" in told["connections"].fix


def followed(store: Database, address: str = EHR) -> None:
    with store.begin() as tx:
        connections.add(tx, "clinic", address, now=clock.now())


@respx.mock
def test_an_ehr_that_answers_is_named_with_its_version(settings: Settings, store: Database) -> None:
    followed(store)
    respx.get(f"{EHR}/metadata").respond(json=STATEMENT, headers=JSON)
    told = found(settings)
    assert "connections" not in told
    assert (told["connection clinic"].status, told["connection clinic"].detail) == ("OK", "Test EHR 7, FHIR 4.0.1")


# what the EHR answers, the status of the finding and a word of it
ANSWERS: list[tuple[httpx.Response | Exception, str, str]] = [
    (httpx.ConnectError("refused"), "WARN", ""),
    (httpx.ConnectTimeout("slow"), "WARN", ""),
    (httpx.Response(503), "WARN", "503"),
    (httpx.Response(429, headers={"Retry-After": "120"}), "WARN", "429"),
    (httpx.Response(401), "FAIL", "401"),
    (httpx.Response(403), "FAIL", "403"),
    (httpx.Response(404), "FAIL", "404"),
    (httpx.Response(200, text="<html>", headers={"content-type": "text/html"}), "FAIL", ""),
    (httpx.Response(200, json={"resourceType": "Patient"}, headers=JSON), "FAIL", "CapabilityStatement"),
    (httpx.Response(200, json=STATEMENT | {"fhirVersion": "5.0.0"}, headers=JSON), "FAIL", "FHIR 5.0.0"),
    (httpx.Response(200, json=STATEMENT | {"fhirVersion": None}, headers=JSON), "FAIL", "FHIR unknown"),
]


@pytest.mark.parametrize(("answer", "status", "detail"), ANSWERS, ids=lambda value: str(value)[:40])
@respx.mock
def test_an_ehr_that_is_away_is_a_warning_and_one_that_refuses_a_failure(
    settings: Settings, store: Database, answer: httpx.Response | Exception, status: str, detail: str
) -> None:
    followed(store)
    if isinstance(answer, Exception):
        respx.get(f"{EHR}/metadata").mock(side_effect=answer)
    else:
        respx.get(f"{EHR}/metadata").mock(return_value=answer)
    one = found(settings)["connection clinic"]
    assert one.status == status, one
    assert detail in one.detail
    assert one.fix == "fhir-tracker connection test clinic"


@pytest.mark.parametrize(("seconds", "status"), [(0, "OK"), (50, "OK"), (300, "WARN"), (-300, "WARN")])
@respx.mock
def test_a_clock_that_differs_is_told_with_its_sign(
    settings: Settings, store: Database, seconds: int, status: str
) -> None:
    followed(store)
    date = (clock.now() + timedelta(seconds=seconds)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    respx.get(f"{EHR}/metadata").respond(json=STATEMENT, headers=JSON | {"date": date})
    one = found(settings)["connection clinic"]
    assert one.status == status
    if status == "WARN":
        assert ("+" if seconds > 0 else "-") in one.detail
        assert "clock" in one.fix


def test_a_database_that_is_away_ends_the_list(tmp_path: Path) -> None:
    settings = load_settings({"XDG_DATA_HOME": str(tmp_path)}, database="postgresql://127.0.0.1:1/none")
    told = list(examine(settings))
    assert [(one.what, one.status) for one in told] == [
        ("settings", "OK"),
        ("secret key", "WARN"),
        ("database", "FAIL"),
    ]
    assert "--database" in told[-1].fix


@pytest.mark.parametrize("version", ["0000", "9999"])
def test_a_database_of_another_version_ends_the_list(tmp_path: Path, prepared_file: Path, version: str) -> None:
    path = tmp_path / "t.db"
    path.write_bytes(prepared_file.read_bytes())
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("UPDATE alembic_version SET version_num = ?", (version,))
    told = list(examine(load_settings({"XDG_DATA_HOME": str(tmp_path)}, database=f"sqlite:///{path}")))
    assert [one.what for one in told] == ["settings", "secret key", "database", "schema"]
    assert told[-1].status == "FAIL"
    assert "migrate" in told[-1].fix


def test_a_key_that_others_read_is_a_failure(tmp_path: Path) -> None:
    settings = load_settings({"XDG_DATA_HOME": str(tmp_path)}, database=f"sqlite:///{tmp_path / 't.db'}")
    secret_key(settings)
    assert found(settings)["secret key"].status == "OK"
    key_file(settings).chmod(0o640)
    one = found(settings)["secret key"]
    assert (one.status, "chmod 600" in one.detail) == ("FAIL", True)


def test_a_finding_is_one_line_and_plain_values() -> None:
    bad = Finding(status="WARN", what="worker", detail="silent", fix="fhir-tracker worker")
    assert bad.as_line() == "WARN  worker                 silent; to mend it: fhir-tracker worker"
    assert bad.as_json() == {"status": "WARN", "what": "worker", "detail": "silent", "fix": "fhir-tracker worker"}
    assert Finding(status="OK", what="x", detail="fine").as_line().endswith("fine")


@pytest.mark.parametrize(
    ("words", "away", "code"),
    [
        *(([], False, 0), (["--strict"], False, 1), ([], True, 0), (["--strict"], True, 1)),
        *((["--json"], True, 0), (["--json", "--strict"], True, 1)),
    ],
)
def test_the_exit_code_is_1_on_a_failure_and_when_strict_on_a_warning(
    tmp_path: Path,
    prepared_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    away: bool,
    code: int,
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    path = tmp_path / "t.db"
    path.write_bytes(prepared_file.read_bytes())
    url = f"sqlite:///{path}"
    if away:
        with open_store(load_settings({"XDG_DATA_HOME": str(tmp_path)}, database=url)) as store:
            followed(store, "http://127.0.0.1:9/fhir")
    assert main(["doctor", "--database", url, *words]) == code
    said = capsys.readouterr().out
    rows = json.loads(said) if "--json" in words else said.splitlines()
    assert len(rows) == 9
    if away:
        assert ("connection clinic" in said, "FAIL" in said) == (True, False)
