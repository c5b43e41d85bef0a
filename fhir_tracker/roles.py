"""The roles of this practice: those shipped with the product, and over them the ones of its own files."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from fhir_tracker.model.policy import Policy
from fhir_tracker.rules.role_file import read_roles


@cache
def shipped() -> str:
    """The file of the roles that come with the product."""
    return files("fhir_tracker").joinpath("starter_roles", "practice.yaml").read_text()


@cache
def built_in() -> Mapping[str, Policy]:
    """The six roles that come with the product."""
    return MappingProxyType(dict(read_roles(shipped())))
