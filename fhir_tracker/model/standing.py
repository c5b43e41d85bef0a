"""What a Patient's record says of the patient's standing: has died, moved, left, or lives on in another record.

https://hl7.org/fhir/R4/patient.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import end_at, moment_at, objects_at, text_at
from fhir_tracker.model.subject import id_of

_MOST = 50


@dataclass(frozen=True, kw_only=True)
class PatientFacts:
    """`deceased_at`, `inactive_since`, `merged_at` and `moved_at` are None for what is not so; where the record gives no
    time, the time of its present version. `merged_into` is the id of the record that replaced this one.

    `moved_at` is when the present home began, where the record keeps an earlier one in another place.
    """

    ref: str
    deceased_at: datetime | None = None
    inactive_since: datetime | None = None
    merged_at: datetime | None = None
    merged_into: str | None = None
    moved_at: datetime | None = None


def standing_of(resource: Resource, *, as_of: datetime) -> PatientFacts:
    """The standing by a Patient whose present version is of `as_of`."""
    died = moment_at(resource, "deceasedDateTime")
    is_dead = resource.get("deceasedBoolean") is True or "deceasedDateTime" in resource
    other = next((one for one in objects_at(resource, "link") if one.get("type") == "replaced-by"), None)
    return PatientFacts(
        ref=f"Patient/{resource.get('id')}",
        deceased_at=(died or as_of) if is_dead else None,
        inactive_since=as_of if resource.get("active") is False else None,
        merged_at=as_of if other is not None else None,
        merged_into=id_of(text_at(other, "other", "reference"), "Patient") if other is not None else None,
        moved_at=_moved_at(tuple(objects_at(resource, "address"))[:_MOST], as_of),
    )


def _moved_at(addresses: Sequence[Resource], as_of: datetime) -> datetime | None:
    homes = [one for one in addresses if one.get("use") not in ("work", "billing", "temp") and _place(one)]
    former = [one for one in homes if one.get("use") == "old" or _ended(one, as_of)]
    present = [one for one in homes if one not in former]
    if not former or not present:
        return None
    now = max(present, key=lambda one: (one.get("use") == "home", _start(one) is not None, str(_start(one))))
    others = [one for one in former if _place(one) != _place(now)]
    if not others:
        return None
    left = [end for one in others if (end := end_at(one, "period", "end"))]
    return _start(now) or max(left, default=None)


def _start(address: Resource) -> datetime | None:
    return moment_at(address, "period", "start")


def _ended(address: Resource, as_of: datetime) -> bool:
    end = end_at(address, "period", "end")
    return end is not None and end <= as_of


def _place(address: Resource) -> tuple[str, ...]:
    """Country, state and postal code, or the city without one; empty for an address that names no place."""
    code = (text_at(address, "postalCode") or "").replace(" ", "").casefold()[:5]
    words = [(text_at(address, name) or "").strip().casefold() for name in ("country", "state")]
    place = code or (text_at(address, "city") or "").strip().casefold()
    return (*words, place) if place or words[1] else ()
