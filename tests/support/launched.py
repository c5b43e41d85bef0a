"""Launches without an EHR: accounts and sessions put into the store, and browser tabs that show their secrets."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

import httpx
from starlette.testclient import TestClient

from fhir_tracker import accounts, launches
from fhir_tracker.roles import built_in
from fhir_tracker.storage.accounts import Account
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.issuers import Issuer
from fhir_tracker.storage.launches import LaunchSession

EHR = "https://ehr.example.org"
LIFETIME = timedelta(hours=12)


@dataclass
class Tab:
    """One browser tab inside a launch: it shows the cookie, or the handle when cookies are blocked."""

    client: TestClient | httpx.Client
    session: LaunchSession
    secret: str
    handle: str
    has_cookies: bool = True
    csrf: str = field(default="", init=False)

    @property
    def prefix(self) -> str:
        """What all pages of the launch are below."""
        return f"/l/{self.session.id}"

    @property
    def shown(self) -> dict[str, str]:
        """The headers by which the tab is known."""
        if self.has_cookies:
            return {"Cookie": f"__Host-l-{self.session.id}={self.secret}"}
        return {"X-Launch-Handle": self.handle}

    def get(self, page: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """A page of the launch, redirects not followed."""
        shown = {**self.shown, **(headers or {})}
        answer = self.client.get(self.prefix + page, headers=shown, follow_redirects=False)
        return cast(httpx.Response, answer)

    def token(self) -> str:
        """What the forms of this launch carry."""
        match = re.search(r'name="csrf" value="([^"]+)"', self.get("/help/keys").text)
        assert match, "no token in the page"
        return html.unescape(match[1])

    def post(
        self, page: str, fields: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Send a form of the launch."""
        self.csrf = self.csrf or self.token()
        data, shown = {"csrf": self.csrf, **(fields or {})}, {**self.shown, **(headers or {})}
        answer = self.client.post(self.prefix + page, data=data, headers=shown, follow_redirects=False)
        return cast(httpx.Response, answer)


def person(database: Database, name: str, *roles: str, now: datetime) -> Account:
    """Somebody of the EHR `north` with an account."""
    user = f"Practitioner/{name}"
    with database.begin() as tx:
        made, _ = accounts.add(
            tx,
            f"{name.capitalize()} Synthetic",
            roles,
            known=built_in(),
            now=now,
            connection="north",
            fhir_user=user,
        )
    return made


def launched(
    database: Database, account: Account, now: datetime, *, framed_by: tuple[str, ...] = (EHR,), **more: Any
) -> tuple[LaunchSession, str, str]:
    """A session that began at `now`, its secret and its handle."""
    issuer = Issuer(
        key="north",
        url=f"{EHR}/fhir",
        client_id="tracker",
        frame_ancestors=framed_by,
        options={"intents": {"show-numbers": "operations", "work": "queue", "odd": "nowhere"}},
        changed_at=now,
    )
    with database.begin() as tx:
        given = {"lifetime": LIFETIME, **more}
        return launches.begin(tx, account, now=now, issuer=issuer, **given)
