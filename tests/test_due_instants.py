"""The escalation clock runs by the instant of `Task.restriction.period.end`, in whatever time zone that is written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fhir_tracker import writes
from fhir_tracker.storage.database import Database
from tests.support.clinic import MONDAY, Clinic, author

SECOND = timedelta(seconds=1)
SAME = datetime(2026, 3, 11, 21, tzinfo=UTC)


@pytest.mark.requirement(133)
@pytest.mark.parametrize(
    ("written", "instant"),
    [
        ("2026-03-11T17:00:00-04:00", SAME),
        ("2026-03-11T21:00:00Z", SAME),
        ("2026-03-12T06:00:00+09:00", SAME),
        ("2026-03-12T02:30:00.000+05:30", SAME),
        ("2026-03-11", datetime(2026, 3, 11, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_work_is_late_from_the_instant_that_it_was_due_on(database: Database, written: str, instant: datetime) -> None:
    clinic = Clinic(database)
    clinic.patient("ann")
    clinic.discharge("ann", MONDAY)
    call = clinic.task("ann", "first-call").ref
    body = clinic.resource(call) | {"restriction": {"period": {"end": written}}}
    with clinic.database.begin() as tx:
        writes.update(tx, "Task", call.split("/")[1], body, author(MONDAY))
    clinic.sweep(instant - SECOND)
    assert clinic.escalations("ann") == []
    assert clinic.item(call).next_action_at == instant
    clinic.sweep(instant)
    (first,) = clinic.escalations("ann")
    assert first.focus == call
