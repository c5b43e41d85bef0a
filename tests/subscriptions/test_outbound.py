"""Addresses that requests may go to: what names lead to is judged at the connection, whatever they led to before."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import pytest
import respx

from fhir_tracker.errors import RemoteFailure
from subscriptions import outbound
from subscriptions.client import EhrClient, Limits
from subscriptions.outbound import PUBLIC, origin, reach_of
from subscriptions.token_endpoint import ask
from tests.support.clinic import MONDAY

EHR = "https://ehr.example/fhir"
PUBLIC_IP, PRIVATE_IP = "93.184.216.34", "10.20.30.40"
NEVER = [
    "0.0.0.0",
    "0.1.2.3",
    "169.254.1.1",
    "169.254.169.254",
    "169.254.170.2",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "ff02::1",
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "2001:0:a9fe:a9fe::1",
    "::169.254.169.254",
    "what is no address",
    "",
]
LOOPBACK = ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1", "::ffff:7f00:1", "64:ff9b::7f00:1"]
INSIDE = [
    "10.0.0.1",
    "172.16.5.4",
    "192.168.1.1",
    "100.64.0.9",
    "fc00::1",
    "fd12:3456::1",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
]


@dataclass
class Names:
    """A name server of ours: each look-up gets the next of its answers, the last one again and again."""

    answers: list[Sequence[str]]
    asked: list[tuple[str, int]] = field(default_factory=list)

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        return self.answers[min(len(self.asked), len(self.answers)) - 1]


@contextmanager
def listening() -> Iterator[tuple[int, list[bytes]]]:
    """A server on this machine, and the beginning of what each who came said to it."""
    said: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                said.append(peer.recv(65_536))
                peer.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1], said
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(30)


@pytest.mark.security("S27", "S29")
@pytest.mark.parametrize("address", NEVER)
def test_nobody_is_led_to_addresses_that_belong_to_the_machine_or_its_cloud(address: str) -> None:
    for reach in (PUBLIC, reach_of(EHR), reach_of("http://127.0.0.1:8080/fhir", EHR)):
        assert not reach.takes("ehr.example", 443, address)
        assert not reach.takes("127.0.0.1", 8080, address)


@pytest.mark.security("S27")
@pytest.mark.parametrize("address", LOOPBACK)
def test_loopback_is_only_for_what_a_person_wrote_as_loopback(address: str) -> None:
    here = reach_of("http://127.0.0.1:8080/fhir")
    assert here.takes("127.0.0.1", 8080, address)
    assert here.takes("localhost", 9000, address), "another port of this machine: the keys of an EHR that runs here"
    assert not here.takes("ehr.example", 443, address)
    for reach in (PUBLIC, reach_of(EHR)):
        assert not reach.takes("ehr.example", 443, address)
        assert not reach.takes("localhost", 443, address)


@pytest.mark.security("S27", "S29")
@pytest.mark.parametrize("address", INSIDE)
def test_a_private_network_is_only_for_the_origin_that_a_person_named(address: str) -> None:
    named = reach_of("https://ehr.example/fhir")
    assert named.takes("ehr.example", 443, address)
    assert not named.takes("ehr.example", 8443, address), "another port of the same host was not named"
    assert not named.takes("keys.example", 443, address)
    assert not PUBLIC.takes("ehr.example", 443, address)
    assert named.also("https://keys.example/jwks").takes("keys.example", 443, address)


@pytest.mark.security("S27")
@pytest.mark.parametrize("address", [PUBLIC_IP, "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"])
def test_public_addresses_are_for_everybody(address: str) -> None:
    assert PUBLIC.takes("keys.example", 443, address)
    assert reach_of(EHR).takes("ehr.example", 443, address)


@pytest.mark.security("S27", "E1")
@pytest.mark.parametrize(
    ("url", "is_asked"),
    [
        ("https://keys.example/jwks", True),
        ("https://keys.example:8443/jwks", True),
        ("http://keys.example/jwks", False),
        ("https://keys.example:22/", False),
        ("https://keys.example:6379/", False),
        ("https://keys.example:0/", False),
        ("http://127.0.0.1:8080/", False),
        ("http://localhost/", False),
        ("ftp://keys.example/", False),
        ("file:///etc/passwd", False),
        ("gopher://keys.example:70/x", False),
        ("//keys.example/", False),
        ("https://", False),
        ("https://keys.example:99999/", False),
        ("", False),
    ],
)
def test_an_address_that_nobody_named_is_asked_by_https_on_usual_ports_only(url: str, is_asked: bool) -> None:
    assert PUBLIC.permits(url) is is_asked
    assert reach_of(EHR).permits(url) is is_asked


@pytest.mark.security("S27", "S29")
def test_what_a_person_named_is_asked_as_it_was_named_and_not_otherwise() -> None:
    named = reach_of("http://ehr.inside:8080/fhir", "")
    assert named.permits("http://ehr.inside:8080/fhir/Task?page=2")
    assert not named.permits("http://ehr.inside:8081/fhir")
    assert not named.permits("http://ehr.inside/fhir")
    assert not named.permits("http://ehr.inside.evil.example:8080/fhir")
    assert not named.permits("http://ehr.inside:8080@evil.example/fhir")


@pytest.mark.security("S27")
@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0x7f.1", "017700000001"])
def test_loopback_written_as_a_number_is_no_way_in(host: str) -> None:
    with listening() as (port, said):
        url = f"http://{host}:{port}/"
        for reach in (reach_of(url), reach_of(url, EHR)):
            with outbound.client(reach, timeout=30) as client, pytest.raises((httpx.ConnectError, httpx.InvalidURL)):
                client.get(url)
    assert said == []


@pytest.mark.security("S27")
def test_a_name_is_looked_up_once_for_a_connection_and_what_was_judged_is_connected_to() -> None:
    with listening() as (port, said):
        names = Names([["127.0.0.1"], ["169.254.169.254"]])
        url = f"http://localhost:{port}/fhir"
        with outbound.client(reach_of(url), timeout=30, resolve=names) as client:
            assert client.get(url).status_code == 200
            assert names.asked == [("localhost", port)]
            with pytest.raises(httpx.ConnectError, match=outbound.NOT_PERMITTED):
                client.get(url)
    assert len(said) == 1
    assert f"Host: localhost:{port}".encode() in said[0], "the server is told the name, not the number"


@pytest.mark.security("S27")
def test_one_bad_address_among_good_ones_spoils_them_all() -> None:
    with listening() as (port, said):
        url = f"http://localhost:{port}/fhir"
        names = Names([["127.0.0.1", "10.0.0.1"]])
        with outbound.client(reach_of(url), timeout=30, resolve=names) as client, pytest.raises(httpx.ConnectError):
            client.get(url)
        names = Names([[]])
        with outbound.client(reach_of(url), timeout=30, resolve=names) as client, pytest.raises(httpx.ConnectError):
            client.get(url)
    assert said == []


@pytest.mark.security("S27")
def test_a_name_that_nobody_finds_holds_a_request_no_longer_than_connecting_may_take() -> None:
    ends, asked = threading.Event(), threading.Event()

    def never(_host: str, _port: int) -> Sequence[str]:
        asked.set()
        assert ends.wait(60)
        return ["127.0.0.1"]

    with listening() as (port, said):
        url = f"http://localhost:{port}/fhir"
        try:
            with (
                outbound.client(reach_of(url), timeout=0.2, resolve=never) as client,
                pytest.raises(httpx.ConnectTimeout, match=outbound.NOT_FOUND_IN_TIME),
            ):
                client.get(url)
        finally:
            ends.set()
    assert asked.is_set()
    assert said == [], "nothing is connected to behind the back of who gave up"


@pytest.mark.security("S27")
def test_a_name_that_is_found_late_is_said_to_be_late(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: ends.wait(60) and [])
    limits = Limits(tries=1, connect_seconds=0.2)
    try:
        with EhrClient(EHR, limits=limits) as client, pytest.raises(RemoteFailure, match="not found in time") as late:
            client.send("POST", "Task", b"{}")
    finally:
        ends.set()
    assert not late.value.unknown, "what was never sent is not done"
    assert not late.value.permanent


@pytest.mark.security("S27", "E1")
def test_tls_is_agreed_for_the_name_and_its_certificate_is_checked() -> None:
    with listening() as (port, said):
        url = f"https://localhost:{port}/fhir"
        names = Names([["127.0.0.1"]])
        with outbound.client(reach_of(url), timeout=30, resolve=names) as client, pytest.raises(httpx.HTTPError):
            client.get(url)
    assert said[0][:1] == b"\x16"
    assert b"localhost" in said[0], "the name stands in the greeting (SNI), although a number was connected to"
    assert outbound._tls().verify_mode.name == "CERT_REQUIRED"
    assert outbound._tls().check_hostname
    assert outbound._tls().minimum_version.name == "TLSv1_2"


@pytest.mark.security("S27")
def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    with listening() as (port, said):
        url = f"http://localhost:{port}/fhir"
        names = Names([["127.0.0.9", "127.0.0.1"]])
        with outbound.client(reach_of(url), timeout=30, resolve=names) as client:
            assert client.get(url).status_code == 200
    assert len(said) == 1


@pytest.mark.security("S27", "S54")
def test_settings_of_the_machine_send_no_request_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as (port, said), listening() as (proxy, caught):
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy}")
        with outbound.client(reach_of(f"http://localhost:{port}/"), timeout=30) as client:
            assert client.get(f"http://localhost:{port}/").status_code == 200
    assert len(said) == 1
    assert caught == []


@pytest.mark.security("S27", "S29")
def test_an_ehr_whose_name_leads_to_this_machine_is_not_read_and_says_why() -> None:
    with listening() as (port, said):
        base = f"http://127.1:{port}/fhir"
        with EhrClient(base, limits=Limits(tries=1)) as client, pytest.raises(RemoteFailure) as refused:
            client.get("metadata")
    assert said == []
    assert "never asked" in refused.value.message or "unknown" in refused.value.message
    assert "127" not in refused.value.message


@pytest.mark.security("S27", "S29")
def test_a_write_that_was_not_sent_is_known_not_to_have_been_done() -> None:
    limits = Limits(tries=1)
    with (
        EhrClient("https://localhost:9/fhir", reach=reach_of(EHR), limits=limits) as client,
        pytest.raises(RemoteFailure) as refused,
    ):
        client.send("POST", "Task", b"{}")
    assert refused.value.permanent
    assert not refused.value.unknown


@pytest.mark.security("S29", "E1")
@pytest.mark.parametrize(
    "url", ["http://auth.example/token", "https://auth.example:22/token", "http://127.0.0.1:9/token"]
)
def test_credentials_go_to_no_token_endpoint_that_only_the_server_named_and_is_not_safe(url: str) -> None:
    with respx.mock(assert_all_called=False) as router:
        route = router.post(url).mock(return_value=httpx.Response(200, json={"access_token": "t"}))
        with pytest.raises(RemoteFailure) as refused:
            ask(url, {"grant_type": "client_credentials"}, {}, MONDAY, reach=reach_of(EHR))
    assert not route.called
    assert refused.value.auth


def test_origins_are_compared_as_they_are_and_not_by_how_they_begin() -> None:
    assert origin("https://EHR.example/fhir") == origin("https://ehr.example:443/other")
    assert origin("https://ehr.example.evil.example/fhir") != origin(EHR)
    assert origin("https://ehr.example@evil.example/fhir") != origin(EHR)
    assert origin("http://ehr.example/fhir") != origin(EHR)
