"""What keeps the audit trail sealed while a process runs: a block each second there is news, its head written down outside."""

from __future__ import annotations

import logging
import threading

from fhir_tracker import audit_anchor, clock
from fhir_tracker.config import Settings
from fhir_tracker.errors import TrackerError
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage import audit, audit_witness
from fhir_tracker.storage.audit_chain import Head, Sealer
from fhir_tracker.storage.audit_checking import RESTORED
from fhir_tracker.storage.audit_witness import Witness
from fhir_tracker.storage.database import Database

SEAL_SECONDS = 1.0
ANCHOR_SECONDS = 2.0
PATIENCE_SECONDS = 0.5
"""How long the end of a process waits for the transactions of others, before which no row is sealed."""
log = logging.getLogger(__name__)


class AuditKeeper:
    """Seals in a thread of its own; `stop` ends it, after which `seal_at_end` does the rest."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._witness = Witness(database)
        self._sealer = Sealer(database)
        self._settings = settings
        self._stopping = threading.Event()
        self._head: Head | None = None
        self._due = 0.0
        self._thread = threading.Thread(target=self._run, name="audit-keeper", daemon=True)

    def start(self) -> AuditKeeper:
        """Begin."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """End after the step in progress, with the last head written down."""
        self._stopping.set()
        self._thread.join(30.0)
        self._write_down()

    def _run(self) -> None:
        while not self._stopping.wait(SEAL_SECONDS):
            self.step()

    def step(self) -> None:
        """Put back what was removed, seal what there is, and write the head down when it is time; what fails is tried again."""
        try:
            restore(self._database, self._witness)
            self._head = self._sealer.step(clock.now()) or self._head
        except TrackerError as error:
            log.warning("audit rows not sealed", extra={"fields": {"error": type(error).__name__}})
        if clock.monotonic() >= self._due:
            self._write_down()
            self._due = clock.monotonic() + ANCHOR_SECONDS

    def _write_down(self) -> None:
        head, self._head = self._head, None
        if head is not None:
            write_down(self._settings, head)


def restore(database: Database, witness: Witness) -> None:
    """Write again what this process had written to the trail and somebody took out before it was sealed, and say so there."""
    rows = witness.missing()
    if not rows:
        return
    log.error("audit rows had been removed", extra={"fields": {"rows": len(rows)}})
    detail = {"rows": len(rows), "of": audit_witness.told(rows)}
    with database.begin() as tx:
        audit_witness.write_again(tx, rows)
        audit.add(tx, at=clock.now(), viewer=worker_viewer("audit"), action=RESTORED, kind="security", detail=detail)
    witness.forget(rows)


def write_down(settings: Settings, head: Head, level: int = logging.INFO) -> None:
    """Add the head of the chain to the anchor file and to the log; a file that cannot be written is told in the log."""
    log.log(level, "audit head", extra={"fields": {"block": head.block, "row": head.seq, "hash": head.hash}})
    file = audit_anchor.anchor_file(settings)
    if file is None:
        return
    try:
        audit_anchor.append(file, head)
    except TrackerError as error:
        log.warning("audit head not anchored", extra={"fields": {"block": head.block, "error": error.message}})


def seal_at_end(database: Database, settings: Settings) -> None:
    """Seal what this process wrote; where that cannot be done now, the next process does it."""
    if not database.signer.has_signed:
        return
    try:
        restore(database, Witness(database))
        head = Sealer(database).finish(clock.now(), PATIENCE_SECONDS)
    except TrackerError as error:
        log.warning("audit rows not sealed", extra={"fields": {"error": type(error).__name__}})
        return
    if head is not None:
        write_down(settings, head, logging.DEBUG)
