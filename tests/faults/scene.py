"""A tracker of the test's own over a fake EHR in another process: synced by hand, its clock moved by the test."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from fhir_tracker import connections
from fhir_tracker.storage import cursors, quarantine, resources
from fhir_tracker.storage.cursors import Cursor
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.quarantine import Quarantined
from subscriptions import EhrClient, Limits, SyncReport, sync_connection
from tests.faults.checker import CONNECTION, VIEWER, check
from tests.faults.ehr_process import EhrProcess

LIMITS = Limits(total_seconds=20, silence_seconds=20, max_bytes=2_500_000, tries=2)


class Scene:
    """`sync` once; `rest` until nothing is new; `check` the invariants."""

    def __init__(self, database: Database, ehr: EhrProcess, base_url: str, *, seconds: float = 20) -> None:
        self.database = database
        self.ehr = ehr
        self.base_url = base_url
        self.now = datetime(2031, 1, 1, tzinfo=UTC)
        self.waits: list[float] = []
        self.checked = False
        self.limits = replace(LIMITS, total_seconds=seconds)
        with database.begin() as tx:
            self.connection = connections.add(tx, CONNECTION, base_url, now=self.now, types=("Patient", "CarePlan"))

    def sync(self) -> SyncReport:
        """One sync, half a minute later on both sides."""
        self.pass_time(30)
        with EhrClient(self.base_url, limits=self.limits, pause=self.waits.append, jitter=lambda: 0.5) as client:
            return sync_connection(self.database, self.connection, client=client, now=lambda: self.now)

    def synced(self) -> SyncReport:
        """One sync that has to be complete."""
        done = self.sync()
        assert done.complete, done.as_json()
        return done

    def failed(self, words: str = "") -> str:
        """One sync that has to fail; what it says."""
        done = self.sync()
        assert not done.complete
        said = " ".join([done.error or "", *(one.error or "" for one in done.types)])
        assert words in said, said
        return said

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.ehr.act("pass_time", seconds=seconds)

    def rest(self) -> None:
        """No fault any more: a few syncs, the last of which brings nothing."""
        self.ehr.fault()
        for _ in range(8):
            done = self.sync()
            if done.complete and not sum(one.tally.applied + one.tally.deleted for one in done.types):
                return
        raise AssertionError(done.as_json())

    def check(self) -> None:
        """All that has to hold, after a rest."""
        self.checked = True
        self.rest()
        check(self.database, self.ehr.truth(), now=self.now)

    def held(self) -> set[str]:
        """The remote ids of the Patients held here."""
        with self.database.read() as tx:
            return set(resources.ids_of(tx, CONNECTION, "Patient"))

    def cursor(self) -> Cursor | None:
        with self.database.read() as tx:
            return cursors.find(tx, CONNECTION, "Patient")

    def waiting(self) -> list[Quarantined]:
        with self.database.read() as tx:
            return list(quarantine.list(tx, VIEWER))
