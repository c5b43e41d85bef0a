"""A fake EHR as a process of its own: one port speaks FHIR and goes wrong as told, the other tells it so and knows the truth.

Run as `python -m tests.faults.ehr_server FHIR_PORT CONTROL_PORT`. The logic is that of the EHR in memory; here it meets
real sockets: answers cut off, dripping, packed too well, from elsewhere, or none.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import re
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from fhir_tracker.fhir.dates import instant
from tests.subscriptions.fake_ehr import BASE
from tests.subscriptions.subscribing import Subscriptions
from tests.subscriptions.writing_ehr import WritingEhr

CANARY = "Canary-Qx7vz"
VERSION = "urn:synthetic:version"
BOMB_BYTES = 60_000_000
DRIP_SECONDS = 0.2
ACTS = frozenset(
    {"commit", "notify", "write_all", "put_odd", "delete", "switch", "pass_time", "expire_pages", "reset"}
    | {"spoil_subscriptions", "forget_subscriptions"}
)
_HEADERS = ("content-type", "date", "etag", "location")


class LiveEhr(WritingEhr):
    """An EHR with late commits, paging by rows and notifications; every row says by itself which version it is."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.RLock()
        self.offset = False
        self.runs = False
        self.late: list[tuple[float, str, str, int, str, str]] = []
        self.faults: list[dict[str, Any]] = []
        self.seen: list[dict[str, Any]] = []
        self.subscriptions = Subscriptions(self)
        self.heard: list[int] = []
        self._began = time.monotonic()
        self._start = self.now

    def write(self, type_: str, id_: str, *, stamp: str = "", late: float = 0, **members: Any) -> None:
        """A new version; `late` seconds pass until it can be seen, under a stamp of now."""
        with self.lock:
            number = self.versions.get((type_, id_), 0) + 1
            self.versions[type_, id_] = number
            told = stamp or self.stamp()
            text = json.dumps(self._body(type_, id_, number, told) | members)
            if late:
                self.late.append((self.now.timestamp() + late, type_, id_, number, text, told))
            else:
                self.put_text(type_, id_, text, told)

    def commit(self, seed: int, writers: int, each: int) -> None:
        """So many writers at once: each takes its stamp, dawdles, and is seen only then."""

        def work(writer: int) -> None:
            chance = random.Random(seed * 100 + writer)
            for number in range(each):
                with self.lock:
                    at = instant(self.now + self.skew)
                time.sleep(chance.uniform(0, 0.01))
                self.write("Patient", f"w{writer}-{seed}-{number}", stamp=at)

        with ThreadPoolExecutor(writers) as pool:
            list(pool.map(work, range(writers)))

    def write_all(self, rows: list[dict[str, Any]]) -> None:
        """Many new versions."""
        for one in rows:
            self.write(**one)

    def put_odd(self, type_: str, id_: str, text: str, stamp: str) -> None:
        """A new version that is just this text."""
        self.versions[type_, id_] = self.versions.get((type_, id_), 0) + 1
        self.put_text(type_, id_, text, stamp)

    def switch(self, **switches: Any) -> None:
        """Set how it behaves."""
        for name, value in switches.items():
            setattr(self, name, timedelta(seconds=value) if name == "skew" else value)

    def spoil_subscriptions(self, **members: Any) -> None:
        """Somebody changes the Subscriptions."""
        for one in self.subscriptions.held.values():
            one.update(members)

    def forget_subscriptions(self) -> None:
        """The Subscriptions are gone."""
        self.subscriptions.held.clear()

    def reset(self) -> None:
        """As it began."""
        self.__dict__.update(LiveEhr().__dict__ | {"lock": self.lock})
        self.subscriptions = Subscriptions(self)

    def truth(self) -> dict[str, Any]:
        """What it holds, and what it held: `Type/id` -> text (None when deleted) and version."""
        with self.lock:
            self.appear()
            keys = {*self.versions, *self.texts}
            return {
                f"{type_}/{id_}": {"text": self.texts.get((type_, id_)), "version": self.versions.get((type_, id_), 0)}
                for type_, id_ in sorted(keys)
            }

    def appear(self) -> None:
        """Let time pass by itself where it does, and let be seen what was late."""
        if self.runs:
            self.now = self._start + timedelta(seconds=time.monotonic() - self._began)
        due = [one for one in self.late if one[0] <= self.now.timestamp()]
        self.late = [one for one in self.late if one not in due]
        for _, type_, id_, number, text, told in due:
            if self.versions[type_, id_] == number:
                self.put_text(type_, id_, text, told)

    def fault_for(self, asked: str) -> dict[str, Any]:
        """The fault that this request meets, used up by one."""
        for fault in self.faults:
            if not re.search(fault.get("match", ""), asked) or fault.get("times", 1) <= 0:
                continue
            if fault.get("skip", 0) > 0:
                fault["skip"] -= 1
                continue
            fault["times"] = fault.get("times", 1) - 1
            return fault
        return {}

    def respond(self, request: httpx.Request) -> httpx.Response:
        with self.lock:
            self.appear()
            self.seen.append(
                {"url": str(request.url), "method": request.method, "auth": "authorization" in request.headers}
            )
            return self._answer(request)

    def answer(self, request: httpx.Request) -> httpx.Response:
        type_ = request.url.path.rpartition("/")[2]
        if not self.offset or request.method != "GET" or type_ not in ("Patient", "CarePlan"):
            return super().answer(request)
        size, self.page_size = self.page_size, 100_000
        whole = json.loads(super().answer(request).text)["entry"]
        self.page_size = size
        start = int(request.url.params.get("_offset", 0))
        following = f"{BASE}/{type_}?{request.url.copy_set_param('_offset', start + size).query.decode()}"
        entries = [json.dumps(one) for one in whole[start : start + size]]
        return self.bundle(entries, following=following if start + size < len(whole) else None)

    def notify(self, order: list[dict[str, Any]]) -> list[int]:
        """Send notifications to the Subscription that is held, as told; the answers' statuses, 0 for none."""
        held = self.subscriptions.only()["channel"]
        secret = dict(line.split(": ", 1) for line in held["header"])
        statuses = []
        for one in order:
            headers = {"content-type": "application/fhir+json", **(secret if one.get("secret", True) else {})}
            try:
                answer = httpx.request(
                    one.get("method", "POST"),
                    held["endpoint"] + one.get("path", ""),
                    headers=headers,
                    content=json.dumps(one["body"]) if "body" in one else b"",
                    timeout=60,
                    trust_env=False,
                )
                statuses.append(answer.status_code)
            except httpx.TransportError:
                statuses.append(0)
        return statuses

    def _body(self, type_: str, id_: str, number: int, stamp: str) -> dict[str, Any]:
        body: dict[str, Any] = {"resourceType": type_, "id": id_}
        body["meta"] = {"versionId": str(number), "lastUpdated": stamp}
        body["identifier"] = [{"system": VERSION, "value": str(number)}]
        if type_ == "Patient":
            return body | {"name": [{"family": CANARY}]}
        return body | {"status": "active", "intent": "plan", "subject": {"reference": "Patient/p0"}}


class FhirSide:
    """The FHIR port, as a bare ASGI application: it must be able to break the rules of HTTP."""

    def __init__(self, ehr: LiveEhr) -> None:
        self._ehr = ehr
        self._bomb = gzip.compress(b" " * BOMB_BYTES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        asked = f"{request.url.path}?{request.url.query}"
        with self._ehr.lock:
            fault = self._ehr.fault_for(f"{request.method} {asked}")
        kind = fault.get("do", "")
        if kind == "hang":
            await asyncio.sleep(fault["seconds"])
        base = f"http://{request.headers['host']}/fhir"
        headers, body = dict(fault.get("headers", {})), b""
        if kind == "status":
            outcome = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "transient"}]}
            status, body = fault["status"], json.dumps(outcome).encode()
            headers = {"content-type": "application/fhir+json"} | headers
        elif kind == "body":
            status, body = fault.get("status", 200), fault["text"].encode()
        elif kind == "bomb":
            status, body = 200, self._bomb
            headers = {"content-type": "application/fhir+json", "content-encoding": "gzip"}
        else:
            status, headers, body = await self._served(request, base, fault)
        await _sent(send, status, headers, body, kind)

    async def _served(self, request: Request, base: str, fault: Mapping[str, Any]) -> tuple[int, dict[str, str], bytes]:
        told = {name: value for name, value in request.headers.items() if name != "host"}
        url = f"https://ehr.example{request.url.path}?{request.url.query}"
        asked = httpx.Request(request.method, url, headers=told, content=await request.body())
        answer = await run_in_threadpool(self._ehr.respond, asked)
        text = answer.text.replace(BASE, base)
        if "next" in fault:
            value = json.loads(text)
            there = str(request.url) if fault["next"] == "self" else fault["next"]
            value["link"] = [one for one in value["link"] if one["relation"] != "next"]
            value["link"].append({"relation": "next", "url": there})
            text = json.dumps(value)
        headers = {name: answer.headers[name].replace(BASE, base) for name in _HEADERS if name in answer.headers}
        return answer.status_code, headers | fault.get("headers", {}), text.encode()


async def _sent(send: Send, status: int, headers: Mapping[str, str], body: bytes, kind: str) -> None:
    told = {**headers, "content-length": str(len(body))}
    raw = [(name.encode(), value.encode()) for name, value in told.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    if kind == "drip":
        for place in range(len(body)):
            await send({"type": "http.response.body", "body": body[place : place + 1], "more_body": True})
            await asyncio.sleep(DRIP_SECONDS)
    sent = body[: len(body) // 2] if kind == "truncate" else body
    await send({"type": "http.response.body", "body": b"" if kind == "drip" else sent})


def control(ehr: LiveEhr) -> Starlette:
    """The control port: each address is an act on the EHR or a question about it."""

    def act(order: Mapping[str, Any]) -> Any:
        what, given = order["act"], order.get("with", {})
        assert what in ACTS, what
        if what in ("commit", "notify"):
            return getattr(ehr, what)(**given)
        with ehr.lock:
            return getattr(ehr, what)(**given)

    async def acted(request: Request) -> JSONResponse:
        return JSONResponse({"done": await run_in_threadpool(act, await request.json())})

    async def asked(request: Request) -> JSONResponse:
        with ehr.lock:
            held = list(ehr.subscriptions.held.values())
            created = ehr.created
            return JSONResponse({"truth": ehr.truth(), "seen": ehr.seen, "subscriptions": held, "created": created})

    return Starlette(routes=[Route("/", acted, methods=["POST"]), Route("/", asked, methods=["GET"])])


async def serve(fhir_port: int, control_port: int) -> None:
    """Both ports until the process is ended."""
    ehr = LiveEhr()
    sides: list[tuple[Any, int]] = [(FhirSide(ehr), fhir_port), (control(ehr), control_port)]
    servers = []
    for app, port in sides:
        config = uvicorn.Config(app, "127.0.0.1", port, log_level="critical", lifespan="off", date_header=False)
        servers.append(uvicorn.Server(config))
    await asyncio.gather(*(one.serve() for one in servers))


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
