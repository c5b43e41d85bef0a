"""One request to the FHIR API and its answer, as plain values.

https://hl7.org/fhir/R4/http.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from api.context import AppContext
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.model.author import Author
from fhir_tracker.model.having import Having
from fhir_tracker.model.viewer import Viewer

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class FhirRequest(Having):
    """What was asked: `path` without the base, `pairs` of query and form in order, header names in lower case.

    `resource` stands for `body` where it was read already, its references to us made relative: an entry of a Bundle.
    The `id` of a create is one chosen for it by us. `bundle` is the type of the Bundle it is an entry of, or "".
    `epoch` is the security epoch in which its `viewer` was found out; None where that was after it `arrived` (a moment of
    `clock.monotonic`), or where nobody has to log in.
    """

    context: AppContext
    method: str
    path: tuple[str, ...]
    pairs: Pairs = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    resource: Resource | None = None
    bundle: str = ""
    own_base: str = ""
    viewer: Viewer
    request_id: str
    now: datetime
    epoch: int | None = None
    arrived: float = 0.0
    type: str = ""
    id: str = ""
    version: str = ""

    @property
    def base(self) -> str:
        """The base address of the API as its caller knows it, without a slash at its end."""
        return self.own_base or self.context.fhir_base

    def header(self, name: str) -> str:
        """A header by its lower-case name, or ""."""
        return self.headers.get(name, "")

    def values(self, name: str) -> list[str]:
        """Every value of a parameter, empty ones left out."""
        return [value for key, value in self.pairs if key == name and value]

    def author(self) -> Author:
        """The stamp on what this request writes."""
        return Author.for_viewer(self.viewer, "api", self.now, self.request_id)


@dataclass(frozen=True, kw_only=True)
class AuditNote(Having):
    """What the audit trail says of one answer: `action` is the interaction; `ref` names a resource or a type.

    `patients` are those whose data a search returned, `query` its parameters as they came, `version` the one read or made.
    """

    action: str
    ref: str
    patient: str | None = None
    patients: tuple[str, ...] = ()
    query: str | None = None
    version: int | None = None
    detail: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class FhirResponse(Having):
    """The answer: JSON bytes, or of the Content-Type its headers say, or none; `note` goes to the audit trail."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    note: AuditNote | None = None
