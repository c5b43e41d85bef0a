"""Two-way translations between an EHR's FHIR and the tracker's; pure."""

from __future__ import annotations

from mappings.base import Hint, Mapping, Source, local_reference
from mappings.registry import mapping_named, mapping_names
from mappings.tables import Tables, read_tables
from mappings.translation import NO_TABLE

__all__ = [
    "NO_TABLE",
    "Hint",
    "Mapping",
    "Source",
    "Tables",
    "local_reference",
    "mapping_named",
    "mapping_names",
    "read_tables",
]
