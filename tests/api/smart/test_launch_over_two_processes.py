"""A launch that begins at one server process, comes back at another, and is worked on at both, over HTTP on PostgreSQL."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest

from fhir_tracker import accounts, clock, connections, issuers, local_accounts
from fhir_tracker.issuers import Terms
from fhir_tracker.roles import built_in
from fhir_tracker.storage.database import Database
from tests.conformance.server import SECRET, running_tracker
from tests.peers.postgres.server import Copies, Postgres
from tests.support.codes import code_at
from tests.support.other_servers import CLIENT, Park, Server, park

PUBLIC = "http://127.0.0.1:8099"
PASSWORD = "a made-up password"
LOCAL = {"FHIR_TRACKER_LOCAL_LOGIN": "on"}


@dataclass
class Pair:
    """Two processes of one practice, and the EHR of its staff; `totp` is the secret of Ada's app."""

    urls: tuple[str, str]
    ehr: Server
    database: Database
    totp: str
    cookies: dict[str, str] = field(default_factory=dict)

    def ask(
        self, which: int, path: str, form: Mapping[str, str] | None = None, cookies: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """A request of one browser to one of the processes, under the name that both are known by."""
        held = self.cookies if cookies is None else cookies
        headers = {"Host": urlsplit(PUBLIC).netloc, "Cookie": "; ".join(f"{k}={v}" for k, v in held.items())}
        answer = httpx.request(
            "GET" if form is None else "POST",
            self.urls[which] + path,
            data=dict(form) if form is not None else None,
            headers=headers | ({"Origin": PUBLIC} if form is not None else {}),
            follow_redirects=False,
            trust_env=False,
            timeout=120,
        )
        if cookies is None:
            for text in answer.headers.get_list("set-cookie"):
                name, _, rest = text.partition("=")
                self.cookies[name] = rest.partition(";")[0]
        return answer

    def back(self, sent: httpx.Response) -> str:
        """Where the EHR sends somebody whom a process has sent there."""
        assert sent.status_code == 302, sent.text
        self.ehr.asked = dict(parse_qsl(urlsplit(sent.headers["location"]).query))
        assert self.ehr.asked["redirect_uri"] == f"{PUBLIC}/callback"
        return f"/callback?{urlencode({'code': self.ehr.code, 'state': self.ehr.asked['state'], 'iss': f'{self.ehr.at}/auth'})}"

    def launch(self, which: int) -> str:
        """Begin a launch at one of the processes; the address of the way back."""
        params = urlencode({"iss": self.ehr.base, "launch": "x"})
        return self.back(self.ask(which, f"/launch?{params}"))


@pytest.fixture(scope="module")
def servers() -> Iterator[Park]:
    with park() as found:
        yield found


@pytest.fixture(scope="module")
def started(
    postgres: Postgres, copies: Copies, servers: Park, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    """Both processes, over one database."""
    with ExitStack() as undo:
        url = postgres.url(undo.enter_context(copies.one()))
        database = undo.enter_context(closing(Database.open(url)))
        ehr = Server(token={"patient": "p-1", "refresh_token": "r-1", "scope": None})
        key = servers.open(ehr)
        now = clock.now()
        with database.begin() as tx:
            connections.add(tx, key, ehr.base, now=now)
            terms = Terms(url=ehr.base, client_id=CLIENT)
            issuers.of_connection(tx, key, terms, SECRET, now)
            user = "Practitioner/nurse"
            accounts.add(tx, "Nora Nurse", ["rn"], known=built_in(), now=now, connection=key, fhir_user=user)
            _, code, _ = local_accounts.invite(tx, "ada", "Ada Example", ["rn"], known=built_in(), now=now)
        with database.read() as tx:
            invited = local_accounts.invitation(tx, code, SECRET, now)
        first = code_at(invited.key, now)
        local_accounts.enrol(database, invited.kept, PASSWORD, first, SECRET, now)
        folders: list[Path] = [tmp_path_factory.mktemp(name) for name in ("one", "two")]
        urls = [
            undo.enter_context(running_tracker(url, folder, "--public-url", PUBLIC, env=LOCAL)).url
            for folder in folders
        ]
        yield Pair((urls[0], urls[1]), ehr, database, invited.key)


@pytest.fixture
def pair(started: Pair) -> Pair:
    """A browser that nobody has used."""
    started.cookies = {}
    return started


def token_of(page: str) -> str:
    match = re.search(r'name="csrf" value="([^"]+)"', page)
    assert match, page
    return html.unescape(match[1])


@pytest.mark.requirement(90, 97)
@pytest.mark.security("S14", "A6", "S50")
def test_each_step_of_a_launch_is_served_by_whichever_process_is_asked(pair: Pair) -> None:
    answer = pair.ask(1, pair.launch(0))
    assert answer.status_code == 303, answer.text
    home = re.sub("/open$", "", answer.headers["location"])
    opened = pair.ask(0, answer.headers["location"])
    assert opened.status_code == 303
    for which in (0, 1):
        page = pair.ask(which, opened.headers["location"])
        assert (page.status_code, "Pat Synthetic" in page.text) == (200, True)
    csrf = token_of(pair.ask(0, f"{home}/help/keys").text)
    assert pair.ask(1, f"{home}/preferences", {"csrf": csrf, "density": "compact"}).status_code == 303
    assert 'data-density="compact"' in pair.ask(0, f"{home}/help/keys").text
    assert pair.ask(0, f"{home}/stay", {"csrf": csrf}).json()["left"] > 0
    assert pair.ask(0, f"{home}/logout", {"csrf": csrf}).status_code == 200
    for which in (0, 1):
        assert pair.ask(which, opened.headers["location"]).status_code == 401


@pytest.mark.requirement(92)
@pytest.mark.security("S14", "S17")
def test_one_state_counts_once_over_both_processes(pair: Pair) -> None:
    way, tokens = pair.launch(0), len(pair.ehr.forms)
    held = dict(pair.cookies)
    with ThreadPoolExecutor(4) as pool:
        found = sorted(one.status_code for one in pool.map(lambda n: pair.ask(n % 2, way, None, held), range(4)))
    assert found == [303, 400, 400, 400]
    assert len(pair.ehr.forms) == tokens + 1


@pytest.mark.security("S14", "S50")
def test_what_one_process_was_told_counts_at_the_other_at_once(pair: Pair) -> None:
    answer = pair.ask(0, pair.launch(1))
    page = re.sub("/open$", "/help/keys", answer.headers["location"])
    assert [pair.ask(which, page).status_code for which in (0, 1)] == [200, 200]
    with pair.database.read() as tx:
        account = accounts.find(tx, "Practitioner/nurse")
    with pair.database.begin() as tx:
        accounts.disable(tx, account.id, clock.now())
    assert [pair.ask(which, page).status_code for which in (0, 1)] == [401, 401]
    assert pair.ask(1, pair.launch(0)).status_code == 403
    with pair.database.begin() as tx:
        accounts.change_roles(tx, account.id, ["rn"], known=built_in(), now=clock.now())
    pair.cookies = {}
    assert pair.ask(1, pair.launch(0)).status_code == 303


@pytest.mark.security("S56", "M3")
def test_guesses_at_a_local_account_count_over_both_processes_and_a_code_once(pair: Pair) -> None:
    def log_in(which: int, code: str, password: str = PASSWORD) -> httpx.Response:
        csrf = token_of(pair.ask(which, "/login/local").text)
        return pair.ask(which, "/login/local", {"csrf": csrf, "name": "ada", "password": password, "code": code})

    code = code_at(pair.totp, clock.now() + timedelta(seconds=30))
    assert log_in(0, code).status_code == 303
    pair.cookies = {}
    again = log_in(1, code)
    assert (again.status_code, "wrong" in again.text) == (403, True)
    found = [log_in(number % 2, "000000", "another").status_code for number in range(8)]
    assert found[:4] == [403] * 4
    assert set(found[4:]) <= {403, 429}
    assert found[-2:] == [429, 429]


@pytest.mark.security("S56", "M3")
def test_many_guesses_at_once_over_both_processes_are_no_more_than_one_by_one(pair: Pair) -> None:
    csrf = token_of(pair.ask(0, "/login/local").text)
    held = dict(pair.cookies)
    form = {"csrf": csrf, "name": "nobody", "password": "a guess of mine", "code": "000000"}
    with ThreadPoolExecutor(8) as pool:
        found = sorted(
            one.status_code for one in pool.map(lambda n: pair.ask(n % 2, "/login/local", form, held), range(8))
        )
    assert found == [403] * 5 + [429] * 3
