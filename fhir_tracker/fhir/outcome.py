"""OperationOutcome resources from issues.

https://hl7.org/fhir/R4/operationoutcome.html
"""

from __future__ import annotations

from collections.abc import Sequence

from fhir_tracker.errors import Issue
from fhir_tracker.fhir.json_types import Resource


def operation_outcome(issues: Sequence[Issue]) -> Resource:
    """The OperationOutcome that says `issues`; with none, one informational "All OK"."""
    rows = issues or (Issue(message="All OK", code="informational", severity="information"),)
    return {"resourceType": "OperationOutcome", "issue": [_row(issue) for issue in rows]}


def _row(issue: Issue) -> Resource:
    row: Resource = {"severity": issue.severity, "code": issue.code, "details": {"text": issue.message}}
    row["diagnostics"] = issue.message
    if issue.expression:
        row["expression"] = [issue.expression]
    return row
