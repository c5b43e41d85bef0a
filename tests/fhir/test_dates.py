"""FHIR dates as ranges (https://hl7.org/fhir/R4/search.html#date)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.dates import (
    OPEN_END,
    OPEN_START,
    date_range,
    from_milliseconds,
    instant,
    milliseconds,
    parse_datetime,
    period_range,
)

RANGES = [
    ("2024", "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"),
    ("2024-02", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"),
    ("2024-12", "2024-12-01T00:00:00Z", "2025-01-01T00:00:00Z"),
    ("2024-02-29", "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z"),
    ("2024-02-29T10:00Z", "2024-02-29T10:00:00Z", "2024-02-29T10:01:00Z"),
    ("2024-02-29T10:00:05-05:00", "2024-02-29T15:00:05Z", "2024-02-29T15:00:06Z"),
    ("2024-02-29T23:30:00+14:00", "2024-02-29T09:30:00Z", "2024-02-29T09:30:01Z"),
    ("2024-02-29T10:00:05", "2024-02-29T10:00:05Z", "2024-02-29T10:00:06Z"),
    ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z", "2017-01-01T00:00:01Z"),
]


@pytest.mark.parametrize(("text", "low", "high"), RANGES)
def test_a_date_covers_its_precision(text: str, low: str, high: str) -> None:
    assert date_range(text) == (milliseconds(datetime.fromisoformat(low)), milliseconds(datetime.fromisoformat(high)))


@pytest.mark.parametrize(
    ("text", "width"), [("00.1", 100), ("00.12", 10), ("00.123", 1), ("00.123456", 1), ("00", 1000)]
)
def test_a_fraction_covers_its_last_digit(text: str, width: int) -> None:
    low, high = date_range(f"2024-01-01T00:00:{text}Z")
    assert high - low == width


@pytest.mark.parametrize(
    "text",
    [
        "",
        "24",
        "2024-13",
        "2024-00",
        "2024-02-30",
        "2023-02-29",
        "2024-1-1",
        "2024-01-01T",
        "2024-01-01T24:00:00Z",
        "2024-01-01T10Z",
        "2024-01-01T10:00:00+15:00",
        "2024-01-01 10:00:00Z",
        "0000",
        "0000-01-01",
        "2024-01-01Z",
        "２０２４",
        "2024-01-01T10:00:00.Z",
        "now",
        "2024-01-01T10:00:00z",
        " 2024",
        "2024\n",
        "9999-12-31T23:59:60Z",
        "0001-01-01T00:00:00+14:00",
    ],
)
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(Incorrect):
        date_range(text)
    with pytest.raises(Incorrect):
        parse_datetime(text)


def test_the_last_year_is_open_at_its_end() -> None:
    assert date_range("9999")[1] == OPEN_END
    assert date_range("9999-12")[1] == OPEN_END
    assert date_range("9999-12-31")[1] == OPEN_END


def test_a_period_without_a_side_is_open_there() -> None:
    assert period_range(None, "2024") == (OPEN_START, date_range("2024")[1])
    assert period_range("2024", None) == (date_range("2024")[0], OPEN_END)


@given(st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29)), st.integers(-14 * 60, 14 * 60))  # noqa: DTZ001
def test_an_instant_is_read_back_to_the_millisecond(moment: datetime, minutes: int) -> None:
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    again = parse_datetime(instant(aware))
    assert again.tzinfo is UTC
    assert timedelta(0) <= aware - again < timedelta(milliseconds=1)
    assert date_range(instant(aware)) == (milliseconds(aware), milliseconds(aware) + 1)
    assert from_milliseconds(milliseconds(aware)) == again


@given(st.text(max_size=40))
def test_any_text_is_a_date_or_refused(text: str) -> None:
    try:
        low, high = date_range(text)
    except Incorrect:
        return
    assert low < high
