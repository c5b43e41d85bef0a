"""HAPI and the tracker on one durable PostgreSQL, each started as its operator would, and how long that took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from fhir_tracker.storage.database import Database
from tests.conformance.server import running_tracker
from tests.peers.hapi.server import Hapi
from tests.peers.postgres.server import Postgres
from tests.support.systems import System, let_in

DIALECT = "ca.uhn.fhir.jpa.model.dialect.HapiFhirPostgresDialect"


@dataclass(frozen=True, kw_only=True)
class Target:
    """A running server: `base` is its FHIR address, `started` the seconds from its start to its first answer.

    `token` is what a client of it shows, "" where nobody has to; it counts for an hour.
    """

    name: str
    base: str
    pid: int
    started: float
    token: str = field(default="", repr=False)


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


@contextmanager
def secured_on(database: str, folder: Path, name: str) -> Iterator[Target]:
    """The tracker without `--open`, on a database that is filled: a system that may do everything asks for a token."""
    folder.mkdir(exist_ok=True)
    with closing(Database.open(database)) as opened:
        let_in(opened, "system/*.cruds")
    environ = {
        "FHIR_TRACKER_LOG_LEVEL": "INFO",
        "FHIR_TRACKER_TOKEN_LIFETIME": "1h",
        "FHIR_TRACKER_RATE_LIMIT": "off",
    }
    begun = time.perf_counter()
    with running_tracker(database, folder, env=environ) as tracker:
        started = time.perf_counter() - begun
        audience = httpx.get(f"{tracker.fhir}/.well-known/smart-configuration", trust_env=False).json()[
            "token_endpoint"
        ]
        form = System(audience=audience).form("system/*.cruds")
        token = httpx.post(f"{tracker.url}/auth/token", data=form, trust_env=False).json()["access_token"]
        yield Target(name=name, base=tracker.fhir, pid=tracker.process.pid, started=started, token=token)


def _plain(postgres: Postgres) -> str:
    return f"postgresql://127.0.0.1:{postgres.port}/{postgres.create()}"
