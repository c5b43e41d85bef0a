"""Items that cannot be worked on: each is put off for ever longer, shown with the reason, and never stops a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from fhir_tracker.model.work import WorkItem
from fhir_tracker.storage import poisoned, work_items
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.poisoned import Poisoned

FIRST = timedelta(hours=1)
LONGEST = timedelta(days=1)


def note(tx: Tx, item: WorkItem, reason: str, now: datetime) -> datetime:
    """Write down that the item failed (again); when it is tried the next time. Any change of it lets it be tried at once."""
    before = poisoned.find(tx, item.ref)
    times = before.times + 1 if before else 1
    until = now + min(FIRST * (1 << min(times - 1, 10)), LONGEST)
    poisoned.save(
        tx,
        Poisoned(
            ref=item.ref,
            program=item.program or "",
            reason=reason,
            times=times,
            since=before.since if before else now,
            until=until,
        ),
    )
    return until


def forget(tx: Tx, refs: Sequence[str]) -> None:
    """These could be worked on."""
    poisoned.drop(tx, refs)


def release(tx: Tx, now: datetime, program: str | None = None) -> int:
    """Let what is put off (of one program) be tried again now, such as when the program has a new version; how many."""
    found = [one.ref for one in poisoned.all(tx) if program in (None, one.program)]
    for ref in found:
        work_items.wake(tx, ref, now)
    return len(found)
