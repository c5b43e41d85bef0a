"""What a viewer is told of work and patients besides the resources: no word that comes from an element they may not see."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from fhir_tracker.model.patient import PatientSummary
from fhir_tracker.model.policy import covers
from fhir_tracker.model.sight import Sight
from fhir_tracker.model.work import WorkItem

UNTITLED: Final = "Task"
_MADE_OF: Final = {
    "birth_date": "birthDate",
    "gender": "gender",
    "mrn": "identifier",
    "phone": "telecom",
    "language": "communication",
    "zone": "address",
}
"""Which element of a Patient each part of a summary comes from; the name is handled by itself."""


def tells_descriptions(sight: Sight) -> bool:
    """Whether the title of work may come from its description, as it does where there is no code."""
    return not _is_hidden(sight, "Task", "description")


def tells_flags(sight: Sight) -> bool:
    """Whether the flags of patients may be named and asked for."""
    return sight.may("r", "Flag") and not _is_hidden(sight, "Flag", "code")


def may_be_description(item: WorkItem, sight: Sight) -> bool:
    """Whether the title of a piece of work may be a description that this viewer may not see."""
    return not item.code and item.kind != "plan" and not tells_descriptions(sight)


def untitled(item: WorkItem) -> WorkItem:
    """The same without its title."""
    return item.having(title=UNTITLED)


def tells_names(sight: Sight) -> bool:
    """Whether patients may be looked for by name and record number."""
    return not _is_hidden(sight, "Patient", "name") and not _is_hidden(sight, "Patient", "identifier")


def shown_summary(summary: PatientSummary, sight: Sight) -> PatientSummary:
    """The patient in a line, without what comes from elements that are not shown; one without name is shown by id."""
    gone: dict[str, Any] = {}
    if sight.hidden("Patient"):
        gone |= {part: None for part, element in _MADE_OF.items() if _is_hidden(sight, "Patient", element)}
        gone |= {"name": summary.patient} if _is_hidden(sight, "Patient", "name") else {}
    if summary.flags and not tells_flags(sight):
        gone["flags"] = ()
    return replace(summary, **gone) if gone else summary


def _is_hidden(sight: Sight, type_: str, element: str) -> bool:
    """Whether an element, or any part of it, is not shown."""
    return any(covers(path, element) or covers(element, path) for path in sight.hidden(type_))
