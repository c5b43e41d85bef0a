"""Which labels restrict the patients and records that they are on, and keeping who is restricted in step with that."""

from __future__ import annotations

from collections.abc import Iterable

from fhir_tracker import projection
from fhir_tracker.errors import TrackerError
from fhir_tracker.fhir.body import MAX_BYTES, read_resource
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.model.labels import DEFAULT, are_labels, read_labels, restricts
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage import epochs, glass, quarantine, resources, settings
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.resources import Stored

_WORKER = worker_viewer("restrictions")
_KEY = "restricting-labels"
_MARK = '"security"'
BATCH = 500


def restricting(tx: Tx) -> tuple[str, ...]:
    """The labels that restrict now, as `model.labels` names them."""
    if _KEY not in tx.here:
        said = settings.get(tx, _KEY)
        tx.here[_KEY] = DEFAULT if said is None else tuple(said.split())
    found: tuple[str, ...] = tx.here[_KEY]
    return found


def keep(tx: Tx, before: Stored | None, stored: Stored, resource: Resource) -> None:
    """Who may not see what is restricted sees nothing of it, from this very version on; what is deleted stays so."""
    were_labels = before is not None and (before.deleted or _MARK in before.body)
    if were_labels or are_labels(resource):
        shut = are_labels(resource) and restricts(resource, restricting(tx))
        glass.set_restricted(tx, stored.ref, restricted=shut, patient=stored.patient)


def restricts_sent(tx: Tx, sent: Resource | None, body: str) -> bool:
    """Whether what another server sent is restricted by its labels; what cannot be read is, where it has any."""
    if sent is None:
        return _MARK in body
    return are_labels(sent) and restricts(sent, restricting(tx))


def change(tx: Tx, labels: Iterable[str]) -> tuple[str, ...]:
    """Let these labels restrict from now on, and no others; raises Incorrect for one that is none.

    Everything that has a label is looked at again.
    """
    wanted = read_labels(labels)
    settings.put(tx, _KEY, " ".join(wanted))
    tx.here.pop(_KEY, None)
    after, flagged = 0, set()
    while some := resources.scan(tx, _WORKER, (), after, BATCH, holding=_MARK):
        after = some[-1].k
        for one in some:
            shut = restricts(read_resource(one.body.encode(), max_bytes=1 << 30), wanted)
            glass.set_restricted(tx, one.ref, restricted=shut, patient=one.patient)
            flagged |= {one.patient} if one.type == "Flag" and one.patient else set()
    for waiting in quarantine.labelled(tx, _WORKER, _MARK):
        quarantine.set_restricted(tx, waiting.id, restricted=restricts_sent(tx, readable(waiting.body), waiting.body))
    for patient in sorted(flagged):
        projection.set_flags(tx, patient)
    epochs.bump(tx)
    return wanted


def readable(body: str) -> Resource | None:
    """What another server sent, where it can be read at all."""
    try:
        return read_resource(body.encode("utf-8", "replace"), max_bytes=MAX_BYTES)
    except TrackerError:
        return None
