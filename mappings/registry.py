"""Which mapping goes by which name; a mapping's module is imported when it is first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from fhir_tracker.errors import UsageError
from mappings.base import Mapping

_MODULES = {
    "generic": "mappings.generic",
    "hapi": "mappings.generic",  # HAPI FHIR keeps to R4, so it needs no dialect of its own.
}


def mapping_names() -> tuple[str, ...]:
    """The names a connection may give, in alphabetical order."""
    return tuple(sorted(_MODULES))


def mapping_named(name: str) -> Mapping:
    """The mapping called `name`; UsageError lists the known ones."""
    if name not in _MODULES:
        raise UsageError(f"There is no mapping {name!r}; known are {', '.join(mapping_names())}.")
    return cast(Mapping, import_module(_MODULES[name]).mapping)
