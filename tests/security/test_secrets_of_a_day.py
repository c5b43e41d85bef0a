"""After a day of launches, logins, enrolments and tokens at a real server no secret of it can be read anywhere: not in the files of
the database, the log at DEBUG, the pages that set things up, what commands print, the metrics, or the list of processes.
"""

from __future__ import annotations

import base64
import html
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import httpx
import pytest

from fhir_tracker import clock
from fhir_tracker.sealing import unseal
from fhir_tracker.storage import sealed_texts
from fhir_tracker.storage.database import Database
from tests.conformance.server import SECRET as SECRET_KEY
from tests.conformance.server import Tracker, running_tracker
from tests.support.codes import code_at
from tests.support.other_servers import CLIENT, Page, Server, page_of, park
from tests.support.other_servers import SECRET as CLIENT_SECRET
from tests.support.systems import System, key_set

PUBLIC = "http://127.0.0.1:8098"
PASSWORD = "q7-made-up-passphrase-of-ada"
WEBHOOK = "whsec_" + base64.b64encode(b"a-webhook-secret-of-a-test-run").decode()
CHAT, MAIL = "hook-path-4e5f6a7b8c", "mail-pass-9d8c7b6a"
SETTINGS = {
    "FHIR_TRACKER_LOCAL_LOGIN": "on",
    "FHIR_TRACKER_WEBHOOK_SECRET": WEBHOOK,
    "FHIR_TRACKER_NOTIFY_WEBHOOK": f"rn=https://chat.example.invalid/{CHAT}",
    "FHIR_TRACKER_SMTP_URL": f"smtps://tracker:{MAIL}@mail.example.invalid:465",
    "FHIR_TRACKER_SMTP_FROM": "tracker@clinic.example",
}
PAGES = (
    "/setup", "/connections", "/connections/north", "/login-providers", "/roles", "/clients", "/staff", "/operations",
    "/sync", "/outbox", "/quarantine", "/break-glass", "/programs", "/audit",
)  # fmt: skip
COMMANDS = (
    "doctor", "connection list", "connection list --json", "connection show north", "connection show north --json",
    "client list --json", "staff list --json", "keys list", "keys list --json", "login-provider list --json",
    "notifications list --json", "jobs list --json", "audit show --limit 500", "audit verify --json",
    "audit export --from 2020-01-01 --to 2100-01-01 --reason review", "version",
)  # fmt: skip
_EHR = {
    "access_token": "ehr-access-1f2e3d4c5b",
    "refresh_token": "ehr-refresh-6a7b8c9d0e",
    "scope": None,
}
RENEWED: Mapping[str, object] = {
    "access_token": "ehr-access-2-aa11bb22",
    "refresh_token": "ehr-refresh-2-cc33dd44",
    "token_type": "Bearer",
    "expires_in": 3600,
}


@dataclass
class Day:
    """A server, what goes on at it, and every secret that comes up."""

    tracker: Tracker
    ehr: Server
    folder: Path
    secrets: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)
    home: str = ""
    shown: dict[str, str] = field(default_factory=dict)
    """Page -> what stood there."""

    def ask(self, path: str, form: Mapping[str, str] | None = None) -> httpx.Response:
        """A request of a browser, under the name that the server is known by."""
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        headers = {"Host": urlsplit(PUBLIC).netloc, "Cookie": cookies} | ({"Origin": PUBLIC} if form else {})
        answer = httpx.request(
            "POST" if form else "GET",
            self.tracker.url + path,
            data=dict(form) if form else None,
            headers=headers,
            trust_env=False,
            timeout=120,
        )
        for text in answer.headers.get_list("set-cookie"):
            name, _, rest = text.partition("=")
            self.cookies[name] = rest.partition(";")[0]
            if self.cookies[name].strip('"'):
                self.secrets[f"cookie {name} {len(self.secrets)}"] = self.cookies[name]
        return answer

    def run(self, *words: str) -> str:
        """What a command prints, run as an operator runs it."""
        done = subprocess.run(
            [Path(sys.executable).parent / "fhir-tracker", *words, "--database", self.tracker.database],
            env={**os.environ, **SETTINGS, "FHIR_TRACKER_SECRET_KEY": SECRET_KEY, "FHIR_TRACKER_LOG_LEVEL": "DEBUG"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode in (0, 1), (words, done.stderr)
        return done.stdout + done.stderr

    def launch(self) -> None:
        """The administrator comes in from the EHR."""
        sent = self.ask(f"/launch?{urlencode({'iss': self.ehr.base, 'launch': 'launch-id-5f6e7d8c'})}")
        assert sent.status_code == 302, sent.text
        self.ehr.asked = dict(parse_qsl(urlsplit(sent.headers["location"]).query))
        state = self.ehr.asked["state"]
        back = self.ask(f"/callback?{urlencode({'code': self.ehr.code, 'state': state, 'iss': f'{self.ehr.at}/auth'})}")
        assert back.status_code == 303, back.text
        opened = self.ask(back.headers["location"])
        assert opened.status_code == 303
        home = "/".join(back.headers["location"].split("/")[:3])
        self.home = home
        handle = re.search(r'name="tracker-handle" content="([^"]+)"', self.ask(f"{home}/help/keys").text)
        form = self.ehr.forms[0]
        self.secrets |= {"state": state, "code": self.ehr.code, "verifier": form["code_verifier"]}
        self.secrets |= {"handle": html.unescape(handle[1])} if handle else {}
        self.secrets |= {"id_token": self.ehr.id_token().rpartition(".")[0]}

    def look(self) -> None:
        """The administrator looks at all that is set up; what is logged of it is waited for."""
        for page in PAGES:
            answer = self.ask(self.home + page)
            assert answer.status_code == 200, (page, answer.text[:300])
            self.shown[page] = answer.text
        last = {"X-Request-Id": "the-last-of-the-day"}
        httpx.get(f"{self.tracker.url}/livez", headers=last, timeout=60, trust_env=False)
        written = lambda: "the-last-of-the-day" in self.tracker.log.read_text()  # noqa: E731
        self.tracker.process.wait_until(written, seconds=60, what="the log")

    def enrol(self) -> None:
        """Somebody without an EHR takes up an invitation, and logs in."""
        said = self.run("staff", "add", "--local", "ada", "--name", "Ada Example", "--role", "rn", "--json")
        told, _ = json.JSONDecoder().raw_decode(said)
        first = self.ask("/login/enrol", {"csrf": self.token("/login/enrol"), "invitation": told["invitation"]})
        spelled = re.search(r"<code>([A-Z2-7 ]+)</code>", first.text)
        kept = re.search(r'name="kept" value="([^"]*)"', first.text)
        assert spelled
        assert kept
        key, now = spelled[1].replace(" ", ""), clock.now()
        form = {"kept": html.unescape(kept[1]), "password": PASSWORD, "again": PASSWORD, "code": code_at(key, now)}
        assert self.ask("/login/enrol", {"csrf": self.token("/login/enrol"), **form}).status_code == 200
        self.secrets |= {"invitation": told["invitation"], "totp": key, "password": PASSWORD}
        later = {"name": "ada", "password": PASSWORD, "code": code_at(key, now + timedelta(seconds=30))}
        wrong = {**later, "password": f"{PASSWORD}-wrong"}
        assert self.ask("/login/local", {"csrf": self.token("/login/local"), **wrong}).status_code == 403
        assert self.ask("/login/local", {"csrf": self.token("/login/local"), **later}).status_code == 303

    def token(self, page: str) -> str:
        """That of the form on a page."""
        match = re.search(r'name="csrf" value="([^"]+)"', self.ask(page).text)
        assert match, page
        return html.unescape(match[1])

    def come_in_as_a_system(self) -> None:
        """A token is asked for, used, looked at and ended; and one is made up."""
        keys = self.folder / "keys.json"
        keys.write_text(json.dumps(key_set("ec")))
        self.run("client", "add", "reports", "--scopes", "system/Task.rs", "--jwks-file", str(keys))
        known = httpx.get(f"{self.tracker.fhir}/.well-known/smart-configuration", timeout=60, trust_env=False).json()
        system = System(audience=known["token_endpoint"])
        for use in ("used", "ended"):
            form = system.form("system/Task.rs")
            value = self.ask("/auth/token", form).json()["access_token"]
            for bearer, wanted in ((value, 200), (f"{value}x", 401)):
                headers = {"Authorization": f"Bearer {bearer}", "Host": urlsplit(PUBLIC).netloc}
                answer = httpx.get(f"{self.tracker.fhir}/Task", headers=headers, timeout=60, trust_env=False)
                assert answer.status_code == wanted
            told = self.ask("/auth/introspect", {"token": value, **system.shown()})
            assert told.json()["active"] is True, told.text
            self.secrets |= {f"token {use}": value, f"assertion {use}": form["client_assertion"]}
        assert self.ask("/auth/revoke", {"token": value, **system.shown()}).status_code == 200

    def sealed(self) -> dict[str, str]:
        """What is kept sealed, opened, by its place."""
        with closing(Database.open(self.tracker.database)) as database, database.read() as tx:
            return {one.place: unseal(SECRET_KEY, one.sealed) for one in sealed_texts.all(tx)}


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    """A day of all kinds of logins, at its end and with the server still running."""
    folder = tmp_path_factory.mktemp("day")
    url = f"sqlite:///{folder / 'tracker.db'}"
    with ExitStack() as undo:
        renewals: list[Page] = [page_of(RENEWED)]
        ehr = Server(token={**_EHR, "expires_in": 60}, code="code-of-the-ehr-0a1b2c3d4e", refreshed=renewals)
        undo.enter_context(park()).open(ehr)
        tracker = undo.enter_context(running_tracker(url, folder, "--public-url", PUBLIC, env=SETTINGS))
        one = Day(tracker, ehr, folder)
        secret = folder.parent / f"{folder.name}-client-secret"
        secret.write_text(CLIENT_SECRET)
        one.run("connection", "add", "north", "--base-url", ehr.base)
        terms = ("--issuer", ehr.base, "--client-id", CLIENT, "--client-type", "confidential-symmetric")
        one.run("connection", "smart", "north", *terms, "--client-secret-file", str(secret))
        user = ("--connection", "north", "--fhir-user", "Practitioner/nurse")
        one.run("staff", "add", *user, "--name", "Nora Nurse", "--role", "clinic-admin", "--role", "auditor")
        one.run("keys", "rotate")
        one.launch()
        one.enrol()
        one.come_in_as_a_system()
        one.look()
        kept = json.loads(one.sealed()["signing_key.sealed"])
        one.secrets |= {"secret key": SECRET_KEY, "webhook": WEBHOOK, "chat": CHAT, "mail": MAIL}
        one.secrets |= {"client secret": CLIENT_SECRET, "private key": str(kept["d"])}
        one.secrets |= {f"of the EHR: {name}": str(_EHR[name]) for name in ("access_token", "refresh_token")}
        one.secrets |= {
            f"of the EHR, renewed: {name}": str(RENEWED[name]) for name in ("access_token", "refresh_token")
        }
        yield one


def ways_to_write(secret: str) -> set[bytes]:
    """How a secret could stand somewhere: as it is, in an address, in JSON, in HTML, in base64, in hex."""
    raw = secret.encode()
    texts = (
        secret,
        quote(secret, safe=""),
        json.dumps(secret)[1:-1],
        html.escape(secret),
        raw.hex(),
        raw.hex().upper(),
    )
    bases = (base64.b64encode(raw), base64.urlsafe_b64encode(raw))
    return {one.encode() for one in texts} | {one.rstrip(b"=") for one in bases}


def found_in(day: Day, content: bytes, *but: str) -> list[str]:
    return [
        name
        for name, secret in day.secrets.items()
        if name not in but and any(one in content for one in ways_to_write(secret))
    ]


@pytest.mark.security("S55", "S18", "E2")
def test_the_day_had_every_kind_of_secret_and_kept_what_it_needs_sealed(day: Day) -> None:
    assert len(day.secrets) >= 25
    assert all(len(one) >= 8 for one in day.secrets.values()), "none is short enough to stand somewhere by chance"
    sealed = day.sealed()
    assert sealed["issuer.sealed_secret"] == CLIENT_SECRET
    assert {"signing_key.sealed", "launch_session.sealed_tokens", "issuer.sealed_secret"} <= sealed.keys()
    assert any(day.secrets["totp"] in one for one in sealed.values())
    assert any(str(one["refresh_token"]) in sealed["launch_session.sealed_tokens"] for one in (_EHR, RENEWED))


@pytest.mark.security("S55", "S18", "E2")
def test_no_file_of_the_database_holds_a_secret(day: Day) -> None:
    files = [one for one in day.folder.rglob("*") if one.is_file() and one.name.startswith("tracker.db")]
    assert {"tracker.db", "tracker.db-wal"} <= {one.name for one in files}
    assert {one.name: found_in(day, one.read_bytes()) for one in files} == {one.name: [] for one in files}


@pytest.mark.security("S55", "S18", "S53")
def test_the_log_at_debug_holds_no_secret(day: Day) -> None:
    text = day.tracker.log.read_bytes()
    assert b"/callback" in text
    assert b"/auth/token" in text
    assert found_in(day, text) == []


@pytest.mark.security("S55", "S18")
def test_no_page_that_sets_things_up_shows_a_secret(day: Day) -> None:
    own = [name for name in day.secrets if name == "handle"]
    for page, text in day.shown.items():
        assert found_in(day, text.encode(), *own) == [], page
        assert "Nora Nurse" in text, page


@pytest.mark.security("S55", "S18")
@pytest.mark.parametrize("words", COMMANDS)
def test_no_command_prints_a_secret(day: Day, words: str) -> None:
    said = day.run(*words.split())
    assert said
    assert found_in(day, said.encode()) == []


@pytest.mark.security("S55", "S57")
@pytest.mark.parametrize(
    "path", ["/metrics", "/readyz", "/livez", "/.well-known/jwks.json", "/fhir/metadata", "/login"]
)
def test_nothing_that_strangers_see_holds_a_secret(day: Day, path: str) -> None:
    answer = httpx.get(f"{day.tracker.url}{path}", timeout=60, trust_env=False)
    assert found_in(day, answer.content + str(answer.headers).encode()) == []


@pytest.mark.security("S55")
def test_the_list_of_processes_shows_no_secret(day: Day) -> None:
    pids, lines = [day.tracker.process.pid], list[bytes]()
    while pids:
        pid = pids.pop()
        lines.append(Path(f"/proc/{pid}/cmdline").read_bytes())
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            pids += [int(one) for one in children.read_text().split()]
    assert b"serve" in lines[0]
    assert found_in(day, b"\n".join(lines)) == []
