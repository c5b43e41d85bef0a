"""Systems at real servers in processes of their own: tokens of one open all, and no process lets in whom a command shut out."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
from requests.adapters import HTTPAdapter

from api.limits import FAILURES, FAILURES_A_SECOND
from tests.conformance.server import Tracker, running_tracker
from tests.peers.postgres.server import Postgres
from tests.support.loops import in_own_loop
from tests.support.systems import System, key_set

ROOT = Path(__file__).parents[2]
PROGRAM = Path(sys.executable).parent / "fhir-tracker"
PUBLIC = "http://127.0.0.1:9"
TASK = {"resourceType": "Task", "status": "requested", "intent": "order"}


@pytest.fixture(scope="module")
def pair(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Tracker, Tracker]]:
    """Two servers over one database, the first of two processes; all have one public address, as behind a balancer."""
    url = postgres.url(postgres.create())
    with ExitStack() as undo:
        folders = [tmp_path_factory.mktemp(name) for name in ("one", "two")]
        options = ("--no-worker", "--public-url", PUBLIC)
        one = undo.enter_context(running_tracker(url, folders[0], *options, "--processes", "2"))
        yield one, undo.enter_context(running_tracker(url, folders[1], *options))


def command(server: Tracker, *words: str, code: int = 0) -> str:
    """What a command prints, run as an operator runs it."""
    run = subprocess.run(
        [PROGRAM, *words, "--database", server.database],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert run.returncode == code, run.stderr
    return run.stdout


def let_in(server: Tracker, folder: Path, id_: str, scopes: str) -> System:
    """A system with the key `ec`, added by the command."""
    (folder / "keys.json").write_text(json.dumps(key_set("ec")))
    command(server, "client", "add", id_, "--scopes", scopes, "--jwks-file", str(folder / "keys.json"))
    known = httpx.get(f"{server.fhir}/.well-known/smart-configuration", timeout=60, trust_env=False).json()
    return System(id=id_, audience=known["token_endpoint"])


def token_at(server: Tracker, form: dict[str, Any]) -> httpx.Response:
    return httpx.post(f"{server.url}/auth/token", data=form, timeout=60, trust_env=False)


@pytest.mark.requirement(81, 105)
@pytest.mark.security("S50", "A2", "A1")
def test_a_token_opens_every_process_and_none_any_more_after_the_command(
    pair: tuple[Tracker, Tracker], tmp_path: Path
) -> None:
    system = let_in(pair[0], tmp_path, "shut-out", "system/Task.cruds")
    headers = {"Authorization": f"Bearer {token_at(pair[1], system.form('system/Task.cruds')).json()['access_token']}"}
    with ExitStack() as undo:
        clients = [
            undo.enter_context(httpx.Client(base_url=one.fhir, timeout=60, trust_env=False, headers=headers))
            for one in (pair[0],) * 6 + (pair[1],) * 2
        ]
        for _ in range(3):
            assert {one.get("/Task/x").status_code for one in clients} == {404}
        assert clients[0].post("/Task", json=TASK).status_code == 201
        command(pair[0], "client", "revoke", "shut-out")
        assert [one.get("/Task/x").status_code for one in clients] == [401] * 8
        assert [one.post("/Task", json=TASK).status_code for one in clients] == [401] * 8
        assert [one.get("/Task").status_code for one in clients] == [401] * 8
    assert token_at(pair[0], system.form("system/Task.cruds")).json()["error"] == "invalid_client"


@pytest.mark.requirement(105)
@pytest.mark.security("S5", "D1")
def test_an_assertion_shown_to_two_servers_at_the_same_instant_counts_once(
    pair: tuple[Tracker, Tracker], tmp_path: Path
) -> None:
    system = let_in(pair[0], tmp_path, "replayed", "system/Task.rs")
    for _ in range(3):
        form = system.form("system/Task.rs")
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda one, form=form: token_at(one, form), [*pair] * 4))
        assert sorted(one.status_code for one in answers) == [200] + [400] * 7


@pytest.mark.requirement(81, 106)
@pytest.mark.peer
def test_fhirclient_and_fhirpy_work_with_a_token(
    pair: tuple[Tracker, Tracker], tmp_path: Path, peer_versions: dict[str, str]
) -> None:
    system = let_in(pair[0], tmp_path, "python", "system/Task.cruds system/Patient.rs")
    token = token_at(pair[0], system.form("system/Task.cruds system/Patient.rs")).json()["access_token"]
    assert _with_fhirclient(pair[1].fhir, token) == "requested"
    assert set(in_own_loop(lambda: _with_fhirpy(pair[1].fhir, token))) == {"requested"}
    assert set(_with_an_assertion(pair[1].fhir, system.assertion())) == {"requested"}


class _Proxy(HTTPAdapter):
    """What stands at the public address of both servers, and asks one of them."""

    def __init__(self, behind: str) -> None:
        super().__init__()
        self._behind = behind

    def send(self, request: requests.PreparedRequest, *args: Any, **more: Any) -> requests.Response:
        request.url = str(request.url).replace(PUBLIC, self._behind, 1)
        return super().send(request, *args, **more)


def _with_an_assertion(base: str, assertion: str) -> list[str]:
    """What fhirclient finds by its own way of coming in, which learns from `metadata` alone where tokens are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from fhirclient import client
        from fhirclient.models.task import Task

        told = {"app_id": "python", "api_base": base, "jwt_token": assertion, "scope": "system/Task.rs"}
        smart = client.FHIRClient(settings=told)
        smart.server.session.mount(PUBLIC, _Proxy(base.removesuffix("/fhir")))
        smart.prepare()
        smart.authorize()
        return [one.status for one in Task.where({"status": "requested"}).perform_resources(smart.server)]


def _with_fhirclient(base: str, token: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from fhirclient import client
        from fhirclient.models.task import Task

        smart = client.FHIRClient(settings={"app_id": "python", "api_base": base})
        smart.server.session.headers["Authorization"] = f"Bearer {token}"
        made = Task({"status": "requested", "intent": "order"}).create(smart.server)
        return str(Task.read(made["id"], smart.server).status)


async def _with_fhirpy(base: str, token: str) -> list[str]:
    from fhirpy import AsyncFHIRClient

    client = AsyncFHIRClient(base, authorization=f"Bearer {token}")
    return [one["status"] for one in await client.resources("Task").search(status="requested").fetch_all()]


@pytest.mark.requirement(82, 102, 106)
def test_what_the_page_for_clients_says_to_run_works_to_the_letter(
    pair: tuple[Tracker, Tracker], tmp_path: Path
) -> None:
    page = (ROOT / "docs/clients.md").read_text()
    scripts = re.findall(r"```python\n(# (\S+\.py).*?)```", page, re.DOTALL)
    assert [name for _, name in scripts] == ["show_public.py", "ask_token.py"]
    for text, name in scripts:
        (tmp_path / name).write_text(text)
    (making,) = re.findall(r"^openssl .*$", page, re.MULTILINE)
    subprocess.run(making.split(), cwd=tmp_path, check=True, capture_output=True, timeout=60)
    shown = _run(tmp_path, "show_public.py", "reports-private.pem")
    (tmp_path / "reports-public.json").write_text(shown)
    command(
        pair[0],
        *"client add reports --scopes system/Task.rs --jwks-file".split(),
        str(tmp_path / "reports-public.json"),
    )
    known = httpx.get(f"{pair[0].fhir}/.well-known/smart-configuration", timeout=60, trust_env=False).json()
    assert known["token_endpoint"].startswith(f"{PUBLIC}/")
    script = (tmp_path / "ask_token.py").read_text()
    (tmp_path / "ask_token.py").write_text(
        re.sub(r"httpx\.post\(\s*token_url", f'httpx.post("{pair[0].url}/auth/token"', script)
    )
    token = _run(tmp_path, "ask_token.py", pair[0].fhir, "reports", "system/Task.rs", "reports-private.pem").strip()
    headers = {"Authorization": f"Bearer {token}"}
    answer = httpx.get(f"{pair[0].fhir}/Task?status=requested", headers=headers, timeout=60, trust_env=False)
    assert answer.status_code == 200


def _run(folder: Path, *words: str) -> str:
    run = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.security("S18", "S55", "L1")
def test_neither_tokens_nor_assertions_reach_the_log(pair: tuple[Tracker, Tracker], tmp_path: Path) -> None:
    system = let_in(pair[0], tmp_path, "logged", "system/Task.rs")
    form = system.form("system/Task.rs")
    token = token_at(pair[0], form).json()["access_token"]
    bad = system.assertion(aud="http://other.example")
    token_at(pair[0], {**form, "client_assertion": bad})
    for headers in ({"Authorization": f"Bearer {token}"}, {"Authorization": "Bearer made-up-by-somebody"}):
        httpx.get(f"{pair[0].fhir}/Task?access_token=made-up-too", headers=headers, timeout=60, trust_env=False)
        httpx.get(f"{pair[0].fhir}/Task", headers=headers, timeout=60, trust_env=False)
    written = pair[0].log.read_text()
    assert "/auth/token" in written
    for secret in (token, form["client_assertion"], bad, "made-up-by-somebody", "made-up-too"):
        assert secret not in written


@pytest.mark.security("S56", "M3")
def test_who_guesses_is_counted_by_all_processes_together(pair: tuple[Tracker, Tracker]) -> None:
    """More than one process alone would let pass in that time, shown to each in turn; the last test, for it slows this address."""
    found: list[httpx.Response] = []
    with httpx.Client(timeout=60, trust_env=False) as client:
        for number in range(400):
            shown = {"Authorization": f"Bearer ft1_{number:043d}"}
            found.append(client.get(f"{pair[number % 2].fhir}/Task", headers=shown))
    slowed = [one for one in found if one.status_code == 429]
    assert {one.status_code for one in found} == {401, 429}
    seconds = sum(one.elapsed.total_seconds() for one in found)
    assert len(found) - len(slowed) <= FAILURES + FAILURES_A_SECOND * seconds * 2 + 1
    assert all(int(one.headers["retry-after"]) >= 1 for one in slowed)
    assert all(one.json()["resourceType"] == "OperationOutcome" for one in found)
