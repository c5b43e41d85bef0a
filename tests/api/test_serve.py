"""`fhir-tracker serve` as a process of its own, over real sockets."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from api.serve import check_loopback
from fhir_tracker.errors import UsageError
from tests.peers.process import Process, answers, free_port
from tests.support.processes import wait_until_closed

PROGRAM = Path(sys.executable).parent / "fhir-tracker"
JSON = {"Content-Type": "application/fhir+json"}


def serving(folder: Path, *words: str, database: str | None = None) -> tuple[Process, str]:
    port = free_port()
    command: list[str | Path] = [
        PROGRAM,
        "serve",
        "--port",
        str(port),
        "--database",
        database or f"sqlite:///{folder}/t.db",
        *words,
    ]
    return Process(command, log=folder / "serve.log", cwd=folder), f"http://127.0.0.1:{port}"


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[tuple[Process, str]]:
    """A running open server and its address."""
    process, address = serving(tmp_path, "--open")
    process.wait_until(answers(f"{address}/readyz"), seconds=30, what="serve")
    yield process, address
    process.kill()


def test_it_sets_up_a_database_serves_and_ends_politely(database_url: str, tmp_path: Path) -> None:
    process, address = serving(tmp_path, "--open", database=database_url)
    process.wait_until(answers(f"{address}/livez"), seconds=30, what="serve")
    made = httpx.post(
        f"{address}/fhir/Patient", content='{"resourceType":"Patient"}', headers=JSON, timeout=60, trust_env=False
    )
    assert made.status_code == 201
    assert made.headers["location"].startswith(f"{address}/fhir/Patient/")
    assert "server" not in made.headers
    listed = httpx.get(
        f"{address}/fhir/PlanDefinition?status=active&_summary=count", timeout=60, trust_env=False
    ).json()
    assert listed["total"] >= 2
    assert process.stop(number=signal.SIGTERM) == 0
    said = process.tail(200)
    assert "OPEN MODE" in said
    assert f"{address}/fhir" in said
    assert "Traceback" not in said


def test_the_port_in_use_is_said_in_one_line(opened: tuple[Process, str], tmp_path: Path) -> None:
    port = opened[1].rsplit(":", 1)[1]
    done = run("serve", "--port", port, "--database", f"sqlite:///{tmp_path}/other.db")
    assert done.returncode == 1
    assert f"port {port}" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "no.such.host.invalid"])
def test_open_mode_listens_on_this_machine_only(host: str, tmp_path: Path) -> None:
    done = run("serve", "--open", "--port", "0", "--host", host, "--database", f"sqlite:///{tmp_path}/t.db")
    assert done.returncode == 2
    assert host in done.stderr
    assert not (tmp_path / "t.db").exists()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.5.5.5", "localhost"])
def test_every_loopback_address_is_this_machine(host: str) -> None:
    check_loopback(host)


def test_an_address_of_the_network_is_not() -> None:
    with pytest.raises(UsageError, match="not a loopback address"):
        check_loopback("0.0.0.0")


def test_without_open_it_serves_metadata_and_nothing_else(tmp_path: Path) -> None:
    process, address = serving(tmp_path, "--no-worker", "--public-url", "https://tracker.example.org")
    process.wait_until(answers(f"{address}/livez"), seconds=30, what="serve")
    with httpx.Client(timeout=60, trust_env=False, base_url=address) as client:
        assert client.get("/fhir/metadata").json()["implementation"]["url"] == "https://tracker.example.org/fhir"
        assert client.get("/fhir/Patient").status_code == 401
        assert client.get("/").status_code == 401
    assert process.stop() == 0


def test_requests_under_way_are_finished_before_it_ends(opened: tuple[Process, str]) -> None:
    process, address = opened
    host, port = address.removeprefix("http://").split(":")
    body = b'{"resourceType":"Basic","id":"slow","code":{"text":"x"}}'
    head = f"PUT /fhir/Basic/slow HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/fhir+json\r\n"
    head += f"Expect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(head.encode() + body[:10])
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")
        process.send(signal.SIGTERM)
        wait_until_closed(int(port))
        connection.sendall(body[10:])
        assert b" 201 " in connection.recv(65536).split(b"\r\n")[0]
    assert process.wait(30) == 0


def test_what_was_acknowledged_survives_kill(opened: tuple[Process, str], tmp_path: Path) -> None:
    process, address = opened
    with httpx.Client(timeout=60, trust_env=False, base_url=address, headers=JSON) as client:
        for number in range(20):
            body = json.dumps({"resourceType": "Basic", "id": f"b{number}", "code": {"text": "x"}})
            assert client.put(f"/fhir/Basic/b{number}", content=body).status_code == 201
    process.kill()
    again, address = serving(tmp_path, "--open")
    again.wait_until(answers(f"{address}/livez"), seconds=30, what="serve")
    assert httpx.get(f"{address}/fhir/Basic?_summary=count", timeout=60, trust_env=False).json()["total"] == 20
    assert again.stop() == 0


def test_odd_requests_leave_it_standing(opened: tuple[Process, str]) -> None:
    _, address = opened
    host, port = address.removeprefix("http://").split(":")
    for sent in (
        b"\x00\x01\x02\r\n\r\n",
        b"GET /fhir/%zz HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET " + b"a" * 99_999,
    ):
        with socket.create_connection((host, int(port)), timeout=60) as connection, suppress(OSError):
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(65536)
    assert httpx.get(f"{address}/livez", timeout=60, trust_env=False).status_code == 200


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """One command to its end."""
    return subprocess.run([PROGRAM, *words], capture_output=True, text=True, timeout=300, check=False)
