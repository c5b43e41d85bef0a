"""`fhir-tracker jobs`, the figures and the page of operations tell the same of jobs that wait, run and died."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from api.context import Access
from fhir_tracker import clock
from fhir_tracker.job_running import MOST_ATTEMPTS, UNREADABLE, work_off
from fhir_tracker.storage import jobs
from fhir_tracker.storage.database import Database
from tests.api.conftest import Serve
from tests.support.commands import answer, without_settings

Run = Callable[..., tuple[int, str, str]]
SECRET = "Zebulon Quark"


@pytest.fixture
def run(ready_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    without_settings(monkeypatch, tmp_path)

    def command(*words: str) -> tuple[int, str, str]:
        return answer(capsys, ["jobs", *words, "--database", ready_url])

    return command


def told(run: Run) -> tuple[dict[str, tuple[int, int, int]], dict[str, dict[str, object]]]:
    """Kind -> how many wait, run and are dead; key -> the dead job."""
    code, said, _ = run("list", "--json")
    assert code == 0
    found = json.loads(said)
    kinds = {one["kind"]: (one["waiting"], one["running"], one["dead"]) for one in found["kinds"]}
    return kinds, {str(one["key"]): one for one in found["dead"]}


def fill(database: Database) -> None:
    """One job waits, one runs, and two have failed until nobody tries them any more."""

    def refuse(_: Database, payload: object, __: object) -> None:
        raise RuntimeError(f"{SECRET}: {payload}")

    start = clock.now() - timedelta(days=20)
    with database.begin() as tx:
        for number in range(2):
            jobs.enqueue(tx, "fails", f"f{number}", {"patient": SECRET}, start)
    for number in range(MOST_ATTEMPTS + 2):
        at = start + number * timedelta(hours=3)
        work_off(database, {"fails": refuse}, lambda at=at: at)  # type: ignore[misc]
    with database.begin() as tx:
        jobs.enqueue(tx, "runs", "r", {}, start)
        assert jobs.claim(tx, ["runs"], clock.now(), timedelta(hours=1))
        jobs.enqueue(tx, "waits", "w", {}, clock.now() - timedelta(hours=2))


def test_nothing_to_tell_is_said_so(run: Run) -> None:
    code, said, _ = run("list")
    assert (code, said) == (0, "no job waits, runs or has failed\n")
    assert told(run) == ({}, {})
    assert run("retry")[1] == "0 of the dead jobs wait again\n"


def test_what_waits_runs_and_died_is_told_with_the_reason_and_without_its_payload(run: Run, database: Database) -> None:
    fill(database)
    kinds, dead = told(run)
    assert kinds == {"fails": (0, 0, 2), "runs": (0, 1, 0), "waits": (1, 0, 0)}
    assert set(dead) == {"f0", "f1"}
    assert all((one["kind"], one["attempts"]) == ("fails", MOST_ATTEMPTS) for one in dead.values())
    assert all("RuntimeError" in str(one["reason"]) for one in dead.values())
    for words in (("list",), ("list", "--json")):
        _, said, _ = run(*words)
        assert SECRET not in said
    _, table, _ = run("list")
    assert [line.split()[0] for line in table.splitlines() if line.startswith(("fails", "runs", "waits"))] == [
        "fails",
        "runs",
        "waits",
    ]


def test_a_dead_job_that_is_retried_waits_again_alone_and_is_done_once(run: Run, database: Database) -> None:
    fill(database)
    _, dead = told(run)
    one = str(dead["f1"]["id"])
    assert json.loads(run("retry", one, "--json")[1]) == {"waiting": 1}
    assert run("retry", one)[1] == "0 of the dead jobs wait again\n", "it is not dead any more"
    kinds, left = told(run)
    assert kinds["fails"] == (1, 0, 1)
    assert set(left) == {"f0"}
    done: list[object] = []
    for _ in range(2):
        work_off(database, {"fails": lambda _, payload, __: done.append(payload)}, clock.now)
    assert done == [{"patient": SECRET}]
    assert run("retry")[1] == "1 of the dead jobs wait again\n"
    assert told(run)[1] == {}


def test_retrying_what_is_not_dead_or_not_there_changes_nothing(run: Run, database: Database) -> None:
    fill(database)
    before = told(run)
    with database.read() as tx:
        running = [one for one in jobs.states(tx) if one.running]
    assert len(running) == 1
    assert run("retry", "987654321")[:2] == (0, "0 of the dead jobs wait again\n")
    assert told(run) == before
    with pytest.raises(SystemExit):
        run("retry", "1; DROP TABLE job")


def test_a_dead_job_whose_like_waits_already_is_not_made_to_wait_twice(run: Run, database: Database) -> None:
    fill(database)
    with database.begin() as tx:
        jobs.enqueue(tx, "fails", "f0", {"patient": "again"}, clock.now())
    code, said, error = run("retry")
    assert code == 0, error
    kinds, _ = told(run)
    assert kinds["fails"] == (2, 0, 0)
    assert said == "1 of the dead jobs wait again\n"


def test_a_payload_that_cannot_be_read_dies_and_stops_no_other(run: Run, database: Database) -> None:
    now = clock.now()
    with database.begin() as tx:
        for key in ("bad", "good"):
            jobs.enqueue(tx, "odd", key, {"key": key}, now)
        tx.connection.exec_driver_sql("UPDATE job SET payload = '[1, 2]' WHERE key = 'bad'")
    done: list[object] = []
    for number in range(MOST_ATTEMPTS + 1):
        at = now + number * timedelta(hours=3)
        work_off(database, {"odd": lambda _, payload, __: done.append(payload)}, lambda at=at: at)  # type: ignore[misc]
    assert done == [{"key": "good"}]
    _, dead = told(run)
    assert {key: one["reason"] for key, one in dead.items()} == {"bad": UNREADABLE}


def test_metrics_and_the_page_count_what_the_command_counts(serve: Serve, database: Database) -> None:
    fill(database)
    client = serve(Access.OPEN)
    text = client.get("/metrics").text
    assert 'jobs_dead{kind="fails"} 2.0' in text
    assert SECRET not in text
    oldest = next(line for line in text.splitlines() if line.startswith('job_oldest_seconds{kind="waits"}'))
    assert 7_200 <= float(oldest.rpartition(" ")[2]) < 80_000
    page = client.get("/operations").text
    assert "2 background jobs failed for good" in page
    assert SECRET not in page
