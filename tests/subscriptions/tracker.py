"""The tracker's side in the sync tests: one connection, a clock that the test moves, and questions about what is held."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from fhir_tracker import connections
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage import cursors, quarantine, resources
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.quarantine import Quarantined
from fhir_tracker.storage.resources import Stored, StoredVersion
from subscriptions import EhrClient, Limits, SyncReport, TypeReport, sync_connection
from subscriptions.abilities import STATE, choice_of, remembered
from subscriptions.strategies import Choice
from tests.subscriptions.fake_ehr import BASE, FakeEhr

VIEWER = worker_viewer("test")


class Tracker:
    """Our clock is off by years on purpose: no answer may depend on it."""

    def __init__(self, database: Database, ehr: FakeEhr, *, types: tuple[str, ...] = ("Patient",)) -> None:
        self.database = database
        self.ehr = ehr
        self.now = datetime(2031, 1, 1, tzinfo=UTC)
        self.waits: list[float] = []
        with database.begin() as tx:
            self.connection: Connection = connections.add(tx, "clinic", BASE, now=self.now, types=types)

    def sync(self) -> SyncReport:
        """One sync, a second of our clock later."""
        self.now += timedelta(seconds=1)
        limits = Limits(max_bytes=2_000_000, tries=2)
        with EhrClient(BASE, limits=limits, pause=self.waits.append, jitter=lambda: 0.5) as client:
            return self.sync_with(client)

    def sync_with(self, client: EhrClient) -> SyncReport:
        """One sync by a client of the test's own."""
        return sync_connection(self.database, self.connection, client=client, now=lambda: self.now)

    def choice(self, type_: str) -> Choice:
        """How a type is followed, as it is kept."""
        with self.database.read() as tx:
            state = cursors.find(tx, "clinic", STATE)
        return choice_of(self.connection, remembered(state.detail if state else {}), type_)

    def reconcile(self) -> SyncReport:
        """One sync with a comparison of everything, a second of our clock later."""
        self.now += timedelta(seconds=1)
        limits = Limits(max_bytes=2_000_000, tries=2)
        with EhrClient(BASE, limits=limits, pause=self.waits.append, jitter=lambda: 0.5) as client:
            return sync_connection(self.database, self.connection, client=client, now=lambda: self.now, reconciles=True)

    def patients(self) -> TypeReport:
        """One sync, and what it says of Patient."""
        done = self.sync()
        return next(one for one in done.types if one.type == "Patient")

    def find(self, id_: str, type_: str = "Patient") -> Stored | None:
        with self.database.read() as tx:
            return resources.find(tx, VIEWER, type_, f"clinic-{id_}")

    def held(self, type_: str = "Patient") -> set[str]:
        """The remote ids of everything held and not deleted."""
        with self.database.read() as tx:
            return set(resources.ids_of(tx, "clinic", type_))

    def versions(self, id_: str, type_: str = "Patient") -> list[StoredVersion]:
        with self.database.read() as tx:
            return resources.history(tx, VIEWER, type_, f"clinic-{id_}", count=100)

    def verbatim(self, id_: str, type_: str = "Patient") -> str | None:
        with self.database.read() as tx:
            return resources.remote_body(tx, VIEWER, type_, f"clinic-{id_}")

    def quarantined(self) -> list[Quarantined]:
        with self.database.read() as tx:
            return list(quarantine.list(tx, VIEWER))
