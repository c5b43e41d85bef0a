"""One server of each kind of database for the whole run, in open mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.conformance.server import Tracker, running_tracker
from tests.conformance.talk import Corner
from tests.peers.postgres.server import Postgres


@pytest.fixture(scope="session")
def sqlite_tracker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracker]:
    """The one on SQLite."""
    folder = tmp_path_factory.mktemp("tracker-sqlite")
    with running_tracker(f"sqlite:///{folder / 'tracker.db'}", folder, "--open") as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_tracker(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracker]:
    """The one on PostgreSQL."""
    folder = tmp_path_factory.mktemp("tracker-postgresql")
    with running_tracker(postgres.url(postgres.create()), folder, "--open") as server:
        yield server


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def tracker(request: pytest.FixtureRequest) -> Tracker:
    """A server in open mode that many tests share: each keeps to a corner of its own. It runs to the end of the run."""
    server: Tracker = request.getfixturevalue(f"{request.param}_tracker")
    return server


@pytest.fixture(scope="session")
def one_tracker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracker]:
    """A server on SQLite, for questions that no database has a say in."""
    folder = tmp_path_factory.mktemp("tracker-one")
    with running_tracker(f"sqlite:///{folder / 'tracker.db'}", folder, "--open") as server:
        yield server


@pytest.fixture(scope="session")
def client(tracker: Tracker) -> Iterator[httpx.Client]:
    """A client at the FHIR base."""
    with httpx.Client(base_url=tracker.fhir, timeout=60, trust_env=False) as one:
        yield one


@pytest.fixture(scope="session")
def one_client(one_tracker: Tracker) -> Iterator[httpx.Client]:
    """A client at the FHIR base of the server on SQLite."""
    with httpx.Client(base_url=one_tracker.fhir, timeout=60, trust_env=False) as one:
        yield one


@pytest.fixture
def corner(client: httpx.Client) -> Corner:
    """A corner for one test."""
    return Corner(client)


@pytest.fixture
def at_once() -> Callable[[int, Callable[[int], httpx.Response]], list[httpx.Response]]:
    """Runs something so many times at once, each on a thread of its own; gives the answers in order."""

    def run(count: int, ask: Callable[[int], httpx.Response]) -> list[httpx.Response]:
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(ask, range(count)))

    return run
