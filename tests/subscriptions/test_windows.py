from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fhir_tracker.fhir.dates import instant
from subscriptions.windows import ROUNDING, Progress, progress_from

NOON = datetime(2024, 5, 6, 12, 0, tzinfo=UTC)
OVERLAP = timedelta(seconds=125)


def stamp(seconds: float) -> str:
    return instant(NOON + timedelta(seconds=seconds))


def test_the_watermark_goes_on_with_the_servers_clock_when_nothing_changes() -> None:
    first = Progress().begun(NOON).seen([stamp(-30), stamp(-600)], NOON)
    assert first.watermark(None) == NOON - timedelta(seconds=30)
    between = first.completed(NOON)
    later = between.begun(NOON + timedelta(hours=1)).seen([], NOON + timedelta(hours=1))
    assert later.watermark(first.watermark(None)) == NOON + timedelta(hours=1, seconds=-30)


def test_a_stamping_clock_behind_the_date_header_loses_nothing() -> None:
    slow = timedelta(minutes=10)
    progress = Progress().begun(NOON).seen([instant(NOON - slow)], NOON)
    reached = progress.watermark(None)
    for minutes in range(1, 120):
        moment = NOON + timedelta(minutes=minutes)
        progress = progress.completed(moment).begun(moment).seen([instant(moment - slow)], moment)
        reached = progress.watermark(reached)
        lower = progress.lower_bound(reached, OVERLAP)
        assert lower is not None
        assert lower < moment - slow


def test_a_stamp_from_the_future_does_not_carry_the_watermark_along() -> None:
    progress = Progress().begun(NOON).seen([stamp(86_400 * 365), stamp(-5)], NOON)
    assert progress.watermark(None) == NOON - timedelta(seconds=5)


def test_a_long_pass_counts_from_its_beginning() -> None:
    ended = NOON + timedelta(hours=2)
    progress = Progress().begun(NOON).seen([stamp(-100)], NOON).seen([instant(ended)], ended)
    assert progress.watermark(None) == NOON


def test_the_watermark_never_goes_back() -> None:
    progress = Progress().begun(NOON).seen([stamp(-500)], NOON)
    assert progress.watermark(NOON) == NOON


def test_without_any_stamp_every_pass_reads_everything() -> None:
    progress = Progress().begun(NOON).seen([], NOON)
    assert progress.watermark(None) is None
    assert progress.lower_bound(None, OVERLAP) is None


def test_without_any_server_time_the_watermark_is_the_newest_of_the_pass_before() -> None:
    first = Progress().begun(None).seen([stamp(0)], None)
    assert first.watermark(None) is None
    second = first.completed(NOON).begun(None).seen([stamp(60)], None)
    assert second.watermark(None) == NOON


@pytest.mark.parametrize(
    ("text", "grain"), [("2024-05-06", 86_400.0), ("2024-05-06T11:59Z", 60.0), ("2024-05-06T11:59:58Z", 1.0)]
)
def test_coarse_stamps_widen_the_window(text: str, grain: float) -> None:
    progress = Progress().begun(NOON).seen([text], NOON)
    reached = progress.watermark(None)
    assert reached is not None
    assert progress.grain == grain
    assert progress.lower_bound(reached, OVERLAP) == reached - OVERLAP - ROUNDING - timedelta(seconds=grain)


def test_a_stamp_that_cannot_be_read_does_not_count() -> None:
    assert Progress().begun(NOON).seen(["yesterday", ""], NOON).high is None


def test_progress_survives_being_kept_as_detail() -> None:
    progress = Progress(plainness=1, failures=2).begun(NOON).seen([stamp(-1.5)], NOON).completed(NOON)
    assert progress_from(progress.as_detail()) == progress
    assert progress_from({}) == Progress()
