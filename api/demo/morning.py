"""What the staff did before you came: calls made and tried, work claimed and held, so that the queues look like a Tuesday."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from api.demo.people import people
from fhir_tracker import consequences, effects, enrolment, outreach, programs, transitions
from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.author import Author
from fhir_tracker.model.moves import MoveRequest
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.model.work import WorkItem
from fhir_tracker.storage import work_items
from fhir_tracker.storage.database import Database, Tx

STILL_LATE = 4
MOST_ENROLMENTS = 20


def enrol_all(database: Database, now: datetime) -> None:
    """Open the plans that the records as loaded ask for, before any rule judges their work."""
    with database.read() as tx:
        active = programs.active_programs(tx)
    for program in active:
        for _ in range(MOST_ENROLMENTS):
            with database.begin() as tx:
                if not enrolment.consume(tx, program, now).more:
                    break


def work_the_morning(database: Database, now: datetime) -> None:
    """Let the demo's people act on the work that is there, as they would through the pages, in one transaction."""
    with database.begin() as tx:
        items = [item for _, item in _all_items(tx) if item.kind == "task" and item.open]
        items.sort(key=lambda item: (item.due_at or now, item.patient or "", item.code))
        by_code: dict[str, list[WorkItem]] = {}
        for item in items:
            by_code.setdefault(item.code, []).append(item)
        _calls(tx, by_code.get("first-call", []), now)
        _medicines(tx, by_code.get("medication-reconciliation", []), now)
        _take(tx, by_code.get("visit", [])[1::4], "front-desk", now)
        _take(tx, by_code.get("consent", [])[::6], "care-coordinator", now)
        _take(tx, by_code.get("care-plan", [])[::9], "rn", now)


def _all_items(tx: Tx) -> Iterator[tuple[int, WorkItem]]:
    last = 0
    while found := work_items.scan(tx, worker_viewer("demo"), last):
        yield from found
        last = found[-1][0]


def _calls(tx: Tx, items: Sequence[WorkItem], now: datetime) -> None:
    """Most late calls were made; some are tried and still late; some that are not due yet have been taken."""
    late = [item for item in items if item.due_at and item.due_at <= now]
    ahead = [item for item in items if item not in late]
    for number, item in enumerate(late[:-STILL_LATE]):
        author = _author("care-coordinator", number, now)
        _attempt(tx, item, "phone", "reached", author, hours=2 + number % 5)
        note = "Reached at home. Has the medicines, knows the warning signs."
        _move(tx, item, "done", author, note=note)
    for number, item in enumerate(late[-2:]):
        author = _author("care-coordinator", number, now)
        _attempt(tx, item, "phone", "no-answer", author, hours=4)
        _attempt(tx, item, "sms", "left-message", author, hours=1)
        _start(tx, item, author)
    _take(tx, ahead[1:6:2], "care-coordinator", now)
    for number, item in enumerate(ahead[:1]):
        _attempt(tx, item, "phone", "no-answer", _author("care-coordinator", number, now), hours=1)


def _medicines(tx: Tx, items: Sequence[WorkItem], now: datetime) -> None:
    """Half of what is due first was done, some is taken, one waits for the family, two for records."""
    for number, item in enumerate(items[:6]):
        _move(tx, item, "done", _author("rn", number, now), note="Compared with the discharge list; no change.")
    _take(tx, items[6:10], "rn", now)
    for number, (item, to, reason) in enumerate(
        zip(
            items[10:13],
            ("waiting", "awaiting-records", "awaiting-records"),
            ("The daughter brings the medicine bottles", "Hospital list asked for", "Pharmacy list asked for"),
            strict=False,
        )
    ):
        until = instant(now + timedelta(days=2 + number))
        _move(tx, item, to, _author("rn", number, now), reason=reason, **{"hold.until": until})


def _take(tx: Tx, items: Sequence[WorkItem], role: str, now: datetime) -> None:
    for number, item in enumerate(items):
        _start(tx, item, _author(role, number, now))


def _start(tx: Tx, item: WorkItem, author: Author) -> None:
    transitions.claim(tx, item.ref, author)
    _move(tx, item, "working", author)


def _move(tx: Tx, item: WorkItem, to: str, author: Author, **given: str) -> None:
    transitions.move(tx, item.ref, MoveRequest(to=to, fields=given), author)
    consequences.draw(tx, effects.apply)


def _attempt(tx: Tx, item: WorkItem, channel: str, outcome: str, author: Author, *, hours: int) -> None:
    tried = outreach.Attempt(channel=channel, outcome=outcome, at=author.at - timedelta(hours=hours))
    outreach.log_attempt(tx, item, tried, author)


def _author(role: str, number: int, now: datetime) -> Author:
    staff = [one for one in people() if one.role == role]
    return Author(viewer=staff[number % len(staff)].viewer(), origin="staff", at=now)
