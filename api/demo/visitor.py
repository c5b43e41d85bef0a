"""A browser without a window: keeps cookies, follows redirects, and opens charts in the tracker as staff does."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode, urljoin, urlsplit

from fhir_tracker.errors import RemoteFailure

SECONDS_TO_ANSWER = 20.0
MOST_REDIRECTS = 10
LAUNCH_COOKIE = "__Host-l-"
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back at last, and from which address."""

    address: str
    status: int
    text: str


class Visitor:
    """One browser; cookies are kept by host name."""

    def __init__(self) -> None:
        self._cookies: dict[str, dict[str, str]] = {}

    def get(self, address: str) -> Answer:
        """Read a page."""
        return self._go("GET", address, None)

    def post(self, address: str, form: Mapping[str, str]) -> Answer:
        """Send a form."""
        return self._go("POST", address, urlencode(form))

    def cookies(self, address: str) -> Mapping[str, str]:
        """What is kept for the host of an address."""
        return dict(self._cookies.get(urlsplit(address).hostname or "", {}))

    def _go(self, method: str, address: str, body: str | None) -> Answer:
        for _ in range(MOST_REDIRECTS):
            status, text, location = self._once(method, address, body)
            if status not in (302, 303) or not location:
                return Answer(address=address, status=status, text=text)
            method, address, body = "GET", urljoin(address, location), None
        raise RemoteFailure(f"{urlsplit(address).path}: too many redirects")

    def _once(self, method: str, address: str, body: str | None) -> tuple[int, str, str]:
        target = urlsplit(address)
        kept = self._cookies.setdefault(target.hostname or "", {})
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in kept.items())} if kept else {}
        if body is not None:
            headers["Content-Type"] = FORM
        connection = http.client.HTTPConnection(target.netloc, timeout=SECONDS_TO_ANSWER)
        place = (target.path or "/") + (f"?{target.query}" if target.query else "")
        try:
            connection.request(method, place, body, headers)
            response = connection.getresponse()
            text = response.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as problem:
            raise RemoteFailure(f"{method} {target.path}: {problem}") from problem
        finally:
            connection.close()
        for one in response.headers.get_all("set-cookie", []):
            name, _, value = one.partition(";")[0].partition("=")
            kept[name.strip()] = value.strip()
            if "max-age=0" in one.lower().replace(" ", ""):
                del kept[name.strip()]
        return response.status, text, response.headers.get("location", "")


class ChartReader:
    """A member of staff who opens charts in the EHR and looks at the tracker's page in each; for several threads."""

    def __init__(self, ehr: str, tracker: str, member: str, client_id: str) -> None:
        self._ehr = ehr
        self._tracker = tracker
        self._member = member
        self._client_id = client_id
        self._lock = threading.Lock()
        self._visitor = Visitor()
        self._open: dict[str, str] = {}

    def page(self, patient: str, path: str) -> str:
        """The tracker's page at `path` within the launch from the chart of the EHR's `patient`; RemoteFailure for none."""
        with self._lock:
            launch = self._open.get(patient) or self._launch(patient)
            answer = self._visitor.get(f"{self._tracker}/l/{launch}{path}")
            if answer.status == 401:
                answer = self._visitor.get(f"{self._tracker}/l/{self._launch(patient)}{path}")
        if answer.status != 200:
            raise RemoteFailure(f"GET {path}: {answer.status}")
        return answer.text

    def _launch(self, patient: str) -> str:
        """Press the launch button; the launch's id, which the cookie of its session is named for."""
        self._visitor.post(f"{self._ehr}/ehr/login", {"member": self._member})
        made = self._visitor.post(f"{self._ehr}/ehr/launch", {"app": self._client_id, "patient": patient})
        if made.status != 200:
            raise RemoteFailure(f"the EHR did not launch: {made.status}")
        before = self._visitor.cookies(self._tracker)
        answer = self._visitor.get(json.loads(made.text)["address"])
        new = [name for name in self._visitor.cookies(self._tracker) if name not in before and LAUNCH_COOKIE in name]
        if not new:
            raise RemoteFailure(f"the launch was refused: {answer.status}")
        self._open[patient] = new[0].removeprefix(LAUNCH_COOKIE)
        return self._open[patient]
