"""What a resource of an EHR has to say before rules and queues can go by it: its status, whose it is, and when.

https://hl7.org/fhir/R4/datatypes.html#dateTime
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.dates import parse_datetime
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.reading import objects_at
from fhir_tracker.fhir.subsets import SUBSETTED
from mappings.tables import STATUS_TYPES

_SUBJECTS: Final = ("subject", "patient", "for", "beneficiary")
"""The members that tell of which patient a resource is; each is one reference in R4."""
_TIMES: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "Appointment": (("start",), ("end",)),
    "Communication": (("sent",), ("received",)),
    "DocumentReference": (("date",),),
    "Encounter": (("period", "start"), ("period", "end")),
    "Task": (("restriction", "period", "end"), ("authoredOn",)),
}
"""The times from which deadlines are counted."""
_MOMENTS: Final = frozenset({"Appointment"})
"""The types of which a day alone would be a guess of the hour."""
_ZONED: Final = re.compile(r"[^T]+(T.+(Z|[+-][0-9]{2}:[0-9]{2}))?")


def refuse_unusable(resource: Resource) -> None:
    """Raises Incorrect for a resource with a type that would be here and yet never be seen by a rule or in a queue.

    That is one without its status, with a patient that is no single reference, or with a time that nobody can read: in
    another form than R4 has, without a zone, or a day where R4 asks for an instant. A part of a resource says nothing.
    """
    type_ = resource["resourceType"]
    if any(tag.get("code") == SUBSETTED["code"] for tag in objects_at(resource, "meta", "tag")):
        return
    if type_ in STATUS_TYPES and "status" not in resource:
        raise Incorrect(f"The {type_} has no `status`.", expression=f"{type_}.status")
    for name in _SUBJECTS:
        if name in resource and not isinstance(resource[name], dict):
            raise Incorrect(f"{type_}.{name} is not one reference.", expression=f"{type_}.{name}")
    if type_ == "Appointment":
        _check_participants(resource)
    for path in _TIMES.get(type_, ()):
        for value in _values(resource, path):
            if not _is_time(value, type_):
                where = ".".join((type_, *path))
                raise Incorrect(f"{where} is not a time that R4 knows, with its zone.", expression=where)


def _check_participants(resource: Resource) -> None:
    told = resource.get("participant", [])
    actors = (
        [one.get("actor", {}) if isinstance(one, dict) else None for one in told] if isinstance(told, list) else [None]
    )
    if not all(isinstance(one, dict) for one in actors):
        raise Incorrect(
            "Appointment.participant is not a list of who takes part.", expression="Appointment.participant"
        )


def _values(value: Json, path: tuple[str, ...]) -> Iterator[Json]:
    if not path:
        yield value
    elif not isinstance(value, dict):
        yield None
    elif path[0] in value:
        yield from _values(value[path[0]], path[1:])


def _is_time(value: Json, type_: str) -> bool:
    if not isinstance(value, str) or not _ZONED.fullmatch(value) or (type_ in _MOMENTS and "T" not in value):
        return False
    try:
        parse_datetime(value)
    except Incorrect:
        return False
    return True
