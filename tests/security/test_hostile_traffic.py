"""Chance sends hostile requests to every route as every kind of caller: none is a mistake of ours, and every answer is inert.

`HOSTILE=20000` in the environment sends so many, with new ones each time; a failure names the request and the seed, and
`HOSTILE_SEED=1` sends those of that seed again.
"""

from __future__ import annotations

import json
import os
import random
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

import pytest
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message

from api.app import create_app
from api.context import Access
from api.fhir.routes import ROUTES
from fhir_tracker import access_tokens, clock
from fhir_tracker.access_tokens import NewToken
from fhir_tracker.config import load_settings
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.schema import prepare
from tests.security.test_policies import routes_of
from tests.support.clinic import Clinic
from tests.support.contexts import context_of
from tests.support.hostile_traffic import MARK, METHODS, SCRIPT, TEXTS, Hostile, Wire, wrapped
from tests.support.launched import Tab, launched, person
from tests.support.loops import in_own_loop
from tests.support.matrix import world
from tests.support.systems import let_in

HOW_MANY = int(os.environ.get("HOSTILE", "500"))
SEED = int(os.environ.get("HOSTILE_SEED") or (random.randrange(2**32) if "HOSTILE" in os.environ else 1))
SCOPES = ("system/*.cruds", "system/*.rs", "system/Task.cruds?status=requested", "system/Patient.rs")
LONGEST_SECONDS = 2.0
"""Of processor time, for one request; what is asked here is small, and takes thousandths."""
ENV = {"HOME": "/nowhere", "FHIR_TRACKER_RATE_LIMIT": "off", "FHIR_TRACKER_LOCAL_LOGIN": "yes"}
KEPT = ("/static", "/favicon.ico", "/.well-known/")
"""What caches may keep, for nothing of anybody is in it."""
MAY_FAIL = {501, 502}
"""What FHIR does not have us do, and what an EHR that is not there did not answer."""
ALIVE = re.compile(rf"<script>{MARK}|<img src=x onerror={MARK}|(?:href|src|action)=[\"']?javascript:")


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    text: str
    seconds: float

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")


@dataclass
class World:
    """A secured server with work of two patients, and who comes to it."""

    database: Database
    app: ASGIApp
    tokens: Sequence[str]
    tabs: list[Tab]
    ids: Sequence[str]

    def tab(self, chart: bool) -> Tab:
        """A tab of somebody with every role, opened anew where the last one was closed."""
        held = self.tabs[chart]
        if held.get("/session").status_code != 200:
            held = self.tabs[chart] = opened(self.database, held.client, chart)
            held.csrf = held.token()
        return held


def opened(database: Database, client: Any, chart: bool) -> Tab:
    now = clock.now()
    account = person(
        database,
        f"all{random.randrange(2**60)}",
        "clinic-admin",
        "rn",
        "auditor",
        "provider",
        "care-coordinator",
        "front-desk",
        now=now,
    )
    return Tab(client, *launched(database, account, now, patient="rosa" if chart else None))


@pytest.fixture(scope="module")
def world_of(empty_url: str) -> Iterator[World]:
    with closing(Database.open(empty_url)) as database, ExitStack() as undo:
        prepare(database)
        now = clock.now()
        clinic = Clinic(database, at=now - timedelta(days=30))
        for name in ("rosa", "ivo"):
            clinic.patient(name, now - timedelta(days=30))
            clinic.discharge(name, now - timedelta(days=3))
        settings = load_settings(ENV)
        app = create_app(replace(context_of(database, access=Access.LOCKED), settings=settings))
        client = undo.enter_context(closing(TestClient(app, base_url="http://testserver")))
        tokens = []
        with database.begin() as tx:
            refs = [str(one) for (one,) in tx.connection.exec_driver_sql("SELECT ref FROM work_item ORDER BY ref")]
        for number, scope in enumerate(SCOPES):
            system = let_in(database, scope, id_=f"system-{number}")
            with database.begin() as tx:
                made = access_tokens.issue(tx, system, scope, timedelta(hours=1), clock.now())
            assert isinstance(made, NewToken)
            tokens.append(made.value)
        ids = [*refs, "Patient/rosa", "Patient/ivo", "x1", "ring", "north"]
        yield World(database, app, tokens, [opened(database, client, False), opened(database, client, True)], ids)


async def sent(app: ASGIApp, wire: Wire) -> Answer:
    """The answer to a request as uvicorn would hand it on, which changes nothing in an address."""
    told: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": wire.body, "more_body": False}

    async def send(message: Message) -> None:
        told.append(message)

    path, _, query = wire.target.partition("?")
    headers = {"host": b"testserver", **{name.lower(): value for name, value in wire.headers.items()}}
    if wire.body:
        headers |= {"content-length": str(len(wire.body)).encode()}
    scope: dict[str, Any] = {
        "type": "http",
        "method": wire.method,
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "scheme": "http",
        "server": ("testserver", 80),
        "client": ("203.0.113.7", 5000),
        "headers": [(name.encode(), value) for name, value in headers.items()],
        "root_path": "",
        "http_version": "1.1",
    }
    began = time.process_time()
    await app(scope, receive, send)
    body = b"".join(one.get("body", b"") for one in told[1:])
    return Answer(
        status=told[0]["status"],
        headers=[(name.decode(), value.decode("latin-1")) for name, value in told[0]["headers"]],
        text=body.decode("utf-8", "replace"),
        seconds=time.process_time() - began,
    )


def routes_for(app: Any) -> list[tuple[str, tuple[str, ...]]]:
    """Each route with its methods; those of pages and of the API in equal parts."""
    pages: list[tuple[str, tuple[str, ...]]] = []
    for route in (one for outer in app.routes for one in routes_of(outer)):
        assert isinstance(route, Route | Mount)
        path = f"{route.path}/{{id}}" if isinstance(route, Mount) else route.path
        pages.append((path, tuple(sorted(getattr(route, "methods", None) or {"GET", "POST"}))))
    fhir = [(one.name, tuple(sorted(one.actions))) for one in ROUTES]
    return [*pages, *fhir * max(1, len(pages) // len(fhir))]


def wires(world: World, source: Hostile, chance: random.Random) -> Iterator[tuple[str, Wire]]:
    routes = routes_for(world.app)
    while True:
        template, methods = chance.choice(routes)
        method = chance.choice(methods) if chance.random() < 0.9 else chance.choice(METHODS)
        shown: dict[str, bytes] = {}
        if "{launch}" in template:
            tab = world.tab(chance.random() < 0.4)
            wire = source.request(method, template, {"csrf": tab.csrf or tab.token()})
            wire = replace(wire, target=wire.target.replace("{launch}", tab.session.id))
            shown = {name: value.encode() for name, value in tab.shown.items()}
        else:
            wire = source.request(method, template)
            if template.startswith("/fhir") and chance.random() < 0.95:
                shown = {"Authorization": f"Bearer {chance.choice(world.tokens)}".encode()}
        yield template, replace(wire, headers={**wire.headers, **shown})


def _outcome_faults(text: str) -> Iterator[str]:
    try:
        if json.loads(text)["resourceType"] != "OperationOutcome":
            yield "another resource than an OperationOutcome"
    except (ValueError, KeyError, TypeError):
        yield "no OperationOutcome"


def faults(template: str, wire: Wire, answer: Answer) -> Iterator[str]:
    """What is wrong with an answer."""
    kind = answer.header("content-type")
    names = [name for name, _ in answer.headers]
    if answer.status >= 500 and answer.status not in MAY_FAIL:
        yield "a mistake of ours"
    if "Traceback" in answer.text or 'File "/' in answer.text:
        yield "a trace"
    if template.startswith("/fhir") and answer.status >= 400 and wire.method != "HEAD":
        yield from _outcome_faults(answer.text)
    if "html" in kind and ALIVE.search(answer.text):
        yield "text that became markup"
    if "default-src" not in answer.header("content-security-policy"):
        yield "no policy"
    if answer.header("x-content-type-options") != "nosniff" or "cache-control" not in names:
        yield "no nosniff or no cache-control"
    if not template.startswith(KEPT) and "no-store" not in answer.header("cache-control"):
        yield "what caches may keep"
    if "x-injected" in names or len(names) != len({*names} - {"set-cookie"}) + names.count("set-cookie"):
        yield "a header too many"
    if re.match(r"(?:[a-z]+:)?[/\\]{2}(?!testserver)|[a-z]+:(?!//testserver)", answer.header("location")):
        yield "a way to another site"
    if answer.seconds > LONGEST_SECONDS:
        yield f"{answer.seconds:.1f} s"


@pytest.mark.security("S34", "S32", "S25", "S16", "S23", "L3", "A1")
def test_nothing_that_is_sent_is_a_mistake_of_ours_or_comes_back_alive(world_of: World) -> None:
    chance = random.Random(SEED)
    made = wires(world_of, Hostile(SEED, world_of.ids, [*world(), *wrapped(world())]), chance)
    found: list[str] = []
    seen = Counter[tuple[str, int]]()

    async def send_all() -> None:
        for _ in range(HOW_MANY):
            template, wire = next(made)
            answer = await sent(world_of.app, wire)
            seen[template.split("/")[1], answer.status // 100] += 1
            found.extend(f"{one}: {answer.status} for {wire.name}" for one in faults(template, wire, answer))

    in_own_loop(send_all, seconds=3_000)
    assert not found, f"seed {SEED}: " + "\n".join(found[:20])
    assert min(seen["fhir", 2], seen["fhir", 4], seen["l", 2], seen["l", 4]) > HOW_MANY // 60, f"shut out: {seen}"


@pytest.mark.security("S34")
def test_the_same_seed_sends_the_same_and_every_text_can_be_sent() -> None:
    def some(seed: int) -> list[Wire]:
        source = Hostile(seed, ["Patient/rosa"], world())
        return [source.request("POST", one) for one in ("/fhir/{type}/{id}", "/l/{launch}/find", "/auth/token")]

    assert some(1) == some(1) != some(2)
    assert len(set(TEXTS)) == len(TEXTS) > 150
    for text in TEXTS:
        source = Hostile(0, [text], world())
        for wire in (source.request("GET", "/fhir/{type}/{id}"), source.request("PUT", "/tasks/{id}")):
            assert wire.target.isascii()
            assert not re.search(r"[\x00-\x20\x7f]", wire.target), "what no client can send tests nothing"
            unquote_to_bytes(wire.target)


@pytest.mark.security("S25", "S34")
@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"status": 500, "text": '{"resourceType":"OperationOutcome"}'}, "a mistake of ours"),
        ({"text": 'Traceback\n  File "/x"'}, "a trace"),
        ({"status": 404, "text": "{}"}, "no OperationOutcome"),
        ({"status": 404, "text": '{"resourceType":"Basic"}'}, "another resource than an OperationOutcome"),
        ({"text": SCRIPT, "more": [("content-type", "text/html")]}, "text that became markup"),
        ({"without": "content-security-policy"}, "no policy"),
        ({"without": "x-content-type-options"}, "no nosniff or no cache-control"),
        ({"more": [("cache-control", "private")]}, "what caches may keep"),
        ({"more": [("x-injected", "1")]}, "a header too many"),
        ({"more": [("location", "//evil.example/x")]}, "a way to another site"),
        ({"more": [("location", "https://evil.example/x")]}, "a way to another site"),
        ({"more": [("location", "javascript:alert(1)")]}, "a way to another site"),
        ({"seconds": 3.0}, "3.0 s"),
    ],
)
def test_what_is_looked_for_is_found(change: dict[str, Any], fault: str) -> None:
    headers = [
        ("content-type", "application/fhir+json"),
        ("content-security-policy", "default-src 'none'"),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-store"),
        ("location", "/fhir/Task/1"),
    ]
    wire = Wire(method="GET", target="/fhir/Task/1")
    good = Answer(status=200, headers=headers, text="", seconds=0.0)
    assert list(faults("/fhir/{type}/{id}", wire, good)) == []
    more = change.pop("more", [])
    replaced = {name for name, _ in more} | {change.pop("without", "")}
    left = [pair for pair in headers if pair[0] not in replaced]
    wrong = replace(good, headers=[*left, *more], **change)
    assert list(faults("/fhir/{type}/{id}", wire, wrong)) == [fault]
