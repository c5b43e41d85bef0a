"""Contained resources that a request needs: taken along from its definition, and moved up where containers may not nest.

https://hl7.org/fhir/R4/references.html#contained
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.reading import objects_at


def with_contained(resource: Resource, definition: Resource) -> Resource:
    """A copy that contains what it refers to by `#id` and its definition contains."""
    held = {str(one.get("id")): one for one in objects_at(definition, "contained")}
    wanted: dict[str, Resource] = {}
    waiting: list[Json] = [resource]
    while waiting:
        for id_ in local_ids(waiting.pop()):
            if id_ in held and id_ not in wanted:
                wanted[id_] = held[id_]
                waiting.append(held[id_])
    return resource | {"contained": list(wanted.values())} if wanted else resource


def local_ids(value: Json) -> Iterator[str]:
    """The ids that `value` refers to within its container."""
    if isinstance(value, dict):
        for name, member in value.items():
            if name not in ("div", "contained"):
                yield from local_ids(member)
    elif isinstance(value, list):
        for member in value:
            yield from local_ids(member)
    elif isinstance(value, str) and len(value) > 1 and value[0] == "#":
        yield value[1:]


def renamed(value: Json, names: Mapping[str, str]) -> Json:
    """A copy in which `#id` is the text that `names` has for the id."""
    if isinstance(value, dict):
        return {name: member if name == "div" else renamed(member, names) for name, member in value.items()}
    if isinstance(value, list):
        return [renamed(member, names) for member in value]
    return names.get(value[1:], value) if isinstance(value, str) and value[:1] == "#" else value


def moved_up(resource: Resource, prefix: str) -> tuple[Resource, list[Resource]]:
    """The resource without what it contained, and that under ids that begin with `prefix`."""
    inner = objects_at(resource, "contained")
    ids = {str(one["id"]): f"{prefix}-{one['id']}"[:64] for one in inner}
    names = {old: f"#{new}" for old, new in ids.items()}
    rest = {name: value for name, value in resource.items() if name != "contained"}
    return renamed(rest, names), [renamed(one, names) | {"id": ids[str(one["id"])]} for one in inner]
