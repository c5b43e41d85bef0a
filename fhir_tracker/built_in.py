"""What the product itself defines, as FHIR resources in the store: found, read and searched like any other.

https://hl7.org/fhir/R4/searchparameter.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import blake2b

from fhir_tracker import flags, records
from fhir_tracker.fhir.body import write_json
from fhir_tracker.fhir.definitions.registry import SearchParameter
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.own_parameters import OWN_PARAMETERS
from fhir_tracker.measures.resources import measure_resources
from fhir_tracker.model.author import Author
from fhir_tracker.own_operations import own_operations
from fhir_tracker.storage import resources, settings
from fhir_tracker.storage.database import Tx

_STATE = "built-in"
_ADDED = ("resourceType", "id", "meta")


def own_search_parameters() -> Iterable[Resource]:
    """The search parameters this product adds to the official ones."""
    return [_search_parameter(one) for one in OWN_PARAMETERS]


BUILT_IN: tuple[Callable[[], Iterable[Resource]], ...] = (
    own_search_parameters,
    own_operations,
    measure_resources,
    flags.code_system,
)


def built_in_resources() -> list[Resource]:
    """Everything the product defines, each with its id."""
    return [resource for source in BUILT_IN for resource in source()]


def is_published(tx: Tx) -> bool:
    """Whether the store has what this very release defines."""
    return settings.get(tx, _STATE) == _digest()


def publish(tx: Tx, author: Author) -> int:
    """Bring the store to what this release defines; how many resources were written. What is there already stays."""
    written = 0
    for resource in built_in_resources():
        before = resources.find(tx, author.viewer, resource["resourceType"], resource["id"])
        if before is None or before.deleted or _content(records.resource_of(before)) != _content(resource):
            records.save(tx, resource, author)
            written += 1
    settings.put(tx, _STATE, _digest())
    return written


def _digest() -> str:
    text = write_json([_content(one) | {"id": one["id"]} for one in built_in_resources()])
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _content(resource: Resource) -> Resource:
    return {name: value for name, value in resource.items() if name not in _ADDED}


def _search_parameter(parameter: SearchParameter) -> Resource:
    resource: Resource = {
        "resourceType": "SearchParameter",
        "id": parameter.url.rpartition("/")[2],
        "url": parameter.url,
        "name": "".join(part.title() for part in parameter.code.split("-")),
        "status": "active",
        "publisher": "fhir-tracker",
        "description": f"Search by {parameter.expression}.",
        "code": parameter.code,
        "base": list(parameter.base),
        "type": parameter.type,
        "expression": parameter.expression,
        "xpathUsage": "normal",
    }
    if parameter.targets:
        resource["target"] = list(parameter.targets)
    if parameter.comparators:
        resource["comparator"] = list(parameter.comparators)
    return resource
