"""A tracker that staff comes in to by launches, and a browser that goes between it and a simulated EHR, cookies and all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import httpx
from starlette.testclient import TestClient

from api.app import create_app
from api.context import Access, AppContext
from api.demo.simulator.ledger import Context
from api.demo.simulator.simulator import Simulator
from api.demo.simulator.world import ClientType
from fhir_tracker import accounts, clock, connections, issuers
from fhir_tracker.issuers import Terms
from fhir_tracker.roles import built_in
from fhir_tracker.storage import launches
from fhir_tracker.storage.accounts import Account
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.issuers import Issuer
from fhir_tracker.storage.launches import LaunchSession
from tests.support.contexts import context_of
from tests.support.simulated_ehr import app_at

BASE = "https://testserver"
KEY = "clinic"
SECRET = "made-up-client-secret-4711 with/odd+signs%"


@dataclass
class Launchpad:
    """A tracker, secured, with the connection `clinic` to a simulated EHR; staff is added by `person`."""

    database: Database
    simulator: Simulator
    context: AppContext
    app: Any
    issuer: Issuer

    def person(self, user: str = "Practitioner/nurse", *roles: str) -> Account:
        """Somebody of the EHR who may come in."""
        with self.database.begin() as tx:
            made, _ = accounts.add(
                tx,
                "Nora Synthetic",
                roles or ("rn",),
                known=built_in(),
                now=clock.now(),
                connection=KEY,
                fhir_user=user,
            )
        return made

    def set_up(self, kind: ClientType = "public", **more: Any) -> Issuer:
        """Register the tracker anew at the EHR, and the EHR at the tracker, by these terms."""
        jwks = more.pop("jwks", None)
        secret = SECRET if kind == "confidential-symmetric" else ""
        self.simulator.register(app_at(BASE, kind, secret=secret, jwks=jwks))
        terms = Terms(
            **{
                "url": self.simulator.fhir_base,
                "client_id": "care-tracker",
                "client_type": kind,
                "secret": secret,
                "frame_ancestors": (self.simulator.origin,),
                **more,
            }
        )
        with self.database.begin() as tx:
            self.issuer = issuers.of_connection(tx, KEY, terms, self.context.secret_key, clock.now())
        return self.issuer

    def browser(self) -> Browser:
        """A browser nobody has used."""
        return Browser(self, TestClient(self.app, base_url=BASE))

    def sessions(self) -> list[LaunchSession]:
        """The sessions that stand, of everybody."""
        with self.database.read() as tx:
            everybody = {one.id for one in _accounts(tx)}
            return [one for id_ in sorted(everybody) for one in launches.of_account(tx, id_)]

    def session(self, id_: str) -> LaunchSession:
        """One session, ended or not."""
        with self.database.read() as tx:
            found = launches.find(tx, id_)
        assert found is not None
        return found


def _accounts(tx: Any) -> list[Account]:
    from fhir_tracker.storage import accounts as stored

    return stored.all(tx)


@dataclass
class Browser:
    """Goes where it is sent; `log` holds every address it was at."""

    pad: Launchpad
    client: TestClient
    log: list[str] = field(default_factory=list)

    def get(self, address: str, headers: Mapping[str, str] | None = None, **params: str) -> httpx.Response:
        """An answer of the tracker, redirects not followed."""
        answer = self.client.get(address, params=params or None, headers=headers, follow_redirects=False)
        self.log.append(str(answer.url))
        return cast(httpx.Response, answer)

    def launch(
        self, member: str = "nurse", context: Context | None = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """The first answer of the tracker to a launch from the EHR."""
        pressed = self.pad.simulator.launch(member, context or Context())
        return self.get("/launch", headers, iss=self.pad.simulator.fhir_base, launch=pressed.id)

    def at_ehr(self, sent: httpx.Response) -> str:
        """Where the EHR sends the browser that the tracker has sent to it."""
        assert sent.status_code == 302, sent.text
        answer = httpx.get(sent.headers["location"], follow_redirects=False, trust_env=False, timeout=60)
        assert answer.status_code in (302, 303), answer.text
        return str(answer.headers["location"])

    def come_in(self, member: str = "nurse", context: Context | None = None) -> httpx.Response:
        """The whole way; the last answer of the tracker."""
        return self.get(self.at_ehr(self.launch(member, context)))


def launch_of(answer: httpx.Response) -> str:
    """The public id of the launch that an answer opens."""
    assert answer.status_code == 303, answer.text
    return urlsplit(answer.headers["location"]).path.split("/")[2]


def asked(sent: httpx.Response) -> dict[str, str]:
    """The parameters of the authorization request that an answer makes."""
    return {name: values[0] for name, values in parse_qs(urlsplit(sent.headers["location"]).query).items()}


def launchpad(database: Database, simulator: Simulator, now: datetime) -> Launchpad:
    """A tracker that knows one EHR, and nobody yet."""
    context = context_of(database, access=Access.LOCKED, public_url=BASE)
    with database.begin() as tx:
        connections.add(tx, KEY, simulator.fhir_base, now=now)
    made = Launchpad(database, simulator, context, create_app(context), cast(Issuer, None))
    made.set_up()
    return made
