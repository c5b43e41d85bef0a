"""The listening socket: TLS of our own, and clients that send too much before a request, or never come to its end."""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from api.serve import tls_of
from fhir_tracker.errors import UsageError
from tests.conformance.server import SECRET, Tracker
from tests.peers.process import Process
from tests.security.test_hostile_requests import head, send


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = serialization.PrivateFormat.PKCS8
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption()))
    return cert_file, key_file


@pytest.fixture(scope="module")
def tls_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """The port of a server that speaks TLS, and its certificate."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = certificate(folder)
    log = folder / "log"
    program = Path(sys.executable).parent / "fhir-tracker"
    database = f"sqlite:///{folder / 't.db'}"
    words = [
        "serve",
        "--port",
        "0",
        "--no-worker",
        "--tls-cert",
        str(cert),
        "--tls-key",
        str(key),
        "--database",
        database,
    ]
    process = Process([program, *words], log=log, cwd=folder, env={"FHIR_TRACKER_SECRET_KEY": SECRET})
    try:
        process.wait_until(lambda: "Health" in log.read_text(), seconds=60, what="serve")
        (line,) = [line for line in log.read_text().splitlines() if line.startswith("Pages")]
        assert "https://127.0.0.1:" in line
        port = int(line.rstrip("/").rpartition(":")[2])
        process.wait_until(lambda: ready(port, cert), seconds=60, what="serve")
        yield port, cert
    finally:
        process.stop()


def ready(port: int, cert: Path) -> bool:
    try:
        return httpx.get(f"https://localhost:{port}/readyz", verify=trusting(cert), trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def trusting(cert: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(cert))


@pytest.mark.security("E1")
def test_the_server_speaks_tls_with_the_certificate_that_it_was_given(tls_port: tuple[int, Path]) -> None:
    port, cert = tls_port
    answer = httpx.get(f"https://localhost:{port}/fhir/metadata", verify=trusting(cert), trust_env=False, timeout=60)
    assert answer.status_code == 200
    assert answer.json()["implementation"]["url"].startswith("https://")
    assert "strict-transport-security" in answer.headers
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"https://localhost:{port}/livez", trust_env=False)


@pytest.mark.security("E1")
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_neither_older_tls_nor_plain_http_is_answered(tls_port: tuple[int, Path]) -> None:
    port, cert = tls_port
    context = trusting(cert)
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("localhost", port), timeout=60) as raw, pytest.raises(OSError):  # noqa: PT011
        context.wrap_socket(raw, server_hostname="localhost")
    with socket.create_connection(("localhost", port), timeout=60) as raw:
        raw.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert b"200" not in raw.recv(65_536)
    assert ready(port, cert)


@pytest.mark.security("E1")
def test_certificates_that_cannot_be_used_are_named_before_anything_starts(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    other = certificate(tmp_path_of(tmp_path))[1]
    assert tls_of(None, None) is None
    made = tls_of(str(cert), str(key))
    assert made is not None
    assert made.minimum_version == ssl.TLSVersion.TLSv1_2
    for wrong in [
        (str(cert), None),
        (None, str(key)),
        (str(cert), str(tmp_path / "none")),
        (str(cert), str(other)),
        (str(key), str(key)),
    ]:
        with pytest.raises(UsageError, match="tls") as refused:
            tls_of(*wrong)
        assert str(tmp_path) not in refused.value.message


def tmp_path_of(folder: Path) -> Path:
    made = folder / "other"
    made.mkdir()
    return made


@pytest.mark.security("S34", "S56")
@pytest.mark.parametrize(
    "lines",
    [
        [f"X-{number}: x" for number in range(500)],
        ["X-Big: " + "a" * 70_000],
        [f"X-{number}: {'a' * 7_000}" for number in range(12)],
    ],
    ids=["many", "one that is long", "long together"],
)
def test_a_head_that_is_too_large_is_refused_and_not_kept(one_tracker: Tracker, lines: list[str]) -> None:
    try:
        answer = send(one_tracker, head(one_tracker, "GET /livez HTTP/1.1", *lines, "Connection: close"))
    except (BrokenPipeError, ConnectionResetError):
        answer = b""
    assert b" 200 " not in answer[:20]
    assert answer[:12] in (b"", b"HTTP/1.1 431")


@pytest.mark.security("S34", "S56")
def test_a_head_without_end_is_cut_off(one_tracker: Tracker) -> None:
    with socket.create_connection(("127.0.0.1", one_tracker.port), timeout=60) as client:
        client.sendall(b"GET /livez HTTP/1.1\r\nX-Long: ")
        sent, deadline = 0, time.monotonic() + 60
        try:
            while sent < 50_000_000:
                client.sendall(b"a" * 65_536)
                sent += 65_536
                assert time.monotonic() < deadline
        except (BrokenPipeError, ConnectionResetError):
            pass
    assert sent < 50_000_000


@pytest.mark.security("S34")
def test_usual_heads_are_not_too_large(one_tracker: Tracker) -> None:
    lines = [f"X-{number}: {'a' * 300}" for number in range(100)]
    answer = send(one_tracker, head(one_tracker, "GET /livez HTTP/1.1", *lines, "Connection: close"))
    assert b" 200 " in answer[:20]
