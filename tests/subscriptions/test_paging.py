"""Paging that does not end is ended, links that count rows are replaced where that loses nothing, headers are never trusted."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_tracker.errors import RemoteFailure
from fhir_tracker.fhir.dates import instant
from subscriptions.bundles import Entry, Page
from subscriptions.headers import LONGEST_RETRY_AFTER, http_date, retry_after_seconds
from subscriptions.paging import EMPTY_PAGES, REPEATED_PAGES, PagingGuard
from subscriptions.poll import query
from subscriptions.steadying import counts_rows, is_in_order, last_moment
from subscriptions.windows import Progress, progress_from

NOON = datetime(2024, 5, 6, 12, 0, tzinfo=UTC)
OVERLAP = timedelta(seconds=125)


def page(number: int, *, following: int | None, content: str | None = None, empty: bool = False) -> Page:
    entries = () if empty else (Entry(raw=(content or f"row {number}").encode()),)
    next_url = None if following is None else f"https://e/fhir?page={following}"
    return Page(entries=entries, next_url=next_url, self_url="", as_of=None, served_at=None)


def walk(pages: list[Page], cap: int = 1000) -> int:
    """How many pages the guard lets through."""
    guard = PagingGuard(cap)
    passed = 0
    with suppress(RemoteFailure):
        for number, one in enumerate(pages):
            guard.check(f"https://e/fhir?page={number}", one)
            passed += 1
    return passed


def test_pages_that_differ_go_on_to_their_end() -> None:
    assert walk([page(number, following=number + 1) for number in range(500)] + [page(500, following=None)]) == 501


@pytest.mark.parametrize("back", range(4))
def test_a_link_to_a_page_that_was_read_ends_it(back: int) -> None:
    assert walk([page(number, following=number + 1) for number in range(3)] + [page(3, following=back)]) == 3


def test_empty_pages_are_borne_a_while_and_counted_anew_after_a_full_one() -> None:
    empty = [page(number, following=number + 1, empty=True) for number in range(20)]
    assert walk(empty) == EMPTY_PAGES - 1
    mixed = [page(number, following=number + 1, empty=number % EMPTY_PAGES != 0) for number in range(20)]
    assert walk(mixed) == 20


def test_one_resource_deleted_again_and_again_is_no_repeated_page() -> None:
    def deletion(number: int) -> Page:
        entry = Entry(method="DELETE", location="Task/t", modified=f"2024-05-06T12:00:{59 - number:02}Z")
        return replace(page(number, following=number + 1), entries=(entry,))

    assert walk([deletion(number) for number in range(20)]) == 20


def test_one_page_under_ever_new_addresses_is_ended() -> None:
    same = [page(number, following=number + 1, content="x") for number in range(20)]
    assert walk(same) == REPEATED_PAGES
    two = [page(number, following=number + 1, content="xy"[number % 2]) for number in range(20)]
    assert walk(two) == 1 + REPEATED_PAGES


def test_rows_that_shift_by_one_are_no_repetition() -> None:
    assert walk([page(number, following=number + 1, content=f"{number // 2}") for number in range(100)]) == 100


def test_there_is_a_cap() -> None:
    assert walk([page(number, following=number + 1) for number in range(100)], cap=50) == 49


@pytest.mark.parametrize(
    ("url", "counts"),
    [
        ("https://e/fhir/Patient?_offset=100", True),
        ("https://e/fhir/Patient?_count=2&page=3", True),
        ("https://e/fhir?_page=2", True),
        ("https://e/fhir?_skip=2", True),
        ("https://e/fhir?_getpages=abc&_getpagesoffset=20", False),
        ("https://e/fhir?cursor=_offset", False),
        ("https://e/fhir/Patient?_cursor=x&name=offset", False),
        ("https://e/fhir/page/2", False),
        ("", False),
    ],
)
def test_links_that_count_rows_are_told_from_links_to_a_stored_result(url: str, counts: bool) -> None:
    assert counts_rows(url) is counts


def stamps(*seconds: float) -> list[str]:
    return [instant(NOON + timedelta(seconds=second)) for second in seconds]


ORDERS = [
    ([], None, True, None),
    ([1.0], None, True, None),
    ([1.0, 2.0], None, True, 2.0),
    ([1.0, 1.0], None, True, None),
    ([1.0, 1.0, 2.0], None, True, 2.0),
    ([2.0, 1.0], None, False, 1.0),
    ([1.0, 2.0], 1.0, True, 2.0),
    ([1.0, 2.0], 2.0, False, None),
    ([0.0, 2.0], 1.0, False, 2.0),
    ([3.0, 4.0], 1.0, True, 4.0),
]


@pytest.mark.parametrize(("seconds", "bound", "in_order", "last"), ORDERS)
def test_order_is_only_relied_on_where_the_rows_show_it(
    seconds: list[float], bound: float | None, in_order: bool, last: float | None
) -> None:
    lower = None if bound is None else NOON + timedelta(seconds=bound)
    assert is_in_order(stamps(*seconds), lower) is in_order
    assert last_moment(stamps(*seconds), lower) == (None if last is None else NOON + timedelta(seconds=last))


@pytest.mark.parametrize("bad", ["", "soon", "2024-13-01", "12:00"])
def test_a_stamp_that_cannot_be_read_shows_no_order(bad: str) -> None:
    assert not is_in_order([*stamps(1), bad], None)
    assert last_moment([*stamps(1), bad], None) is None


@pytest.mark.parametrize(
    ("lower", "plainness", "asked"),
    [
        (None, 0, "Task?_sort=_lastUpdated&_count=100"),
        (NOON, 0, "Task?_lastUpdated=ge2024-05-06T12%3A00%3A00.000Z&_sort=_lastUpdated&_count=100"),
        (NOON, 1, "Task?_lastUpdated=ge2024-05-06T12%3A00%3A00.000Z&_count=100"),
        (NOON, 2, "Task?_count=100"),
        (None, 2, "Task?_count=100"),
    ],
)
def test_the_question_gets_plainer_step_by_step(lower: datetime | None, plainness: int, asked: str) -> None:
    assert query("Task", lower, plainness) == asked


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("Mon, 06 May 2024 12:00:00 GMT", NOON),
        ("Mon, 06 May 2024 14:00:00 +0200", NOON),
        ("Monday, 06-May-24 12:00:00 GMT", NOON),
        ("Mon, 06 May 2024 12:00:00", NOON),
        (None, None),
        ("", None),
        ("yesterday", None),
        ("Mon, 99 May 2024 12:00:00 GMT", None),
        ("Mon, 06 May 99999999999 12:00:00 GMT", None),
    ],
)
def test_dates_are_read_leniently(text: str | None, moment: datetime | None) -> None:
    assert http_date(text) == moment


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None), ("", None), ("0", 0.0), ("7", 7.0), (" 7 ", 7.0), ("3600", 3600.0), ("3601", 3600.0), ("9" * 40, 3600.0),
        ("-1", None), ("1.5", None), ("٣", None), ("soon", None), ("Mon, 06 May 2024 12:00:30 GMT", 30.0),
        ("Mon, 06 May 2024 11:00:00 GMT", 0.0), ("Tue, 06 May 2025 12:00:00 GMT", 3600.0),
    ],
)  # fmt: skip
def test_retry_after_in_every_form_is_bounded(text: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(text, NOON) == seconds


@given(st.text(max_size=40))
def test_no_header_makes_it_raise(text: str) -> None:
    http_date(text)
    found = retry_after_seconds(text, NOON)
    assert found is None or 0 <= found <= LONGEST_RETRY_AFTER


MOMENTS = st.integers(0, 10**7).map(lambda seconds: NOON + timedelta(seconds=seconds))


@given(st.floats(-3000, 3000), st.lists(st.tuples(st.floats(1, 5000), st.floats(0, 100)), min_size=1, max_size=12))
def test_whatever_the_skew_a_row_that_shows_within_the_overlap_is_asked_for(
    skew: float, passes: list[tuple[float, float]]
) -> None:
    progress, reached, moment = Progress(), None, NOON
    for gap, late in passes:
        moment += timedelta(seconds=gap)
        stamp = moment + timedelta(seconds=skew)
        lower = progress.lower_bound(reached, OVERLAP)
        assert lower is None or lower < stamp - timedelta(seconds=late)
        progress = progress.begun(moment.replace(microsecond=0)).seen([instant(stamp)], moment.replace(microsecond=0))
        reached = progress.watermark(reached)
        progress = progress_from(progress.completed(moment).as_detail())


@given(st.lists(st.tuples(MOMENTS, MOMENTS), max_size=8))
def test_a_watermark_never_goes_back_nor_beyond_the_servers_own_clock(rows: list[tuple[datetime, datetime]]) -> None:
    progress, reached = Progress(), None
    for served, stamp in rows:
        progress = progress.begun(served).seen([instant(stamp)], served)
        after = progress.watermark(reached)
        assert reached is None or (after is not None and after >= reached)
        assert after is None or after <= max(one for one, _ in rows)
        reached = after
        progress = progress.completed(served)
