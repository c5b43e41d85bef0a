"""Elements that a role may not see or change: cut from every answer, and refused or kept in every write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from api.fhir.exchange import FhirRequest, FhirResponse
from fhir_tracker.fhir.body import read_json, read_resource, write_json
from fhir_tracker.fhir.field_rules import Rules, elements_at, is_only_cut, refuse, restored
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.model.sight import Sight
from fhir_tracker.model.viewer import Viewer

_UNLIMITED = 1 << 30


@lru_cache(maxsize=256)
def rules_of(sight: Sight) -> Rules:
    """What a viewer with this sight is not shown."""
    return Rules(hidden=sight.hidden, readable=lambda type_: sight.may("r", type_))


def shown(viewer: Viewer, response: FhirResponse) -> FhirResponse:
    """The answer without what the viewer may not see; the very same bytes where there is nothing of that in it."""
    if not viewer.sight.hides or not response.body or "Content-Type" in response.headers:
        return response
    answered = read_json(response.body, max_bytes=_UNLIMITED)
    if not isinstance(answered, dict):
        return response
    cut = rules_of(viewer.sight).shown(answered)
    return response if cut is answered else replace(response, body=write_json(cut).encode())


def shown_text(viewer: Viewer, text: str) -> str:
    """The same for the text of a stored resource."""
    if not viewer.sight.hides:
        return text
    whole = read_resource(text.encode(), max_bytes=_UNLIMITED)
    cut = rules_of(viewer.sight).shown(whole)
    return text if cut is whole else write_json(cut)


def shown_resource(viewer: Viewer, resource: Resource) -> Resource:
    """The same for a resource that is already read."""
    return rules_of(viewer.sight).shown(resource) if viewer.sight.hides else resource


def check_new(viewer: Viewer, resource: Resource) -> Resource:
    """A resource that is to be created; raises Forbidden that names each element which this viewer may not set."""
    type_ = resource["resourceType"]
    if viewer.sight.hides:
        hidden = elements_at(resource, viewer.sight.hidden(type_))
        refuse(type_, hidden, "cannot be set by who may not see it.")
    if viewer.sight.fixes:
        fixed = elements_at(resource, viewer.sight.fixed(type_))
        refuse(type_, fixed, "cannot be set by your role.")
    return resource


def check_changed(viewer: Viewer, before: Resource, after: Resource) -> Resource:
    """What is stored where this viewer makes `after` of `before`: what is hidden stays.

    Raises Forbidden that names each element which this viewer may not set or change.
    """
    sight = viewer.sight
    if not sight.hides and not sight.fixes:
        return after
    bare = is_only_cut(after) if sight.hides else None
    merged = restored(before, after if bare is None else bare, rules_of(sight)) if sight.hides else after
    check_fixed(viewer, before, merged)
    return merged


def check_fixed(viewer: Viewer, before: Resource, after: Resource) -> None:
    """Raise Forbidden that names each element which is changed and may not be by this viewer."""
    type_ = before["resourceType"]
    fixed = viewer.sight.fixed(type_)
    if fixed:
        was, now = elements_at(before, fixed), elements_at(after, fixed)
        refuse(
            type_, [path for path in sorted(fixed) if was.get(path) != now.get(path)], "cannot be changed by your role."
        )


def change_of_shown(request: FhirRequest, change: Callable[[Resource], Json]) -> Callable[[Resource], Json]:
    """A patch that works on what its caller may see: it neither finds nor tests anything else."""
    if not request.viewer.sight.hides:
        return change
    rules = rules_of(request.viewer.sight)
    return lambda before: change(rules.cut(before))
