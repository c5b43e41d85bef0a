"""The tracker's side in the write-back tests: one connection that takes writes, a clock that the test moves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from fhir_tracker import connections, intake, records, writes
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.model.author import Author
from fhir_tracker.model.viewer import open_viewer
from fhir_tracker.storage import outbox, resources
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.outbox import STATES, Outgoing
from fhir_tracker.storage.resources import Stored
from mappings import Source, mapping_named
from subscriptions import EhrClient, Limits, WriteReport, sync_connection, write_back_to

VIEWER = open_viewer()
TYPES = ("Patient", "Task", "Appointment", "Communication", "CarePlan", "DocumentReference")
WRITTEN = ("Task", "Communication", "CarePlan", "Appointment")


class Writer:
    """A tracker that mirrors `base` and writes back to it."""

    def __init__(
        self,
        database: Database,
        base: str,
        *,
        now: datetime = datetime(2031, 1, 1, tzinfo=UTC),
        written: tuple[str, ...] = WRITTEN,
        owners: Mapping[str, Mapping[str, str]] | None = None,
        mapping: str = "generic",
        types: tuple[str, ...] = TYPES,
        key: str = "clinic",
    ) -> None:
        self.database = database
        self.base = base
        self.now = now
        self.patient = f"Patient/{key}-p1"
        options: dict[str, Any] = {"write_back": list(written), "owners": owners or {}}
        with database.begin() as tx:
            self.connection = connections.add(tx, key, base, now=now, types=types, options=options, mapping=mapping)

    def client(self) -> EhrClient:
        return EhrClient(self.base, limits=Limits(tries=1), pause=lambda _: None)

    def sync(self) -> None:
        """Poll every type."""
        self.pass_time(1)
        with self.client() as client:
            done = sync_connection(self.database, self.connection, client=client, now=lambda: self.now)
        assert done.complete, done.error

    def write(self, seconds: float = 1) -> WriteReport:
        """Write back what is due, `seconds` later."""
        self.pass_time(seconds)
        with self.client() as client:
            return self.write_with(client)

    def write_with(self, client: EhrClient) -> WriteReport:
        """Write back what is due by a client of the test's own."""
        return write_back_to(self.database, self.connection, client=client, now=lambda: self.now, jitter=lambda: 1.0)

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @property
    def author(self) -> Author:
        return Author(viewer=VIEWER, origin="api", at=self.now)

    def file(self, **members: Any) -> str:
        """A Task made here for the patient p1 of the EHR; its id."""
        return self.create({"resourceType": "Task", "status": "requested", "intent": "order", **members})

    def create(self, resource: Resource) -> str:
        about = "for" if resource["resourceType"] == "Task" else "subject"
        with self.database.begin() as tx:
            return writes.create(tx, {about: {"reference": self.patient}, **resource}, self.author).id

    def change(self, type_: str, id_: str, **members: Any) -> Stored:
        """Change fields here; None takes one out."""
        self.pass_time(1)
        with self.database.begin() as tx:
            stored = resources.find(tx, VIEWER, type_, id_)
            assert stored is not None
            fresh = records.resource_of(stored) | members
            kept = {name: one for name, one in fresh.items() if one is not None}
            return writes.update(tx, type_, id_, kept, self.author)[0]

    def mirror(self, tx: Tx, there: Resource) -> None:
        """Take in what the EHR holds, as a poll would."""
        source = Source(key="clinic", base_url=self.base)
        mapping = mapping_named(self.connection.mapping)
        body = json.dumps(there).encode()
        entry = intake.read_entry(body, there["resourceType"], lambda one: mapping.to_tracker(one, source))
        intake.take_page(tx, [entry], "clinic", Author(viewer=VIEWER, origin="ehr:clinic", at=self.now))

    def delete(self, type_: str, id_: str) -> None:
        with self.database.begin() as tx:
            writes.delete(tx, type_, id_, self.author)

    def held(self, type_: str, id_: str) -> Resource:
        """What is held here now."""
        with self.database.read() as tx:
            stored = resources.find(tx, VIEWER, type_, id_)
        assert stored is not None
        return records.resource_of(stored)

    def stored(self, type_: str) -> list[Stored]:
        with self.database.read() as tx:
            return resources.scan(tx, VIEWER, [type_], limit=500)

    def rows(self) -> list[Outgoing]:
        with self.database.read() as tx:
            return outbox.listed(tx, VIEWER, states=STATES)

    def row(self, ref: str) -> Outgoing:
        return next(one for one in self.rows() if one.ref == ref)
