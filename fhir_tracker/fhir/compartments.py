"""Which resources are in a compartment, by the official definitions and, for Task, by its patient.

https://hl7.org/fhir/R4/compartmentdefinition.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

COMPARTMENTS = frozenset({"Device", "Encounter", "Patient", "Practitioner", "RelatedPerson"})
_ITSELF = "{def}"
_OWN: Mapping[tuple[str, str], tuple[str, ...]] = {("Patient", "Task"): ("patient",)}
"""R4 puts Task in no compartment; here a Task is in that of the patient it is for."""


def compartment_types(name: str) -> tuple[str, ...]:
    """The types that can be in a compartment, sorted, its own type among them; none for a type that has no compartment."""
    if name not in COMPARTMENTS:
        return ()
    own = {type_ for compartment, type_ in _OWN if compartment == name}
    return tuple(sorted({name, *_table()[name], *own}))


def compartment_parameters(name: str, type_: str) -> tuple[str, ...]:
    """The reference parameters of `type_` of which any one puts a resource there; the focal resource is in it without."""
    own = _OWN.get((name, type_))
    if own is not None:
        return own
    return tuple(param for param in _table().get(name, {}).get(type_, ()) if param != _ITSELF)


@cache
def _table() -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    text = files("fhir_tracker.fhir.definitions").joinpath("compartments.json").read_bytes()
    table: dict[str, dict[str, list[str]]] = json.loads(text)
    return MappingProxyType(
        {name: {type_: tuple(params) for type_, params in rows.items()} for name, rows in table.items()}
    )
