"""Which labels restrict the patients and records that they are on, and keeping who is restricted in step with that."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from fhir_tracker import projection
from fhir_tracker.errors import TrackerError
from fhir_tracker.fhir.body import MAX_BYTES, read_resource, read_stored
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import objects_at, text_at
from fhir_tracker.fhir.references import ReferenceKind, parse_reference
from fhir_tracker.model.labels import DEFAULT, are_labels, read_labels, restricts
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage import epochs, glass, quarantine, resources, settings
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.resources import Stored

_WORKER = worker_viewer("restrictions")
_KEY = "restricting-labels"
_MARK = '"security"'
_WRITTEN = "restricted or not"
BATCH = 500


def restricting(tx: Tx) -> tuple[str, ...]:
    """The labels that restrict now, as `model.labels` names them."""
    if _KEY not in tx.here:
        said = settings.get(tx, _KEY)
        tx.here[_KEY] = DEFAULT if said is None else tuple(said.split())
    found: tuple[str, ...] = tx.here[_KEY]
    return found


def keep(tx: Tx, before: Stored | None, stored: Stored, resource: Resource) -> None:
    """Who may not see what is restricted sees nothing of it, from this very version on; what is deleted stays so.

    Nor of what tells who did what to it: its Provenance.
    """
    if stored.type == "Provenance":
        _keep_provenance(tx, stored, resource, is_known=stored.version > 1)
        return
    were_labels = before is not None and (before.deleted or _MARK in before.body)
    is_shut = are_labels(resource) and restricts(resource, restricting(tx))
    if were_labels or are_labels(resource):
        glass.set_restricted(tx, stored.ref, restricted=is_shut, patient=stored.patient)
        _keep_told(tx, [stored.ref] if stored.version > 1 else [])
    tx.here.setdefault(_WRITTEN, {})[stored.ref] = is_shut


def keep_trace(
    tx: Tx, stored: Stored, targets: Collection[str], *, labelled: bool = False, is_known: bool = False
) -> None:
    """As `keep`, of a Provenance of these (`Type/id`); `labelled`: restricted by its own labels besides.

    `is_known`: it was looked at before, and may be restricted now.
    """
    known: dict[str, bool] = tx.here.get(_WRITTEN, {})
    others = frozenset(targets) - known.keys()
    is_shut = labelled or any(known.get(ref) for ref in targets) or bool(glass.restricted_among(tx, others))
    if is_shut or is_known:
        glass.set_restricted(tx, stored.ref, restricted=is_shut, patient=stored.patient)


def _keep_provenance(tx: Tx, stored: Stored, resource: Resource, *, is_known: bool) -> None:
    targets = {ref for one in objects_at(resource, "target") if (ref := _local(text_at(one, "reference")))}
    labelled = are_labels(resource) and restricts(resource, restricting(tx))
    keep_trace(tx, stored, targets, labelled=labelled, is_known=is_known)


def _keep_told(tx: Tx, refs: Iterable[str]) -> None:
    """The same for every Provenance that these have already."""
    for one in glass.provenance_of(tx, _WORKER, refs):
        tx.here.pop(_WRITTEN, None)
        _keep_provenance(tx, one, read_stored(one.body), is_known=True)


def _local(reference: str | None) -> str | None:
    parsed = parse_reference(reference or "")
    return f"{parsed.type}/{parsed.id}" if parsed.kind is ReferenceKind.RELATIVE else None


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
            shut = restricts(read_stored(one.body), wanted)
            glass.set_restricted(tx, one.ref, restricted=shut, patient=one.patient)
            flagged |= {one.patient} if one.type == "Flag" and one.patient else set()
        _keep_told(tx, [one.ref for one in some])
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
