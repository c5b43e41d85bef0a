"""Every door by which we ask others, found in the code, tries every form of an address that leads inside: nobody is reached.

https://cheatsheetseries.owasp.org/cheatsheets/Server_Side_Request_Forgery_Prevention_Cheat_Sheet.html
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import respx

from api.server_doctor import examine_key_page
from fhir_tracker.config import load_settings
from fhir_tracker.errors import RemoteFailure, TrackerError
from fhir_tracker.signing_keys import Keyring
from fhir_tracker.storage import issuers as stored_issuers
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.issuers import Issuer
from fhir_tracker.storage.launches import LaunchSession
from fhir_tracker.storage.schema import prepare
from subscriptions import webhooks
from subscriptions.bundles import read_page
from subscriptions.charts import person_client
from subscriptions.client import EhrClient, Fixed, Limits
from subscriptions.ehr_styles import EhrStyles
from subscriptions.id_tokens import check
from subscriptions.introspecting import introspect
from subscriptions.issuer_keys import KeyPages
from subscriptions.issuer_metadata import Known, Metadata, reach, read
from subscriptions.key_sets import fetch_key_set
from subscriptions.outbound import origin
from subscriptions.sync import client_of
from subscriptions.token_discovery import discover
from subscriptions.token_endpoint import ask
from subscriptions.user_tokens import SessionTokens, UserTokens
from tests.support.doors import PUBLIC_IP, calls, imports, network
from tests.support.systems import part

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
EHR = "https://ehr.example/fhir"
FINE = "https://ehr.example/asked"
ISSUER = Issuer(key="clinic", url=EHR, client_id="tracker", client_type="public", changed_at=NOW)
CONNECTION = Connection(key="clinic", base_url=EHR, created_at=NOW)
ONCE = Limits(tries=1)
SECRET = "whsec_" + "QUFB" * 8
NAMES = {
    "ehr.example": [[PUBLIC_IP]],
    "metadata.example": [["169.254.169.254"]],
    "loop.example": [["127.0.0.1"]],
    "loop6.example": [["::1"]],
    "nowhere.example": [["0.0.0.0"]],
    "mapped.example": [["::ffff:127.0.0.1"]],
    "mapped-metadata.example": [["::ffff:169.254.169.254"]],
    "nat64.example": [["64:ff9b::a9fe:a9fe"]],
    "sixto4.example": [["2002:a9fe:a9fe::1"]],
    "teredo.example": [["2001:0:a9fe:a9fe::1"]],
    "link.example": [["fe80::1%eth0"]],
    "mixed.example": [[PUBLIC_IP, "169.254.169.254"]],
    "inside.example": [["10.0.0.5"]],
    "inside6.example": [["fd12:3456::1"]],
    "mapped-inside.example": [["::ffff:192.168.0.9"]],
    "localhost": [["127.0.0.1"]],
}
NEVER = [
    *(
        f"https://{name}/asked"
        for name in NAMES
        if name not in ("ehr.example", "localhost", "inside.example", "inside6.example", "mapped-inside.example")
    ),
    "https://169.254.169.254/latest/meta-data",
    "http://169.254.169.254/latest/meta-data",
    "https://169.254.170.2/v2/credentials",
    "https://100.100.100.200/latest",
    "https://[fd00:ec2::254]/latest",
    "https://[::ffff:169.254.169.254]/",
    "https://[::ffff:a9fe:a9fe]/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://[64:ff9b:1::a9fe:a9fe]/",
    "https://0.0.0.0/",
    "https://[::]/",
    "https://0/",
    "https://2852039166/",
    "https://0xa9fea9fe/",
    "https://0251.0376.0251.0376/",
    "https://169.254.43518/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0177.0.0.1/",
    "https://127.1/",
    "https://ehr.example@169.254.169.254/",
    "https://ehr.example:x@metadata.example/",
    "https://ehr.example%40169.254.169.254/",
    "https://ehr.example\\@metadata.example/",
    "https://metadata.example\\@ehr.example/",
    "https://metadata.example#@ehr.example\\",
    "https://ehr.example\t.metadata.example/",
    "https://metadata.example\r\nHost: ehr.example/",
    "https://[fe80::1%25eth0]/",
    "https://169.254.169.254./",
    "https://\uff11\uff16\uff19.254.169.254/",
    "https://\u2460\u2467.example/",
    "https://ehr.example:99999/",
    "https://[::1",
    "https://",
    "https:/metadata.example/",
    "file:///etc/passwd",
    "file://ehr.example/etc/passwd",
    "gopher://metadata.example:70/_GET",
    "ftp://metadata.example/",
    "dict://metadata.example:11211/stats",
    "ldap://metadata.example/",
    "unix:/var/run/docker.sock",
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/info",
    "data:application/json,{}",
    "jar:https://metadata.example!/",
    "//metadata.example/",
    "",
]
"""Where nobody is led, not even by who may name what is inside."""
INSIDE = [
    "https://inside.example/asked",
    "https://inside6.example/asked",
    "https://mapped-inside.example/asked",
    "https://10.0.0.5/",
    "https://192.168.0.9/",
    "https://[fd12:3456::1]/",
    "https://[::ffff:10.0.0.5]/",
    "https://localhost/",
    "https://localhost:8443/",
    "https://127.0.0.1/",
    "https://[::1]/",
    "http://127.0.0.1:8080/",
    "http://ehr.example/asked",
    "https://ehr.example:22/",
    "https://ehr.example:6379/",
    "https://ehr.example@10.0.0.5/",
    "https://10.0.0.5:443/",
]
"""Where a person may send us, and no server."""


@dataclass
class Told(Known):
    """What an issuer said, as if it had been asked a moment ago."""

    said: Metadata

    def metadata(self, issuer: Issuer, now: datetime) -> Metadata:
        return self.said


def told(itself: str = "", revocation: str = "") -> Told:
    said = Metadata(issuer=itself, authorization=f"{EHR}/authorize", token=f"{EHR}/token", revocation=revocation)
    return Told(said)


def _token_of(url: str) -> str:
    return ".".join(part(one) for one in (b'{"alg":"RS256"}', json.dumps({"iss": url}).encode(), b"x" * 256))


def _introspected(database: Database, url: str) -> object:
    issuer = replace(ISSUER, options={"introspection_url": url})
    return introspect(issuer, Keyring(database=database, secret_key="k" * 40), "t", NOW, known=told())


def _given_back(database: Database, url: str) -> None:
    session = LaunchSession(
        id="s", secret_digest="", handle_digest="", account="a", connection="clinic", issuer=EHR, began=NOW,
        active_at=NOW, ends_at=NOW + timedelta(hours=1),
    )  # fmt: skip
    SessionTokens(database, "k" * 40, known=told(revocation=url))._revoke(session, UserTokens(access="a"))


def _followed(url: str) -> None:
    with client_of(replace(CONNECTION, base_url=url), ONCE) as client:
        client.get("metadata")


def _read_by_a_person(url: str) -> None:
    with person_client(replace(ISSUER, url=url), Fixed()) as client:
        client.get("Patient/x")


def _key_page(url: str) -> None:
    settings = replace(load_settings({"HOME": "/nowhere"}), public_url=url)
    list(examine_key_page(settings, CONNECTION, {"keyId": "k"}))


Walk = Callable[[Database, str], object]
NAMED: dict[str, Walk] = {
    "api.server_doctor.examine_key_page": lambda _, url: _key_page(url),
    "subscriptions.charts.person_client": lambda _, url: _read_by_a_person(url),
    "subscriptions.introspecting.introspect": _introspected,
    "subscriptions.issuer_metadata.read": lambda _, url: read(replace(ISSUER, url=url)),
    "subscriptions.key_sets.fetch_key_set": lambda _, url: fetch_key_set(url),
    "subscriptions.sync.client_of": lambda _, url: _followed(url),
    "subscriptions.token_discovery.discover": lambda _, url: discover(url, limits=ONCE),
    "subscriptions.webhooks.call": lambda _, url: webhooks.call(url, SECRET, "id", {}, NOW),
}
"""Doors whose address a person of the practice wrote down; it may be inside."""
TOLD: dict[str, Walk] = {
    "subscriptions.ehr_styles._read": lambda _, url: EhrStyles().sheet(ISSUER, url, NOW),
    "subscriptions.id_tokens._keys_at": lambda _, url: check(_token_of(url), ISSUER, told(itself=url).said, "n", NOW),
    "subscriptions.issuer_keys._read": lambda _, url: KeyPages().key(url, reach(ISSUER), "a", "RS256", NOW),
    "subscriptions.token_endpoint.ask": lambda _, url: ask(url, {}, {}, NOW, reach=reach(ISSUER)),
    "subscriptions.user_tokens.SessionTokens._revoke": _given_back,
}
"""Doors whose address another server says."""
DOORS = NAMED | TOLD
INSIDE_THE_CLIENT = {"subscriptions.client.EhrClient._connected"}
"""What all of these are made of; further pages, redirects and files of it stand below."""
OTHER_WAYS = {
    "api.broker": "the broker of the settings, before which hazards stands",
    "api.demo.ehr": "the demo, which asks itself",
    "api.demo.visitor": "the demo, which asks itself",
    "subscriptions.client": "behind outbound",
    "subscriptions.mail": "the mail server of the settings; what it says is no address",
    "subscriptions.outbound": "where addresses are judged",
    "subscriptions.webhooks": "behind outbound",
}
"""Modules that know a library by which a connection can be made, and where it leads."""
LIBRARIES = (
    "httpx",
    "httpcore",
    "http.client",
    "urllib.request",
    "urllib3",
    "requests",
    "aiohttp",
    "smtplib",
    "ftplib",
    "imaplib",
    "poplib",
    "xmlrpc",
    "websockets",
    "websocket",
    "paramiko",
    "ldap3",
    "redis",
)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    path: Path = tmp_path_factory.mktemp("doors") / "t.db"
    with closing(Database.open(f"sqlite:///{path}")) as made:
        prepare(made)
        with made.begin() as tx:
            stored_issuers.save(tx, ISSUER)
        yield made


@pytest.mark.security("S27", "S29")
def test_every_door_is_here_and_no_module_goes_another_way() -> None:
    assert calls("EhrClient", "outbound.client", "client.EhrClient").keys() == {*DOORS, *INSIDE_THE_CLIENT}
    assert imports(*LIBRARIES).keys() == OTHER_WAYS.keys()
    connects = calls("socket.create_connection", "asyncio.open_connection", "httpx.Client", "httpx.get", "httpx.post")
    assert set(connects) == {"subscriptions.outbound.client", "api.health._broker"}, "the broker is one of the settings"


@pytest.mark.security("S27", "S29")
@pytest.mark.parametrize("door", sorted(DOORS))
def test_a_door_leads_to_a_public_server_and_never_to_where_its_name_leads_a_moment_later(
    database: Database, door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rebinding = {"ehr.example": [[PUBLIC_IP], ["169.254.169.254"], ["127.0.0.1"], ["0.0.0.0"]]}
    found = network(monkeypatch, rebinding)
    for number in range(1, 5):
        with contextlib.suppress(TrackerError):
            DOORS[door](database, FINE)
        assert found.reached == [(PUBLIC_IP, 443)], f"after {number}"
    assert len(found.asked) == 4, "each connection looks the name up, and once"


@pytest.mark.security("S27", "S29", "E1")
@pytest.mark.parametrize("door", sorted(DOORS))
def test_no_form_of_an_address_leads_through_a_door_to_this_machine_or_its_cloud(
    database: Database, door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = network(monkeypatch, NAMES)
    reached = {}
    for url in NEVER:
        with contextlib.suppress(TrackerError):
            DOORS[door](database, url)
        if any(address != PUBLIC_IP for address, _ in found.reached):
            reached[url] = list(found.reached)
        found.reached.clear()
    assert reached == {}


@pytest.mark.security("S27", "S29", "E1")
@pytest.mark.parametrize("door", sorted(TOLD))
def test_no_server_leads_us_inside_or_to_a_port_of_something_else(
    database: Database, door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = network(monkeypatch, NAMES)
    for url in INSIDE:
        with contextlib.suppress(TrackerError):
            TOLD[door](database, url)
        assert found.reached == [], url


@pytest.mark.security("S27")
@pytest.mark.parametrize("door", sorted(NAMED))
def test_what_is_inside_is_asked_where_a_person_wrote_it_down(
    database: Database, door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = network(monkeypatch, NAMES)
    with contextlib.suppress(TrackerError):
        NAMED[door](database, "https://inside.example/asked")
    assert found.reached == [("10.0.0.5", 443)]


@pytest.mark.security("S27", "S29", "S18")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_leads_away_and_nothing_secret_with_it(status: int) -> None:
    for url in [*NEVER, *INSIDE]:
        with respx.mock(assert_all_called=False) as router:
            router.route(url__startswith=EHR).respond(status, headers={b"location": _as_sent(url)})
            away = router.route().respond(json={})
            for go in (_get, _search, _send, _lines):
                signed = EhrClient(EHR, authorizer=Fixed(value="Bearer secret"), limits=ONCE)
                with signed as client, contextlib.suppress(RemoteFailure):
                    go(client)
            hosts = {call.request.url.host for call in away.calls}
            assert hosts <= {"ehr.example"}, url
            with pytest.raises(RemoteFailure):
                webhooks.call(f"{EHR}/hook", SECRET, "id", {}, NOW)


@pytest.mark.security("S29", "S18")
def test_no_next_page_file_or_status_of_another_origin_is_asked_for() -> None:
    for url in [*NEVER, *INSIDE]:
        bundle = {"resourceType": "Bundle", "type": "searchset", "link": [{"relation": "next", "url": url}]}
        with respx.mock(assert_all_called=False) as router:
            router.get(f"{EHR}/Task").respond(json=bundle)
            away = router.route().respond(json={})
            with EhrClient(EHR, authorizer=Fixed(value="Bearer secret"), limits=ONCE) as client:
                with contextlib.suppress(RemoteFailure):
                    client.get(read_page(client.get("Task"), "searchset").next_url or "metadata")
                with contextlib.suppress(RemoteFailure):
                    list(client.lines(url))
                with contextlib.suppress(RemoteFailure):
                    client.search(url)
            assert {call.request.url.host for call in away.calls} <= {"ehr.example"}, url
            assert {call.request.url.port for call in away.calls} <= {None}, url


@pytest.mark.security("S29", "S12")
def test_who_judges_an_address_and_who_asks_it_read_the_same_host_in_it() -> None:
    pieces = [
        "ehr.example",
        "evil.example",
        "@",
        "\\",
        "/",
        "#",
        "?",
        ":",
        ":443",
        "%40",
        "%2f",
        ";",
        ".",
        "[::1]",
        "&",
    ]
    compared = 0
    for first in pieces:
        for second in pieces:
            for third in pieces:
                url = f"https://{first}{second}{third}/fhir"
                try:
                    judged, asked = origin(url), httpx.URL(url)
                except (RemoteFailure, httpx.InvalidURL, UnicodeError):
                    continue
                if asked.host:
                    compared += 1
                    assert judged[1] == asked.host.lower(), url
                    assert judged[2] == (asked.port or 443), url
    assert compared > 500


def _as_sent(url: str) -> bytes:
    return url.encode().replace(b"\r\n", b"%0D%0A")


def _get(client: EhrClient) -> None:
    client.get("Task")


def _search(client: EhrClient) -> None:
    client.search("Task?patient=1")


def _send(client: EhrClient) -> None:
    client.send("POST", "Task", b"{}")


def _lines(client: EhrClient) -> None:
    list(client.lines(f"{EHR}/file"))
