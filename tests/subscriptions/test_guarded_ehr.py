"""From end to end: a tracker as a process follows an EHR that checks each assertion against our page of keys over HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from fhir_tracker.storage import connections as stored
from fhir_tracker.storage import resources, signing_keys
from fhir_tracker.storage.database import Database
from tests.conformance.server import SECRET, Tracker, running_tracker
from tests.peers.process import free_port
from tests.subscriptions.fake_ehr import FakeEhr
from tests.subscriptions.guarded_ehr import GuardedEhr
from tests.subscriptions.test_commands import Shell

PATIENCE = 90.0


class Clinic:
    """The tracker, the guarded EHR it follows, and questions about both."""

    def __init__(self, tracker: Tracker, ehr: GuardedEhr, database: Database, shell: Shell) -> None:
        self.tracker = tracker
        self.ehr = ehr
        self.database = database
        self.shell = shell

    def brings(self, id_: str) -> None:
        """What changes there is here soon."""
        self.ehr.put(id_)
        wait_for(lambda: id_ in self._held(), f"{id_} is here")

    def is_in(self, state: str) -> bool:
        with self.database.read() as tx:
            found = stored.find(tx, "clinic")
        return found is not None and found.state == state

    def _held(self) -> set[str]:
        with self.database.read() as tx:
            return set(resources.ids_of(tx, "clinic", "Patient"))


def wait_for(what: Callable[[], object], name: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, f"never: {name}"
        time.sleep(0.1)


@pytest.fixture
def clinic(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Clinic]:
    url, port = f"sqlite:///{tmp_path}/t.db", free_port()
    public = f"http://127.0.0.1:{port}"
    monkeypatch.setenv("FHIR_TRACKER_SECRET_KEY", SECRET)
    monkeypatch.setenv("FHIR_TRACKER_PUBLIC_URL", public)
    with running_tracker(url, tmp_path, "--port", str(port), "--public-url", public) as tracker:
        ehr = GuardedEhr(FakeEhr(), "tracker", f"{public}/.well-known/jwks.json")
        with closing(Database.open(url)) as database:
            yield Clinic(tracker, ehr, database, Shell(url, capsys))
        ehr.stop()


@pytest.mark.fault("F28")
@pytest.mark.requirement(102, 103)
def test_tokens_are_had_renewed_lost_refused_and_had_again_and_nothing_secret_is_shown(clinic: Clinic) -> None:
    ehr, shell = clinic.ehr, clinic.shell
    signed = ("--auth", "private_key_jwt", "--client-id", "tracker")
    shell.add("clinic", "--poll", "1s", "--types", "Patient", *signed, base=ehr.base_url)
    assert f"{clinic.tracker.url}/.well-known/jwks.json" in shell.out
    clinic.brings("first")
    assert (ehr.complaints, ehr.pages_read, len(ehr.shown)) == ([], 1, 1)

    ehr.forget_tokens()
    clinic.brings("after-a-401")
    assert (len(ehr.shown), ehr.pages_read) == (2, 1)

    assert shell.run("keys", "rotate", "--alg", "ES384", "--now") == 0
    ehr.forget_tokens()
    clinic.brings("after-a-rotation")
    assert [one.header["alg"] for one in ehr.shown] == ["RS384", "RS384", "ES384"]
    assert (ehr.pages_read, ehr.complaints) == (2, [])

    ehr.refusal = "CANARY"
    ehr.forget_tokens()
    wait_for(lambda: clinic.is_in("auth_failed"), "the connection says that it is not let in")
    told = shell.json("connection", "show", "clinic")
    assert "register the client id tracker" in told["lastError"]
    ehr.refusal = ""
    clinic.brings("let-in-again")
    assert shell.json("connection", "test", "clinic")["authentication"]["state"] == "accepted"
    assert_nothing_secret(clinic)


def assert_nothing_secret(clinic: Clinic) -> None:
    """No log, page, figure or command shows a token, an assertion, the secret key or the private half of a key."""
    shell = clinic.shell
    shown = clinic.tracker.log.read_text()
    for words in (("connection", "show", "clinic"), ("connection", "list"), ("keys", "list"), ("doctor",)):
        for form in ((), ("--json",)):
            shell.run(*words, *form)
            shown += shell.out + shell.err
    for page in ("/metrics", "/.well-known/jwks.json", "/readyz"):
        shown += httpx.get(f"{clinic.tracker.url}{page}", trust_env=False, timeout=60).text
    with clinic.database.read() as tx:
        sealed = [one.sealed for one in signing_keys.all(tx)]
    for secret in ("CANARY", SECRET, "made-up-token", *clinic.ehr.texts, *sealed):
        assert secret not in shown
    assert not {"d", "p", "q"} & {name for key in published(clinic) for name in key}


def published(clinic: Clinic) -> list[dict[str, str]]:
    page = httpx.get(f"{clinic.tracker.url}/.well-known/jwks.json", trust_env=False, timeout=60)
    found: list[dict[str, str]] = json.loads(page.text)["keys"]
    return found
