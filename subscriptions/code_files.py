"""What a practice says of the codes of one EHR: a file that the connection names, read again when it has changed."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from fhir_tracker.errors import UsageError
from fhir_tracker.storage.connections import Connection
from mappings import Tables, read_tables


def tables_of(connection: Connection) -> Tables:
    """The tables of the connection's option `codes`, none without it; UsageError when they cannot be read."""
    told = connection.options.get("codes")
    return tables_in(told) if isinstance(told, str) and told else Tables()


def tables_in(path: str) -> Tables:
    """The code tables in a file; UsageError says what is wrong with it."""
    try:
        stamp = Path(path).stat()
        return _read(path, stamp.st_mtime_ns, stamp.st_size)
    except OSError as error:
        raise UsageError(f"The code table {Path(path).name} cannot be read: {error.strerror}.") from None


def digest_of(connection: Connection) -> str:
    """What tells whether the connection's table has changed; "" without one. UsageError when it cannot be read."""
    told = connection.options.get("codes")
    if not isinstance(told, str) or not told:
        return ""
    try:
        return hashlib.sha256(Path(told).read_bytes()).hexdigest()
    except OSError as error:
        raise UsageError(f"The code table {Path(told).name} cannot be read: {error.strerror}.") from None


@lru_cache(maxsize=64)
def _read(path: str, changed: int, size: int) -> Tables:
    return read_tables(Path(path).read_bytes(), Path(path).name)
