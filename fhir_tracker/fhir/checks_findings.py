"""What a check has found so far, and what it knows of the place it is at.

https://hl7.org/fhir/R4/operationoutcome.html
"""

from __future__ import annotations

from fhir_tracker.errors import Issue
from fhir_tracker.fhir.invariants.values import Scope
from fhir_tracker.fhir.json_types import Json

OWNED = frozenset(
    "ActivityDefinition Appointment CarePlan CareTeam Communication Goal PlanDefinition Provenance Questionnaire "
    "QuestionnaireResponse Subscription Task".split()
)
"""The types of which the tracker is the source, or in which it writes."""


class Findings:
    """The issues found so far, the resource a value is in, the path it starts at, and the ids of its elements."""

    __slots__ = ("ids", "issues", "misshapen", "scope", "start", "warnings")

    def __init__(self, scope: Scope, *, warnings: bool) -> None:
        self.issues: list[Issue] = []
        self.warnings = warnings
        self.misshapen = 0
        self.scope = scope
        self.start = str(scope.resource.get("resourceType")) if type(scope.resource) is dict else ""
        self.ids: set[str] | None = None

    def add(self, path: str, wrong: str, code: str, severity: str = "error") -> None:
        """One issue at `path`; `wrong` follows it in the message. Every error but a broken invariant is a wrong shape."""
        if severity == "error":
            self.misshapen += code != "invariant"
        elif not self.warnings:
            return
        self.issues.append(Issue(message=f"{path} {wrong}.", code=code, expression=path, severity=severity))

    def is_strict(self) -> bool:
        """Whether what R4's structure and bindings bear is told: to who asks for a judgement, and in types of our own."""
        return self.warnings or self.scope.root.get("resourceType") in OWNED

    def element_id(self, value: Json, path: str) -> None:
        """The id of an element is given once in a resource."""
        if self.ids is None:
            self.ids = set()
        if type(value) is str:
            if value in self.ids:
                self.add(f"{path}.id", "is the id of another element too; within a resource each has its own", "value")
            self.ids.add(value)

    def contained(self, values: list[Json], path: str) -> None:
        """Every contained resource has an id of its own."""
        seen: set[str] = set()
        for index, value in enumerate(values):
            if type(value) is not dict or "resourceType" not in value:
                continue
            name = value.get("id")
            if name is None:
                self.add(f"{path}[{index}].id", "is missing; a contained resource needs one", "required")
            elif type(name) is str and name in seen:
                self.add(f"{path}[{index}].id", "is the id of another contained resource too", "value")
            elif type(name) is str:
                seen.add(name)
