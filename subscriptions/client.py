"""The one speaker of HTTP to EHR servers: every answer is limited in time and size, and checked before it is believed.

https://hl7.org/fhir/R4/http.html
"""

from __future__ import annotations

import logging
import random
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urljoin, urlsplit

import httpx

from fhir_tracker import clock
from fhir_tracker.errors import RemoteFailure
from subscriptions.headers import http_date, retry_after_seconds

FHIR_JSON = "application/fhir+json"
JSON_TYPES = frozenset({FHIR_JSON, "application/json", "application/json+fhir"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
_READ_CHUNK = 65_536

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


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a server answered; `served_at` is its own Date header, or None."""

    status: int
    url: str
    body: bytes = field(repr=False)
    content_type: str
    served_at: datetime | None
    retry_after: float | None = None


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of an absolute http(s) address, defaults filled in; RemoteFailure for any other."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise RemoteFailure("The server sent an address that cannot be read.", permanent=True) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise RemoteFailure("The server sent an address that is not http or https.", permanent=True)
    return parts.scheme, parts.hostname.lower(), port or (443 if parts.scheme == "https" else 80)


class EhrClient:
    """GET on one FHIR server. Nothing is ever asked, and no secret sent, outside the origin of `base_url`."""

    def __init__(
        self,
        base_url: str,
        *,
        authorization: str | None = None,
        limits: Limits | None = None,
        pause: Callable[[float], None] = clock.pause,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._origin = origin(self.base_url)
        self._limits = limits or Limits()
        self._pause = pause
        self._jitter = jitter
        self._headers = {
            "Accept": FHIR_JSON,
            "Accept-Encoding": "gzip",
            "Cache-Control": "no-cache",
            "User-Agent": "fhir-tracker",
        }
        if authorization:
            self._headers["Authorization"] = authorization
        self._http = self._connected()

    def __enter__(self) -> EhrClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the server's sockets go."""
        self._http.close()

    def get(self, url: str) -> Answer:
        """The final answer to GET `url` (absolute, or relative to the base), whatever its status.

        Redirects within the origin are followed; connection failures, 429 and 5xx are repeated with growing waits.
        Raises RemoteFailure when the server stays unreachable, is too slow, sends too much or leaves the origin.
        """
        address = url if "://" in url else f"{self.base_url}/{url}"
        for attempt in range(1, self._limits.tries + 1):
            last = attempt == self._limits.tries
            try:
                answer = self._follow(address)
            except RemoteFailure as failure:
                if failure.permanent or last:
                    raise
                wait = self._wait(attempt, None)
            else:
                if answer.status not in _RETRIED or last:
                    return answer
                if answer.retry_after is not None and answer.retry_after > self._limits.longest_wait:
                    return answer
                wait = self._wait(attempt, answer.retry_after)
            self._pause(wait)
        raise AssertionError("unreachable: the last try returns or raises")

    def _wait(self, attempt: int, asked: float | None) -> float:
        if asked is not None:
            return min(asked, self._limits.longest_wait)
        return min(self._limits.first_wait * 2.0 ** (attempt - 1), self._limits.longest_wait) * (0.5 + self._jitter())

    def _follow(self, url: str) -> Answer:
        for _ in range(self._limits.redirects + 1):
            if origin(url) != self._origin:
                raise RemoteFailure(
                    "The server points to another origin, which is not followed; if it has moved, change the base URL.",
                    permanent=True,
                )
            answer, location = self._once(url)
            if location is None:
                return answer
            url = urljoin(url, location)
        raise RemoteFailure("The server redirects without end.", permanent=True)

    def _once(self, url: str) -> tuple[Answer, str | None]:
        ends = clock.monotonic() + self._limits.total_seconds
        try:
            with self._closed_at_limit(), self._http.stream("GET", url, headers=self._headers) as response:
                location = response.headers.get("location") if response.status_code in _REDIRECTS else None
                body = b"" if location else self._read(response, ends)
                served_at = http_date(response.headers.get("date"))
                answer = Answer(
                    status=response.status_code,
                    url=url,
                    body=body,
                    content_type=response.headers.get("content-type", "").partition(";")[0].strip().lower(),
                    served_at=served_at,
                    retry_after=retry_after_seconds(response.headers.get("retry-after"), served_at),
                )
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            raise RemoteFailure("The server sent an address that cannot be read.", permanent=True) from None
        except httpx.ConnectError as error:
            raise RemoteFailure(f"The server cannot be reached: {_cause(error)}.") from None
        except (httpx.HTTPError, httpx.StreamError, OSError, RuntimeError) as error:
            if clock.monotonic() >= ends:
                raise self._too_slow() from None
            raise RemoteFailure(f"The connection broke ({type(error).__name__}).") from None
        return answer, location

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
        decode = _decoder(response.headers.get("content-encoding", ""), self._limits.max_bytes)
        body = bytearray()
        for chunk in response.iter_raw(_READ_CHUNK):
            if clock.monotonic() >= ends:
                raise self._too_slow()
            body += decode.feed(chunk, len(body))
            if len(body) > self._limits.max_bytes:
                raise RemoteFailure(f"The answer is larger than {self._limits.max_bytes} bytes.", permanent=True)
        decode.finish()
        return bytes(body)

    def _too_slow(self) -> RemoteFailure:
        return RemoteFailure(f"The answer was not complete after {self._limits.total_seconds:g} seconds.")

    def _connected(self) -> httpx.Client:
        limits = self._limits
        timeout = httpx.Timeout(min(limits.silence_seconds, limits.total_seconds), connect=limits.connect_seconds)
        return httpx.Client(timeout=timeout, follow_redirects=False, trust_env=False)


class _Plain:
    def feed(self, chunk: bytes, _: int) -> bytes:
        return chunk

    def finish(self) -> None:
        pass


class _Gzip(_Plain):
    def __init__(self, max_bytes: int) -> None:
        self._zlib = zlib.decompressobj(wbits=47)
        self._max = max_bytes
        self._fed = False

    def feed(self, chunk: bytes, so_far: int) -> bytes:
        self._fed = True
        try:
            return self._zlib.decompress(chunk, self._max + 1 - so_far)
        except zlib.error:
            raise RemoteFailure("The answer's compression is damaged.") from None

    def finish(self) -> None:
        if self._fed and not self._zlib.eof:
            raise RemoteFailure("The answer ended too early.")


def _decoder(encoding: str, max_bytes: int) -> _Plain:
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return _Plain()
    if name in ("gzip", "x-gzip", "deflate"):
        return _Gzip(max_bytes)
    raise RemoteFailure("The answer has a compression that was not asked for.", permanent=True)


def _cause(error: httpx.ConnectError) -> str:
    text = str(error).lower()
    for part, cause in (
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
