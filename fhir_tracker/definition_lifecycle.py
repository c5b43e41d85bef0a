"""How a published definition may change: a draft freely, an active one only to retire, a retired one not at all.

Plans that run keep the version they began with, so its content must stay what it was. What a program publishes says what
runs here: it changes with the program, and by nobody's write.
https://hl7.org/fhir/R4/plandefinition-definitions.html#PlanDefinition.status
"""

from __future__ import annotations

from fhir_tracker.errors import RuleBroken
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.model.program import CANONICAL

TYPES = frozenset({"PlanDefinition", "ActivityDefinition"})
PUBLISHED = TYPES | {"CodeSystem", "ValueSet", "Questionnaire"}
"""The types that a program version is published as."""
_FREE = frozenset({"id", "meta", "text", "status", "date"})
_AFTER = {
    "active": ("active", "retired"),
    "retired": ("retired",),
}


def check_change(before: Resource, after: Resource) -> None:
    """Raise RuleBroken for a change of a definition with a canonical address that its status does not allow."""
    type_, status = str(before["resourceType"]), str(before.get("status"))
    if is_published_here(before):
        same = all(before.get(name) == after.get(name) for name in (before.keys() | after.keys()) - {"meta", "text"})
        if not same:
            _refuse(type_)
        return
    allowed = _AFTER.get(status)
    if type_ not in TYPES or allowed is None or "url" not in before:
        return
    if after.get("status") not in allowed:
        raise RuleBroken(
            f"A {status} {type_} can become {' or '.join(allowed)} and nothing else.", expression=f"{type_}.status"
        )
    names = (before.keys() | after.keys()) - _FREE
    changed = sorted(name for name in names if before.get(name) != after.get(name))
    if changed:
        raise RuleBroken(
            f"A {status} {type_} keeps its content; publish a new version for another {changed[0]}.",
            expression=f"{type_}.{changed[0]}",
        )


def check_delete(before: Resource) -> None:
    """Raise RuleBroken for what a program publishes."""
    if is_published_here(before):
        _refuse(str(before["resourceType"]))


def is_published_here(resource: Resource) -> bool:
    """Whether this is what the tracker itself publishes, as its address says."""
    type_ = str(resource["resourceType"])
    return type_ in PUBLISHED and str(resource.get("url", "")).startswith(f"{CANONICAL}/{type_}/")


def _refuse(type_: str) -> None:
    raise RuleBroken(
        f"This {type_} is what a program here is published as: publish another version of the program instead.",
        expression=type_,
    )
