"""The map by which running plans go from one version of a program to another: old code to new, by what the codes are of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from fhir_tracker.errors import UsageError
from fhir_tracker.model.program import Program

Kind = Literal["status", "stage", "task"]
KINDS: Final[tuple[Kind, ...]] = ("status", "stage", "task")


@dataclass(frozen=True, kw_only=True)
class Change:
    """One code that becomes another."""

    kind: Kind
    before: str
    after: str


@dataclass(frozen=True, kw_only=True)
class PlanMap:
    """Old code -> new code; what is not named stays as it is."""

    statuses: Mapping[str, str] = field(default_factory=dict)
    stages: Mapping[str, str] = field(default_factory=dict)
    tasks: Mapping[str, str] = field(default_factory=dict)

    def status(self, code: str) -> str:
        """The new status."""
        return self.statuses.get(code, code)

    def stage(self, code: str) -> str:
        """The new stage."""
        return self.stages.get(code, code)

    def task(self, code: str) -> str:
        """The new kind of work."""
        return self.tasks.get(code, code)

    def as_json(self) -> dict[str, dict[str, str]]:
        """The map as plain JSON values."""
        return {"status": dict(self.statuses), "stage": dict(self.stages), "task": dict(self.tasks)}

    @staticmethod
    def inverse(maps: Iterable[Mapping[str, Mapping[str, str]]]) -> PlanMap:
        """The way back, for codes to which only one way led."""
        back: dict[Kind, dict[str, set[str]]] = {kind: {} for kind in KINDS}
        for one in maps:
            for kind in KINDS:
                for before, after in one.get(kind, {}).items():
                    back[kind].setdefault(after, set()).add(before)
        only = {kind: {to: next(iter(of)) for to, of in back[kind].items() if len(of) == 1} for kind in KINDS}
        return PlanMap(statuses=only["status"], stages=only["stage"], tasks=only["task"])


def read_map(texts: Iterable[str], wanted: Program) -> PlanMap:
    """`old=new`, separated by commas; `status:`, `stage:` or `task:` before it where the new code alone could be several.

    Raises UsageError for a new code that the wanted version does not have.
    """
    found: dict[Kind, dict[str, str]] = {kind: {} for kind in KINDS}
    known: dict[Kind, set[str]] = {
        "status": {one.code for one in wanted.statuses},
        "stage": {one.code for one in wanted.stages},
        "task": {one.code for one in wanted.tasks},
    }
    for entry in (one.strip() for text in texts for one in text.split(",") if one.strip()):
        old, equals, new = entry.partition("=")
        named, colon, code = old.partition(":")
        kinds = [kind for kind in KINDS if kind == named] if colon else [kind for kind in KINDS if new in known[kind]]
        if not equals or not (code if colon else old) or not kinds:
            raise UsageError(
                f"{entry!r} is not OLD=NEW with a status, stage or task of version {wanted.version} of {wanted.code}."
            )
        for kind in kinds:
            if new not in known[kind]:
                raise UsageError(f"There is no {kind} {new} in version {wanted.version} of {wanted.code}.")
            found[kind][code if colon else old] = new
    return PlanMap(statuses=found["status"], stages=found["stage"], tasks=found["task"])
