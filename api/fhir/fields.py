"""Elements that a role may not see, cut from every answer and from what a patch works on."""

from __future__ import annotations

from dataclasses import replace

from api.fhir.exchange import FhirResponse
from fhir_tracker.fhir.body import read_json, read_resource, write_json
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.reach import rules_of

_UNLIMITED = 1 << 30


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


def shown_to_patch(viewer: Viewer, resource: Resource) -> Resource:
    """What a patch of this viewer works on: it neither finds nor tests anything that is not shown."""
    return rules_of(viewer.sight).cut(resource) if viewer.sight.hides else resource
