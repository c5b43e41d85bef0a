"""An EHR in memory that also takes writes, as FHIR says or as its switches tell it, and counts what it was made to do."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import respx

from tests.subscriptions.fake_ehr import BASE, FakeEhr

TYPES = ("Patient", "CarePlan", "Task", "Appointment", "Communication", "DocumentReference")
Fault = Callable[[httpx.Request], httpx.Response | None]


class WritingEhr(FakeEhr):
    """`stale` is the status for an old If-Match; `before` and `after` may answer a write (or raise) before or after it is done.

    `claims` is what it says of conditional creates, when that is not the truth; `drops` are fields it does not keep, `hidden`
    the ids that no search shows yet.
    """

    def __init__(self) -> None:
        super().__init__()
        self.takes: dict[str, tuple[str, ...]] = dict.fromkeys(TYPES, ("create", "update", "patch"))
        self.conditional = True
        self.claims: bool | None = None
        self.drops: frozenset[str] = frozenset()
        self.hidden: set[str] = set()
        self.versioned = True
        self.needs_match = False
        self.stale = 412
        self.before: list[Fault] = []
        self.after: list[Fault] = []
        self.writes: list[httpx.Request] = []
        self.created = 0

    def held(self, type_: str, id_: str) -> dict[str, Any]:
        """What it holds now."""
        found: dict[str, Any] = json.loads(self.texts[type_, id_])
        return found

    def of(self, type_: str) -> list[dict[str, Any]]:
        """All of a type, in the order made."""
        return [json.loads(text) for (name, _), text in self.texts.items() if name == type_]

    def change(self, type_: str, id_: str, **members: Any) -> None:
        """Somebody there changes it; None takes a field out."""
        fresh = self.held(type_, id_) | members
        kept = {name: one for name, one in fresh.items() if one is not None}
        self.store(type_, id_, kept)

    def store(self, type_: str, id_: str, resource: dict[str, Any]) -> None:
        own = ("resourceType", "id", "meta")
        rest = {name: one for name, one in resource.items() if name not in own and name not in self.drops}
        self.put(type_, id_, **rest)
        if not self.versioned:
            plain = self.held(type_, id_)
            del plain["meta"]
            self.texts[type_, id_] = json.dumps(plain)

    def answer(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return self._reading(request)
        self.writes.append(request)
        for fault in self.before:
            if (refused := fault(request)) is not None:
                return refused
        done = self._write(request)
        for fault in self.after:
            if (lost := fault(request)) is not None:
                return lost
        return done

    def _reading(self, request: httpx.Request) -> httpx.Response:
        parts = urlsplit(str(request.url))
        asked = parse_qs(parts.query)
        if "identifier" not in asked:
            return super().answer(request)
        return self.bundle(
            [f'{{"resource": {json.dumps(one)}}}' for one in self._named(parts.path, asked["identifier"][0])]
        )

    def _named(self, path: str, token: str) -> list[dict[str, Any]]:
        system, _, value = token.partition("|")
        named = {"system": system, "value": value}
        found = [one for one in self.of(path.rpartition("/")[2]) if named in one.get("identifier", [])]
        return [one for one in found if one["id"] not in self.hidden]

    def _write(self, request: httpx.Request) -> httpx.Response:
        path = urlsplit(str(request.url)).path.removeprefix("/fhir").strip("/")
        body = json.loads(request.content)
        if request.method == "POST":
            return self._create(request, path, body)
        type_, id_ = path.split("/")
        if (type_, id_) not in self.texts:
            return httpx.Response(404)
        match = re.fullmatch(r'W/"(.*)"', request.headers.get("if-match", ""))
        if self.needs_match and match is None:
            return httpx.Response(412)
        if match and self.versioned and match[1] != str(self.versions[type_, id_]):
            return httpx.Response(self.stale)
        if request.method == "PATCH":
            body = self._patched(self.held(type_, id_), body)
        self.store(type_, id_, body)
        return self._told(type_, id_, 200)

    def _create(self, request: httpx.Request, type_: str, body: dict[str, Any]) -> httpx.Response:
        wanted = parse_qs(request.headers.get("if-none-exist", "")).get("identifier")
        found = self._named(type_, wanted[0]) if wanted and self.conditional else []
        if len(found) > 1:
            return httpx.Response(412)
        if found:
            return self._told(type_, found[0]["id"], 200)
        self.created += 1
        id_ = f"made{self.created}"
        self.store(type_, id_, body)
        return self._told(type_, id_, 201)

    def _patched(self, resource: dict[str, Any], patch: list[dict[str, Any]]) -> dict[str, Any]:
        for one in patch:
            name = one["path"].removeprefix("/")
            if one["op"] == "remove":
                del resource[name]
            else:
                resource[name] = one["value"]
        return resource

    def _told(self, type_: str, id_: str, status: int) -> httpx.Response:
        found = self.text(self.texts[type_, id_], status)
        if self.versioned:
            found.headers["etag"] = f'W/"{self.versions[type_, id_]}"'
        found.headers["location"] = f"{BASE}/{type_}/{id_}/_history/1"
        return found

    def _metadata(self) -> dict[str, Any]:
        told = super()._metadata()
        told["rest"][0]["resource"] = [
            {
                "type": type_,
                "interaction": [{"code": code} for code in ("search-type", "history-type", *self.takes[type_])],
                "searchParam": [{"name": "_lastUpdated", "type": "date"}],
                "conditionalCreate": self.conditional if self.claims is None else self.claims,
            }
            for type_ in TYPES
        ]
        return told


@contextmanager
def writing_ehr() -> Iterator[WritingEhr]:
    """One that answers while the block runs, and holds the Patient p1."""
    made = WritingEhr()
    made.put("Patient", "p1", active=True)
    with respx.mock(assert_all_called=False) as router:
        made.serve(router)
        yield made
