"""F5 and F6: the server is killed while an EHR tells it of a change, after that was written down and before."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
import respx

from fhir_tracker.storage.database import Database
from tests.peers.process import Process, answers, free_port
from tests.subscriptions.fake_ehr import FakeEhr
from tests.subscriptions.listener import Listener
from tests.subscriptions.subscribing import Subscriptions

SERVER = """
import os, sys, uvicorn
from api.app import create_app
from api.context import Access, AppContext
from fhir_tracker import clock
from fhir_tracker.config import load_settings
from fhir_tracker.storage.database import Database

url, port, killed = sys.argv[1:]
app = create_app(AppContext(
    database=Database.open(url), settings=load_settings({"HOME": "/nowhere"}, database=url), access=Access.LOCKED,
    public_url=f"http://127.0.0.1:{port}", secret_key="k" * 40, started_at=clock.now(),
))

async def mortal(scope, receive, send):
    async def hear():
        message = await receive()
        if killed == "before":
            os._exit(9)
        return message

    async def say(message):
        if killed == "after":
            os._exit(9)
        await send(message)

    is_hook = scope["type"] == "http" and scope["path"].startswith("/hooks")
    await app(scope, hear if is_hook else receive, say if is_hook else send)

uvicorn.run(mortal, host="127.0.0.1", port=int(port), access_log=False)
"""


@contextmanager
def server(url: str, folder: Path, killed: str) -> Iterator[str]:
    """A server that is killed by its first notification, `before` or `after` that was kept, or `never`; its hook."""
    port = free_port()
    process = Process([sys.executable, "-c", SERVER, url, str(port), killed], log=folder / f"{killed}.log")
    address = f"http://127.0.0.1:{port}"
    try:
        process.wait_until(answers(f"{address}/livez"), seconds=60, what="the server")
        yield f"{address}/hooks/clinic"
    finally:
        process.stop()


@pytest.fixture
def ehr() -> Iterator[FakeEhr]:
    made = FakeEhr()
    with respx.mock(assert_all_called=False) as router:
        made.serve(router)
        yield made


@pytest.fixture
def there(ehr: FakeEhr) -> Subscriptions:
    return Subscriptions(ehr)


@pytest.fixture
def listener(database: Database, ehr: FakeEhr, there: Subscriptions) -> Listener:
    made = Listener(database, ehr)
    made.sync()
    return made


def tell(hook: str, secret: str) -> int | None:
    """What the EHR is answered, None when the connection breaks."""
    body = {"resourceType": "Patient", "id": "a", "meta": {"versionId": "1"}}
    try:
        answer = httpx2.put(f"{hook}/Patient/a", json=body, headers={"X-Hook-Secret": secret}, trust_env=False)
    except httpx2.TransportError:
        return None
    return answer.status_code


@pytest.mark.fault("F5")
@pytest.mark.requirement(70, 73)
def test_f5_killed_after_it_was_kept_the_repeat_is_the_same_news(
    ready_url: str, listener: Listener, there: Subscriptions, ehr: FakeEhr, tmp_path: Path
) -> None:
    ehr.put("Patient", "a")
    with server(ready_url, tmp_path, "after") as hook:
        assert tell(hook, there.secret()) is None
    assert [(one.remote_id, one.times) for one in listener.waiting()] == [("a", 1)]
    with server(ready_url, tmp_path, "never") as hook:
        assert tell(hook, there.secret()) == 204
    assert [(one.remote_id, one.times) for one in listener.waiting()] == [("a", 2)]
    listener.pass_time(3600)
    listener.work()
    assert (len(listener.versions("a")), listener.waiting()) == (1, [])


@pytest.mark.fault("F6")
@pytest.mark.requirement(73, 78)
@pytest.mark.parametrize("repeats", [True, False])
def test_f6_killed_before_it_was_kept_the_repeat_or_the_poll_brings_it(
    ready_url: str, listener: Listener, there: Subscriptions, ehr: FakeEhr, tmp_path: Path, repeats: bool
) -> None:
    ehr.put("Patient", "a")
    with server(ready_url, tmp_path, "before") as hook:
        assert tell(hook, there.secret()) is None
    assert listener.waiting() == []
    listener.pass_time(3600)
    if repeats:
        with server(ready_url, tmp_path, "never") as hook:
            assert tell(hook, there.secret()) == 204
        listener.work()
    else:
        listener.sync()
    assert (listener.held(), len(listener.versions("a"))) == ({"a"}, 1)
