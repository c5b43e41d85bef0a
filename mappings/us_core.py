"""Servers that keep to US Core: how each type is asked for and written is what their metadata say.

https://hl7.org/fhir/us/core/STU6.1/
"""

from __future__ import annotations

from mappings.base import Mapping
from mappings.tables import shipped
from mappings.vendor import VendorMapping

mapping: Mapping = VendorMapping(name="us_core", codes=shipped("us_core"))
