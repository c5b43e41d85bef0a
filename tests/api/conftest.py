"""A server of each access mode over an empty database, called through the whole application."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.context import Access, AppContext
from fhir_tracker.config import load_settings
from fhir_tracker.storage.database import Database

BASE = "http://testserver"
Serve = Callable[[Access], TestClient]


@pytest.fixture
def serve(database: Database) -> Iterator[Serve]:
    """`serve(access)` gives a client of a server in that mode."""
    opened: list[TestClient] = []

    def start(access: Access) -> TestClient:
        context = AppContext(
            database=database,
            settings=load_settings({"HOME": "/nowhere", "FHIR_TRACKER_BODY_LIMIT": "200k"}),
            access=access,
            public_url=BASE,
            secret_key="k" * 40,
            started_at=datetime(2026, 3, 2, 14, 0, tzinfo=UTC),
        )
        client = TestClient(create_app(context), base_url=BASE, raise_server_exceptions=True)
        opened.append(client)
        return client

    yield start
    for client in opened:
        client.close()


@pytest.fixture
def client(serve: Serve) -> TestClient:
    """A client of a server in open mode."""
    return serve(Access.OPEN)
