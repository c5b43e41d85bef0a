"""The page of both: a fixed document, its own assets, and the day as it stands."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from api.demo.board import Board
from api.demo.day import DAY
from api.demo.director import board_of
from api.demo.ehr import FhirApi
from api.demo.page import DemoPage

NOW = datetime(2026, 3, 11, 15, 4, 9, tzinfo=UTC)


@pytest.fixture
def board() -> Board:
    return board_of(DAY, {"noshow": "Ada Example"}, {"noshow": "a1"})


@pytest.fixture
def client(board: Board) -> TestClient:
    nobody = FhirApi(base_url="http://127.0.0.1:9/fhir", headers={})
    return TestClient(Starlette(routes=DemoPage(board=board, ehr=nobody, since=NOW).routes()))


@pytest.mark.parametrize("path", ["/demo", "/demo/demo.css", "/demo/demo.js"])
def test_the_page_and_its_assets_come_from_here_alone(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert "http" not in answer.text


def test_the_page_says_that_it_is_a_demo_and_frames_the_queue(client: TestClient) -> None:
    page = client.get("/demo").text
    assert "Not for real patient data" in page
    assert '<iframe src="/"' in page
    assert "<script>" not in page


def test_the_state_follows_the_board_even_when_the_ehr_is_gone(client: TestClient, board: Board) -> None:
    board.enter("running")
    board.note(0, lambda one: replace(one, state="done", call="PUT /Appointment/a", at=NOW))
    board.note_sight(0, board.happenings()[0].sights[0].title, state="seen", after=2.5, detail="work")
    state = client.get("/demo/state.json").json()
    assert state["phase"] == "running"
    assert state["recent"] == []
    assert state["steps"][0]["patient"] == "Ada Example"
    assert state["steps"][0]["page"] == "/patients/demo-ehr-a1"
    assert state["steps"][0]["call"] == "PUT /Appointment/a"
    assert state["steps"][0]["at"].startswith("2026-03-11T15:04:09")
    assert state["steps"][0]["sights"][0] == {
        "title": board.happenings()[0].sights[0].title,
        "state": "seen",
        "after": 2.5,
        "detail": "work",
    }
    assert state["steps"][1]["state"] == "planned"


def test_all_is_seen_only_when_every_step_was_done_and_every_reaction_seen(board: Board) -> None:
    for one in board.happenings():
        assert not board.all_seen
        board.note(one.number, lambda step: replace(step, state="done", at=NOW))
        for sight in one.sights:
            board.note_sight(one.number, sight.title, state="seen", after=1.0)
    assert board.all_seen
    board.note(0, lambda one: replace(one, state="failed"))
    assert not board.all_seen
