"""What the database drivers raise, said in the product's own errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Never

from sqlalchemy import exc

from fhir_tracker.errors import Busy, Fault, Incorrect, Unavailable, UsageError

_BUSY_STATES = {"40001", "40P01", "55P03", "57014", "53300", "25P03"}
_TOO_LONG = "54000"
"""A text that an index cannot hold."""


@contextmanager
def translated() -> Iterator[None]:
    """Turn driver errors into Busy, Unavailable, Incorrect or Fault; everything else passes."""
    try:
        yield
    except exc.TimeoutError as error:
        raise Busy("No database connection was free in time; try again.") from error
    except exc.DBAPIError as error:
        _raise(error)
    except (OverflowError, UnicodeEncodeError) as error:
        if isinstance(error, OverflowError) and "SQLite" not in str(error):
            raise
        raise Incorrect("A value cannot be held by the database.") from error


def _raise(error: exc.DBAPIError) -> Never:
    state = str(getattr(error.orig, "sqlstate", None) or "")
    said = str(error.orig)
    if state in _BUSY_STATES or "database is locked" in said or "table is locked" in said:
        raise Busy("The database is busy; try again.") from error
    if "not a database" in said or "malformed" in said:
        raise UsageError("The database file is not a readable SQLite database.") from error
    if isinstance(error, exc.DataError) or state == _TOO_LONG:
        raise Incorrect("A value cannot be held by the database.") from error
    if isinstance(error, exc.IntegrityError):
        raise Fault("A write broke a rule of the database.") from error
    if error.connection_invalidated or isinstance(error, exc.OperationalError | exc.InterfaceError):
        raise Unavailable("The database cannot be reached now.") from error
    raise Fault("The database refused a statement.") from error
