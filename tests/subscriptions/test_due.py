"""Several connections in one process: who is next, how long a failing one is left alone, and that none holds up another."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import respx

from fhir_tracker import connections
from fhir_tracker.config import load_settings
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage import connections as stored
from fhir_tracker.storage import cursors, jobs, resources
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.database import Database
from subscriptions import SyncReport, due_connections, leases, next_due, sync_due
from subscriptions.sync import STATE
from tests.subscriptions.fake_ehr import FakeEhr

NOW = datetime(2024, 5, 6, 12, 0, tzinfo=UTC)


class Killed(BaseException):
    """kill -9."""


class Town:
    """Three EHRs, a, b and c, and one worker whose clock the test moves."""

    def __init__(self, database: Database, url: str, router: respx.MockRouter) -> None:
        self.database = database
        self.settings = load_settings({"FHIR_TRACKER_REMOTE_TIMEOUT": "5s"}, database=url)
        self.now = NOW
        self.fuse: int | None = None
        self.ehrs = {key: FakeEhr() for key in "abc"}
        for key, ehr in self.ehrs.items():
            ehr.serve(router, self.base(key))
            ehr.put("Patient", f"of-{key}")

    def base(self, key: str) -> str:
        return f"https://{key}.example/fhir"

    def add(self, key: str, *, poll: int = 30, **options: str) -> None:
        with self.database.begin() as tx:
            connections.add(
                tx, key, self.base(key), now=self.now, poll_seconds=poll, types=["Patient"], options=options or None
            )

    def down(self, key: str, status: int = 401, **headers: str) -> None:
        self.ehrs[key].twists = [lambda request: httpx.Response(status, headers=headers)]

    def up(self, key: str) -> None:
        self.ehrs[key].twists = []

    def clock(self) -> datetime:
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse < 0:
                raise Killed
        return self.now

    def work(self, seconds: float = 0) -> list[SyncReport]:
        """One round of the worker, some seconds later."""
        self.now += timedelta(seconds=seconds)
        return sync_due(self.database, self.settings, self.clock)

    def synced(self, seconds: float = 0) -> list[str]:
        return [one.connection for one in self.work(seconds)]

    def due(self) -> list[str]:
        with self.database.read() as tx:
            return [one.key for one in due_connections(tx, self.now)]

    def wait(self, key: str) -> float:
        """Seconds until a connection is due."""
        with self.database.read() as tx:
            return (next_due(tx, connections.get(tx, key)) - self.now).total_seconds()

    def connection(self, key: str) -> Connection:
        with self.database.read() as tx:
            return connections.get(tx, key)

    def failures(self, key: str) -> int:
        with self.database.read() as tx:
            state = cursors.find(tx, key, STATE)
        return int(state.detail["failures"]) if state else 0

    def held(self, key: str) -> set[str]:
        with self.database.read() as tx:
            return set(resources.ids_of(tx, key, "Patient"))


@pytest.fixture
def town(database: Database, ready_url: str) -> Iterator[Town]:
    with respx.mock(assert_all_called=False) as router:
        yield Town(database, ready_url, router)


def test_a_new_connection_is_due_at_once_and_then_after_its_own_interval(town: Town) -> None:
    town.add("a", poll=30)
    town.add("b", poll=300)
    assert town.synced() == ["a", "b"]
    assert (town.held("a"), town.held("b")) == ({"of-a"}, {"of-b"})
    assert (town.wait("a"), town.wait("b")) == (30, 300)
    assert town.synced(29) == []
    assert town.synced(1) == ["a"]
    assert town.synced(270) == ["a", "b"]


def test_the_one_that_waits_longest_comes_first(town: Town) -> None:
    town.add("c")
    town.now += timedelta(seconds=1)
    town.add("a")
    town.now += timedelta(seconds=1)
    town.add("b")
    assert town.due() == ["c", "a", "b"]
    town.work()
    assert town.due() == []
    town.now += timedelta(seconds=60)
    assert town.due() == ["a", "b", "c"]


@pytest.mark.fault("F20")
def test_a_clock_that_is_turned_back_stops_no_polling_and_leaves_no_lease_for_hours(town: Town) -> None:
    town.add("a", poll=30)
    assert town.synced() == ["a"]
    assert town.synced(7200) == ["a"]
    leases.take(town.database, "a", town.now)
    town.add("b", poll=30)
    town.now -= timedelta(hours=2)
    assert sorted(town.synced()) == ["a", "b"]
    assert town.synced(29) == []
    assert sorted(town.synced(1)) == ["a", "b"]


def test_nobody_is_due_where_nobody_is_followed(town: Town) -> None:
    assert town.work() == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500, 503])
def test_one_server_that_is_down_does_not_stop_the_others(town: Town, status: int) -> None:
    for key in "abc":
        town.add(key)
    town.down("b", status, **{"retry-after": "40"})
    reports = {one.connection: one for one in town.work()}
    assert [reports[key].complete for key in "abc"] == [True, False, True]
    assert (town.held("a"), town.held("b"), town.held("c")) == ({"of-a"}, set(), {"of-c"})
    assert [town.connection(key).state for key in "abc"] == ["ok", "auth_failed" if status == 401 else "failing", "ok"]
    assert str(status) in (town.connection("b").last_error or "")
    town.up("b")
    town.work(4000)
    assert town.held("b") == {"of-b"}
    assert (town.connection("b").state, town.connection("b").last_error) == ("ok", None)


def test_a_server_that_is_down_is_tried_once_a_poll_so_that_it_is_caught_up_with_in_one(town: Town) -> None:
    town.add("a", poll=30)
    town.down("a", 404)
    waits = []
    for _ in range(8):
        assert town.synced() == ["a"]
        waits.append(town.wait("a"))
        assert town.synced(waits[-1] - 1) == []
        town.now += timedelta(seconds=1)
    assert waits == [30] * 8
    assert town.failures("a") == 8
    town.up("a")
    assert town.synced() == ["a"]
    assert (town.failures("a"), town.wait("a")) == (0, 30)


def test_a_server_that_refuses_our_credentials_is_asked_less_and_less(town: Town) -> None:
    town.add("a", poll=30)
    town.down("a", 401)
    waits = []
    for _ in range(6):
        assert town.synced() == ["a"]
        waits.append(town.wait("a"))
        town.now += timedelta(seconds=waits[-1])
    assert waits == [60, 120, 240, 480, 900, 900]
    town.up("a")
    assert town.synced() == ["a"]
    assert town.wait("a") == 30


def test_a_slow_interval_is_never_made_faster_by_failing(town: Town) -> None:
    town.add("a", poll=7200)
    town.down("a")
    for _ in range(3):
        assert town.synced() == ["a"]
        assert town.wait("a") == 7200
        town.now += timedelta(seconds=7200)


@pytest.mark.parametrize(("asked", "waited"), [("120", 120), ("7200", 3600), ("25", 30)])
def test_retry_after_counts_where_it_is_longer_than_our_own_pause_and_is_capped(
    town: Town, asked: str, waited: int
) -> None:
    town.add("a", poll=30)
    town.down("a", 429, **{"retry-after": asked})
    assert not town.work()[0].complete
    assert town.wait("a") == waited
    town.up("a")
    town.work(waited)
    assert town.wait("a") == 30


def test_a_secret_that_cannot_be_read_stops_that_connection_only_and_says_so(town: Town, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    town.add("a", auth="bearer", secret_file=str(secret))
    town.add("b")
    assert town.synced() == ["b"]
    assert town.connection("a").state == "failing"
    assert town.connection("a").last_error == "The connection's secret file cannot be read."
    assert town.ehrs["a"].requests == []
    secret.write_text("token\n")
    assert town.synced(30) == ["a", "b"]
    assert town.connection("a").state == "ok"


def test_a_mapping_that_is_gone_stops_that_connection_only_and_says_so(town: Town) -> None:
    town.add("b")
    with town.database.begin() as tx:
        stored.add(tx, Connection(key="a", base_url=town.base("a"), mapping="epik", created_at=town.now))
    assert town.synced() == ["b"]
    assert "no mapping 'epik'" in (town.connection("a").last_error or "")
    with town.database.read() as tx:
        assert [state.running for state in jobs.states(tx) if state.kind == leases.kind_of("a")] in ([], [0])


def test_a_connection_another_process_has_is_passed_over_and_not_called_failing(town: Town) -> None:
    for key in "ab":
        town.add(key)
    lease = leases.take(town.database, "a", town.now)
    assert town.synced() == ["b"]
    assert town.connection("a").state == "new"
    leases.release(town.database, lease, town.now)
    assert town.synced() == ["a"]


@pytest.mark.parametrize("fuse", range(2, 13, 2))
def test_after_a_crash_at_any_point_the_lease_runs_out_and_another_goes_on(town: Town, fuse: int) -> None:
    for number in range(250):
        town.ehrs["a"].put("Patient", f"p{number}")
    town.add("a")
    town.fuse = fuse
    with pytest.raises(Killed):
        town.work()
    town.fuse = None
    before = len(town.held("a"))
    assert before in (0, 100, 200, 251)
    assert town.synced(leases.LEASE.total_seconds() - 1) in ([], ["a"])
    town.work(2)
    assert len(town.held("a")) == 251
    with town.database.read() as tx:
        stored_once = resources.scan(tx, worker_viewer("test"), ["Patient"], limit=1000)
    assert {one.version for one in stored_once} == {1}


def test_leases_leave_no_rows_behind(town: Town) -> None:
    town.add("a", poll=60)
    for _ in range(20):
        town.work(60)
    with town.database.read() as tx:
        states = [state for state in jobs.states(tx) if state.kind == leases.kind_of("a")]
    assert all((state.waiting, state.running, state.dead) == (0, 0, 0) for state in states)


def test_a_removed_connection_is_polled_no_more_and_begins_anew_when_added_again(town: Town) -> None:
    town.add("a")
    town.down("a")
    town.work()
    with town.database.begin() as tx:
        connections.remove(tx, "a")
    assert town.synced(9999) == []
    town.up("a")
    town.add("a")
    assert town.wait("a") == 0
    assert town.synced() == ["a"]
    assert town.failures("a") == 0


def test_what_the_server_can_do_is_asked_once_an_hour(town: Town) -> None:
    town.add("a", poll=600)
    for _ in range(13):
        town.work(600)
    assert sum(url.endswith("/metadata") for url in town.ehrs["a"].requests) in (2, 3)


def test_types_that_fail_are_named_in_the_error_and_three_are_enough(town: Town) -> None:
    types = ["Patient", "CarePlan", "Task", "Goal", "Flag"]
    with town.database.begin() as tx:
        connections.add(tx, "a", town.base("a"), now=town.now, types=types)
    town.ehrs["a"].twists = [lambda request: None if "metadata" in str(request.url) else httpx.Response(403)]
    (report,) = town.work()
    assert [one.type for one in report.types] == types
    assert report.error is not None
    assert [name in report.error for name in types] == [True, True, True, False, False]


def test_a_server_that_fails_twice_in_a_row_is_not_asked_for_the_rest(town: Town) -> None:
    types = ["Patient", "CarePlan", "Task", "Goal"]
    with town.database.begin() as tx:
        connections.add(tx, "a", town.base("a"), now=town.now, types=types)
    broken = httpx.Response(200, headers={"content-type": "application/fhir+json"}, text="{")
    town.ehrs["a"].twists = [lambda request: None if "metadata" in str(request.url) else broken]
    (report,) = town.work()
    assert [one.type for one in report.types] == types[:2]
    assert report.unreachable
