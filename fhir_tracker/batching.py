"""Many acts in one transaction: what they read is asked for once, and what they write is written with few statements."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime

from fhir_tracker import gathering, projection
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.model.work import WorkItem
from fhir_tracker.storage import events, resources, work_items
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.foresight import Foresight

_READER = worker_viewer("batching")


def is_changed(tx: Tx, item: WorkItem) -> bool:
    """Whether something in this batch has changed an item, or what its rules see of its patient."""
    written = tx.foresight.written if tx.foresight is not None else ()
    return item.ref in written or item.ref in tx.let_go or f"Patient/{item.patient}" in written


@contextmanager
def together(tx: Tx, refs: Iterable[str], now: datetime) -> Iterator[None]:
    """Acts on these items (`Type/id`), best one on each: the same as alone, for less.

    The items are locked until the end. An act that reads what one before it wrote has all of that written first, so that
    nothing is ever seen as it was. Inside another such batch it does nothing of its own.
    """
    if tx.foresight is not None:
        yield
        return
    wanted = sorted(set(refs))
    resources.foresee(tx, _READER, wanted)
    tx.foresight = Foresight(in_step=lambda: projection.catch_up(tx, now))
    try:
        items = work_items.foresee(tx, wanted)
        whose = sorted({item.patient for item in items if item.patient and item.kind == "task"})
        events.foresee(tx, whose, gathering.REACHING)
        resources.glance(tx, [f"Patient/{one}" for one in whose])
        projection.hold_back(tx)
        yield
        projection.bring_in_step(tx, now)
        tx.flush()
    finally:
        tx.foresight = None
