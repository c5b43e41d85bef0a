"""Who writes, when, why and from where: the stamp on every change, transition, Provenance and audit row."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fhir_tracker.model.viewer import Viewer


@dataclass(frozen=True, kw_only=True)
class Author:
    """One act of writing.

    `origin` is `api`, `staff`, `rules`, `ehr:<connection>` or `cli`: what came from an EHR never goes back to it.
    """

    viewer: Viewer
    origin: str
    at: datetime
    request_id: str = ""

    @property
    def connection(self) -> str | None:
        """The connection key when the change came from an EHR."""
        return self.origin.removeprefix("ehr:") if self.origin.startswith("ehr:") else None


@dataclass(frozen=True, kw_only=True)
class Why:
    """The reason behind a change: `reason` in words or a code, `rule` as `program|version#rule` when a rule did it,
    `effective_at` when it happened if not now. `code` is the coded reason, for counting.
    """

    reason: str | None = None
    note: str | None = None
    rule: str | None = None
    effective_at: datetime | None = None
    code: str | None = None
