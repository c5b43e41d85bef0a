"""Two transactions that do the same at the same moment: what may happen once happens once, and nothing is lost of the other.

The second begins while the first is open, and goes on as far as it can; then the first commits, or is undone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from fhir_tracker.errors import Conflict, TrackerError, VersionConflict
from fhir_tracker.model.patient import PatientSummary
from fhir_tracker.model.work import Firing, FiringKey
from fhir_tracker.storage import (
    budgets,
    connections,
    dispatches,
    enrolments,
    firings,
    heartbeats,
    inbox,
    jobs,
    leaders,
    notifications,
    outbox,
    patients,
    programs,
    quarantine,
    staff,
    work_items,
)
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.dispatches import Untold
from fhir_tracker.storage.enrolments import Enrolment
from fhir_tracker.storage.heartbeats import Heartbeat
from fhir_tracker.storage.outbox import Changed
from tests.storage.samples import NOW, VIEWER, item, put, task

PATIENCE = 60
HOUR = timedelta(hours=1)
Act = Callable[[Tx], Any]
_WAITS = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()")
UNTOLD = Untold(channel="email", role="rn", person=None, oldest=NOW)


@dataclass
class Other:
    """What the second transaction came to."""

    ended: threading.Event = field(default_factory=threading.Event)
    result: Any = None
    error: TrackerError | None = None

    @property
    def told(self) -> Any:
        """Its result, or the kind of its refusal."""
        return self.result if self.error is None else type(self.error)


class Undone(Exception):
    """The first transaction is undone."""


def at_once(database: Database, first: Act, second: Act, *, undone: bool = False) -> tuple[Any, Other]:
    """What the first was told, and the other."""
    other, told = Other(), None

    def run() -> None:
        try:
            with database.begin() as tx:
                other.result = second(tx)
        except TrackerError as error:
            other.error = error
        finally:
            other.ended.set()

    thread = threading.Thread(target=run)
    try:
        with database.begin() as tx:
            told = first(tx)
            tx.flush()
            thread.start()
            _as_far_as_it_can(database, other)
            if undone:
                raise Undone
    except Undone:
        told = None
    assert other.ended.wait(PATIENCE)
    thread.join(PATIENCE)
    return told, other


def _as_far_as_it_can(database: Database, other: Other) -> None:
    """Until it waits for the transaction that is open, or has ended; a second writer of SQLite has not begun."""
    ends = time.monotonic() + PATIENCE
    while database.dialect == "postgresql" and not other.ended.is_set() and not _is_waited(database):
        assert time.monotonic() < ends, "it neither waits nor ends"
        time.sleep(0.01)


def _is_waited(database: Database) -> bool:
    with database.read() as tx:
        return bool(tx.value(_WAITS))


def a_job(tx: Tx) -> Any:
    return jobs.enqueue(tx, "poll", "a", {}, NOW)


def a_claim(tx: Tx) -> Any:
    found = jobs.claim(tx, ["poll"], NOW, HOUR)
    return found and found.key


def some_claims(tx: Tx) -> Any:
    return sorted(one.key for one in jobs.claim_many(tx, ["poll"], NOW, HOUR, 2, 3))


def a_firing(tx: Tx) -> Any:
    key = FiringKey(item="Task/a", rule="late", cycle="0", level=1)
    return firings.fire(tx, Firing(key=key, fired_at=NOW, kind="escalate"), "ann")


def an_enrolment(tx: Tx) -> Any:
    return enrolments.reserve(tx, "tcm", "ann", "", NOW)


def some_enrolments(*patients_: str) -> Act:
    def act(tx: Tx) -> Any:
        wanted = [
            Enrolment(program="tcm", patient=one, trigger="", plan=f"CarePlan/{one}", at=NOW) for one in patients_
        ]
        return sorted(enrolments.reserve_many(tx, wanted))

    return act


def a_connection(tx: Tx) -> Any:
    return connections.add(tx, Connection(key="ehr", base_url="http://ehr.example", created_at=NOW))


def a_version(tx: Tx) -> Any:
    return programs.add(tx, "tcm", title="T", source="x", at=NOW, by="ann").version


def a_draft(tx: Tx) -> Any:
    return programs.add(tx, "tcm", title="T", source="x", at=NOW, by="ann", waits=True).version


def an_attempt_counted(tx: Tx) -> Any:
    state = budgets.hold(tx, "ehr")
    budgets.save(tx, "ehr", {"taken": state.get("taken", 0) + 1})
    return state.get("taken", 0) + 1


def a_hint(tx: Tx) -> Any:
    inbox.put(tx, connection="ehr", type_="Task", remote_id="a", version="1", gone=False, at=NOW, due_at=NOW)
    return inbox.due(tx, "ehr", NOW, 9)[0].times


def a_bad_one(tx: Tx) -> Any:
    quarantine.put(tx, connection="ehr", type_="Task", remote_id="a", reason="r", detail="", body="{}", at=NOW)
    return quarantine.list(tx, VIEWER)[0].times


def a_beat(tx: Tx) -> Any:
    heartbeats.note(tx, Heartbeat(program="tcm", rule="late", last_evaluated=NOW, matched=3, fired=2, failed=1))
    return heartbeats.all(tx)[0].matched


def leading(who: str) -> Act:
    return lambda tx: leaders.lead(tx, "beat", who, NOW, HOUR)


def an_outgoing(tx: Tx) -> Any:
    told = Changed(connection="ehr", type="Task", local_id="a", patient=None, made_here=True, version=1)
    outbox.put(tx, told, NOW)
    return len(outbox.of_resource(tx, VIEWER, "Task", "a"))


def a_notification(tx: Tx) -> None:
    for _ in range(2):
        notifications.add(
            tx, to_role="rn", to_person=None, channel="email", subject="Task/a", patient=None, text="x", at=NOW
        )


def gathering(tx: Tx) -> Any:
    return len(dispatches.gather(tx, UNTOLD))


def a_dispatch(tx: Tx) -> None:
    dispatches.add(tx, UNTOLD, ["1"], address="a@example.org", at=NOW)


def carrying(tx: Tx) -> Any:
    return dispatches.claim(tx, "email", NOW, HOUR) is not None


def an_absence(tx: Tx) -> None:
    staff.add_absence(
        tx, "Practitioner/a", start=NOW, end=None, substitute=None, keeps_work=False, said_by="x", said_at=NOW
    )


def coming_back(tx: Tx) -> Any:
    return staff.end_absence(tx, staff.absences(tx)[0].id, NOW + HOUR)


def due_items(tx: Tx) -> None:
    for name in "abcd":
        work_items.save(tx, item(f"Task/{name}", program="tcm", owner="Practitioner/o", next_action_at=NOW))


def a_sweep(tx: Tx) -> Any:
    return [one.ref for one in work_items.claim_due(tx, NOW, 2, HOUR).items]


def a_summary(tx: Tx) -> Any:
    return patients.save(tx, PatientSummary(patient="ann", name="Synthetic Ann"))


def a_patient(tx: Tx) -> Any:
    return put(tx, {"resourceType": "Patient", "id": "ann"}).version


def a_second_version(tx: Tx) -> Any:
    return put(tx, task("a"), 2).version


def reviving(tx: Tx) -> Any:
    return jobs.revive(tx, NOW)


def failing_for_good(tx: Tx) -> None:
    a_job(tx)
    held = jobs.claim(tx, ["poll"], NOW, HOUR)
    assert held is not None
    assert jobs.fail(tx, held, "odd", None, NOW)


def in_hand(tx: Tx) -> None:
    a_job(tx)
    assert jobs.claim(tx, ["poll"], NOW, HOUR)


def failing(tx: Tx) -> Any:
    held = jobs.Lease(id=_running(tx), kind="poll", key="a", payload={}, token=1, attempts=1, until=NOW + HOUR)
    return jobs.fail(tx, held, "odd", NOW + HOUR, NOW)


def _running(tx: Tx) -> int:
    return int(tx.value(text("SELECT min(id) FROM job")))


def finishing(tx: Tx) -> Any:
    held = jobs.Lease(id=_running(tx), kind="poll", key="a", payload={}, token=1, attempts=1, until=NOW + HOUR)
    return len(jobs.complete_many(tx, [held], NOW))


def nothing(tx: Tx) -> None:
    """No row is there before."""


@dataclass(frozen=True, kw_only=True)
class Race:
    """What is there before, what two do, and what each of them is told: the one who commits first, and the other."""

    before: Act = nothing
    first: Act
    second: Act
    told: tuple[Any, Any]
    alone: Any
    """What the second is told when the first is undone."""


def twice(act: Act, told: tuple[Any, Any], before: Act = nothing) -> Race:
    """Two do the same."""
    return Race(before=before, first=act, second=act, told=told, alone=told[0])


RACES = {
    "a job is asked for": twice(a_job, (True, False)),
    "a job is taken": twice(a_claim, ("a", None), before=a_job),
    "a rule fires": twice(a_firing, (True, False)),
    "a patient is enrolled": twice(an_enrolment, (True, False)),
    "many are enrolled": Race(
        first=some_enrolments("ann", "bob"),
        second=some_enrolments("bob", "cid"),
        told=(["CarePlan/ann", "CarePlan/bob"], ["CarePlan/cid"]),
        alone=["CarePlan/bob", "CarePlan/cid"],
    ),
    "many are enrolled by one and one of them by another": Race(
        first=an_enrolment,
        second=some_enrolments("ann", "bob"),
        told=(True, ["CarePlan/bob"]),
        alone=["CarePlan/ann", "CarePlan/bob"],
    ),
    "a connection is made": twice(a_connection, (None, Conflict)),
    "a version is published": twice(a_version, (1, 2)),
    "a draft is written": Race(first=a_version, second=a_draft, told=(1, 2), alone=1),
    "a draft becomes active": twice(lambda tx: programs.activate(tx, "tcm", 1, NOW), (True, False), before=a_draft),
    "a draft is agreed to": twice(
        lambda tx: programs.approve(tx, "tcm", 1, at=NOW, by="bob"), (True, False), before=a_draft
    ),
    "a draft is agreed to and taken back": Race(
        before=a_draft,
        first=lambda tx: programs.withdraw(tx, "tcm", NOW, version=1),
        second=lambda tx: programs.approve(tx, "tcm", 1, at=NOW, by="bob"),
        told=(1, False),
        alone=True,
    ),
    "a request is counted": twice(an_attempt_counted, (1, 2), before=lambda tx: budgets.save(tx, "ehr", {})),
    "the first request is counted": twice(an_attempt_counted, (1, 2)),
    "a hint comes": twice(a_hint, (1, 2)),
    "a bad one comes": twice(a_bad_one, (1, 2)),
    "a bad one is resolved": twice(
        lambda tx: quarantine.resolve_all(
            tx, connection="ehr", type_="Task", remote_id="a", resolution="applied", at=NOW
        ),
        (1, 0),
        before=a_bad_one,
    ),
    "a rule's heart beats": twice(a_beat, (3, 6)),
    "two want to lead": Race(first=leading("a"), second=leading("b"), told=(True, False), alone=True),
    "the leader leaves and another asks": Race(
        before=leading("a"),
        first=lambda tx: leaders.resign(tx, "beat", "a"),
        second=leading("b"),
        told=(None, True),
        alone=False,
    ),
    "a change waits to be written out": twice(an_outgoing, (1, 1)),
    "notifications are gathered": twice(gathering, (2, 0), before=a_notification),
    "a mail is sent": twice(carrying, (True, False), before=a_dispatch),
    "somebody comes back": Race(
        before=an_absence,
        first=coming_back,
        second=coming_back,
        told=("Practitioner/a", None),
        alone="Practitioner/a",
    ),
    "items are swept": Race(
        before=due_items,
        first=a_sweep,
        second=a_sweep,
        told=(["Task/a", "Task/b"], ["Task/c", "Task/d"]),
        alone=["Task/a", "Task/b"],
    ),
    "a patient's summary is saved": twice(a_summary, (None, None)),
    "a resource is made": twice(a_patient, (1, VersionConflict)),
    "a resource is changed": twice(a_second_version, (2, VersionConflict), before=lambda tx: put(tx, task("a"))),
    "a job comes back while it is asked for": Race(
        before=in_hand, first=a_job, second=failing, told=(True, True), alone=True
    ),
    "a job is asked for while it comes back": Race(
        before=in_hand, first=failing, second=a_job, told=(True, False), alone=True
    ),
    "a dead job is revived": twice(reviving, (1, 0), before=failing_for_good),
    "a dead job is revived while it is asked for": Race(
        before=failing_for_good, first=a_job, second=reviving, told=(True, 0), alone=1
    ),
    "a job is asked for while it is revived": Race(
        before=failing_for_good, first=reviving, second=a_job, told=(1, False), alone=True
    ),
    "a job is finished": twice(finishing, (1, 0), before=in_hand),
    "a job is finished while it fails": Race(
        before=in_hand, first=finishing, second=failing, told=(1, False), alone=True
    ),
}
SKIPPING = {"a job is taken", "a mail is sent", "notifications are gathered", "items are swept"}
"""Where the second passes over what the first holds, and so is told nothing of what is undone."""


@pytest.mark.parametrize("name", RACES)
def test_of_two_at_once_both_are_told_what_is_true_in_the_end(database: Database, name: str) -> None:
    race = RACES[name]
    with database.begin() as tx:
        race.before(tx)
    told, other = at_once(database, race.first, race.second)
    assert (told, other.told) == race.told


@pytest.mark.parametrize("name", sorted(set(RACES) - SKIPPING))
def test_what_is_undone_was_never_in_the_way_of_another(database: Database, name: str) -> None:
    race = RACES[name]
    with database.begin() as tx:
        race.before(tx)
    _, other = at_once(database, race.first, race.second, undone=True)
    assert other.told == race.alone


@pytest.mark.parametrize("name", sorted(SKIPPING))
def test_what_is_undone_is_there_for_whoever_comes_next(database: Database, name: str) -> None:
    race = RACES[name]
    with database.begin() as tx:
        race.before(tx)
    at_once(database, race.first, nothing, undone=True)
    with database.begin() as tx:
        assert race.second(tx) == race.alone
