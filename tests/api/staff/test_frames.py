from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from api.freshness import TypeAge, age_of, is_stale, promised, promised_of, type_ages
from api.staff.frames import SAID, stale_sentence
from fhir_tracker.fhir.dates import instant
from fhir_tracker.storage import connections as stored
from fhir_tracker.storage import cursors
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.cursors import Cursor
from fhir_tracker.storage.database import Database
from tests.api.staff.samples import NOW
from tests.support.followed import followed


def connection(poll: int = 30, success: datetime | None = None, made: timedelta = timedelta(days=1)) -> Connection:
    return Connection(
        key="north",
        base_url="http://ehr.example/fhir",
        poll_seconds=poll,
        created_at=NOW - made,
        last_success_at=success,
    )


OVERLAP = timedelta(seconds=125)


@pytest.mark.parametrize(("poll", "overlap", "seconds"), [(1, 10, 60), (30, 125, 155), (60, 0, 60), (600, 125, 725)])
def test_a_poll_and_the_overlap_are_promised_and_never_less_than_a_minute(
    poll: int, overlap: int, seconds: int
) -> None:
    assert promised(connection(poll), timedelta(seconds=overlap)) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("poll", "age", "stale"), [(30, 154, False), (30, 155, False), (30, 156, True), (600, 725, False), (600, 726, True)]
)
def test_data_is_old_only_beyond_what_is_promised(poll: int, age: int, stale: bool) -> None:
    assert is_stale(connection(poll, NOW - timedelta(seconds=age)), OVERLAP, NOW) is stale


def test_a_new_connection_gets_the_same_time_before_it_is_behind() -> None:
    assert not is_stale(connection(made=timedelta(seconds=150)), OVERLAP, NOW)
    assert is_stale(connection(made=timedelta(seconds=160)), OVERLAP, NOW)
    assert age_of(connection(made=timedelta(seconds=80)), NOW) == timedelta(seconds=80)


def age(type_: str, minutes: int, promised: int = 2, *, never: bool = False) -> TypeAge:
    return TypeAge(type=type_, age=timedelta(minutes=minutes), promised=timedelta(minutes=promised), never=never)


# the ages of the types, what the banner says of a connection that was followed with success 14 minutes ago
BANNERS = [
    ([], "Data from north is 14 min old (promised 2 min)."),
    ([age("Task", 14), age("Appointment", 14)], "Data from north is 14 min old (promised 2 min)."),
    ([age("Task", 1), age("Appointment", 1)], "Data from north is 14 min old (promised 2 min)."),
    ([age("Task", 1), age("Appointment", 14)], "Appointments from north are 14 min old (promised 2 min)."),
    (
        [age("Task", 9), age("Goal", 1), age("CarePlan", 90, 62)],
        "Tasks and CarePlans from north are 1 h old (promised 1 h).",
    ),
    (
        [age("Task", 1), age("CarePlan", 90, 62, never=True), age("Goal", 5)],
        (
            "Goals from north are 5 min old (promised 2 min). "
            "CarePlans from north are not all here yet, after 1 h (promised 1 h)."
        ),
    ),
    (
        [age("Flag", 1), *(age(one, 20) for one in ("Task", "Goal", "Coverage", "Patient", "Location"))],
        "Tasks, Goals, Coverages and 2 more from north are 20 min old (promised 2 min).",
    ),
]


@pytest.mark.parametrize(("ages", "said"), BANNERS, ids=[row[1][:40] for row in BANNERS])
def test_the_banner_names_the_types_that_are_old_or_the_connection_when_all_are(ages: list[TypeAge], said: str) -> None:
    followed = connection(success=NOW - timedelta(minutes=14))
    assert stale_sentence(followed, ages, OVERLAP, NOW) == said


def test_there_is_no_banner_while_promises_are_kept_and_one_that_says_when_nothing_ever_came() -> None:
    assert stale_sentence(connection(success=NOW), [age("Task", 1)], OVERLAP, NOW) == ""
    assert stale_sentence(connection(success=NOW), [], OVERLAP, NOW) == ""
    assert stale_sentence(connection(poll=600, made=timedelta(hours=3)), [], OVERLAP, NOW) == (
        "Nothing has come from north for 3 h (promised 12 min)."
    )


@pytest.mark.parametrize(
    ("strategy", "poll", "seconds"),
    [
        ("last_updated", 30, 155),
        ("roster", 30, 3725),
        ("last_updated_patient", 30, 3725),
        ("windowed", 7200, 7325),
        ("bulk", 30, 86525),
    ],
)
def test_what_comes_round_less_often_than_a_poll_promises_no_more(strategy: str, poll: int, seconds: int) -> None:
    assert promised_of(connection(poll), OVERLAP, strategy) == timedelta(seconds=seconds)


@pytest.mark.requirement(78)
def test_each_type_is_as_old_as_its_own_last_complete_read(database: Database) -> None:
    with database.begin() as tx:
        followed(tx, NOW - timedelta(hours=2))
        stored.note_success(tx, "north", NOW)
        at = instant(NOW - timedelta(minutes=14))
        cursors.save(tx, Cursor(connection="north", type="Patient", updated_at=NOW, detail={"completed_at": at}))
    with database.read() as tx:
        ages = type_ages(tx, stored.all(tx)[0], OVERLAP, NOW)
    assert [(one.type, one.age, one.stale, one.never) for one in ages] == [
        ("Patient", timedelta(minutes=14), True, False),
        ("CarePlan", timedelta(hours=2), True, True),
    ]


def test_every_confirmation_is_one_whole_sentence() -> None:
    assert all(text[0].isupper() and text.endswith(".") for text in SAID.values())
    assert len(set(SAID.values())) == len(SAID)
