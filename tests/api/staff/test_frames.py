from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from api.freshness import age_of, is_stale, promised
from api.staff.frames import SAID, stale_sentence
from fhir_tracker.storage.connections import Connection
from tests.api.staff.samples import NOW


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


def test_the_banner_names_connection_age_and_promise() -> None:
    assert stale_sentence(connection(success=NOW - timedelta(minutes=14)), OVERLAP, NOW) == (
        "Data from north is 14 min old (promised 2 min)."
    )
    assert stale_sentence(connection(poll=600, made=timedelta(hours=3)), OVERLAP, NOW) == (
        "Nothing has come from north for 3 h (promised 12 min)."
    )


def test_every_confirmation_is_one_whole_sentence() -> None:
    assert all(text[0].isupper() and text.endswith(".") for text in SAID.values())
    assert len(set(SAID.values())) == len(SAID)
