"""An EHR in memory that respx serves: it searches, pages and keeps a history as FHIR says, until a test tells it not to."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import respx

from fhir_tracker.fhir.dates import date_range, instant, parse_datetime

BASE = "https://ehr.example/fhir"
START = datetime(2024, 5, 6, 12, 0, tzinfo=UTC)
JSON = {"content-type": "application/fhir+json;charset=utf-8"}

Twist = Callable[[httpx.Request], httpx.Response | None]


def is_search_by_post(request: httpx.Request) -> bool:
    """Whether it is POST `[base]/Type/_search`."""
    return request.method == "POST" and request.url.path.endswith("/_search")


def by_get(request: httpx.Request) -> httpx.Request:
    """The same search as a GET; what is no search as it was."""
    if not is_search_by_post(request):
        return request
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert not request.url.query
    place = str(request.url).removesuffix("/_search")
    headers = [one for one in request.headers.items() if one[0] not in ("content-type", "content-length")]
    return httpx.Request("GET", f"{place}?{request.content.decode('ascii')}", headers=headers)


class FakeEhr:
    """`put` and `delete` change it at its own clock `now`; each `twist` may answer a request in its place.

    `urls` are the addresses as they were asked; `requests`, and what a twist is given, are searches by GET even where a POST
    asked the same. `post_status` is how it answers such a POST in place of taking it.
    """

    def __init__(self, *, page_size: int = 100, sorts: bool = True, filters: bool = True) -> None:
        self.now = START
        self.skew = timedelta()
        self.page_size = page_size
        self.sorts = sorts
        self.filters = filters
        self.dated = True
        self.twists: list[Twist] = []
        self.requests: list[str] = []
        self.urls: list[str] = []
        self.post_status = 0
        self.texts: dict[tuple[str, str], str] = {}
        self.stamps: dict[tuple[str, str], str] = {}
        self.history: list[tuple[datetime, dict[str, Any]]] = []
        self.versions: dict[tuple[str, str], int] = {}
        self._snapshots: dict[str, list[str]] = {}

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def stamp(self) -> str:
        """The clock that stamps rows, which may differ from the one that dates answers."""
        return instant(self.now + self.skew)

    def put(self, type_: str, id_: str, *, stamp: str | None = None, **members: Any) -> str:
        """Create or update; returns the exact text it will serve."""
        key = (type_, id_)
        self.versions[key] = self.versions.get(key, 0) + 1
        updated = stamp or self.stamp()
        meta = {"versionId": str(self.versions[key]), "lastUpdated": updated}
        return self.put_text(
            type_, id_, json.dumps({"resourceType": type_, "id": id_, "meta": meta, **members}), updated
        )

    def put_text(self, type_: str, id_: str, text: str, stamp: str | None = None) -> str:
        """Serve exactly this text."""
        self.texts[type_, id_] = text
        self.stamps[type_, id_] = stamp or self.stamp()
        told = {
            "request": {"method": "PUT", "url": f"{type_}/{id_}"},
            "response": {"status": "200", "lastModified": self.stamps[type_, id_]},
        }
        self.history.append((self.now + self.skew, told))
        return text

    def delete(self, type_: str, id_: str) -> None:
        key = (type_, id_)
        del self.texts[key], self.stamps[key]
        self.versions[key] = self.versions.get(key, 0) + 1
        told = {
            "fullUrl": f"{BASE}/{type_}/{id_}",
            "request": {"method": "DELETE", "url": f"{type_}/{id_}"},
            "response": {"status": "204", "etag": f'W/"{self.versions[key]}"', "lastModified": self.stamp()},
        }
        self.history.append((self.now + self.skew, told))

    def serve(self, router: respx.MockRouter, base: str = BASE) -> None:
        """Answer everything under a base address, as though that had always been its own."""

        def answer(request: httpx.Request) -> httpx.Response:
            there = str(request.url).replace(base, BASE)
            told = httpx.Request(request.method, there, headers=request.headers, content=request.content)
            found = self._answer(told)
            headers = {name: value for name, value in found.headers.items() if name != "content-length"}
            return httpx.Response(found.status_code, headers=headers, text=found.text.replace(BASE, base))

        router.route(url__startswith=base).mock(side_effect=self._answer if base == BASE else answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.urls.append(str(request.url))
        if is_search_by_post(request) and self.post_status:
            return self.json({"resourceType": "OperationOutcome"}, self.post_status)
        request = by_get(request)
        self.requests.append(str(request.url))
        for twist in self.twists:
            answer = twist(request)
            if answer is not None:
                return answer
        return self.answer(request)

    def answer(self, request: httpx.Request) -> httpx.Response:
        """What it answers when nothing is twisted."""
        parts = urlsplit(str(request.url))
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        path = parts.path.removeprefix("/fhir").strip("/")
        if path == "metadata":
            return self.json(self._metadata())
        if "_getpages" in asked:
            return self._page(asked["_getpages"], int(asked["_getpagesoffset"]))
        if path.endswith("/_history"):
            return self._history(path.split("/")[0], asked)
        if "/" in path:
            type_, id_ = path.split("/")
            text = self.texts.get((type_, id_))
            return self.text(text) if text else httpx.Response(410 if (type_, id_) in self.versions else 404)
        return self._search(path, asked)

    def json(self, value: Mapping[str, Any], status: int = 200) -> httpx.Response:
        return self.text(json.dumps(value), status)

    def text(self, text: str, status: int = 200) -> httpx.Response:
        dated = {"date": format_datetime(self.now, usegmt=True)} if self.dated else {}
        return httpx.Response(status, headers={**JSON, **dated}, text=text)

    def bundle(
        self, entries: Sequence[str], *, following: str | None = None, kind: str = "searchset"
    ) -> httpx.Response:
        """A Bundle of entry texts."""
        links = [{"relation": "self", "url": f"{BASE}/x?_lastUpdated=ge2024"}]
        links += [{"relation": "next", "url": following}] if following else []
        head = json.dumps({"resourceType": "Bundle", "type": kind, "link": links})
        return self.text(f'{head[:-1]}, "entry": [{", ".join(entries)}]}}')

    def _metadata(self) -> dict[str, Any]:
        types = ["Patient", "CarePlan", "Task"]
        interactions = [{"code": "search-type"}, {"code": "history-type"}]
        resources = [
            {"type": type_, "interaction": interactions, "searchParam": [{"name": "_lastUpdated", "type": "date"}]}
            for type_ in types
        ]
        return {
            "resourceType": "CapabilityStatement",
            "fhirVersion": "4.0.1",
            "software": {"name": "Fake", "version": "1"},
            "rest": [{"mode": "server", "resource": resources}],
        }

    def _search(self, type_: str, asked: Mapping[str, str]) -> httpx.Response:
        keys = [key for key in self.texts if key[0] == type_]
        if "_id" in asked:
            keys = [key for key in keys if key[1] in asked["_id"].split(",")]
        lower = asked.get("_lastUpdated", "")
        if lower and self.filters:
            bound = date_range(lower.removeprefix("ge"))[0]
            keys = [key for key in keys if date_range(self.stamps[key])[1] > bound]
        keys.sort(key=(lambda key: self.stamps[key]) if self.sorts else (lambda key: key[1]))
        entries = [f'{{"fullUrl": "{BASE}/{key[0]}/{key[1]}", "resource": {self.texts[key]}}}' for key in keys]
        token = f"t{len(self._snapshots)}"
        self._snapshots[token] = entries
        return self._page(token, 0)

    def _page(self, token: str, offset: int) -> httpx.Response:
        if token not in self._snapshots:
            return self.json({"resourceType": "OperationOutcome", "issue": [{"code": "not-found"}]}, 410)
        entries = self._snapshots[token]
        end = offset + self.page_size
        following = f"{BASE}?{urlencode({'_getpages': token, '_getpagesoffset': end})}" if end < len(entries) else None
        return self.bundle(entries[offset:end], following=following)

    def _history(self, type_: str, asked: Mapping[str, str]) -> httpx.Response:
        since = parse_datetime(asked["_since"])
        told = [
            entry
            for at, entry in reversed(self.history)
            if at >= since and entry["request"]["url"].startswith(f"{type_}/")
        ]
        return self.bundle([json.dumps(entry) for entry in told], kind="history")

    def expire_pages(self) -> None:
        """Forget every paging link given out so far."""
        self._snapshots = {f"gone{number}": [] for number in range(len(self._snapshots))}
