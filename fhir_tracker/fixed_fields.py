"""What work keeps as it was asked for, whoever writes it and in which way.

https://hl7.org/fhir/R4/task.html
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from fhir_tracker.errors import Issue, RuleBroken
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import text_at
from fhir_tracker.model import task_fields
from fhir_tracker.model.author import Author
from fhir_tracker.model.work import WorkItem

FIXED: Final = (
    "instantiatesCanonical",
    "code",
    "intent",
    "for",
    "focus",
    "basedOn",
    "requester",
    "authoredOn",
    "input",
)
"""What a Task of a program and an escalation keep as they were filed."""
ASKED: Final = ("for", "focus", "intent", "requester", "basedOn", "authoredOn")
"""What any other Task keeps once it was asked for, unless the one who asked changes it."""
_OWN: Final = frozenset({"id", "status", "businessStatus", "lastModified", "implicitRules", "language"})
"""What a step says in another way, or the tracker writes itself."""


def fixed_of(item: WorkItem, resource: Resource, author: Author) -> tuple[str, ...]:
    """The elements of a Task that this writer cannot change.

    Outside programs: none while it is a draft, nor for who asked for it. Where nobody is named as having asked, it is
    open until somebody has received it.
    """
    if item.program or item.kind == "escalation":
        return FIXED
    requester = text_at(resource, "requester", "reference")
    is_early = item.fhir_status == "draft" or (requester is None and item.fhir_status == "requested")
    return () if is_early or requester == author.viewer.who else ASKED


def with_fixed(before: Resource, after: Resource, names: Iterable[str]) -> Resource:
    """The next body with what stays; left out it stays, another value raises RuleBroken naming each."""
    kept = [name for name in names if name in before]
    changed = [name for name in kept if after.get(name, before[name]) != before[name]]
    if changed:
        messages = [f"{name} of work under way cannot be changed." for name in changed]
        issues = tuple(
            Issue(message=text, code="business-rule", expression=f"Task.{name}")
            for name, text in zip(changed, messages, strict=True)
        )
        raise RuleBroken(" ".join(messages), issues=issues)
    return after | {name: before[name] for name in kept}


def require_typed(path: str) -> None:
    """Raise RuleBroken for what is no element of a Task that one text can fill as part of a step."""
    if path in _OWN or not task_fields.can_be_typed(path):
        raise RuleBroken(f"A step cannot fill {path[:40]!r} of a Task.", expression="Task")
