"""Reading values out of resources that may be wrong anywhere: an EHR's JSON is hostile input."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.dates import date_range, from_milliseconds, parse_datetime
from fhir_tracker.fhir.json_types import Json, Resource


def at(value: Json, *path: str | int) -> Json:
    """The value at a path of member names and list positions, or None where the shape does not fit."""
    for step in path:
        if type(value) is dict:
            value = value.get(step)
        elif isinstance(step, str):
            return None
        else:
            value = value[step] if isinstance(value, list) and -len(value) <= step < len(value) else None
    return value


def text_at(value: Json, *path: str | int) -> str | None:
    """The string at a path, else None."""
    found = at(value, *path)
    return found if isinstance(found, str) and found else None


def objects_at(value: Json, *path: str | int) -> Sequence[Resource]:
    """The objects of the list at a path; a single object counts as a list of one."""
    found = at(value, *path)
    if type(found) is list:
        return [item for item in found if type(item) is dict]
    return (found,) if type(found) is dict else ()


def moment_at(value: Json, *path: str | int) -> datetime | None:
    """The first instant of the FHIR date or dateTime at a path, in UTC; None when absent or not a date."""
    text = text_at(value, *path)
    if text is None:
        return None
    try:
        return parse_datetime(text)
    except Incorrect:
        return None


def end_at(value: Json, *path: str | int) -> datetime | None:
    """As `moment_at`, but a date without a time means its last second: what ends or is due on a day has that whole
    day.
    """
    text = text_at(value, *path)
    if text is None or "T" in text:
        return moment_at(value, *path)
    try:
        return from_milliseconds(date_range(text)[1] - 1000)
    except (Incorrect, OverflowError):
        return None


def references_at(value: Json, *path: str | int) -> tuple[str, ...]:
    """The `reference` strings of the Reference or References at a path."""
    if len(path) == 1 and type(value) is dict and type(only := value.get(path[0])) is dict:
        text = only.get("reference")
        return (text,) if type(text) is str and text else ()
    return tuple([text for one in objects_at(value, *path) if type(text := one.get("reference")) is str and text])


def extension_value(resource: Json, url: str, name: str) -> Json:
    """The `name` (such as `valueCode`) of the first extension with that url."""
    if "extension" not in resource:
        return None
    return next((one.get(name) for one in objects_at(resource, "extension") if one.get("url") == url), None)
