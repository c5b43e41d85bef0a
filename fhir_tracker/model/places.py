"""Where work is done: the place that a Task or CarePlan names, whose calendar then counts.

https://hl7.org/fhir/R4/task-definitions.html#Task.location
"""

from __future__ import annotations

from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.reading import extension_value, text_at
from fhir_tracker.model.program import Calendar
from fhir_tracker.model.vocabulary import SITE


def place_of(resource: Resource) -> str | None:
    """A site's code or Location named by the site extension, else Task.location; None when neither says anything."""
    code = extension_value(resource, SITE, "valueCode")
    if isinstance(code, str) and code:
        return code
    return named_place(extension_value(resource, SITE, "valueReference")) or named_place(resource.get("location"))


def named_place(reference: Json) -> str | None:
    """What a reference to a Location names: the reference, else `system|value` of its identifier, else its words."""
    found = text_at(reference, "reference")
    value = text_at(reference, "identifier", "value")
    if found is None and value is not None:
        return f"{text_at(reference, 'identifier', 'system') or ''}|{value}"
    return found or text_at(reference, "display")


def site_extension(place: str) -> Resource:
    """The extension that keeps a site's code, or a Location that is a reference."""
    if place.startswith("Location/"):
        return {"url": SITE, "valueReference": {"reference": place}}
    return {"url": SITE, "valueCode": place}


def site_of(calendar: Calendar, *places: str | None) -> str | None:
    """The code of the first of these places that has a calendar of its own; None when none has."""
    return calendar.of(*places).site or None
