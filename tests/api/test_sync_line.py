from __future__ import annotations

import io

import pytest

from api.sync_line import EVERY_SECONDS, LIVE_SECONDS, SyncLine
from fhir_tracker.intake import Tally

PAGE = Tally(fetched=100, applied=90, unchanged=8, quarantined=2)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


def test_a_terminal_shows_one_line_that_is_written_over_and_cleared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream, clock = Terminal(), Hand()
    line = SyncLine(stream, clock)
    for _ in range(3):
        clock.at += LIVE_SECONDS
        line.heard("Patient", PAGE)
    line.heard("Patient", PAGE)
    line.clear()
    shown = stream.getvalue().split("\r\x1b[2K")
    assert shown[0] == ""
    assert shown[3] == "  Patient: 300 fetched, 270 applied, 6 in quarantine ..."
    assert shown[4:] == [""]


def test_elsewhere_a_plain_line_comes_now_and_then_and_begins_anew_with_each_type() -> None:
    stream, clock = io.StringIO(), Hand()
    line = SyncLine(stream, clock)
    line.heard("Patient", PAGE)
    line.clear()
    assert stream.getvalue() == ""
    clock.at = EVERY_SECONDS
    line.heard("Task", Tally(fetched=5, applied=5))
    assert stream.getvalue() == "  Task: 5 fetched, 5 applied ...\n"


def test_a_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    stream, clock = Terminal(), Hand()
    line = SyncLine(stream, clock)
    clock.at = EVERY_SECONDS
    line.heard("Patient", PAGE)
    assert "\x1b" not in stream.getvalue()
