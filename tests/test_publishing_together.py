"""Change control while others are at it, and while clocks are wrong: one version is in force, and its definitions say so."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from fhir_tracker import programs, publishing
from fhir_tracker.errors import NotFound, RuleBroken
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.identity import is_legal_id
from fhir_tracker.model.author import Author
from fhir_tracker.publishing import Terms
from fhir_tracker.storage.database import Database, Tx
from tests.support.clinic import MONDAY, NURSE, PROVIDER, RING, SYSTEM, Clinic, author

PATIENCE = 60
HOUR = timedelta(hours=1)
DEFINITIONS = ("PlanDefinition", "ActivityDefinition")
Step = Callable[[Tx, Author], object]


def edition(number: int, code: str = "ring") -> str:
    return RING.replace("program: ring", f"program: {code}").replace(
        "title: Ring after discharge", f"title: Edition {number}"
    )


def submitting(source: str, terms: Terms = publishing.AT_ONCE) -> Step:
    return lambda tx, by: publishing.submit(tx, source, by, terms)


def rolling_back(tx: Tx, by: Author) -> object:
    return publishing.roll_back(tx, "ring", by)


def wait_for_the_other(tx: Tx) -> None:
    """Until somebody waits for this transaction to end; writers of SQLite always do."""
    waits = text(
        "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database "
        "WHERE NOT granted AND datname = current_database()"
    )
    ends = time.monotonic() + PATIENCE
    while tx.dialect == "postgresql" and not tx.value(waits):
        assert time.monotonic() < ends, "nobody waits"
        time.sleep(0.02)


def both(ready_url: str, first: Step, second: Step) -> list[BaseException | None]:
    """Two people at once, each on connections of their own: the second begins before the first commits. What they were told."""
    held, begun = Event(), Event()

    def lead() -> None:
        with closing(Database.open(ready_url)) as database, database.begin() as tx:
            first(tx, author(MONDAY + HOUR, NURSE))
            held.set()
            assert begun.wait(PATIENCE)
            wait_for_the_other(tx)

    def follow() -> None:
        assert held.wait(PATIENCE)
        begun.set()
        with closing(Database.open(ready_url)) as database, database.begin() as tx:
            second(tx, author(MONDAY + HOUR, PROVIDER))

    with ThreadPoolExecutor(2) as threads:
        running: list[Future[None]] = [threads.submit(lead), threads.submit(follow)]
        return [one.exception(PATIENCE) for one in running]


def check_one_in_force(clinic: Clinic, code: str = "ring") -> list[tuple[int, str]]:
    """Exactly one version is active, and each definition has the state of its version; all versions, oldest first."""
    with clinic.database.read() as tx:
        found = [(one.version, one.status) for one in reversed(programs.all_programs(tx, code))]
    assert [status for _, status in found].count("active") == 1, found
    shown = {"approved": "draft", "withdrawn": "retired"}
    wanted = {str(version): shown.get(status, status) for version, status in found}
    for one in clinic.stored(*DEFINITIONS):
        if f"/{code}" in one["url"] and one["version"] in wanted:
            assert one["status"] == wanted[one["version"]], (one["resourceType"], one["id"], found)
    return found


@pytest.fixture
def clinic(database: Database) -> Clinic:
    return Clinic(database)


def test_two_that_publish_at_once_publish_one_after_the_other(clinic: Clinic, ready_url: str) -> None:
    assert both(ready_url, submitting(edition(2)), submitting(edition(3))) == [None, None]
    assert check_one_in_force(clinic) == [(1, "retired"), (2, "retired"), (3, "active")]


def test_the_same_text_published_by_two_at_once_is_one_version(clinic: Clinic, ready_url: str) -> None:
    assert both(ready_url, submitting(edition(2)), submitting(edition(2))) == [None, None]
    assert check_one_in_force(clinic) == [(1, "retired"), (2, "active")]


def test_a_new_program_published_by_two_at_once_has_two_versions(clinic: Clinic, ready_url: str) -> None:
    assert both(ready_url, submitting(edition(1, "new")), submitting(edition(2, "new"))) == [None, None]
    assert check_one_in_force(clinic, "new") == [(1, "retired"), (2, "active")]


def test_going_back_while_somebody_publishes_goes_back_from_what_was_published(clinic: Clinic, ready_url: str) -> None:
    clinic.publish(edition(2), MONDAY)
    assert both(ready_url, submitting(edition(3)), rolling_back) == [None, None]
    assert check_one_in_force(clinic)[-2:] == [(3, "retired"), (4, "active")]
    assert clinic.active()[0].title == "Edition 2"


def test_two_who_go_back_at_once_go_there_and_back(clinic: Clinic, ready_url: str) -> None:
    clinic.publish(edition(2), MONDAY)
    assert both(ready_url, rolling_back, rolling_back) == [None, None]
    assert check_one_in_force(clinic)[-1] == (4, "active")
    assert clinic.active()[0].title == "Edition 2"


def test_what_is_withdrawn_while_it_is_approved_is_one_of_both(clinic: Clinic, ready_url: str) -> None:
    terms = Terms(effective_at=MONDAY + 50 * HOUR)
    with clinic.acting(MONDAY, SYSTEM) as (tx, by):
        publishing.submit(tx, edition(2) + "change_control: {approver: required}\n", by, terms)
    told = both(
        ready_url,
        lambda tx, by: publishing.approve(tx, "ring", None, by),
        lambda tx, by: publishing.withdraw(tx, "ring", None, by),
    )
    assert told == [None, None]
    assert check_one_in_force(clinic) == [(1, "active"), (2, "withdrawn")]


def test_a_version_whose_time_has_come_takes_effect_once_though_two_workers_see_it(
    clinic: Clinic, ready_url: str
) -> None:
    with clinic.acting(MONDAY, NURSE) as (tx, by):
        publishing.submit(tx, edition(2), by, Terms(effective_at=MONDAY + HOUR))

    def due(tx: Tx, by: Author) -> object:
        return publishing.activate_due(tx, by.at)

    assert both(ready_url, due, due) == [None, None]
    assert check_one_in_force(clinic) == [(1, "retired"), (2, "active")]
    assert [one["meta"]["versionId"] for one in clinic.stored("PlanDefinition") if one["version"] == "2"] == ["2"]


def test_when_the_clock_was_turned_back_one_still_goes_back_to_the_version_before(clinic: Clinic) -> None:
    clinic.publish(edition(2), MONDAY - 72 * HOUR)
    clinic.publish(edition(3), MONDAY - 71 * HOUR)
    with clinic.acting(MONDAY - 70 * HOUR, NURSE) as (tx, by):
        assert publishing.roll_back(tx, "ring", by).rolls_back == 2
    check_one_in_force(clinic)


@pytest.mark.parametrize("late", [timedelta(0), timedelta(microseconds=1), timedelta(days=3000)])
def test_no_version_takes_effect_in_the_past(clinic: Clinic, late: timedelta) -> None:
    with clinic.acting(MONDAY, NURSE) as (tx, by), pytest.raises(RuleBroken, match="in the past"):
        publishing.submit(tx, edition(2), by, Terms(effective_at=MONDAY - late))
    assert check_one_in_force(clinic) == [(1, "active")]


def test_a_version_for_the_end_of_time_waits_and_one_for_now_passes_it_by(clinic: Clinic) -> None:
    end = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    with clinic.acting(MONDAY, NURSE) as (tx, by):
        publishing.submit(tx, edition(2), by, Terms(effective_at=end))
        assert publishing.activate_due(tx, datetime(9999, 12, 31, tzinfo=UTC)) == []
    assert check_one_in_force(clinic) == [(1, "active"), (2, "approved")]
    clinic.publish(edition(3), MONDAY + HOUR)
    assert check_one_in_force(clinic) == [(1, "retired"), (2, "withdrawn"), (3, "active")]
    with clinic.acting(end, SYSTEM) as (tx, by):
        assert publishing.activate_due(tx, end) == []


def test_codes_as_long_as_codes_may_be_are_published_under_ids_of_their_own(clinic: Clinic) -> None:
    long = "a" * 63
    source = RING.replace("first-call", f"{long}c").replace("reschedule", f"{long}r")
    for code in (f"{long}p", f"{long}q", f"b{long[1:]}p"):
        clinic.publish(source.replace("program: ring", f"program: {code}"), MONDAY)
        clinic.publish(source.replace("program: ring", f"program: {code}") + "# again\n", MONDAY)
    found = clinic.stored("PlanDefinition", "ActivityDefinition", "CodeSystem", "ValueSet")
    urls = [(one["url"], one["version"]) for one in found if long[1:] in one["url"]]
    assert len(urls) == len(set(urls)) == 3 * (2 + 4 + 3 + 2)
    assert all(is_legal_id(one["id"]) for one in found)
    assert [issue for one in found for issue in check(one) if issue.severity in ("error", "fatal")] == []
    for code in (f"{long}p", f"{long}q", f"b{long[1:]}p"):
        check_one_in_force(clinic, code)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["publish", "wait", "approve", "withdraw", "back", "due"]),
        st.integers(1, 4),
        st.integers(-30, 60),
    ),
    max_size=12,
)


@given(steps=STEPS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_done_and_refused_at_whatever_hour_one_version_is_in_force(
    prepared_file: Path, tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int]]
) -> None:
    path = tmp_path_factory.mktemp("steps") / "tracker.db"
    path.write_bytes(prepared_file.read_bytes())
    with closing(Database.open(f"sqlite:///{path}")) as database:
        clinic = Clinic(database)
        for what, number, hour in steps:
            try:
                with clinic.acting(MONDAY + hour * HOUR, (NURSE, PROVIDER)[number % 2]) as (tx, by):
                    match what:
                        case "publish":
                            publishing.submit(tx, edition(number), by)
                        case "wait":
                            publishing.submit(tx, edition(number), by, Terms(effective_at=by.at + number * HOUR))
                        case "approve":
                            publishing.approve(tx, "ring", None, by)
                        case "withdraw":
                            publishing.withdraw(tx, "ring", None, by)
                        case "back":
                            publishing.roll_back(tx, "ring", by)
                        case _:
                            publishing.activate_due(tx, by.at)
            except (NotFound, RuleBroken):
                pass
            found = check_one_in_force(clinic)
            assert sum(status in ("draft", "approved") for _, status in found) <= 1
    path.unlink()
