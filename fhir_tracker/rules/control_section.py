"""Reads `change_control` of a program file: what publishing a version of it needs."""

from __future__ import annotations

from typing import Final

from fhir_tracker.model.program import ChangeControl
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.source import Node, fields

NEEDS: Final = ("required", "none")


def read_change_control(node: Node | None, draft: Draft) -> ChangeControl:
    """`{approver: required, reason: required}`; what is left out is not needed."""
    given = fields(node, draft.problems, (), ("approver", "reason")) if node is not None else None
    if given is None:
        return ChangeControl()
    return ChangeControl(
        approver=given.choice("approver", NEEDS, "none") == "required",
        reason=given.choice("reason", NEEDS, "none") == "required",
    )
