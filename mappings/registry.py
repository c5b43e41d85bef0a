"""Which mapping goes by which name; a mapping's module is imported when it is first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from fhir_tracker.errors import UsageError
from mappings.base import Mapping

_NAMES = (
    "athena",
    "ecw",
    "epic",
    "generic",
    "hapi",
    "medplum",
    "oracle_health",
    "us_core",
)
"""Each is the module `mappings.<name>` and the code table `mappings/codes/<name>.toml`."""


def mapping_names() -> tuple[str, ...]:
    """The names a connection may give, in alphabetical order."""
    return _NAMES


def mapping_named(name: str) -> Mapping:
    """The mapping called `name`; UsageError lists the known ones."""
    if name not in _NAMES:
        raise UsageError(f"There is no mapping {name!r}; known are {', '.join(_NAMES)}.")
    return cast(Mapping, import_module(f"mappings.{name}").mapping)
