"""A connection's secret: read from its file at each use, sent to its own server only, and never written anywhere."""

from __future__ import annotations

import base64
import json
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.cli import main
from fhir_tracker import connections
from fhir_tracker.errors import RemoteFailure, UsageError
from fhir_tracker.storage.connections import Connection
from subscriptions import EhrClient, client_of
from subscriptions.client import Fixed
from subscriptions.credentials import authorization
from tests.subscriptions.fake_ehr import BASE, FakeEhr
from tests.subscriptions.tracker import Tracker

CANARY = "made-up-canary-7f3a"


def secret(folder: Path, text: str | bytes) -> dict[str, Any]:
    path = folder / "secret"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return {"secret_file": str(path)}


@pytest.mark.parametrize(
    ("kind", "text", "header"),
    [
        ("bearer", "abc.def", "Bearer abc.def"),
        ("bearer", "  abc.def \n", "Bearer abc.def"),
        ("basic", "u:p", "Basic " + base64.b64encode(b"u:p").decode()),
        ("basic", "u:p:with:colons\n", "Basic " + base64.b64encode(b"u:p:with:colons").decode()),
        ("basic", "u:ü€", "Basic " + base64.b64encode("u:ü€".encode()).decode()),
        ("basic", ":", "Basic " + base64.b64encode(b":").decode()),
    ],
)
def test_the_header_is_made_from_the_file(tmp_path: Path, kind: str, text: str, header: str) -> None:
    assert authorization({"auth": kind, **secret(tmp_path, text)}) == header


def test_without_authentication_there_is_no_header() -> None:
    assert authorization({}) is None
    assert authorization({"auth": "none"}) is None


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("bearer", "", "one line"),
        ("bearer", "\n\n", "one line"),
        ("bearer", "a\nb", "one line"),
        ("bearer", "a\r\nX-Other: 1", "one line"),
        ("bearer", "a\0b", "one line"),
        ("basic", "no colon", "user:password"),
        ("bearer", b"\xff\xfe", "cannot be read"),
    ],
)
def test_a_secret_that_cannot_be_a_header_is_refused_without_being_shown(
    tmp_path: Path, kind: str, text: str | bytes, said: str
) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        authorization({"auth": kind, **secret(tmp_path, text)})
    assert str(tmp_path) not in caught.value.message


@pytest.mark.parametrize("path", ["/nowhere/at/all", "/", ""])
def test_a_file_that_is_none_is_a_usage_mistake(path: str) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        authorization({"auth": "bearer", "secret_file": path})


def test_a_secret_that_was_changed_counts_from_the_next_sync(tracker: Tracker, tmp_path: Path) -> None:
    options = {"auth": "bearer", **secret(tmp_path, "first")}
    connection = Connection(key="clinic", base_url=BASE, created_at=tracker.now, options=options)
    sent: list[str] = []
    tracker.ehr.twists.append(lambda request: sent.append(request.headers["authorization"]))
    for text in ("first", "second"):
        secret(tmp_path, text)
        with client_of(connection) as client:
            client.get("metadata")
    assert sent == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize(
    "where",
    [
        "https://evil.example/fhir/Patient?x=1",
        "https://ehr.example.evil.example/fhir/Patient",
        "https://ehr.example:8443/fhir/Patient",
        "http://ehr.example/fhir/Patient",
        "https://ehr.example@evil.example/fhir/Patient",
        "//evil.example/fhir/Patient",
    ],
)
@pytest.mark.parametrize("way", ["next", "redirect"])
def test_the_secret_never_leaves_the_origin(tracker: Tracker, ehr: FakeEhr, way: str, where: str) -> None:
    text = ehr.put("Patient", "a")
    asked: list[httpx.Request] = []

    def twist(request: httpx.Request) -> httpx.Response | None:
        asked.append(request)
        if "Patient?" not in str(request.url):
            return None
        if way == "redirect":
            return httpx.Response(302, headers={"location": where})
        return ehr.bundle([f'{{"resource":{text}}}'], following=where)

    ehr.twists.append(twist)
    with EhrClient(BASE, authorizer=Fixed(value=f"Bearer {CANARY}"), pause=lambda _: None) as client:
        report = tracker.sync_with(client)
    assert report.types[0].error is not None
    assert "another origin" in report.types[0].error
    assert {request.url.host for request in asked} == {"ehr.example"}
    assert all(request.headers["authorization"] == f"Bearer {CANARY}" for request in asked)


@pytest.mark.parametrize("failure", ["401", "503", "broken", "login", "none"])
def test_no_failure_writes_the_secret_or_a_patient_to_the_log(
    tracker: Tracker, ehr: FakeEhr, caplog: pytest.LogCaptureFixture, failure: str
) -> None:
    caplog.set_level(logging.DEBUG)
    ehr.put("Patient", "a", name=[{"family": "CANARYNAME"}])
    ehr.put_text("Patient", "b", '{"resourceType":"Patient","id":"b","meta":"CANARYNAME"}')

    def twist(request: httpx.Request) -> httpx.Response | None:
        if "Patient?" not in str(request.url) or failure == "none":
            return None
        if failure == "broken":
            raise httpx.ReadError(f"CANARYNAME {CANARY}")
        if failure == "login":
            return httpx.Response(200, headers={"content-type": "text/html"}, text="CANARYNAME")
        outcome = {"resourceType": "OperationOutcome", "issue": [{"code": "login", "diagnostics": "CANARYNAME"}]}
        return ehr.json(outcome, int(failure))

    ehr.twists.append(twist)
    with EhrClient(BASE, authorizer=Fixed(value=f"Bearer {CANARY}"), pause=lambda _: None) as client:
        report = tracker.sync_with(client)
    assert report.complete is (failure == "none")
    told = caplog.text + json.dumps(report.as_json())
    with tracker.database.read() as tx:
        told += repr(connections.get(tx, "clinic"))
    assert CANARY not in told
    assert "CANARYNAME" not in told
    assert base64.b64encode(CANARY.encode()).decode()[:12] not in told


def test_a_client_does_not_show_its_secret() -> None:
    with EhrClient(BASE, authorizer=Fixed(value=f"Bearer {CANARY}")) as client:
        assert CANARY not in repr(client)
        with pytest.raises(RemoteFailure) as caught:
            client.get("https://evil.example/")
    assert CANARY not in str(caught.value)


def test_a_missing_secret_file_is_one_line_and_exit_code_2(
    ready_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = secret(tmp_path, f"u:{CANARY}")["secret_file"]
    add = ["connection", "add", "clinic", "--base-url", BASE, "--auth", "basic", "--secret-file", path]
    assert main([*add, "--database", ready_url]) == 0
    Path(path).unlink()
    for words in (["connection", "test", "clinic"], ["sync", "--once"]):
        capsys.readouterr()
        assert main([*words, "--database", ready_url]) == 2
        said = capsys.readouterr()
        assert (said.out if words[0] == "connection" else "", CANARY in said.out + said.err) == ("", False)
        assert "secret file cannot be read" in said.err
