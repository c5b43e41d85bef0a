"""One simulated EHR: what it is called, whom it knows, what it does wrong, and what it saw."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import urlencode

from api.demo.simulator.faults import NO_FAULTS, Faults
from api.demo.simulator.keys import SigningKeys
from api.demo.simulator.ledger import Context, Launch, Ledger
from api.demo.simulator.world import RegisteredApp, World
from fhir_tracker import clock


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Who logs in and whose chart is picked, where no person is there to say so."""

    member: str
    patient: str = ""


class Simulator:
    """`origin` begins its pages' addresses, `fhir_base` is what `aud` and `iss` name; neither has a slash at its end.

    With `auto` nobody is asked anything. With `is_secured` its FHIR API wants a token of its own.
    """

    def __init__(
        self,
        world: World,
        *,
        origin: str,
        fhir_base: str = "",
        auto: Choice | None = None,
        is_secured: bool = False,
        now: Callable[[], datetime] = clock.now,
    ) -> None:
        self.world = world
        self.origin = origin
        self.fhir_base = fhir_base or f"{origin}/fhir"
        self.issuer = self.fhir_base
        self.auto = auto
        self.is_secured = is_secured
        self.faults: Faults = NO_FAULTS
        self.ledger = Ledger()
        self.keys = SigningKeys()
        self.now = now
        self._lock = threading.Lock()

    @property
    def violations(self) -> tuple[str, ...]:
        """What apps did that they should not have."""
        return self.ledger.violations

    def register(self, app: RegisteredApp) -> None:
        """Add an app, or replace the one of the same id."""
        with self._lock:
            others = tuple(one for one in self.world.apps if one.client_id != app.client_id)
            self.world = replace(self.world, apps=(*others, app))

    def launch(self, member: str, context: Context | None = None) -> Launch:
        """What the launch button makes; KeyError for somebody who does not work here."""
        found = self.world.member(member)
        if found is None:
            raise KeyError(member)
        return self.ledger.launch(found, context or Context(), self.now())

    def launch_address(self, client_id: str, launch: Launch) -> str:
        """Where the frame of the app begins."""
        app = self.world.app(client_id)
        if app is None:
            raise KeyError(client_id)
        return f"{app.launch_url}?{urlencode({'iss': self.fhir_base, 'launch': launch.id})}"

    def address(self, endpoint: str) -> str:
        """The address of one of its OAuth endpoints."""
        return f"{self.origin}/oauth/{endpoint}"
