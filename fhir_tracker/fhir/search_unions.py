"""Search parameters that find what two others find between them, and so need no rows of their own.

https://hl7.org/fhir/R4/observation.html#search
"""

from __future__ import annotations

from collections.abc import Mapping

_COMBINED = (
    "code",
    "code-value-concept",
    "code-value-quantity",
    "data-absent-reason",
    "value-concept",
    "value-quantity",
)
UNIONS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "Observation": {f"combo-{name}": (name, f"component-{name}") for name in _COMBINED}
}
"""Type -> parameter -> those whose values together are its own."""
_NONE: Mapping[str, tuple[str, ...]] = {}


def parts_of(type_: str, param: str) -> tuple[str, ...]:
    """The parameters under which the values of `param` are indexed: itself, but for a union."""
    return UNIONS.get(type_, _NONE).get(param) or (param,)


def is_union(type_: str, param: str) -> bool:
    """Whether a parameter is found under others."""
    return param in UNIONS.get(type_, _NONE)
