"""HAPI and the tracker on one durable PostgreSQL, each started as its operator would, and how long that took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.server import running_tracker
from tests.peers.hapi.server import Hapi
from tests.peers.postgres.server import Postgres

DIALECT = "ca.uhn.fhir.jpa.model.dialect.HapiFhirPostgresDialect"


@dataclass(frozen=True, kw_only=True)
class Target:
    """A running server: `base` is its FHIR address, `started` the seconds from its start to its first answer."""

    name: str
    base: str
    pid: int
    started: float


@contextmanager
def hapi_on(postgres: Postgres, folder: Path) -> Iterator[Target]:
    """HAPI with its own defaults on a database of its own."""
    options = (f"-Dhapi.db=jdbc:{_plain(postgres)}", "-Dhapi.dbUser=postgres", f"-Dhapi.dialect={DIALECT}")
    begun = time.perf_counter()
    server = Hapi(folder, *options)
    try:
        yield Target(
            name=f"HAPI {server.version}",
            base=server.base_url,
            pid=server.pid,
            started=time.perf_counter() - begun,
        )
    finally:
        server.stop()


@contextmanager
def tracker_on(database: str, folder: Path, name: str) -> Iterator[Target]:
    """The tracker with its own defaults, and the log level of production."""
    folder.mkdir(exist_ok=True)
    begun = time.perf_counter()
    with running_tracker(database, folder, "--open", env={"FHIR_TRACKER_LOG_LEVEL": "INFO"}) as tracker:
        yield Target(name=name, base=tracker.fhir, pid=tracker.process.pid, started=time.perf_counter() - begun)


def _plain(postgres: Postgres) -> str:
    return f"postgresql://127.0.0.1:{postgres.port}/{postgres.create()}"
