"""Medplum: R4 with members of its own in meta, which only its server sets; takes every type.

https://www.medplum.com/docs/api/fhir/datatypes/meta
"""

from __future__ import annotations

from mappings.base import Mapping
from mappings.tables import shipped
from mappings.vendor import VendorMapping

OWN_META = frozenset({"project", "author", "onBehalfOf", "account", "accounts", "compartment"})

mapping: Mapping = VendorMapping(name="medplum", codes=shipped("medplum"), drops=OWN_META)
