"""HAPI FHIR: keeps to R4 and takes every type; its metadata tell the rest.

https://hapifhir.io/hapi-fhir/docs/server_jpa/search.html
"""

from __future__ import annotations

from mappings.base import Mapping
from mappings.tables import shipped
from mappings.vendor import VendorMapping

mapping: Mapping = VendorMapping(name="hapi", codes=shipped("hapi"))
