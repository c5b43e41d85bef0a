"""The one speaker of HTTP to EHR servers: every answer is limited in time and size, and checked before it is believed.

https://hl7.org/fhir/R4/http.html
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

import httpx

from fhir_tracker import clock
from fhir_tracker.errors import RemoteFailure
from subscriptions import outbound
from subscriptions.decoding import decoder
from subscriptions.headers import http_date, retry_after_seconds
from subscriptions.outbound import NOT_FOUND_IN_TIME, NOT_PERMITTED, Reach, joined, origin, reach_of
from subscriptions.search_ways import FORM, SearchWays, Ways, question_in

FHIR_JSON = "application/fhir+json"
NDJSON = "application/fhir+ndjson"
JSON_TYPES = frozenset({FHIR_JSON, "application/json", "application/json+fhir"})
_UNREADABLE = (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError, UnicodeError)
"""What the library says of an address; the last of a host name, also one in a redirect that nobody follows."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SAME_METHOD = frozenset({307, 308})
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
_READ_CHUNK = 65_536
LONGEST_TURN = 60.0
"""How many seconds a request waits for its turn in the budget; beyond that it is handed back."""

# httpx writes every URL with its query to its log at INFO.
logging.getLogger("httpx").setLevel(logging.WARNING)
logging.getLogger("httpcore").setLevel(logging.WARNING)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of one request: seconds, decoded bytes, tries; waits are seconds before a repeat."""

    total_seconds: float = 60.0
    connect_seconds: float = 5.0
    silence_seconds: float = 20.0
    max_bytes: int = 50_000_000
    tries: int = 4
    first_wait: float = 0.5
    longest_wait: float = 20.0
    redirects: int = 3
    file_seconds: float = 3600.0
    file_bytes: int = 20_000_000_000


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a server answered; `served_at` is its own Date header, or None, `etag` and `location` are headers as sent."""

    status: int
    url: str
    body: bytes = field(repr=False)
    content_type: str
    served_at: datetime | None
    retry_after: float | None = None
    etag: str = ""
    location: str = ""
    content_location: str = ""
    cache_control: str = ""


class Authorizer(Protocol):
    """Who knows the Authorization header of one server. Both may raise RemoteFailure, which ends the request."""

    def header(self, now: datetime) -> str | None:
        """The header's value at `now`, or None for a server that asks for none."""

    def refused(self) -> bool:
        """The server answered 401: True when there is a new header, and the request is to be made once more."""


class Budget(Protocol):
    """How often one server may be asked."""

    def take(self) -> float:
        """Take one request out of the budget; the seconds to wait before it may be made."""

    def served(self, status: int, retry_after: float | None) -> None:
        """What came of it: the HTTP status, 0 when no answer came, and what the server asked us to wait, in seconds."""


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """An Authorizer whose header never changes."""

    value: str | None = field(default=None, repr=False)

    def header(self, now: datetime) -> str | None:
        """Always the same."""
        return self.value

    def refused(self) -> bool:
        """There is no other."""
        return False


@dataclass(frozen=True, kw_only=True)
class _Request:
    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)
    ready: Callable[[], None] = lambda: None
    asks: bool = False
    """Whether it only asks, although it is no GET."""

    @property
    def writes(self) -> bool:
        return self.method != "GET" and not self.asks


class EhrClient:
    """Requests to one FHIR server. Nothing is ever asked, and no secret sent, outside the origin of `base_url`.

    `reach` says which addresses may be asked; without it a person has named `base_url`. `ways` knows how searches go.
    """

    def __init__(
        self,
        base_url: str,
        *,
        authorizer: Authorizer | None = None,
        budget: Budget | None = None,
        limits: Limits | None = None,
        reach: Reach | None = None,
        ways: SearchWays | None = None,
        pause: Callable[[float], None] = clock.pause,
        jitter: Callable[[], float] = random.random,
        now: Callable[[], datetime] = clock.now,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._origin = origin(self.base_url)
        self._limits = limits or Limits()
        self._reach = reach or reach_of(self.base_url)
        self._authorizer = authorizer or Fixed()
        self._budget = budget
        self._pause = pause
        self._jitter = jitter
        self._now = now
        self._ways = ways or Ways(now=now)
        self._headers = {
            "Accept": FHIR_JSON,
            "Accept-Encoding": "gzip",
            "Cache-Control": "no-cache",
            "User-Agent": "fhir-tracker",
        }
        self._http = self._connected()

    def __enter__(self) -> EhrClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the server's sockets go."""
        self._http.close()

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        """The final answer to GET `url` (absolute, or relative to the base), whatever its status; `headers` go over our own.

        Redirects within the origin are followed; connection failures, 429 and 5xx are repeated with growing waits, a 401
        once when there is a new token. Raises RemoteFailure when the server stays unreachable, is too slow, sends too
        much or leaves the origin, and when a token or a turn in the budget cannot be had.
        """
        return self._ask(_Request(method="GET", url=self._address(url), headers=dict(headers or {})))

    def search(self, url: str) -> Answer:
        """The final answer to a search of our own: by POST when it may name a patient and the server takes that, else as `get`.

        What a server gives as its next page is asked for by `get`, as it is.
        """
        asked = question_in(self._address(url), self.base_url)
        if asked is None or not self._ways.is_posted(asked.type):
            return self.get(url)
        form = {"Content-Type": FORM}
        place = f"{asked.url}/_search"
        request = _Request(method="POST", url=place, headers=form, body=asked.form.encode(), asks=True)
        answer = self._ask(request)
        if not self._ways.is_doubted(asked.type, answer.status):
            return replace(answer, url=asked.url) if answer.url == place else answer
        plain = self.get(url)
        self._ways.compared(asked.type, plain.status)
        return plain

    def send(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        ready: Callable[[], None] = lambda: None,
    ) -> Answer:
        """The final answer to a POST, PUT, PATCH or DELETE, whatever its status; `headers` go over our own.

        Repeated only when the server has surely not done it: no connection, 429, 503 with Retry-After, 401 with a new
        token, 307 and 308 within the origin. Raises RemoteFailure as `get` does, with `unknown` set when the request was
        sent and what became of it cannot be told. `ready` is called when its turn has come, each time before it is sent.
        """
        given = dict(headers or {})
        return self._ask(_Request(method=method, url=self._address(url), headers=given, body=body, ready=ready))

    def lines(self, url: str) -> Iterator[bytes]:
        """The lines of a large file, NDJSON, as they come, without blank ones; nothing is repeated.

        Raises RemoteFailure, before the first line or later, permanent when the file is not there or a line too long.
        """
        if origin(self._address(url)) != self._origin:
            raise RemoteFailure("The file is on another origin, which is not followed.", permanent=True)
        given = self._authorizer.header(self._now())
        signed = {**self._headers, **({"Authorization": given} if given else {}), "Accept": NDJSON}
        self._take_turn()
        status = 0
        try:
            request = _Request(method="GET", url=self._address(url), headers=signed)
            with self._stream(request) as response:
                status = response.status_code
                if status != 200:
                    raise RemoteFailure(f"The server answered {status} for a file.", permanent=400 <= status < 500)
                yield from self._lines(response)
        except _UNREADABLE:
            raise RemoteFailure("The server sent an address that cannot be read.", permanent=True) from None
        except httpx.HTTPError as error:
            raise RemoteFailure(f"The connection broke ({type(error).__name__}).") from None
        finally:
            if self._budget is not None:
                self._budget.served(status, None)

    def _lines(self, response: httpx.Response) -> Iterator[bytes]:
        longest, ends = self._limits.max_bytes, clock.monotonic() + self._limits.file_seconds
        decode = decoder(response.headers.get("content-encoding", ""), longest)
        rest, total = b"", 0
        for chunk in response.iter_raw(_READ_CHUNK):
            piece = decode.feed(chunk, 0)
            total += len(piece)
            *whole, rest = (rest + piece).split(b"\n")
            if max(map(len, (*whole, rest))) > longest or len(piece) > longest or total > self._limits.file_bytes:
                raise RemoteFailure("A file of the server is larger than is taken.", permanent=True)
            if clock.monotonic() >= ends:
                raise self._too_slow()
            yield from (line for line in whole if line.strip())
        decode.finish()
        if rest.strip():
            yield rest

    def _address(self, url: str) -> str:
        return url if "://" in url else f"{self.base_url}/{url}"

    def _ask(self, request: _Request) -> Answer:
        attempt, renewed = 1, False
        while True:
            last = attempt >= self._limits.tries
            try:
                answer = self._in_turn(request)
            except RemoteFailure as failure:
                if last or failure.permanent or failure.auth or failure.unknown or failure.retry_after is not None:
                    raise
                wait = self._wait(attempt, None)
            else:
                if answer.status == 401 and not renewed and self._authorizer.refused():
                    renewed = True
                    continue
                if last or not _is_repeated(request, answer):
                    return answer
                if answer.retry_after is not None and answer.retry_after > self._limits.longest_wait:
                    return answer
                wait = self._wait(attempt, answer.retry_after)
            self._pause(wait)
            attempt += 1

    def _in_turn(self, request: _Request) -> Answer:
        """One request within the budget, with the header of this moment."""
        given = self._authorizer.header(self._now())
        self._take_turn()
        own = {**self._headers, "Authorization": given} if given else self._headers
        status, retry_after = 0, None
        try:
            request.ready()
            answer = self._follow(replace(request, headers={**own, **request.headers}))
            status, retry_after = answer.status, answer.retry_after
        finally:
            if self._budget is not None:
                self._budget.served(status, retry_after)
        return answer

    def _take_turn(self) -> None:
        wait = 0.0 if self._budget is None else self._budget.take()
        if wait > LONGEST_TURN:
            raise RemoteFailure("Requests to this server are held back for now.", retry_after=wait)
        if wait > 0:
            self._pause(wait)

    def _wait(self, attempt: int, asked: float | None) -> float:
        if asked is not None:
            return min(asked, self._limits.longest_wait)
        return min(self._limits.first_wait * 2.0 ** (attempt - 1), self._limits.longest_wait) * (0.5 + self._jitter())

    def _follow(self, request: _Request) -> Answer:
        for _ in range(self._limits.redirects + 1):
            if origin(request.url) != self._origin:
                raise RemoteFailure(
                    "The server points to another origin, which is not followed; if it has moved, change the base URL.",
                    permanent=True,
                )
            self._reach.check(request.url)
            answer = self._once(request)
            if answer.status not in _REDIRECTS or not answer.location:
                return answer
            if request.asks and answer.status not in _SAME_METHOD:
                return answer
            if request.writes and answer.status not in _SAME_METHOD:
                raise RemoteFailure("The server redirects what was to be written there.", permanent=True, unknown=True)
            request = replace(request, url=joined(request.url, answer.location))
        ways = "without end" if self._limits.redirects else "elsewhere, which is not followed here"
        raise RemoteFailure(f"The server redirects {ways}.", permanent=True)

    def _once(self, request: _Request) -> Answer:
        ends = clock.monotonic() + self._limits.total_seconds
        lost = request.writes
        try:
            with self._closed_at_limit(), self._stream(request) as response:
                return self._answer(request, response, ends)
        except RemoteFailure as failure:
            raise RemoteFailure(failure.message, permanent=failure.permanent, unknown=lost) from None
        except _UNREADABLE:
            raise RemoteFailure("The server sent an address that cannot be read.", permanent=True) from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise RemoteFailure(f"The server cannot be reached: {_cause(error)}.") from None
        except (httpx.HTTPError, httpx.StreamError, OSError, RuntimeError) as error:
            if clock.monotonic() >= ends:
                raise self._too_slow(unknown=lost) from None
            raise RemoteFailure(f"The connection broke ({type(error).__name__}).", unknown=lost) from None

    def _stream(self, request: _Request) -> AbstractContextManager[httpx.Response]:
        return self._http.stream(request.method, request.url, headers=dict(request.headers), content=request.body)

    def _answer(self, request: _Request, response: httpx.Response, ends: float) -> Answer:
        location = response.headers.get("location", "")
        is_redirect = bool(location) and response.status_code in _REDIRECTS
        served_at = http_date(response.headers.get("date"))
        return Answer(
            status=response.status_code,
            url=request.url,
            body=b"" if is_redirect else self._read(response, ends),
            content_type=response.headers.get("content-type", "").partition(";")[0].strip().lower(),
            served_at=served_at,
            retry_after=retry_after_seconds(response.headers.get("retry-after"), served_at),
            etag=response.headers.get("etag", ""),
            location=location,
            content_location=response.headers.get("content-location", ""),
            cache_control=response.headers.get("cache-control", ""),
        )

    @contextmanager
    def _closed_at_limit(self) -> Iterator[None]:
        """Ends a request that drips: httpx counts its limits anew for each read, so its sockets are closed from outside."""
        http = self._http
        fired = threading.Event()

        def give_up() -> None:
            fired.set()
            http.close()

        timer = threading.Timer(self._limits.total_seconds, give_up)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            if fired.is_set() or http.is_closed:
                self._http = self._connected()

    def _read(self, response: httpx.Response, ends: float) -> bytes:
        decode = decoder(response.headers.get("content-encoding", ""), self._limits.max_bytes)
        body = bytearray()
        for chunk in response.iter_raw(_READ_CHUNK):
            if clock.monotonic() >= ends:
                raise self._too_slow()
            body += decode.feed(chunk, len(body))
            if len(body) > self._limits.max_bytes:
                raise RemoteFailure(f"The answer is larger than {self._limits.max_bytes} bytes.", permanent=True)
        decode.finish()
        return bytes(body)

    def _too_slow(self, *, unknown: bool = False) -> RemoteFailure:
        return RemoteFailure(
            f"The answer was not complete after {self._limits.total_seconds:g} seconds.", unknown=unknown
        )

    def _connected(self) -> httpx.Client:
        limits = self._limits
        timeout = httpx.Timeout(min(limits.silence_seconds, limits.total_seconds), connect=limits.connect_seconds)
        return outbound.client(self._reach, timeout=timeout)


def _is_repeated(request: _Request, answer: Answer) -> bool:
    """Whether the same request may be made again: of a write only when the server says that it has not begun it."""
    if not request.writes:
        return answer.status in _RETRIED
    return answer.status == 429 or (answer.status == 503 and answer.retry_after is not None)


def _cause(error: httpx.TransportError) -> str:
    text = str(error).lower()
    for part, cause in (
        (NOT_PERMITTED, "its name leads to an address that is never asked, or not for the address given"),
        (NOT_FOUND_IN_TIME, "its name was not found in time"),
        ("refused", "connection refused"),
        ("name or service", "the host name is unknown"),
        ("name resolution", "the host name is unknown"),
        ("nodename", "the host name is unknown"),
        ("certificate", "its TLS certificate is not trusted"),
        ("ssl", "TLS could not be agreed"),
    ):
        if part in text:
            return cause
    return "no connection"
