"""Doctor: each finding in each of its states, with the command that mends it; an EHR that is away is not our fault."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import respx

from api.cli import main
from api.doctor import examine
from api.findings import Finding
from api.stores import key_file, open_store, secret_key
from api.worker import HEARTBEAT
from fhir_tracker import brake, clock, connections
from fhir_tracker.brake import Limit
from fhir_tracker.config import Settings, load_settings
from fhir_tracker.model.viewer import open_viewer
from fhir_tracker.rules.starters import starter_programs
from fhir_tracker.storage import dispatches, jobs, outbox, quarantine
from fhir_tracker.storage import settings as states
from fhir_tracker.storage.database import Database, Tx
from tests.support import followed as every_state

EHR = "https://ehr.example/fhir"
STATEMENT = {
    "resourceType": "CapabilityStatement",
    "fhirVersion": "4.0.1",
    "software": {"name": "Test EHR", "version": "7"},
}
JSON = {"content-type": "application/fhir+json"}


KEY = "q8Zr3vT0yLw5nXk1Bd7Hs2Jf9Gm4Pc6Ua"


@pytest.fixture
def settings(tmp_path: Path, ready_url: str) -> Settings:
    environ = {"XDG_DATA_HOME": str(tmp_path), "FHIR_TRACKER_SECRET_KEY": KEY, "FHIR_TRACKER_DISK_ENCRYPTED": "yes"}
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
    assert ("disk" in told) is (store.dialect == "sqlite")
    assert {one.what: one.status for one in told.values() if one.what != "disk"} == {
        "settings": "OK",
        "secret key": "OK",
        "safety": "OK",
        "database": "OK",
        "schema": "OK",
        "durability": "OK",
        "programs": "OK",
        "worker": "OK",
        "quarantine": "OK",
        "connections": "WARN",
    }
    assert told["programs"].detail == ", ".join(f"{code} 1" for code in sorted(starter_programs()))
    assert told["database"].detail.startswith(store.dialect)
    assert all((one.fix == "") == (one.status == "OK") for what, one in told.items() if what != "disk")


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


def untold(tx: Tx) -> None:
    whom = dispatches.Untold(channel="webhook", role="rn", person=None, oldest=clock.now())
    dispatches.add(tx, whom, ["1"], address="", at=clock.now(), reason="no address")


def engaged_brake(tx: Tx) -> None:
    assert brake.held(tx, {("tcm", "task"): 1000}, Limit(share=0.1, floor=1), clock.now()) == {"tcm"}


@pytest.mark.parametrize(
    ("trouble", "what", "status", "detail", "fix"),
    [
        (in_quarantine, "quarantine", "WARN", "1 resources", "quarantine list"),
        (untold, "notifications", "WARN", "1 mails or webhook calls have no address", "notifications retry"),
        (dead_job, "jobs", "WARN", "1 gave up", "jobs retry"),
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
    one = found(settings)["clinic clock"]
    assert one.status == status
    if status == "WARN":
        assert ("+" if seconds > 0 else "-") in one.detail
        assert "clock" in one.fix


def of_north(settings: Settings) -> dict[str, tuple[str, str, str]]:
    told = found(settings).items()
    return {what: (one.status, one.detail, one.fix) for what, one in told if what.startswith("north ")}


@respx.mock
def test_each_connection_is_looked_at_from_login_to_what_waits(settings: Settings, store: Database) -> None:
    respx.get(f"{EHR}/metadata").respond(json=STATEMENT, headers=JSON)
    with store.begin() as tx:
        every_state.followed(tx, clock.now(), EHR)
    told = of_north(settings)
    assert {what: status for what, (status, _, _) in told.items()} == {
        "north tls": "OK",
        "north clock": "OK",
        "north login": "OK",
        "north data": "OK",
        "north types": "WARN",
        "north subscriptions": "WARN",
        "north quarantine": "WARN",
        "north outbox": "WARN",
        "north requests": "OK",
    }
    assert told["north types"][1] == "4 changes came only by comparing everything"
    assert told["north outbox"][1] == "for a person to decide: 1 dead"
    assert "FHIR_TRACKER_PUBLIC_URL" in told["north subscriptions"][2]
    told = of_north(replace(settings, public_url="https://tracker.example"))
    assert told["north subscriptions"][1] == "CarePlan lost: its status at the EHR is error"


@respx.mock
def test_an_ehr_that_is_away_keeps_its_data_and_its_circuit_in_sight(settings: Settings, store: Database) -> None:
    respx.get(f"{EHR}/metadata").mock(side_effect=httpx.ConnectError("refused"))
    with store.begin() as tx:
        every_state.followed(tx, clock.now() - timedelta(hours=1), EHR)
        every_state.open_circuit(tx, clock.now())
        (row,) = outbox.listed(tx, open_viewer())
        outbox.note(tx, row, state="waiting")
    told = of_north(settings)
    assert "north login" not in told
    assert told["north data"][0] == "WARN"
    assert "promised 155 s" in told["north data"][1]
    assert "fhir-tracker sync north --once" in told["north data"][2]
    assert told["north outbox"][1] == "the oldest write waits since 60 min"
    assert told["north requests"][:2] == ("WARN", "the circuit is open after 10 failures in a row")


@respx.mock
def test_credentials_that_are_refused_say_what_to_register(settings: Settings, store: Database) -> None:
    able = STATEMENT | {"rest": [{"resource": [{"type": "Patient", "interaction": [{"code": "search-type"}]}]}]}
    respx.get(f"{EHR}/metadata").respond(json=able, headers=JSON)
    respx.get(url__startswith=f"{EHR}/.well-known").respond(404)
    respx.post("https://tokens.example/token").respond(400, json={"error": "invalid_client"})
    with store.begin() as tx:
        options = {"auth": "private_key_jwt", "client_id": "us", "token_url": "https://tokens.example/token"}
        connections.add(tx, "north", EHR, now=clock.now(), options=options)
    told = found(replace(settings, public_url="https://tracker.example"))
    assert told["connection north"].status == "FAIL"
    assert told["connection north"].fix == (
        "register client us there with our keys, https://tracker.example/.well-known/jwks.json; "
        "then fhir-tracker connection test north"
    )
    respx.get(f"{EHR}/Patient?_count=1").respond(401)
    with store.begin() as tx:
        connections.add(tx, "south", EHR + "/", now=clock.now())
    told = found(settings)
    assert told["south login"].status == "FAIL"
    assert "--auth" in told["south login"].detail


def test_a_database_that_is_away_ends_the_list(tmp_path: Path) -> None:
    settings = load_settings({"XDG_DATA_HOME": str(tmp_path)}, database="postgresql://127.0.0.1:1/none")
    told = list(examine(settings))
    assert [(one.what, one.status) for one in told] == [
        ("settings", "OK"),
        ("secret key", "WARN"),
        ("safety", "OK"),
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
    assert [one.what for one in told] == ["settings", "secret key", "safety", "database", "schema"]
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
    assert len(rows) == (16 if away else 11)
    if away:
        assert ("connection clinic" in said, "FAIL" in said) == (True, False)
