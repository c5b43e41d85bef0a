"""What a beat hands to Celery: stretches of what is due, a hundred items or more in each message, nothing twice and nothing left."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fhir_tracker import clock, sweep
from fhir_tracker.brake import Limit
from fhir_tracker.config import Settings, load_settings
from fhir_tracker.storage import work_items
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.work_items import Span
from tests.storage.samples import item

with pytest.MonkeyPatch.context() as _set:
    _set.setenv("FHIR_TRACKER_REDIS_URL", "redis://127.0.0.1:1/0")
    from api import queue

LEASE = timedelta(minutes=2)
LEAST = 100


class Messages:
    """Stands for Celery's application: keeps what it is told to send."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, list[int], dict[str, Any]]] = []

    def send_task(self, name: str, args: list[int], **options: Any) -> None:
        self.sent.append((name, args, options))

    @property
    def spans(self) -> list[Span]:
        return [Span(first=(one[0], one[1]), last=(one[2], one[3])) for _, one, _ in self.sent]


def configured(batch: int) -> Settings:
    return load_settings({"FHIR_TRACKER_SWEEP_BATCH": str(batch), "FHIR_TRACKER_DATABASE": "sqlite:///unused.db"})


def fill(database: Database, count: int, *, at_once: bool) -> None:
    """So many items that are due, all at the same moment or one after the other, among some that are not."""
    now = clock.now()
    with database.begin() as tx:
        for number in range(count):
            due = now - timedelta(hours=1, seconds=0 if at_once else number)
            work_items.add(tx, item(f"Task/due-{number}", next_action_at=due))
        work_items.add(tx, item("Task/closed", open=False, next_action_at=now - timedelta(hours=2)))
        work_items.add(tx, item("Task/later", next_action_at=now + timedelta(hours=2)))


def waiting(database: Database) -> int:
    with database.read() as tx:
        return sum(one.items for one in work_items.due_spans(tx, clock.now(), 1000, 10_000))


@pytest.mark.parametrize("at_once", [True, False], ids=["at one moment", "one after the other"])
@pytest.mark.parametrize(
    ("due", "batch", "messages"),
    [(0, 500, 0), (99, 10, 0), (199, 10, 0), (200, 10, 2), (250, 100, 2), (299, 1, 2), (401, 150, 3)],
)
def test_each_message_is_about_a_hundred_items_or_more_and_all_of_them_together_about_everything(
    database: Database, due: int, batch: int, messages: int, at_once: bool
) -> None:
    fill(database, due, at_once=at_once)
    made = Messages()
    queue.dispatch(made, database, configured(batch))
    assert len(made.sent) == messages
    if not messages:
        assert waiting(database) == 0, "what is less is swept here and now"
        return
    seen: set[str] = set()
    for name, args, options in made.sent:
        assert name == queue.SWEEP
        assert all(isinstance(one, int) for one in args), "a message names no work and no patient"
        assert options["expires"] >= 60
    with database.begin() as tx:
        for span in made.spans:
            found = {one.ref for one in work_items.claim_due(tx, clock.now(), 10_000, LEASE, span).items}
            assert len(found) >= LEAST
            assert not found & seen, "no item is in two messages"
            seen |= found
    assert len(seen) == due


def test_messages_that_come_twice_late_and_in_any_order_leave_nothing_and_find_nothing_the_second_time(
    database: Database,
) -> None:
    fill(database, 330, at_once=True)
    made, off = Messages(), sweep.Limits(brake=Limit(share=0, floor=0))
    queue.dispatch(made, database, configured(100))
    first = [sweep.settle(database, clock.now(), off, span=one).items for one in reversed(made.spans)]
    assert min(first) >= LEAST
    assert sum(first) == 330
    assert [sweep.settle(database, clock.now(), off, span=one).items for one in made.spans] == [0] * len(first)
    assert waiting(database) == 0


def test_a_lost_message_leaves_its_work_for_the_next_beat(database: Database) -> None:
    fill(database, 220, at_once=False)
    made, again = Messages(), Messages()
    queue.dispatch(made, database, configured(100))
    sweep.settle(database, clock.now(), sweep.Limits(), span=made.spans[0])
    left = waiting(database)
    assert 0 < left < 220
    queue.dispatch(again, database, configured(100))
    assert (again.sent, waiting(database)) == ([], 0)
