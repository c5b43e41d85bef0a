"""F4: a process that stands still amid a transaction keeps nobody waiting for ever, and nothing of what it began stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import timedelta

import pytest

from fhir_tracker.errors import Busy, Unavailable
from fhir_tracker.storage import jobs, leaders, settings, work_items
from fhir_tracker.storage.database import STILL_SECONDS, Database, Tx
from tests.peers.postgres.server import Postgres
from tests.storage.samples import NOW, item

LEASE = timedelta(minutes=1)
SOON = "options=-c%20idle_in_transaction_session_timeout%3D1s"


def put(value: str) -> Callable[[Tx], object]:
    return lambda tx: settings.put(tx, "chore:watch-rules", value)


def saved(title: str) -> Callable[[Tx], object]:
    return lambda tx: work_items.save(tx, item("Task/a", title=title))


HOLDING: dict[str, tuple[Callable[[Tx], object], Callable[[Tx], object], object]] = {
    "a place that one process leads": (
        lambda tx: leaders.lead(tx, "beat", "still", NOW, LEASE),
        lambda tx: leaders.lead(tx, "beat", "other", NOW, LEASE),
        True,
    ),
    "a setting": (put("still"), put("other"), None),
    "an item": (saved("of the one that stands still"), saved("of the other"), None),
    "a job in hand": (
        lambda tx: jobs.claim(tx, ["chore"], NOW, LEASE),
        lambda tx: jobs.enqueue(tx, "chore", "", {}, NOW),
        False,
    ),
}
"""What one does and then stands still; what another, who needs the same, does, and is answered."""


@pytest.fixture
def server_url(postgres: Postgres, prepared_name: str) -> Iterator[str]:
    name = postgres.create(template=prepared_name)
    yield postgres.url(name)
    postgres.drop(name)


@pytest.mark.fault("F4")
@pytest.mark.parametrize("what", HOLDING)
def test_who_stands_still_holding_something_is_ended_and_another_goes_on(server_url: str, what: str) -> None:
    take, take_over, answer = HOLDING[what]
    with ExitStack() as stack:
        still = stack.enter_context(closing(Database.open(f"{server_url}?{SOON}")))
        other = stack.enter_context(closing(Database.open(server_url)))
        with other.begin() as tx:
            work_items.save(tx, item("Task/a", title="as it was"))
            jobs.enqueue(tx, "chore", "", {}, NOW)

        def stand_still() -> None:
            with still.begin() as standing:
                take(standing)
                standing.flush()
                with other.begin() as tx:
                    assert take_over(tx) is answer, "the server lets go of what the other held"
                settings.put(standing, "late", "of the one that stood still")

        with pytest.raises((Busy, Unavailable)):
            stand_still()
        with other.read() as tx:
            assert settings.get(tx, "late") is None
        with still.begin() as tx:
            settings.put(tx, "again", "yes")
        with other.read() as tx:
            assert settings.get(tx, "again") == "yes"


def test_every_connection_has_the_limit_unless_the_address_names_another(server_url: str) -> None:
    asked = "SELECT current_setting('idle_in_transaction_session_timeout'), current_setting('TimeZone')"
    for url, limit in ((server_url, f"{STILL_SECONDS // 60}min"), (f"{server_url}?{SOON}", "1s")):
        with closing(Database.open(url)) as database:
            for opened in (database.begin, database.read):
                with opened() as tx:
                    assert tuple(tx.connection.exec_driver_sql(asked).one()) == (limit, "UTC")


@pytest.mark.fault("F4")
def test_a_reader_that_stands_still_is_told_and_reads_again(server_url: str) -> None:
    with closing(Database.open(f"{server_url}?{SOON}")) as database:
        with database.begin() as tx:
            settings.put(tx, "known", "yes")

        def stand_still() -> None:
            with database.read() as tx:
                assert settings.get(tx, "known") == "yes"
                ended(server_url)
                settings.get(tx, "known")

        with pytest.raises((Busy, Unavailable)):
            stand_still()
        with database.read() as tx:
            assert settings.get(tx, "known") == "yes"


def ended(url: str) -> None:
    """Return when no transaction of the database stands still any more."""
    asked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%%'"
    with closing(Database.open(url)) as database:
        for _ in range(600):
            with database.begin() as tx:
                if not tx.connection.exec_driver_sql(asked).scalar():
                    return
                tx.connection.exec_driver_sql("SELECT pg_sleep(0.1)")
    raise AssertionError("it still stands")
