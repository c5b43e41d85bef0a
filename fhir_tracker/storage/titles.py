"""Titles of work for those who may not see the descriptions that some of them are."""

from __future__ import annotations

from collections.abc import Sequence

from fhir_tracker.fhir.body import read_json
from fhir_tracker.fhir.codeable import text_of
from fhir_tracker.model.told import may_be_description, untitled
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.model.work import WorkItem
from fhir_tracker.storage import resources
from fhir_tracker.storage.database import Tx


def titled(tx: Tx, viewer: Viewer, items: Sequence[WorkItem]) -> list[WorkItem]:
    """The same work by the titles that this viewer is shown; Tasks without a coding are looked at for a text."""
    bare = [one.ref for one in items if may_be_description(one, viewer.sight)]
    if not bare:
        return list(items)
    found = resources.find_many(tx, viewer, bare)
    named = {ref for ref, one in found.items() if one.body and text_of(read_json(one.body.encode()).get("code"))}
    return [untitled(one) if one.ref in bare and one.ref not in named else one for one in items]
