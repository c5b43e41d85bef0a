"""What every pull from one connection needs at hand, and what it reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from fhir_tracker import absent, failpoints, intake
from fhir_tracker.errors import RemoteFailure, VersionConflict
from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.intake import EntryRefused, Received, Tally, Unusable
from fhir_tracker.model.author import Author
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.database import Database, Tx
from mappings import Mapping, Source, Tables
from subscriptions.bundles import Page, read_page
from subscriptions.client import Answer, EhrClient

PAGE_SIZE = 100
CONFLICTS = 5
READINGS = 3
"""How often one page is asked for when what comes is cut off or garbled."""


@dataclass(frozen=True, kw_only=True)
class Follow:
    """One sync of one connection. `hold(tx)` raises Busy when another process has taken the connection over.

    `hook` is where the EHR tells us of changes, "" where it cannot reach us.
    """

    database: Database
    connection: Connection
    client: EhrClient
    mapping: Mapping
    now: Callable[[], datetime]
    hold: Callable[[Tx], None]
    overlap: timedelta
    page_cap: int = 20_000
    skew: timedelta = timedelta()
    """How far the server's clock is ahead of ours, as its last metadata showed."""
    patience: timedelta | None = None
    """How long one type may take in one sync where it is read piece by piece; None for as long as there is something."""
    hook: str = ""
    heard: Callable[[str, Tally], None] = lambda _type, _page: None
    """Told of each page that is written: its type and what it came to."""
    tables: Tables = field(default_factory=Tables)
    """What the practice says of the EHR's codes."""
    address: str = ""
    """The base address by which the server itself goes, as its last metadata showed."""

    @property
    def source(self) -> Source:
        base = self.client.base_url
        return Source(key=self.connection.key, base_url=base, tables=self.tables, calls_itself=self.address)

    def translate(self, resource: Resource) -> Resource:
        """The mapping, bound to this connection."""
        return self.mapping.to_tracker(resource, self.source)

    def author(self) -> Author:
        """Who writes what this connection brings."""
        return Author(viewer=worker_viewer("sync"), origin=f"ehr:{self.connection.key}", at=self.now())

    def page(self, url: str, kind: str, answer: Answer | None = None, *, own: bool = False) -> Page:
        """The Bundle at `url`; a garbled or cut off one is asked for again before RemoteFailure is raised.

        `own`: it is a search that we made up, and no link of the server's.
        """
        for reading in range(1, READINGS + 1):
            found = answer or (self.client.search(url) if own else self.client.get(url))
            try:
                return read_page(found, kind)
            except RemoteFailure as failure:
                if failure.permanent or reading == READINGS or found.status != 200:
                    raise
                answer = None
        raise AssertionError("unreachable: the last reading returns or raises")

    def write(
        self, entries: Sequence[Received | Unusable], also: Callable[[Tx], None], *, returned: bool = True
    ) -> Tally:
        """Take a page and do `also` in one transaction; an entry that cannot be written is quarantined in its place.

        `returned` False: these were read one by one, and are missing from the answers that should hold them all the same.
        """
        with self.database.read() as tx:
            pending = intake.translate_news(tx, entries, self.connection.key)
        conflicts = 0
        one_by_one = False
        failpoints.reached("page-read")
        while True:
            try:
                with self.database.begin() as tx:
                    self.hold(tx)
                    tally = intake.take_page(tx, pending, self.connection.key, self.author(), one_by_one=one_by_one)
                    if returned:
                        self._note_returned(tx, pending)
                    also(tx)
                    failpoints.reached("page-before-commit")
                failpoints.reached("page-after-commit")
                if entries:
                    self.heard(entries[0].type, tally)
                return tally
            except EntryRefused as refusal:
                if not one_by_one:
                    one_by_one = True
                    continue
                at = next(index for index, entry in enumerate(pending) if entry is refusal.entry)
                pending[at] = intake.refused(refusal.entry, refusal.reason)
            except VersionConflict:
                conflicts += 1
                if conflicts == CONFLICTS:
                    raise

    def _note_returned(self, tx: Tx, entries: Sequence[Received | Unusable]) -> None:
        for type_ in {one.type for one in entries}:
            ids = [one.remote_id for one in entries if one.type == type_]
            absent.returned(tx, self.connection.key, type_, ids, self.author())


def nothing_else(_: Tx) -> None:
    """What is done besides writing a page that has no cursor of its own."""


@dataclass(frozen=True, kw_only=True)
class TypeReport:
    """What one type came to; `lag_seconds` is the age of its last complete pass, `error` None when this one is complete."""

    type: str
    tally: Tally = field(default_factory=Tally)
    pages: int = 0
    watermark: datetime | None = None
    lag_seconds: float | None = None
    error: str | None = None
    permanent: bool = False
    auth: bool = False
    retry_after: float | None = None
    notes: tuple[str, ...] = ()
    missed: int | None = None
    """How many changes a reconciliation found that every other way had missed; None without one."""
    more: bool = False
    """Whether it stopped for the others' sake, and is to go on as soon as they had their turn."""
    loading: bool = False
    """Whether some were never read yet, nor tried in vain."""

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "type": self.type,
            "fetched": self.tally.fetched,
            "applied": self.tally.applied,
            "unchanged": self.tally.unchanged + self.tally.stale,
            "deleted": self.tally.deleted,
            "quarantined": self.tally.quarantined,
            "pages": self.pages,
            "watermark": instant(self.watermark) if self.watermark else None,
            "lagSeconds": self.lag_seconds,
            "missedEvents": self.missed,
            "error": self.error,
            "notes": list(self.notes),
        }
