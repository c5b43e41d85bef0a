"""The mapping for any server that keeps to FHIR R4: ids and references become local, all else stays as it was sent."""

from __future__ import annotations

from mappings.base import Mapping
from mappings.tables import shipped
from mappings.vendor import VendorMapping

mapping: Mapping = VendorMapping(name="generic", codes=shipped("generic"))
