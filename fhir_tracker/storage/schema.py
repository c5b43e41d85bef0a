"""The shape of the database: set up when empty, refused when older or newer than this program, migrated on request."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

from fhir_tracker.errors import UsageError
from fhir_tracker.storage.database import Database, Tx

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

_SET_UP_LOCK = 7_302_110_457
_VERSIONS = Path(__file__).parent / "migrations" / "versions"


def schema_state(database: Database) -> tuple[str | None, str]:
    """The revision the database has (None when empty) and the one this program needs."""
    with database.begin() as tx:
        return _current(tx), head()


def prepare(database: Database) -> None:
    """Set up an empty database; raises UsageError when it is of another version. Safe when several processes start at once."""
    with database.begin() as tx:
        _one_at_a_time(tx)
        current = _current(tx)
        if current == head():
            return
        _refuse_newer(current)
        if current is not None:
            raise UsageError("The database is of an older version. Make a copy of it, then run: fhir-tracker migrate")
        _refuse_foreign(tx)
        _upgrade(tx)


def migrate(database: Database) -> list[str]:
    """Bring the database to this program's version; the names of the steps taken, oldest first."""
    with database.begin() as tx:
        _one_at_a_time(tx)
        current = _current(tx)
        _refuse_newer(current)
        if current is None:
            _refuse_foreign(tx)
        steps = list(_scripts().walk_revisions("base", "head"))
        known = [one.revision for one in reversed(steps)]
        taken = known[known.index(current) + 1 :] if current else known
        _upgrade(tx)
        names = {one.revision: one.doc for one in steps}
        return [f"{revision} {names[revision]}" for revision in taken]


def _one_at_a_time(tx: Tx) -> None:
    if tx.dialect == "postgresql":
        tx.connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _SET_UP_LOCK})


def _current(tx: Tx) -> str | None:
    if not inspect(tx.connection).has_table("alembic_version"):
        return None
    found: str | None = tx.connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def _refuse_newer(current: str | None) -> None:
    if current is not None and current not in {one.revision for one in _scripts().walk_revisions()}:
        raise UsageError("The database is of a newer version than this program; install the newer fhir-tracker.")


def _refuse_foreign(tx: Tx) -> None:
    if inspect(tx.connection).get_table_names():
        raise UsageError("The database is not empty and was not made by fhir-tracker; name an empty one.")


def _config() -> Config:
    """Alembic's own; imported where something is migrated, since every command would wait for it."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "fhir_tracker.storage:migrations")
    config.set_main_option("path_separator", "os")
    return config


def _scripts() -> ScriptDirectory:
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(_config())


def head() -> str:
    """The revision this program needs: the number that begins the name of its last step."""
    numbers = [path.name[:4] for path in _VERSIONS.glob("[0-9][0-9][0-9][0-9]_*.py")]
    if not numbers:
        raise UsageError("This installation has no migrations; install fhir-tracker again.")
    return max(numbers)


def _upgrade(tx: Tx) -> None:
    from alembic import command

    config = _config()
    config.attributes["connection"] = tx.connection
    command.upgrade(config, "head")
