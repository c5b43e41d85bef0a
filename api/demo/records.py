"""The demo's synthetic patients, dated relative to the day they are loaded."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

from fhir_tracker.fhir.json_types import Json, Resource

ZONE = ZoneInfo("America/New_York")
RESTRICTED = "bd6f9f37-7295-4cd6-b212-134afcef1253"
"""The patient whose whole record is restricted, so that the glass can be broken; as synthetic as all others."""
_LABEL = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R", "display": "restricted"}
_MINUTES = re.compile(r"^@([+-]\d+)m$")
_DAYS = re.compile(r"^@([+-]?\d+)(b?)(?:T(\d\d):(\d\d)(?::(\d\d))?)?$")


@dataclass(frozen=True, kw_only=True)
class Records:
    """The EHR's resources ready to load, and the remote Patient ids of the demo day's `cast`."""

    resources: tuple[Resource, ...]
    cast: Mapping[str, str]

    def names(self) -> dict[str, str]:
        """The patients of the cast as people say their names."""
        patients = {one["id"]: one["name"][0] for one in self.resources if one["resourceType"] == "Patient"}
        return {part: f"{patients[ident]['given'][0]} {patients[ident]['family']}" for part, ident in self.cast.items()}


@cache
def source() -> Resource:
    """The data file that tools/make_demo_data.py writes: `people`, `cast` and `resources`, moments as offsets."""
    packed = files("api.demo").joinpath("data", "records.json.gz").read_bytes()
    whole: Resource = json.loads(gzip.decompress(packed))
    return whole


def load(now: datetime) -> Records:
    """Every resource with its moments counted from `now` (aware), in the practice's zone."""
    whole = source()
    local = now.astimezone(ZONE)
    dated = (_dated(one, local) for one in whole["resources"])
    return Records(resources=tuple(_labelled(one) for one in dated), cast=dict(whole["cast"]))


def _labelled(resource: Resource) -> Resource:
    if (resource["resourceType"], resource["id"]) != ("Patient", RESTRICTED):
        return resource
    return resource | {"meta": resource["meta"] | {"security": [_LABEL]}}


def moment(text: str, local: datetime) -> str:
    """A FHIR date or dateTime for an offset; any other text as it is.

    `@-90m` is minutes from `local`, to the five minutes; `@-3T09:30` days from its day at that wall time; `@+2bT09:30`
    the same in working days (Monday to Friday); without a time it is a date.
    """
    if found := _MINUTES.match(text):
        exact = local + timedelta(minutes=int(found[1]))
        return exact.replace(minute=exact.minute - exact.minute % 5, second=0, microsecond=0).isoformat()
    found = _DAYS.match(text)
    if not found:
        return text
    count = int(found[1])
    day = _working_day(local, count) if found[2] else local + timedelta(days=count)
    if found[3] is None:
        return day.date().isoformat()
    return day.replace(
        hour=int(found[3]), minute=int(found[4]), second=int(found[5] or 0), microsecond=0, fold=0
    ).isoformat()


def _working_day(local: datetime, count: int) -> datetime:
    day, left, step = local, abs(count), 1 if count > 0 else -1
    while left:
        day += timedelta(days=step)
        left -= day.weekday() < 5
    return day


def _dated(value: Json, local: datetime) -> Json:
    if isinstance(value, str):
        return moment(value, local) if value.startswith("@") else value
    if isinstance(value, dict):
        return {name: _dated(part, local) for name, part in value.items()}
    return [_dated(part, local) for part in value] if isinstance(value, list) else value
