"""A real PostgreSQL cluster of our own in a temporary folder, and fresh databases in it."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg

from tests.peers.process import PeerFailed, Process, free_port

# What is committed stays committed here too: fsync, full_page_writes and synchronous_commit keep their defaults (on).
QUIET = {"max_connections": "200", "shared_buffers": "64MB", "log_min_messages": "warning", "logging_collector": "off"}


def find_program(name: str) -> Path:
    """`initdb` or `postgres` as Debian lays them out, newest version first, else from PATH."""
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: -float(p.parent.name)):
        if (folder / name).exists():
            return folder / name
    found = shutil.which(name)
    if found is None:
        raise PeerFailed(f"PostgreSQL is missing ({name}); `make test` installs it")
    return Path(found)


class Postgres:
    """One cluster: `restart` after `kill` recovers from the write-ahead log as in production."""

    def __init__(self, folder: Path, *, settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self.user = "postgres" if os.getuid() == 0 else None
        self._settings = {**QUIET, **(settings or {})}
        if self.user is not None:
            owner = pwd.getpwnam(self.user)
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        command: list[str | Path] = [
            find_program("initdb"),
            "-D",
            folder / "data",
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
        ]
        made = subprocess.run(
            [*command, "--locale=C"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            user=self.user,
            group=self.user,
            cwd=folder,
            check=False,
        )
        if made.returncode != 0:
            raise PeerFailed(f"initdb failed: {made.stderr}")
        self._process = self._start()

    @property
    def version(self) -> str:
        with psycopg.connect(self.url("postgres")) as connection:
            return connection.info.parameter_status("server_version") or "unknown"

    @property
    def pid(self) -> int:
        return self._process.pid

    def url(self, database: str) -> str:
        """The address of one database, over TCP."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def socket_url(self, database: str) -> str:
        """The address of one database, over the Unix socket."""
        return f"postgresql://postgres@/{database}?host={self.folder}&port={self.port}"

    def create(self, *, template: str | None = None) -> str:
        """A new database with a name of its own; returns the name."""
        name = f"t{uuid4().hex[:16]}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            _create(connection, name, template)
        return name

    def drop(self, name: str) -> None:
        """Remove one database, throwing out whoever is connected to it."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            _drop(connection, name)

    @contextmanager
    def copies(self, template: str) -> Iterator[Copies]:
        """For many copies of one database, one after another: over one session, which costs less than one for each."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            yield Copies(connection, template)

    def kill(self) -> None:
        """kill -9 of the postmaster and all its backends."""
        self._process.kill()

    def restart(self) -> None:
        """Start again on the same data and port."""
        self._process.kill()
        (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)
        self._process = self._start()

    def stop(self) -> None:
        """End every session and the server."""
        self._process.stop(number=signal.SIGINT)

    def _start(self) -> Process:
        options = {**self._settings, "port": str(self.port), "unix_socket_directories": str(self.folder)}
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        command: list[str | Path] = [find_program("postgres"), "-D", self.folder / "data", "-h", "127.0.0.1", *settings]
        process = Process(command, log=self.folder / "log", user=self.user, cwd=self.folder)
        process.wait_until(self._accepts, seconds=60, what="PostgreSQL")
        return process

    def _accepts(self) -> bool:
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


class Copies:
    """Copies of one database, made and dropped over a session that stays open."""

    def __init__(self, connection: psycopg.Connection, template: str) -> None:
        self._connection = connection
        self._template = template

    @contextmanager
    def one(self) -> Iterator[str]:
        """The name of a copy, gone at the end."""
        name = f"t{uuid4().hex[:16]}"
        _create(self._connection, name, self._template)
        yield name
        _drop(self._connection, name)


def _create(connection: psycopg.Connection, name: str, template: str | None) -> None:
    """From 15 on PostgreSQL copies page by page through its log unless told otherwise, which takes longer for a small one."""
    source = f' template "{template}"' if template else ""
    if template and connection.info.server_version >= 150000:
        source += " strategy file_copy"
    connection.execute(f'create database "{name}"{source}'.encode())


def _drop(connection: psycopg.Connection, name: str) -> None:
    connection.execute(f'drop database if exists "{name}" with (force)'.encode())


@contextmanager
def running_postgres(*, settings: Mapping[str, str] | None = None) -> Iterator[Postgres]:
    """A cluster that is gone with its folder at the end."""
    folder = Path(tempfile.mkdtemp(prefix="tracker-postgres-"))
    try:
        server = Postgres(folder, settings=settings)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
