"""A small clinic behind the pages, and a browser without script that keeps cookies and fills in forms."""

from __future__ import annotations

import html
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast

import httpx
import pytest
from starlette.testclient import TestClient

from api.context import Access
from fhir_tracker import clock
from fhir_tracker.storage.accounts import Account
from fhir_tracker.storage.database import Database
from tests.api.conftest import Serve
from tests.support.clinic import Clinic
from tests.support.known_ehr import pad, signing, simulator
from tests.support.launched import Tab, launched, person
from tests.support.setting_up import know_north, tab_of

__all__ = ["pad", "signing", "simulator"]


@dataclass
class Answer:
    """One page as it came back."""

    status: int
    text: str
    location: str
    headers: dict[str, str]

    @property
    def words(self) -> str:
        """The text people read, on one line."""
        return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", self.text)).split())

    def hidden(self, name: str) -> str:
        """The value of the first hidden field called `name`."""
        match = re.search(rf'name="{re.escape(name)}" value="([^"]*)"', self.text)
        assert match, f"no field {name}"
        return html.unescape(match[1])

    def hrefs(self, starting: str) -> list[str]:
        """The links that begin so, in order."""
        found = [html.unescape(text) for text in re.findall(r'href="([^"]+)"', self.text)]
        return [text for text in found if text.startswith(starting)]


class Reader:
    """Somebody without JavaScript."""

    def __init__(self, client: TestClient) -> None:
        self.client = client

    def get(self, path: str, **headers: str) -> Answer:
        """Open a page."""
        given = self.client.get(path, headers={name.replace("_", "-"): text for name, text in headers.items()})
        return Answer(given.status_code, given.text, given.headers.get("location", ""), dict(given.headers))

    def send(
        self,
        path: str,
        fields: Mapping[str, str] | None = None,
        *,
        csrf: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a form; without a token given, with that of a fresh page."""
        token = csrf or self.get("/help/keys").hidden("csrf")
        given = self.client.post(
            path,
            data={"csrf": token, **(fields or {})},
            headers=headers,
            follow_redirects=False,
        )
        return Answer(given.status_code, given.text, given.headers.get("location", ""), dict(given.headers))


class Colleague(Reader):
    """Somebody with a role who came in from an EHR; addresses are told without those of the launch."""

    def __init__(self, tab: Tab) -> None:
        super().__init__(cast(TestClient, tab.client))
        self.tab = tab

    def get(self, path: str, **headers: str) -> Answer:
        return self._told(self.tab.get(path, {name.replace("_", "-"): text for name, text in headers.items()}))

    def send(
        self,
        path: str,
        fields: Mapping[str, str] | None = None,
        *,
        csrf: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        return self._told(self.tab.post(path, {**(fields or {}), **({"csrf": csrf} if csrf else {})}, headers))

    def _told(self, given: httpx.Response) -> Answer:
        text = given.text.replace(self.tab.prefix, "")
        location = given.headers.get("location", "").removeprefix(self.tab.prefix)
        return Answer(given.status_code, text, location, dict(given.headers))


def colleague(client: TestClient, database: Database, now: datetime, role: str) -> Colleague:
    """Somebody at a server where people log in, with that role alone."""
    return Colleague(tab_of(client, database, now, role.replace("-", ""), role))


def late(clinic: Clinic, now: datetime, name: str = "rosa", days: int = 5) -> str:
    """A patient whose first call is late; the task's reference."""
    clinic.patient(name, now - timedelta(days=days + 1))
    clinic.discharge(name, now - timedelta(days=days))
    clinic.sweep(now)
    return clinic.task(name, "first-call").ref


@pytest.fixture
def one_file(prepared_file: Path, tmp_path: Path) -> str:
    """A database on SQLite only: modules whose subject is the page take it as their `ready_url`."""
    path = tmp_path / "tracker.db"
    shutil.copyfile(prepared_file, path)
    return f"sqlite:///{path}"


@pytest.fixture
def now() -> datetime:
    """The moment the test began."""
    return clock.now()


@pytest.fixture
def clinic(database: Database, now: datetime) -> Clinic:
    """The ring program, published a month ago."""
    return Clinic(database, at=now - timedelta(days=30))


@pytest.fixture
def two_late(clinic: Clinic, now: datetime) -> None:
    """rosa and ivo should have been called days ago."""
    for name in ("rosa", "ivo"):
        late(clinic, now, name)


@pytest.fixture
def reader(serve: Serve, clinic: Clinic) -> Reader:
    """Somebody at an open server."""
    return Reader(serve(Access.OPEN))


@pytest.fixture
def north(serve: Serve, database: Database, now: datetime) -> TestClient:
    """A server where people log in, which knows the EHR `north`."""
    know_north(database, now)
    return serve(Access.LOCKED)


@pytest.fixture
def admin(north: TestClient, clinic: Clinic, now: datetime) -> Tab:
    """The clinic admin, who came in from that EHR."""
    return tab_of(north, clinic.database, now, "admin", "clinic-admin")


@pytest.fixture
def doctor(serve: Serve, clinic: Clinic, now: datetime) -> Reader:
    """A provider, who logged in."""
    return colleague(serve(Access.LOCKED), clinic.database, now, "provider")


@pytest.fixture
def nurse(clinic: Clinic, now: datetime) -> Account:
    """A nurse of the EHR `north`."""
    return person(clinic.database, "nurse", "rn", now=now)


@pytest.fixture
def tab(client: TestClient, clinic: Clinic, nurse: Account, now: datetime) -> Tab:
    """The nurse, without a patient."""
    return Tab(client, *launched(clinic.database, nurse, now))
