"""Whose data a resource is: the one answer for row scopes, read models and compartments."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import objects_at, references_at

_PATHS = ("subject", "patient", "for", "beneficiary", "candidate", "individual", "actor", "deliverTo")
_SHORT = 200
_REMOTE = re.compile(r"(?:^|/)([A-Za-z]+)/([^/?#\s]+)(?:/_history/[^/?#\s]+)?(?:#\S*)?$")
_RELATIVE = re.compile(r"([A-Za-z]+)/([A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?(?:#\S*)?")


def patient_of(resource: Resource, told_by: Callable[[str | None, str], str | None] | None = None) -> str | None:
    """The local Patient id the resource belongs to; an Appointment's is its first Patient participant.

    None when it is nobody's. `told_by` says which id a reference has, where not as `id_of` does.
    """
    told_by = told_by or id_of
    if resource.get("resourceType") == "Patient":
        found = resource.get("id")
        return found if isinstance(found, str) else None
    for path in _PATHS:
        if path in resource:
            for text in references_at(resource, path):
                if patient := told_by(text, "Patient"):
                    return patient
    if "participant" not in resource:
        return None
    actors = [text for one in objects_at(resource, "participant") for text in references_at(one, "actor")]
    return next((patient for text in actors if (patient := told_by(text, "Patient"))), None)


def id_of(reference: str | None, type_: str) -> str | None:
    """The id of a relative reference to `type_`, version left off; None for anything else."""
    text = reference or ""
    return _id_of_short(text, type_) if len(text) <= _SHORT else _id_of(text, type_)


def _id_of(text: str, type_: str) -> str | None:
    match = _RELATIVE.fullmatch(text)
    return match[2] if match and match[1] == type_ else None


_id_of_short = lru_cache(maxsize=4096)(_id_of)


def remote_id_of(reference: str | None, type_: str) -> str | None:
    """As `id_of`, of what another server says: with an address before it perhaps, and with any id."""
    found = _REMOTE.search((reference or "").strip())
    return found[2] if found and found[1] == type_ else None
