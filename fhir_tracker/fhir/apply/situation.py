"""For whom, by whom and where a definition is applied, and what the person who applies it should know.

https://hl7.org/fhir/R4/plandefinition-operation-apply.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from fhir_tracker.errors import Incorrect, Issue
from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.fhirpath import evaluate
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.reading import text_at

FHIRPATH = "text/fhirpath"


@dataclass(frozen=True, kw_only=True)
class Situation:
    """The parameters of `$apply`: references as `Type/id`, and `about` by name for expressions (`%practitioner`, ...).

    `find` gives the definition behind a canonical or a relative reference. `notes` grows: what could not be done.
    """

    subject: Resource
    subject_ref: str
    now: datetime
    find: Callable[[str], Resource | None]
    encounter: str | None = None
    practitioner: str | None = None
    organization: str | None = None
    about: Mapping[str, Json] = field(default_factory=dict)
    intent: str = "proposal"
    notes: list[Issue] = field(default_factory=list)

    @property
    def stamp(self) -> str:
        """The moment as FHIR writes it."""
        return instant(self.now)

    def note(self, message: str, code: str = "not-supported") -> None:
        """Remember something the caller has to know; said once."""
        issue = Issue(message=message, code=code, severity="warning")
        if issue not in self.notes:
            self.notes.append(issue)

    def values(self, expression: Json) -> list[Json] | None:
        """What a FHIR Expression gives for the subject; None, with a note, when it cannot be worked out here."""
        language, text = text_at(expression, "language"), text_at(expression, "expression")
        if language != FHIRPATH or text is None:
            self.note(f"An expression in {language or 'no language'} is not worked out here; only {FHIRPATH} is.")
            return None
        names = {"subject": self.subject, "patient": self.subject, **self.about}
        try:
            return evaluate(text, self.subject, names, now=self.now)
        except Incorrect as error:
            self.note(error.message, "invalid")
            return None


def canonical_of(definition: Resource) -> str | None:
    """`url|version` of a definition, or None when it has no url."""
    url, version = text_at(definition, "url"), text_at(definition, "version")
    return f"{url}|{version}" if url and version else url
