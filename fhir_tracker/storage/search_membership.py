"""What is in a compartment, as a condition on the index.

https://hl7.org/fhir/R4/compartmentdefinition.html
"""

from __future__ import annotations

from collections.abc import Sequence

from fhir_tracker.fhir.compartments import compartment_parameters
from fhir_tracker.storage.conditions import Condition, Types, by_keys
from fhir_tracker.storage.database import Dialect
from fhir_tracker.storage.hashes import reference_key


def membership(dialect: Dialect, types: Types, compartment: tuple[str, str], itself: Sequence[int]) -> Condition:
    """The resources of `types` that refer to the focal resource by any of the parameters there are for that, and `itself`."""
    name, id_ = compartment
    keys = [
        reference_key(type_, param, f"{name}/{id_}") for type_ in types for param in compartment_parameters(name, type_)
    ]
    return by_keys(dialect, keys, itself if name in types else ())
