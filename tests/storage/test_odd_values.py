"""Odd texts and the ends of time in every store: what is written comes back exactly, or is refused as the caller's mistake.

SQLite keeps a U+0000 that PostgreSQL cannot; neither may cut a text short, change it, or call it an outage.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from fhir_tracker.errors import Incorrect
from fhir_tracker.model.patient import PatientSummary
from fhir_tracker.model.spell import Spell
from fhir_tracker.model.staff import Person
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.model.work import Event, Firing, FiringKey, Transition
from fhir_tracker.storage import (
    absences,
    audit,
    budgets,
    caseloads,
    connections,
    cursors,
    dispatches,
    enrolments,
    events,
    firings,
    heartbeats,
    inbox,
    jobs,
    leaders,
    notifications,
    outbox,
    patients,
    poisoned,
    programs,
    quarantine,
    remote_subscriptions,
    rosters,
    signing_keys,
    spells,
    staff,
    trail,
    transitions,
    work_items,
)
from fhir_tracker.storage import settings as states
from fhir_tracker.storage.absences import Absence
from fhir_tracker.storage.caseloads import Waiting
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.cursors import Cursor
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.dispatches import Untold
from fhir_tracker.storage.heartbeats import Heartbeat
from fhir_tracker.storage.outbox import Changed
from fhir_tracker.storage.poisoned import Poisoned
from fhir_tracker.storage.remote_subscriptions import RemoteSubscription
from fhir_tracker.storage.rosters import Member
from fhir_tracker.storage.signing_keys import StoredKey
from fhir_tracker.storage.staff import RoleRow
from tests.storage.samples import NOW, VIEWER, item

TEXTS = (
    "", " ", "plain", "ü é ß", "日本語", "💥🩺", "\u202eabc", "e\u0301", "\u0085\u2028\u2029", "tab\tline\nend\r\n", "\x01\x1f\x7f",
    "'; DROP TABLE work_item; --", '"quoted" \\back\\ \\"', "%_%%s%(a)s", ":name $1 ? {0}", "NULL", "null", "{}", "{NULL}", "[]", '{"a":',
    '","', "\\N", "\\000", "\\x00", "$$", "\ufeffbom", "\ufffd\ufffe\uffff", "\U0010ffff", "x" * 2000,
)  # fmt: skip
SPOILED = ("\0", "a\0b", "a\0", "\ud800", "a\udfffb", "\udc00\ud800")
MOMENTS = (
    datetime.min.replace(tzinfo=UTC),
    datetime(1, 1, 1, tzinfo=UTC) + timedelta(microseconds=1),
    datetime(1582, 10, 10, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(2026, 3, 8, 2, 30, tzinfo=timezone(timedelta(hours=-5))),
    datetime(2026, 11, 1, 1, 30, fold=1, tzinfo=timezone(timedelta(hours=14))),
    datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC),
    datetime(2106, 2, 7, 6, 28, 16, 1, tzinfo=UTC),
    datetime.max.replace(tzinfo=UTC),
)


@dataclass(frozen=True, kw_only=True)
class Store:
    """One store: `write` puts a text and a moment wherever it takes some, `read` gives all of them back."""

    write: Callable[[Tx, str, datetime], Any]
    read: Callable[[Tx, str, datetime], list[object]]


def together(*writes: Callable[[Tx, str, datetime], Any]) -> Callable[[Tx, str, datetime], None]:
    """One after another."""

    def write(tx: Tx, text: str, at: datetime) -> None:
        for one in writes:
            one(tx, text, at)

    return write


def a_spell(text: str, at: datetime) -> Spell:
    named = dict.fromkeys(
        ("kind", "patient", "plan", "program", "code", "status", "fhir_status", "clock", "role", "owner"), text
    )
    told = dict.fromkeys(("hold_event", "focus", "next_status", "next_fhir_status", "next_clock", "next_role"), text)
    moments = dict.fromkeys(
        ("due_at", "hold_until", "created_at", "status_since", "since", "until", "effective_at"), at
    )
    fields: dict[str, Any] = {**named, **told, **moments, "next_owner": text, "reason": text}
    return Spell(item="Task/a", program_version=2**31 - 1, open=True, next_open=False, **fields)


def an_event(text: str, at: datetime) -> Event:
    return Event(
        ref="Flag/f", type=text, status=text, patient=text, codes=(text, text), start=at, end=at, seen_at=at, about=(text,),
        detail={text: text},
    )  # fmt: skip


def a_transition(text: str, at: datetime) -> Transition:
    moments: dict[str, Any] = {"recorded_at": at, "effective_at": at}
    told: dict[str, Any] = dict.fromkeys(("before", "after", "reason", "note", "rule", "reason_code"), text)
    return Transition(item="Task/a", what="note", who=text, cycle=2**31 - 1, **moments, **told)


def a_firing(text: str, at: datetime) -> Firing:
    key = FiringKey(item="Task/a", rule=text, cycle=text, level=-1)
    return Firing(
        key=key, fired_at=at, kind=text, task=text, to_role=text, program=text, program_version=0, reason=text
    )


def a_job(tx: Tx, text: str, at: datetime) -> list[object]:
    taken = jobs.claim(tx, [text], at, timedelta())
    return [] if taken is None else [taken.kind, taken.key, taken.payload, taken.until]


def a_subscription(text: str, at: datetime) -> RemoteSubscription:
    told: dict[str, Any] = dict.fromkeys(
        ("kind", "criteria", "remote_id", "digest", "former_digest", "status", "reason"), text
    )
    moments = dict.fromkeys(
        ("armed_at", "heard_at", "lost_at", "pulled_at", "ends_at", "due_at", "gap_at", "told_at"), at
    )
    times: dict[str, Any] = {**moments, "untold_since": at}
    return RemoteSubscription(
        id=7, connection="ehr", type="Task", events=2**53, missing=(text,), recent={text: [text, None]}, **told, **times
    )


def a_connection(text: str, at: datetime) -> Connection:
    moments: dict[str, Any] = {"created_at": at, "last_attempt_at": at, "last_success_at": at}
    options = {text: {"deep": [text, 1.5, None, True]}}
    return Connection(
        key="ehr", base_url=text, mapping=text, types=(text,), options=options, last_error=text, **moments
    )


def an_item(text: str, at: datetime) -> Any:
    moments: dict[str, Any] = dict.fromkeys(
        ("due_at", "created_at", "status_since", "hold_until", "next_action_at", "starts_at"), at
    )
    texts: dict[str, Any] = dict.fromkeys(
        ("title", "patient", "plan", "program", "code", "status", "owner", "role", "site"), text
    )
    return item("Task/a", **moments, **texts)


def a_dispatch(tx: Tx, text: str, at: datetime) -> list[object]:
    found = dispatches.left(tx)
    return [
        [one.channel, one.address, one.role, one.person, one.notifications, one.due_at, one.created_at] for one in found
    ]


def a_person(text: str) -> Person:
    return Person(ref="Practitioner/a", name=text, active=False, mail=text)


def an_away(tx: Tx, text: str, at: datetime) -> None:
    staff.add_absence(tx, text, start=at, end=at, substitute=text, keeps_work=True, said_by=text, said_at=at)


def a_program(tx: Tx, text: str, at: datetime) -> None:
    programs.add(
        tx,
        text,
        title=text,
        source=text,
        at=at,
        by=text,
        waits=True,
        reason=text,
        effective_at=at,
        former={text: "paused"},
    )


def read_program(tx: Tx, text: str, at: datetime) -> list[object]:
    return [
        [
            one.code,
            one.title,
            one.source,
            one.published_at,
            one.published_by,
            one.reason,
            one.effective_at,
            one.former,
            one.intact,
        ]
        for one in programs.versions(tx)
    ]


def a_summary(text: str) -> PatientSummary:
    told: dict[str, Any] = dict.fromkeys(("name", "birth_date", "gender", "mrn", "phone", "language", "zone"), text)
    return PatientSummary(patient="ann", flags=(text, text), connection=text, **told)


STORES = {
    "absences": Store(
        write=lambda tx, text, at: absences.save(
            tx, Absence(connection=text, type=text, remote_id=text, misses=1, gone=2, last_at=at)
        ),
        read=lambda tx, text, at: (
            [*absences.find(tx, text, text, [text]).values()]
            + ([] if absences.find(tx, text, text, [text + "x"]) == {} else [None])
        ),
    ),
    "audit": Store(
        write=lambda tx, text, at: audit.add(
            tx,
            at=at,
            viewer=Viewer(who=text),
            action=text,
            ref=text,
            patient=text,
            outcome=text,
            request_id=text,
            detail={text: [text]},
        ),
        read=lambda tx, text, at: [
            [one.at, one.who, one.action, one.ref, one.patient, one.outcome, one.request_id, one.detail]
            for one in audit.list(tx, VIEWER, patient=text)
        ],
    ),
    "budgets": Store(
        write=lambda tx, text, at: budgets.save(tx, text, {text: text}),
        read=lambda tx, text, at: [budgets.find(tx, text)],
    ),
    "caseloads": Store(
        write=lambda tx, text, at: caseloads.want_owner(tx, Waiting(item=text, role=text, since=at, reason=text)),
        read=lambda tx, text, at: [*caseloads.waiting(tx, text), caseloads.roles_waiting(tx)],
    ),
    "connections": Store(
        write=lambda tx, text, at: connections.add(tx, a_connection(text, at)),
        read=lambda tx, text, at: [*connections.all(tx)],
    ),
    "cursors": Store(
        write=lambda tx, text, at: cursors.save(
            tx,
            Cursor(
                connection=text,
                type=text,
                watermark=at,
                window_start=at,
                next_url=text,
                updated_at=at,
                detail={text: text},
            ),
        ),
        read=lambda tx, text, at: [*cursors.of_connection(tx, text)],
    ),
    "dispatches": Store(
        write=lambda tx, text, at: dispatches.add(
            tx, Untold(channel=text, role=text, person=text, oldest=at), [text], address=text, at=at
        ),
        read=a_dispatch,
    ),
    "enrolments": Store(
        write=together(
            lambda tx, text, at: enrolments.reserve(tx, text, text, text, at),
            lambda tx, text, at: enrolments.attach(tx, text, text, text, text),
        ),
        read=lambda tx, text, at: [*enrolments.of_patient(tx, VIEWER, text), enrolments.of_plan(tx, VIEWER, text)],
    ),
    "events that are added": Store(
        write=lambda tx, text, at: events.add(tx, an_event(text, at)),
        read=lambda tx, text, at: [*events.of_patients(tx, VIEWER, [text], [text])[text]],
    ),
    "events that are saved": Store(
        write=lambda tx, text, at: events.save(tx, an_event(text, at)),
        read=lambda tx, text, at: [events.find(tx, VIEWER, "Flag/f")],
    ),
    "firings": Store(
        write=lambda tx, text, at: firings.fire(tx, a_firing(text, at), text),
        read=lambda tx, text, at: [
            *firings.of_items(tx, VIEWER, ["Task/a"])["Task/a"],
            firings.of_task(tx, VIEWER, text),
        ],
    ),
    "heartbeats": Store(
        write=lambda tx, text, at: heartbeats.note(
            tx, Heartbeat(program=text, rule=text, last_evaluated=at, matched=2**40)
        ),
        read=lambda tx, text, at: [*heartbeats.all(tx)],
    ),
    "inbox": Store(
        write=lambda tx, text, at: inbox.put(
            tx, connection=text, type_=text, remote_id=text, version=text, gone=True, at=at, due_at=at
        ),
        read=lambda tx, text, at: [
            [one.connection, one.type, one.remote_id, one.version, one.gone, one.received_at, one.due_at, one.times]
            for one in inbox.due(tx, text, at, 9)
        ],
    ),
    "jobs": Store(write=lambda tx, text, at: jobs.enqueue(tx, text, text, {text: text}, at), read=a_job),
    "jobs that are many": Store(
        write=lambda tx, text, at: jobs.enqueue_many(tx, text, [text], {text: text}, at), read=a_job
    ),
    "leaders": Store(
        write=lambda tx, text, at: leaders.lead(tx, text, text, NOW, timedelta(hours=1)),
        read=lambda tx, text, at: [json.loads(states.get(tx, f"leader:{text}") or "null")],
    ),
    "notifications": Store(
        write=lambda tx, text, at: notifications.add(
            tx, to_role=text, to_person=text, channel=text, subject=text, patient=text, text=text, at=at
        ),
        read=lambda tx, text, at: [
            [one.to_role, one.to_person, one.channel, one.subject, one.patient, one.text, one.created_at]
            for one in notifications.of_role(tx, VIEWER, [text], person=text)
        ],
    ),
    "outbox": Store(
        write=lambda tx, text, at: outbox.put(
            tx,
            Changed(
                connection=text,
                type=text,
                local_id=text,
                patient=text,
                made_here=True,
                version=1,
                base=text,
                remote_hash=text,
            ),
            at,
        ),
        read=lambda tx, text, at: [
            [one.connection, one.type, one.local_id, one.patient, one.base, one.remote_hash, one.due_at, one.created_at]
            for one in outbox.of_resource(tx, VIEWER, text, text)
        ],
    ),
    "patients that are added": Store(
        write=lambda tx, text, at: patients.add(tx, a_summary(text)),
        read=lambda tx, text, at: [patients.find(tx, VIEWER, "ann")],
    ),
    "patients that are saved": Store(
        write=lambda tx, text, at: patients.save(tx, a_summary(text)),
        read=lambda tx, text, at: [patients.find(tx, VIEWER, "ann")],
    ),
    "poisoned": Store(
        write=lambda tx, text, at: poisoned.save(
            tx, Poisoned(ref=text, program=text, reason=text, times=1, since=at, until=at)
        ),
        read=lambda tx, text, at: [*poisoned.all(tx), poisoned.find(tx, text), poisoned.counts(tx)],
    ),
    "programs": Store(write=a_program, read=read_program),
    "quarantine": Store(
        write=lambda tx, text, at: quarantine.put(
            tx, connection=text, type_=text, remote_id=text, reason=text, detail=text, body=text, at=at
        ),
        read=lambda tx, text, at: [
            [
                one.connection,
                one.type,
                one.remote_id,
                one.reason,
                one.detail,
                one.body,
                one.first_seen_at,
                one.last_seen_at,
            ]
            for one in quarantine.list(tx, VIEWER, connection=text)
        ],
    ),
    "remote subscriptions": Store(
        write=lambda tx, text, at: remote_subscriptions.add(tx, a_subscription(text, at)),
        read=lambda tx, text, at: [
            *remote_subscriptions.of_connection(tx, "ehr"),
            *remote_subscriptions.digests(tx, "ehr"),
        ],
    ),
    "rosters": Store(
        write=together(
            lambda tx, text, at: rosters.add(tx, text, text, [text], at),
            lambda tx, text, at: rosters.save(
                tx, Member(connection=text, type=text, patient=f"{text}+", due_at=at, done_at=at, watermark=at)
            ),
        ),
        read=lambda tx, text, at: [*rosters.due(tx, text, text, at, 9)],
    ),
    "settings": Store(
        write=lambda tx, text, at: states.put(tx, text, text),
        read=lambda tx, text, at: [states.get(tx, text), states.starting(tx, text, text)],
    ),
    "signing keys": Store(
        write=lambda tx, text, at: signing_keys.add(
            tx,
            StoredKey(kid=text, alg=text, sealed=text, public={text: text}, made_at=at, signs_from=at, retired_at=at),
        ),
        read=lambda tx, text, at: [*signing_keys.all(tx)],
    ),
    "spells": Store(
        write=lambda tx, text, at: spells.add(tx, a_spell(text, at)),
        read=lambda tx, text, at: [*spells.of_item(tx, VIEWER, "Task/a")],
    ),
    "staff": Store(
        write=together(
            lambda tx, text, at: staff.save_person(tx, a_person(text)),
            lambda tx, text, at: staff.save_role(
                tx, RoleRow(source="PractitionerRole/r", person=text, roles=(text,), active=True, start=at, end=at)
            ),
            lambda tx, text, at: an_away(tx, text, at),
            lambda tx, text, at: staff.take_turn(tx, text, text),
        ),
        read=lambda tx, text, at: [
            [(one.name, one.mail) for one in staff.people(tx, ["Practitioner/a"]).values()],
            staff.role_row(tx, "PractitionerRole/r"),
            [(one.person, one.start, one.end, one.substitute, one.said_by, one.said_at) for one in staff.absences(tx)],
            staff.turn(tx, text),
            staff.names_of(tx, text),
        ],
    ),
    "transitions": Store(
        write=lambda tx, text, at: transitions.add(tx, a_transition(text, at), text),
        read=lambda tx, text, at: [
            *transitions.of_items(tx, VIEWER, ["Task/a"])["Task/a"],
            *transitions.of_patient(tx, VIEWER, text),
        ],
    ),
    "work items that are added": Store(
        write=lambda tx, text, at: work_items.add(tx, an_item(text, at)),
        read=lambda tx, text, at: [work_items.find(tx, VIEWER, "Task/a"), *work_items.of_patient(tx, VIEWER, text)],
    ),
    "work items that are saved": Store(
        write=lambda tx, text, at: work_items.save(tx, an_item(text, at)),
        read=lambda tx, text, at: [work_items.find(tx, VIEWER, "Task/a"), *work_items.of_plan(tx, VIEWER, text)],
    ),
    "work items that are changed together": Store(
        write=together(
            lambda tx, text, at: work_items.add(tx, item("Task/a")),
            lambda tx, text, at: work_items.save_many(tx, [an_item(text, at)]),
        ),
        read=lambda tx, text, at: [work_items.find(tx, VIEWER, "Task/a")],
    ),
}
MARK, THEN = "MARK", datetime(2001, 2, 3, 4, 5, 6, 7, tzinfo=UTC)
AT_THE_END = timedelta(days=1)
"""So long before the end of time a clock may still be asked to add a lease."""


class Back(Exception):
    """Undoes what was written."""


def kept(database: Database, store: Store, text: str, at: datetime) -> list[object]:
    """What is read of what was written, of which nothing stays."""
    try:
        with database.begin() as tx:
            store.write(tx, text, at)
            found = store.read(tx, text, at)
            raise Back
    except Back:
        return found


def asked(database: Database, store: Store, text: str) -> list[object] | Incorrect:
    """As `kept`, or the refusal."""
    try:
        return kept(database, store, text, THEN)
    except Incorrect as refused:
        return refused


def put_in(value: Any, text: str, at: datetime) -> Any:
    """The same value with this text for MARK and this moment for THEN, wherever they are."""
    if isinstance(value, str):
        return value.replace(MARK, text)
    if isinstance(value, datetime):
        return at if value == THEN else value
    if isinstance(value, dict):
        return {put_in(key, text, at): put_in(one, text, at) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(put_in(one, text, at) for one in value)
    if hasattr(value, "__dataclass_fields__"):
        return replace(value, **{one.name: put_in(getattr(value, one.name), text, at) for one in fields(value)})
    return value


@pytest.mark.parametrize("name", STORES)
def test_every_store_gives_odd_texts_and_far_moments_back_as_they_are(database: Database, name: str) -> None:
    store = STORES[name]
    plain = kept(database, store, MARK, THEN)
    assert plain
    assert None not in plain
    for text in TEXTS:
        assert kept(database, store, text, THEN) == put_in(plain, text, THEN), repr(text)
    for at in MOMENTS:
        sane = min(at, MOMENTS[-1] - AT_THE_END)
        assert kept(database, store, MARK, sane) == put_in(plain, MARK, sane), at


@pytest.mark.parametrize("name", STORES)
def test_every_store_refuses_what_a_database_cannot_hold_in_the_callers_words_or_keeps_it(
    database: Database, name: str
) -> None:
    store = STORES[name]
    plain = kept(database, store, MARK, THEN)
    for text in SPOILED:
        told = asked(database, store, text)
        if isinstance(told, Incorrect):
            assert "cannot be held" in told.message
            continue
        assert "\0" in text
        assert database.dialect == "sqlite"
        expected = put_in(plain, text, THEN)
        assert all(one in expected for one in told if one is not None), repr(text)
    assert kept(database, store, MARK, THEN) == plain


def test_a_moment_without_a_zone_is_nobodys_moment(database: Database) -> None:
    naive = datetime(2026, 3, 9, 12, 0)  # noqa: DTZ001 - what must be refused
    for name in (
        "work items that are added",
        "work items that are saved",
        "spells",
        "transitions",
        "enrolments",
        "jobs",
    ):
        with pytest.raises(Exception, match=r"zone|aware|naive") as caught, database.begin() as tx:
            STORES[name].write(tx, "x", naive)
        assert not isinstance(caught.value, Incorrect), name


def test_rows_read_one_by_one_with_their_keys_are_in_the_order_they_were_added(database: Database) -> None:
    """The trail of accesses is written by another way than a transaction's own rows; both are one list."""
    accesses = [
        trail.Access(
            at=NOW, viewer=Viewer(who=text), action="read", ref=f"Task/{number}", patient=text or None, outcome="success", request_id=text,
            detail={text: [text, number, None, 1.5, True]},
        )
        for number, text in enumerate(TEXTS)
    ]  # fmt: skip
    trail.add(database, accesses)
    with database.begin() as tx:
        audit.add(tx, at=NOW, viewer=Viewer(who="last"), action="read", ref="Task/last")
    with database.read() as tx:
        rows = audit.list(tx, VIEWER, limit=1000)
    assert [row.ref for row in rows] == ["Task/last", *(f"Task/{number}" for number in reversed(range(len(TEXTS))))]
    for row, access in zip(reversed(rows[1:]), accesses, strict=True):
        assert (row.at, row.who, row.patient, row.request_id) == (
            access.at,
            access.viewer.who,
            access.patient,
            access.request_id,
        )
        assert row.detail == access.detail


@pytest.mark.parametrize("text", SPOILED)
def test_an_access_that_cannot_be_written_down_is_refused_and_nothing_of_its_lot_is_there(
    database: Database, text: str
) -> None:
    fine = trail.Access(NOW, Viewer(who="ann"), "read", "Task/1", None, "success", "r", {})
    try:
        trail.add(database, [fine, fine._replace(viewer=Viewer(who=text)), fine])
    except Incorrect:
        expected = 0
    else:
        expected = 3
    with database.read() as tx:
        rows = audit.list(tx, VIEWER)
    assert len(rows) == expected
    assert not expected or rows[1].who == text
