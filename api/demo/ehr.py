"""Starts and stops the simulated EHR, and speaks to it the way its own users' software does: over its FHIR API."""

from __future__ import annotations

import http.client
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from urllib.parse import urlencode, urljoin, urlsplit

from api.demo.simulator.world import RegisteredApp
from fhir_tracker.errors import RemoteFailure, Unavailable, UsageError
from fhir_tracker.fhir.json_types import Json, Resource

SECONDS_TO_START = 90.0
SECONDS_TO_STOP = 20.0
SECONDS_TO_ANSWER = 20.0


@dataclass(frozen=True, kw_only=True)
class Ehr:
    """A running simulated EHR; `origin` begins its pages' addresses, `base_url` is its FHIR base; neither ends with a slash."""

    origin: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def base_url(self) -> str:
        """Its FHIR base, which is also what apps know it by."""
        return f"{self.origin}/fhir"

    def tell(self, day: Mapping[str, Json]) -> None:
        """Show what happens today beside its charts; nothing once the process is gone."""
        if self.process.stdin and not self.process.stdin.closed:
            with suppress(OSError):
                self.process.stdin.write(json.dumps(day).encode() + b"\n")
                self.process.stdin.flush()

    def stop(self) -> None:
        """End the process and wait for it; done twice is done once."""
        if self.process.stdin and not self.process.stdin.closed:
            with suppress(OSError):
                self.process.stdin.close()
        try:
            self.process.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


def start_ehr(port: int, data_dir: Path, now: datetime, app: RegisteredApp | None = None) -> Ehr:
    """Start the EHR on loopback `port` (0: any free one) with its records dated from `now`; returns when it answers.

    `app` is registered with it, to be launched from its charts.

    Raises UsageError where sekmet-fhir is not installed, Unavailable where the process does not come up.
    """
    if importlib.util.find_spec("sekmet") is None:
        raise UsageError("the demo's simulated EHR is not installed: pip install 'fhir-tracker[demo]'")
    data_dir.mkdir(parents=True, exist_ok=True)
    log = data_dir / "ehr.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "api.demo.ehr_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    wanted = {"port": port, "data_dir": str(data_dir), "now": now.isoformat(), "app": asdict(app) if app else None}
    ehr = Ehr(origin="", process=process, log=log)
    try:
        answer = _told(process, json.dumps(wanted) + "\n")
    except OSError as problem:
        ehr.stop()
        raise Unavailable(f"the simulated EHR did not start: {problem}") from problem
    if not answer:
        ehr.stop()
        last = log.read_text(errors="replace").strip().splitlines()[-1:]
        raise Unavailable(f"the simulated EHR did not start: {' '.join(last) or 'no answer in time'}")
    return replace(ehr, origin=f"http://localhost:{json.loads(answer)['port']}")


def _told(process: subprocess.Popen[bytes], line: str) -> bytes:
    """Send `line`, wait for the one line of answer; empty when none came in time."""
    assert process.stdin is not None  # noqa: S101 - asked for as a pipe
    assert process.stdout is not None  # noqa: S101 - the same
    process.stdin.write(line.encode())
    process.stdin.flush()
    with DefaultSelector() as selector:
        selector.register(process.stdout, EVENT_READ)
        return process.stdout.readline() if selector.select(SECONDS_TO_START) else b""


@dataclass(frozen=True, kw_only=True)
class FhirApi:
    """A small FHIR client for one loopback server: what the demo writes to the EHR and reads from the tracker."""

    base_url: str
    headers: Callable[[], Mapping[str, str]] = dict
    """What every request carries besides."""

    def read(self, reference: str) -> Resource:
        """The resource at `Type/id`."""
        return self.call("GET", reference)

    def search(self, type_: str, **parameters: str) -> tuple[Resource, ...]:
        """The first page of matches; a parameter's underscores at the start stay, others become hyphens."""
        query = urlencode({name[0] + name[1:].replace("_", "-"): value for name, value in parameters.items()})
        bundle = self.call("GET", f"{type_}?{query}")
        return tuple(entry["resource"] for entry in bundle.get("entry", []))

    def update(self, resource: Resource) -> Resource:
        """Write `resource` under its own id."""
        return self.call("PUT", f"{resource['resourceType']}/{resource['id']}", resource)

    def create(self, resource: Resource) -> Resource:
        """Write `resource` under an id the server gives."""
        return self.call("POST", resource["resourceType"], resource)

    def call(self, method: str, path: str, body: Resource | None = None) -> Resource:
        """One request; RemoteFailure for anything but a 2xx answer."""
        answer: Resource = json.loads(self._fetch(method, path, body))
        return answer

    def _fetch(self, method: str, path: str, body: Resource | None) -> bytes:
        target = urlsplit(urljoin(f"{self.base_url}/", path))
        connection = http.client.HTTPConnection(target.netloc, timeout=SECONDS_TO_ANSWER)
        headers = {"Accept": "application/fhir+json", "Content-Type": "application/fhir+json", **self.headers()}
        place = target.path + (f"?{target.query}" if target.query else "")
        try:
            connection.request(method, place, json.dumps(body) if body is not None else None, headers)
            response = connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as problem:
            raise RemoteFailure(f"{method} {target.path}: {problem}") from problem
        finally:
            connection.close()
        if not 200 <= response.status < 300:
            raise RemoteFailure(f"{method} {target.path}: {response.status}", permanent=response.status < 500)
        return text
