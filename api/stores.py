"""Opening the store as every command does: the folder is made, an empty database set up, an older one refused."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from api.audit_keeper import seal_at_end
from api.command_acts import note_begun, note_failed
from fhir_tracker import built_in, clock, publishing
from fhir_tracker.config import Settings, default_folder
from fhir_tracker.errors import TrackerError, UsageError
from fhir_tracker.model.author import Author
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.sealing import audit_key
from fhir_tracker.storage import programs
from fhir_tracker.storage import settings as states
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.schema import prepare


@contextmanager
def open_store(settings: Settings, *, prepared: bool = True) -> Iterator[Database]:
    """The database of the settings, closed at the end; `prepared` False leaves its schema as it is."""
    _make_folder(settings)
    database = sealing(Database.open(settings.database), settings)
    try:
        if prepared:
            prepare(database)
            note_begun(database, clock.now())
            _publish_built_in(database)
            _publish_starters(database)
        yield database
    except TrackerError as error:
        _note_failed(database, error)
        raise
    finally:
        seal_at_end(database, settings)
        database.close()


def sealing(database: Database, settings: Settings) -> Database:
    """The same database, whose rows of the audit trail are sealed with the key of the settings."""
    database.seal_rows(lambda: audit_key(secret_key(settings)))
    return database


def _note_failed(database: Database, error: TrackerError) -> None:
    with suppress(TrackerError):
        note_failed(database, clock.now(), type(error).__name__)


def set_up_store(settings: Settings) -> None:
    """Prepare the database and let go of it."""
    with open_store(settings):
        return


def _publish_built_in(database: Database) -> None:
    """What this release defines is brought into the store once."""
    with database.read() as tx:
        if built_in.is_published(tx):
            return
    with database.begin() as tx:
        tx.wait_for_others("built-in")
        if not built_in.is_published(tx):
            built_in.publish(tx, Author(viewer=worker_viewer("set-up"), origin="cli", at=clock.now()))


def _publish_starters(database: Database) -> None:
    """The two programs shipped with the product become version 1 where no program was ever published."""
    with database.read() as tx:
        if programs.all(tx):
            return
    with database.begin() as tx:
        states.put(tx, "starters", "published")
        if not programs.all(tx):
            publishing.publish_starters(tx, Author(viewer=worker_viewer("set-up"), origin="cli", at=clock.now()))


def key_file(settings: Settings) -> Path:
    """Where a key of our own is kept: beside the SQLite file, else in the folder of the default database."""
    file = settings.database_file
    return file.with_name(f"{file.name}.key") if file else default_folder(os.environ) / "secret.key"


def secret_key(settings: Settings) -> str:
    """The key of the settings, else the one kept in its file, made on first use; raises UsageError for a file others read."""
    if settings.secret_key:
        return settings.secret_key
    file = key_file(settings)
    try:
        return _kept(file) if file.exists() else _made(file)
    except OSError as error:
        raise UsageError(f"The secret key file beside the database cannot be used: {error.strerror}.") from None


def with_secret_key(settings: Settings) -> Settings:
    """The settings as a process needs them that signs or opens sealed secrets; raises as `secret_key` does."""
    return replace(settings, secret_key=secret_key(settings))


def _kept(file: Path) -> str:
    if stat.S_IMODE(file.stat().st_mode) & 0o077:
        raise UsageError(f"Others can read the secret key; run: chmod 600 {file}")
    return file.read_text(encoding="ascii").strip()


def _made(file: Path) -> str:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = secrets.token_urlsafe(48)
    own = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(f"{key}\n")
    try:
        os.link(own, file)
    except FileExistsError:
        return _kept(file)
    finally:
        own.unlink()
    return key


def _make_folder(settings: Settings) -> None:
    file = settings.database_file
    if file is None or file.parent.exists():
        return
    try:
        file.parent.mkdir(parents=True, mode=0o700)
    except OSError as error:
        raise UsageError(f"The folder of the database cannot be made: {error.strerror}.") from None
