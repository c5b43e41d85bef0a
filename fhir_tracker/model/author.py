"""Who writes, when, why and from where: the stamp on every change, transition, Provenance and audit row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from fhir_tracker.model.viewer import Viewer


@dataclass(frozen=True, kw_only=True)
class Author:
    """One act of writing.

    `origin` is `api`, `staff`, `rules`, `ehr:<connection>` or `cli`: what came from an EHR never goes back to it.
    `asked` is who asked for it, where that is somebody with limits: `viewer` is then the same person seeing what the tracker
    itself has to see to do it.
    """

    viewer: Viewer
    origin: str
    at: datetime
    request_id: str = ""
    asked: Viewer | None = None

    @classmethod
    def for_viewer(cls, viewer: Viewer, origin: str, at: datetime, request_id: str) -> Author:
        """The author of what a viewer asks for."""
        acting = viewer.behind()
        return cls(
            viewer=acting, origin=origin, at=at, request_id=request_id, asked=None if acting is viewer else viewer
        )

    @property
    def limits(self) -> Viewer:
        """Whose rights and field rules bound what is written."""
        return self.asked or self.viewer

    def unbound(self) -> Author:
        """The same for what follows from the act by rule: it is the tracker's doing, whatever the writer may reach."""
        return self if self.asked is None else replace(self, asked=None)

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
