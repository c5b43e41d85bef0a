"""An empty database of either kind for a benchmark, with room for a million rows."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fhir_tracker.storage.database import Database
from fhir_tracker.storage.schema import prepare
from tests.peers.postgres.server import Postgres

SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "4GB"}


@contextmanager
def fresh_database(kind: str, name: str) -> Iterator[Database]:
    """A prepared database of `kind` (sqlite or postgresql), removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir="/var/tmp"))
    folder.chmod(0o755)
    server = None
    try:
        if kind == "postgresql":
            (folder / "postgres").mkdir()
            server = Postgres(folder / "postgres", settings=SETTINGS)
        database = Database.open(server.url(server.create()) if server else f"sqlite:///{folder}/bench.db")
        try:
            prepare(database)
            yield database
        finally:
            database.close()
            if server:
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
