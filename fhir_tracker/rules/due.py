"""When work made from a template is due."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from fhir_tracker.model.program import Program, TaskTemplate
from fhir_tracker.rules.calendar import add


def due_at(
    program: Program, template: TaskTemplate, anchors: Mapping[str, datetime], created: datetime
) -> datetime | None:
    """`within` after the template's anchor, in UTC; None when the template has no due time.

    A moment of the plan that is not known (one opened by hand has no discharge) is replaced by `enrolment`, an event by
    the anchor `event`, both at last by the task's own start: work without a due time would fail silently.
    """
    if template.due is None:
        return None
    name = template.due.anchor
    order = ("created",) if name == "created" else (name, "event" if "." in name else "enrolment")
    start = next((anchors[one] for one in order if one in anchors), created)
    return add(program.calendar, start, template.due.within)
