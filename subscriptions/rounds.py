"""What writing to one connection needs at hand, and our side of the resource that is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from fhir_tracker import records
from fhir_tracker.fhir.body import read_resource
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.merging import Texts
from fhir_tracker.model.author import Author
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage import outbox, resources
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.outbox import Outgoing
from fhir_tracker.storage.resources import Stored
from mappings import Mapping as Dialect
from mappings import Source, Tables
from subscriptions import ehr_words
from subscriptions.client import EhrClient
from subscriptions.ways import Abilities

READER = worker_viewer("write-back")


@dataclass(frozen=True, kw_only=True)
class Round:
    """All that writing to one connection needs. `hold(tx)` raises Busy when another process has taken it over."""

    database: Database
    connection: Connection
    client: EhrClient
    mapping: Dialect
    abilities: Abilities
    system: str
    now: Callable[[], datetime]
    hold: Callable[[Tx], None]
    tables: Tables = field(default_factory=Tables)

    @property
    def source(self) -> Source:
        return Source(key=self.connection.key, base_url=self.client.base_url, tables=self.tables)

    def author(self) -> Author:
        """Who takes over what the EHR changed; never written back to it."""
        return Author(viewer=READER, origin=f"ehr:{self.connection.key}", at=self.now())

    def own(self) -> Author:
        """Who does the tracker's own book-keeping."""
        return Author(viewer=READER, origin="write-back", at=self.now())

    def note(self, row: Outgoing, **values: Any) -> None:
        """Keep what was learnt of the other side."""
        with self.database.begin() as tx:
            self.hold(tx)
            outbox.note(tx, row, **values)

    def still_ours(self) -> None:
        """Raises Busy when another process has taken over: asked right before something is sent."""
        with self.database.begin() as tx:
            self.hold(tx)

    def done(self, row: Outgoing, reason: str | None) -> None:
        """Nothing is left to be written, unless it was changed here meanwhile."""
        with self.database.begin() as tx:
            self.hold(tx)
            outbox.change(tx, row, state="done", reason=reason, updated_at=self.now())


@dataclass(frozen=True, kw_only=True)
class View:
    """A row and our side of it: `words` is ours as the EHR would hold it, None when its mapping has no place for it."""

    row: Outgoing
    stored: Stored
    ours: Texts = field(repr=False)
    words: Resource | None = field(repr=False)


def view_of(round_: Round, row: Outgoing) -> View | None:
    """None when there is nothing here to write and nothing there to change."""
    with round_.database.read() as tx:
        stored = resources.find(tx, READER, row.type, row.local_id)
        if stored is None or (stored.deleted and (row.remote_id is None or not row.made_here)):
            return None
        before = _at(tx, row, row.agreed_version)
        now = _at(tx, row, stored.version - 1) if stored.deleted else records.resource_of(stored)
        now = now or {"resourceType": row.type}
        if stored.deleted:
            now = now | {name: "entered-in-error" for name in ("status", "lifecycleStatus") if name in now}
        if row.made_here:
            before = before and ehr_words.with_identifier(before, round_.system, row.local_id)
            now = ehr_words.with_identifier(now, round_.system, row.local_id)
        words = ehr_words.in_ehr_words(tx, now, round_.source, round_.mapping, round_.system)
    return View(row=row, stored=stored, ours=Texts(before=before, now=now), words=words)


def base_of(row: Outgoing) -> Resource | None:
    """What both last agreed on, in the EHR's words."""
    return read_resource(row.base.encode(), max_bytes=1 << 30) if row.base else None


def _at(tx: Tx, row: Outgoing, version: int | None) -> Resource | None:
    found = resources.find_version(tx, READER, row.type, row.local_id, version) if version else None
    return read_resource(found.body.encode(), max_bytes=1 << 30) if found and found.body else None
