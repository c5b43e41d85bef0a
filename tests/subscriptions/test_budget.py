"""How often one server is asked: by the minute, by the hour of the day, after it asked for patience, and while it is down."""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
import respx

from fhir_tracker.errors import RemoteFailure, UsageError
from fhir_tracker.model.allowance import Allowance, read_allowance
from fhir_tracker.storage import budgets
from fhir_tracker.storage.database import Database
from subscriptions import EhrClient, Limits
from subscriptions.budget import AT_A_TIME, FAILURES_TO_OPEN, LONGEST_TURN, SharedBudget, Standing, standing

BASE = "https://ehr.example/fhir"
START = datetime(2024, 5, 6, 12, 0, 10, tzinfo=UTC)
"""A Monday, 08:00 in New York, ten seconds into a minute."""


class Clinic:
    """Processes that share one connection's budget; time is the test's."""

    def __init__(self, database: Database, told: str | None, key: str) -> None:
        self.database = database
        self.allowance = read_allowance(told)
        self.key = key
        self.now = START
        self.processes = [self.process() for _ in range(3)]

    def process(self) -> SharedBudget:
        return SharedBudget(
            self.database, self.key, self.allowance, lambda: self.now, monotonic=lambda: self.now.timestamp()
        )

    def ask(self, process: int = 0, status: int = 200, retry_after: float | None = None) -> float:
        """One request; the seconds it had to wait."""
        wait = self.processes[process].take()
        if wait <= LONGEST_TURN:
            self.processes[process].served(status, retry_after)
        return wait

    def standing(self) -> Standing:
        with self.database.read() as tx:
            return standing(budgets.find(tx, self.key), self.allowance, self.now)


@pytest.fixture
def plain(database: Database) -> Clinic:
    return Clinic(database, None, "plain")


@pytest.fixture
def minute(database: Database) -> Clinic:
    """eClinicalWorks: 250 in each minute of the clock."""
    return Clinic(database, "250 aligned", "minute")


def test_a_server_without_a_budget_that_answers_costs_no_write(plain: Clinic) -> None:
    assert {plain.ask(process % 3) for process in range(300)} == {0.0}
    with plain.database.read() as tx:
        assert budgets.find(tx, "plain") == {}


@pytest.mark.requirement(79)
def test_no_more_than_the_allowance_is_asked_in_a_minute_of_the_clock_by_all_processes_together(minute: Clinic) -> None:
    waits = [minute.ask(number % 3) for number in range(250)]
    assert 238 <= waits.count(0.0) <= 250
    assert set(waits) <= {0.0, 50.0}
    waits += [minute.ask(number % 3) for number in range(30)]
    assert waits.count(0.0) <= 250
    assert minute.ask() == 50.0
    minute.now += timedelta(seconds=50)
    assert minute.ask() == 0.0


def test_what_was_put_off_to_the_next_minute_counts_in_that_minute(minute: Clinic) -> None:
    put_off = 0
    for number in range(700):
        wait = minute.ask(number % 3)
        put_off += wait == 50.0
        if wait > LONGEST_TURN:
            break
    else:
        pytest.fail("no end to what is put off")
    assert 250 <= put_off <= 262


def test_a_bucket_gives_a_burst_and_then_its_rate(database: Database) -> None:
    clinic = Clinic(database, "60", "bucket")
    waits = [clinic.ask() for _ in range(20)]
    assert waits[:10] == [0.0] * 10
    assert waits[10:] == pytest.approx([float(second) for second in range(1, 11)])
    clinic.now += timedelta(seconds=30)
    assert clinic.ask() == 0.0


def test_by_day_less_is_asked_than_by_night(database: Database) -> None:
    clinic = Clinic(database, "600, 60 Mon-Fri 08:00-18:00 America/New_York", "peak")
    assert clinic.standing().per_minute == 60
    clinic.now = datetime(2024, 5, 6, 22, 0, tzinfo=UTC)
    assert clinic.standing().per_minute == 600
    clinic.now = datetime(2024, 5, 11, 15, 0, tzinfo=UTC)
    assert clinic.standing().per_minute == 600


@pytest.mark.parametrize(
    "told",
    [
        "0",
        "many",
        "-5",
        "60 Mon-Fri",
        "600, 0 Mon-Fri 08:00-18:00 UTC",
        "600, 60 Mon-Fri 29:00-30:00 UTC",
        "9, 5 Mon-Fri 08:00-18:00 Mars/North",
    ],
)
def test_a_budget_that_makes_no_sense_is_a_usage_mistake(told: str) -> None:
    with pytest.raises(UsageError):
        read_allowance(told)


@pytest.mark.parametrize("told", [None, ""])
def test_no_budget_is_none(told: str | None) -> None:
    assert read_allowance(told) is None
    assert read_allowance(250) == Allowance(per_minute=250)


@pytest.mark.requirement(79)
def test_what_the_server_asks_us_to_wait_holds_for_every_process(plain: Clinic) -> None:
    assert plain.ask(0, 429, 30.0) == 0.0
    assert plain.ask(0) == 30.0
    plain.now += timedelta(seconds=10)
    assert plain.ask(1) == pytest.approx(20.0)
    assert plain.standing().until == START + timedelta(seconds=30)
    plain.now += timedelta(seconds=20)
    assert plain.ask(2) == 0.0


@pytest.mark.requirement(79)
def test_too_many_without_a_time_means_the_rest_of_the_minute_where_minutes_count(minute: Clinic) -> None:
    minute.ask(0, 429)
    assert minute.ask(1) == 50.0


@pytest.mark.requirement(79)
@pytest.mark.parametrize(
    ("told", "until"),
    [
        ("120", 120),
        ("Mon, 06 May 2024 12:02:10 GMT", 120),
        ("soon", None),
        ("-3", None),
        ("86400", 3600),
        ("9" * 400, 3600),
    ],
)
def test_retry_after_in_every_form_is_kept_within_an_hour_and_shown(
    plain: Clinic, told: str, until: int | None
) -> None:
    waits: list[float] = []
    headers = {"retry-after": told, "date": "Mon, 06 May 2024 12:00:10 GMT"}
    with (
        respx.mock as router,
        EhrClient(
            BASE, limits=Limits(tries=2), pause=waits.append, jitter=lambda: 0.5, budget=plain.process()
        ) as client,
    ):
        router.get(f"{BASE}/Task").respond(429, headers=headers)
        with suppress(RemoteFailure):
            client.get("Task")
    assert plain.standing().until == (START + timedelta(seconds=until) if until else None)
    assert all(wait <= LONGEST_TURN for wait in waits)


def test_no_more_than_a_few_requests_are_under_way_at_a_time(plain: Clinic) -> None:
    for number in range(AT_A_TIME):
        assert plain.processes[number % 3].take() == 0.0
    through: list[float] = []
    waiting = threading.Thread(target=lambda: through.append(plain.processes[0].take()))
    waiting.start()
    assert through == []
    plain.processes[1].served(200, None)
    waiting.join(30)
    assert through == [0.0]
    for _ in range(AT_A_TIME):
        plain.processes[2].served(200, None)


def test_a_long_wait_is_handed_back_and_takes_nothing(plain: Clinic) -> None:
    plain.ask(0, 503, 3600.0)
    for _ in range(AT_A_TIME * 2):
        assert plain.ask(0) == 3600.0


def test_a_server_that_fails_again_and_again_is_left_alone_then_tried_once_and_for_longer_each_time(
    plain: Clinic,
) -> None:
    for _ in range(FAILURES_TO_OPEN):
        plain.ask(0, 503)
    shown = plain.standing()
    assert (shown.circuit, shown.failures) == ("open", FAILURES_TO_OPEN)
    with pytest.raises(RemoteFailure, match="left alone") as refused:
        plain.ask(0)
    assert refused.value.retry_after == 30.0
    with pytest.raises(RemoteFailure):
        plain.process().take()
    plain.now += timedelta(seconds=30)
    assert plain.standing().circuit == "half-open"
    first, second = plain.process(), plain.process()
    assert first.take() == 0.0
    with pytest.raises(RemoteFailure):
        second.take()
    first.served(0, None)
    with pytest.raises(RemoteFailure) as refused:
        plain.ask(0)
    assert refused.value.retry_after == 60.0
    plain.now += timedelta(seconds=60)
    plain.ask(1)
    assert plain.standing().circuit == "closed"
    assert plain.ask(0) == 0.0


def test_a_probe_that_never_came_back_is_followed_by_another(plain: Clinic) -> None:
    for _ in range(FAILURES_TO_OPEN):
        plain.ask(0, 0)
    plain.now += timedelta(seconds=30)
    lost = plain.process()
    assert lost.take() == 0.0
    plain.now += timedelta(seconds=61)
    assert plain.ask(1) == 0.0
    assert plain.standing().circuit == "closed"
    lost.served(200, None)


def test_answers_that_are_no_failure_of_the_server_do_not_open_the_circuit(plain: Clinic) -> None:
    for _ in range(FAILURES_TO_OPEN * 2):
        plain.ask(0, 404)
        plain.ask(0, 401)
    assert plain.standing().circuit == "closed"


@pytest.mark.parametrize("told", [None, "60"])
def test_a_person_who_insists_asks_while_the_circuit_is_open_and_a_good_answer_closes_it(
    database: Database, told: str | None
) -> None:
    clinic = Clinic(database, told, "insisted")
    for _ in range(FAILURES_TO_OPEN):
        clinic.ask(status=0)
    with pytest.raises(RemoteFailure, match="left alone"):
        clinic.ask()
    eager = SharedBudget(database, "insisted", clinic.allowance, lambda: clinic.now, insists=True)
    assert eager.take() == 0
    eager.served(200, None)
    assert clinic.standing().circuit == "closed"
    assert clinic.standing().used == (None if told is None else FAILURES_TO_OPEN + 1)
