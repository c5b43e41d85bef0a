"""Servers for hostile clients: one in open mode of each kind of database, and one that knows nobody."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.conformance.server import Tracker, running_tracker
from tests.peers.postgres.server import Postgres
from tests.support.receivers import hook, mailbox, smtp

__all__ = ["hook", "mailbox", "smtp"]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database of each kind with nothing in it, for the tests of one module."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path_factory.mktemp('empty') / 't.db'}"
    postgres: Postgres = request.getfixturevalue("postgres")
    return postgres.url(postgres.create())


@pytest.fixture(scope="session")
def postgresql_tracker(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracker]:
    """A server in open mode on PostgreSQL."""
    with running_tracker(postgres.url(postgres.create()), tmp_path_factory.mktemp("open"), "--open") as one:
        yield one


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def tracker(request: pytest.FixtureRequest) -> Tracker:
    """A server in open mode."""
    server: Tracker = request.getfixturevalue("one_tracker" if request.param == "sqlite" else "postgresql_tracker")
    return server


@pytest.fixture(scope="session")
def one_tracker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracker]:
    """A server in open mode on SQLite, for what no database has a say in."""
    folder = tmp_path_factory.mktemp("open-one")
    with running_tracker(f"sqlite:///{folder / 'tracker.db'}", folder, "--open") as one:
        yield one


@pytest.fixture(scope="session")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracker]:
    """A server that wants a login from everybody."""
    folder = tmp_path_factory.mktemp("locked")
    with running_tracker(f"sqlite:///{folder / 'tracker.db'}", folder, "--no-worker") as one:
        yield one


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
