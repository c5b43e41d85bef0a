"""Tasks by which an EHR asks that somebody opens an app: the profiles task-ehr-launch and task-standalone-launch.

https://hl7.org/fhir/smart-app-launch/STU2.2/task-launch.html
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.reading import objects_at, text_at

SYSTEM = "http://hl7.org/fhir/smart-app-launch/CodeSystem/smart-codes"
CODES = ("launch-app-ehr", "launch-app-standalone")
_LONGEST = 2000
_MISLEADING = frozenset(" \\<>\"'`")


@dataclass(frozen=True, kw_only=True)
class AppAsked:
    """The app at `url` is to be opened, from within the EHR or (`standalone`) outside; `context` is handed to it as it is."""

    url: str
    context: str = ""
    standalone: bool = False


def app_asked(task: Resource) -> AppAsked | None:
    """What app a Task asks for; None for other Tasks, and for one whose app has no https address that reads as what it is."""
    codes = [text_at(one, "code") for one in objects_at(task, "code", "coding") if text_at(one, "system") == SYSTEM]
    asked = next((one for one in codes if one in CODES), None)
    if asked is None:
        return None
    url = _input(task, "smartonfhir-application", "valueUrl")
    if not _is_web(url):
        return None
    return AppAsked(
        url=url, context=_input(task, "smartonfhir-appcontext", "valueString"), standalone=asked == CODES[1]
    )


def _input(task: Resource, code: str, value: str) -> str:
    for one in objects_at(task, "input"):
        if any(_is(coding, code) for coding in objects_at(one, "type", "coding")):
            return (text_at(one, value) or "")[:_LONGEST]
    return ""


def _is(coding: Json, code: str) -> bool:
    return text_at(coding, "system") == SYSTEM and text_at(coding, "code") == code


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    is_plain = url.isascii() and url.isprintable() and not set(url) & _MISLEADING
    return parts.scheme == "https" and bool(parts.hostname) and "@" not in parts.netloc and is_plain
