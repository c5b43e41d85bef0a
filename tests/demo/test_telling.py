"""The day as the EHR's frame is told it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from api.demo.board import Board
from api.demo.day import DAY
from api.demo.director import board_of
from api.demo.ehr import FhirApi
from api.demo.telling import Teller
from fhir_tracker.fhir.json_types import Json

NOW = datetime(2026, 3, 11, 15, 4, 9, tzinfo=UTC)
NOBODY = FhirApi(base_url="http://127.0.0.1:9/fhir")


@pytest.fixture
def board() -> Board:
    return board_of(DAY, {"noshow": "Ada Example"}, {"noshow": "a1"})


@pytest.fixture
def teller(board: Board) -> Teller:
    return Teller(board=board, ehr=NOBODY, since=NOW)


def test_the_state_follows_the_board_even_when_the_ehr_is_gone(teller: Teller, board: Board) -> None:
    board.enter("running")
    board.note(0, lambda one: replace(one, state="done", call="PUT /Appointment/a", at=NOW))
    title = board.happenings()[0].sights[0].title
    board.note_sight(0, title, state="seen", after=2.5, detail="work")
    state: dict[str, Any] = teller.state()
    assert state["phase"] == "running"
    assert state["recent"] == []
    assert state["steps"][0]["patient"] == "Ada Example"
    assert state["steps"][0]["chart"] == "a1"
    assert state["steps"][0]["call"] == "PUT /Appointment/a"
    assert state["steps"][0]["at"].startswith("2026-03-11T15:04:09")
    assert state["steps"][0]["sights"][0] == {"title": title, "state": "seen", "after": 2.5, "detail": "work"}
    assert state["steps"][1]["state"] == "planned"


def test_it_is_told_again_only_when_it_changed(teller: Teller, board: Board) -> None:
    told: list[str] = []
    stop = threading.Event()

    def tell(state: Mapping[str, Json]) -> None:
        told.append(str(state["phase"]))
        if len(told) == 1:
            board.enter("running")
        else:
            stop.set()

    teller.follow(tell, stop)
    assert told == ["loading", "running"]


def test_all_is_seen_only_when_every_step_was_done_and_every_reaction_seen(board: Board) -> None:
    for one in board.happenings():
        assert not board.all_seen
        board.note(one.number, lambda step: replace(step, state="done", at=NOW))
        for sight in one.sights:
            board.note_sight(one.number, sight.title, state="seen", after=1.0)
    assert board.all_seen
    board.note(0, lambda one: replace(one, state="failed"))
    assert not board.all_seen
