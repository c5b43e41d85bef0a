"""A server of each access mode over an empty database, called through the whole application."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, cast

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.context import Access, AppContext
from fhir_tracker.config import Settings, load_settings
from fhir_tracker.errors import Unavailable
from fhir_tracker.storage.database import Database, Tx

BASE = "http://testserver"


class Serve(Protocol):
    """`serve(access)` gives a client of a server in that mode; `reached` False stands for a database that is away."""

    def __call__(self, access: Access, *, worker: bool = False, reached: bool = True) -> TestClient: ...


class AwayDatabase:
    """A database that cannot be reached."""

    dialect = "sqlite"

    def begin(self) -> AbstractContextManager[Tx]:
        """Never succeeds."""
        raise Unavailable("The database cannot be reached now.")

    read = writing = begin

    @property
    def drivers(self) -> AwayDatabase:
        """What hands out connections: there is none."""
        return self

    take = begin


@pytest.fixture
def serve(database: Database) -> Iterator[Serve]:
    """See Serve."""
    opened: list[TestClient] = []

    def start(access: Access, *, worker: bool = False, reached: bool = True) -> TestClient:
        context = AppContext(
            database=database if reached else cast(Database, AwayDatabase()),
            settings=load_settings({"HOME": "/nowhere", "FHIR_TRACKER_BODY_LIMIT": "200k"}),
            access=access,
            public_url=BASE,
            secret_key="k" * 40,
            started_at=datetime(2026, 3, 2, 14, 0, tzinfo=UTC),
            worker=worker,
        )
        client = TestClient(create_app(context), base_url=BASE)
        opened.append(client)
        return client

    yield start
    for client in opened:
        client.close()


@pytest.fixture
def settings(tmp_path: Path, ready_url: str) -> Settings:
    """Those of a worker that looks for due work without pause and escalates any number at once."""
    environ = {
        "XDG_DATA_HOME": str(tmp_path),
        "FHIR_TRACKER_SECRET_KEY": "a secret of this test and of nothing else",
        "FHIR_TRACKER_SWEEP_INTERVAL": "100ms",
        "FHIR_TRACKER_MASS_ESCALATION_LIMIT": "0",
    }
    return load_settings(environ, database=ready_url)


@pytest.fixture
def client(serve: Serve) -> TestClient:
    """A client of a server in open mode."""
    return serve(Access.OPEN)
