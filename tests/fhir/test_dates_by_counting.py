"""Every legal FHIR date is read as a second, slow implementation reads it, and ranges keep the order of what they cover.

https://hl7.org/fhir/R4/search.html#date
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.body import read_json
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
from fhir_tracker.fhir.quantities import decimal_range
from fhir_tracker.fhir.reading import end_at, moment_at
from tests.fhir.slow_dates import FAR, days_before, length_of, slow_range
from tests.fhir.slow_values import around


@st.composite
def days(draw: st.DrawFn) -> str:
    year, month = draw(st.integers(2, 9998)), draw(st.integers(1, 12))
    return f"{year:04}-{month:02}-{draw(st.integers(1, length_of(year, month))):02}"


ZONES = st.sampled_from(["", "Z", "+00:00", "-00:00", "+14:00", "-12:00", "+05:45", "-03:30", "+13:59", "-11:00"])
CLOCKS = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59))
SECONDS = st.builds(":{:02}".format, st.integers(0, 60)) | st.builds(
    ":{:02}.{}".format, st.integers(0, 59), st.text("0123456789", min_size=1, max_size=9)
)
MOMENTS = st.builds("{}T{}{}{}".format, days(), CLOCKS, SECONDS | st.just(""), ZONES)
DATES = days() | days().map(lambda day: day[:7]) | days().map(lambda day: day[:4]) | MOMENTS


@given(DATES)
def test_a_legal_date_is_what_counting_days_makes_of_it(text: str) -> None:
    assert date_range(text) == slow_range(text)


@given(DATES)
def test_its_first_instant_is_the_start_of_its_range(text: str) -> None:
    moment = parse_datetime(text)
    assert moment.tzinfo is UTC
    assert milliseconds(moment) == date_range(text)[0]
    assert moment_at({"d": text}, "d") == moment


@given(days())
def test_a_day_lies_in_its_month_which_lies_in_its_year_and_days_follow_without_a_gap(day: str) -> None:
    low, high = date_range(day)
    month, year = date_range(day[:7]), date_range(day[:4])
    assert year[0] <= month[0] <= low < high <= month[1] <= year[1]
    assert high - low == 86_400_000
    following = from_milliseconds(high).date().isoformat()
    assert date_range(following)[0] == high


@pytest.mark.parametrize("year", [1900, 1970, 1999, 2000, 2023, 2024, 2100])
def test_the_months_of_a_year_are_the_year(year: int) -> None:
    months = [date_range(f"{year}-{month:02}") for month in range(1, 13)]
    assert months[0][0] == date_range(str(year))[0]
    assert months[-1][1] == date_range(str(year))[1]
    assert all(earlier[1] == later[0] for earlier, later in pairwise(months))
    total = sum(high - low for low, high in months) // 86_400_000
    assert total == days_before(year + 1, 1, 1) - days_before(year, 1, 1)


@pytest.mark.parametrize("year", [1999, 2000, 2023, 2024, 1900])
@pytest.mark.parametrize("month", range(1, 13))
def test_a_month_has_its_days_and_no_more(year: int, month: int) -> None:
    last = length_of(year, month)
    assert date_range(f"{year}-{month:02}-{last:02}")
    with pytest.raises(Incorrect):
        date_range(f"{year}-{month:02}-{last + 1:02}")


@given(MOMENTS, st.integers(-13 * 60, 13 * 60))
def test_the_same_instant_in_another_zone_has_the_same_range(text: str, minutes: int) -> None:
    low, high = date_range(text)
    moment = from_milliseconds(low)
    elsewhere = moment + timedelta(minutes=minutes)
    sign = "-" if minutes < 0 else "+"
    zone = f"{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
    shown = elsewhere.replace(tzinfo=None).isoformat(timespec="milliseconds") + zone
    assert date_range(shown) == (low, low + 1)
    assert low + 1 <= high


@given(st.none() | DATES, st.none() | DATES)
def test_a_period_runs_from_the_first_of_its_start_to_the_last_of_its_end(start: str | None, end: str | None) -> None:
    low, high = period_range(start, end)
    assert low == (slow_range(start)[0] if start else OPEN_START)
    assert high == (slow_range(end)[1] if end else OPEN_END)
    assert (OPEN_START, OPEN_END) == (-FAR, FAR)


@pytest.mark.parametrize(
    ("start", "end", "inside", "outside"),
    [
        ("2024", "2024", ["2024-01-01", "2024-12-31T23:59:59.999Z"], ["2023-12-31", "2025-01-01"]),
        ("2024-03", "2024-03-05", ["2024-03-01", "2024-03-05T23:59Z"], ["2024-03-06", "2024-02-29"]),
        ("2024-03-01T10:00:00Z", None, ["2024-03-01T10:00:00Z", "9998"], ["2024-03-01T09:59:59Z"]),
        (None, "2024-03-01T10:00:00+02:00", ["0001-01-02", "2024-03-01T08:00:00Z"], ["2024-03-01T08:00:01Z"]),
        (None, None, ["0001-01-02", "9998"], []),
    ],
)
def test_what_lies_in_a_period(start: str | None, end: str | None, inside: list[str], outside: list[str]) -> None:
    low, high = period_range(start, end)
    assert all(low <= date_range(text)[0] and date_range(text)[1] <= high for text in inside)
    assert not any(low <= date_range(text)[0] < high for text in outside)


@pytest.mark.parametrize("text", ["2024", "2024-02", "2024-02-29", "9999", "9999-12-31"])
def test_what_is_due_on_a_day_has_all_of_it(text: str) -> None:
    end = end_at({"end": text}, "end")
    if text.startswith("9999"):
        assert end is None
        return
    assert end is not None
    assert milliseconds(end) == date_range(text)[1] - 1000


@given(MOMENTS)
def test_what_is_due_at_an_instant_is_due_then(text: str) -> None:
    assert end_at({"end": text}, "end") == parse_datetime(text)


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)))  # noqa: DTZ001
def test_instants_are_written_in_utc_with_milliseconds_and_sort_as_text(moment: datetime) -> None:
    text = instant(moment)
    assert len(text) == 24
    assert text.endswith("Z")
    assert text <= instant(moment + timedelta(milliseconds=1))


NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12)


@given(NUMBERS)
def test_a_number_covers_half_a_unit_of_its_last_digit(number: Decimal) -> None:
    text = str(number).lower().replace("e+", "e")
    assert decimal_range(text) == around(text)
    low, high = decimal_range(text)
    assert low <= float(number) <= high


@given(st.integers(-(10**9), 10**9), st.integers(0, 6), st.integers(-6, 6))
def test_a_number_is_the_same_by_text_and_by_json(units: int, places: int, power: int) -> None:
    digits = f"{units}.{'0' * places}" if places else str(units)
    text = f"{digits}e{power}" if power else digits
    assert decimal_range(text) == around(text) == decimal_range(read_json(text.encode()))
