"""The sessions of a PostgreSQL database, which outlive for a moment a client that was killed and may still commit."""

from __future__ import annotations

import time

import psycopg

OTHERS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


def sessions(url: str) -> frozenset[int]:
    """Who is connected to the database at `url`; nobody where that is a file."""
    if url.startswith("sqlite:"):
        return frozenset()
    with psycopg.connect(url, connect_timeout=60) as connection:
        return frozenset(pid for (pid,) in connection.execute(OTHERS).fetchall())


def wait_until_ended(url: str, known: frozenset[int]) -> None:
    """Until nobody is connected but those who were `known` before."""
    deadline = time.monotonic() + 120
    while sessions(url) - known:
        assert time.monotonic() < deadline, "a session goes on"
        time.sleep(0.05)
