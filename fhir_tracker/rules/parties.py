"""Who somebody is to a task: its owner, its requester, both or neither; and what each may do outside programs.

https://hl7.org/fhir/R4/task.html#performance
"""

from __future__ import annotations

from typing import Final

from fhir_tracker.model.viewer import Viewer
from fhir_tracker.model.work import WorkItem

OWNER: Final = "owner"
REQUESTER: Final = "requester"
BOTH: Final = frozenset({OWNER, REQUESTER})
_FOR_ALL: Final = frozenset({"clinic-admin", "system"})
"""Roles that act for anybody: the admin of the clinic, and the tracker itself."""
MAY_SET: Final = {
    "draft": frozenset({REQUESTER}),
    "requested": frozenset({REQUESTER}),
    "entered-in-error": frozenset({REQUESTER}),
    "cancelled": BOTH,
}
"""Who may set a Task.status outside programs; every other one is for the owner to set."""


def parties_of(item: WorkItem, owner: str | None, requester: str | None, viewer: Viewer) -> frozenset[str]:
    """`owner` and `requester` as far as the viewer is, or acts for, them; both are the people behind a PractitionerRole.

    Who holds the role of the work acts for its owner, as anybody does for work of no owner and no role. Work that names
    no requester is asked for by whoever does it. The clinic admin and the tracker's own workers act for both.
    """
    if viewer.roles & _FOR_ALL:
        return BOTH
    is_free = item.owner is None and item.role is None
    is_owner = (owner is not None and owner == viewer.who) or item.role in viewer.roles or is_free
    is_requester = requester == viewer.who or (requester is None and is_owner)
    return frozenset(name for name, is_one in ((OWNER, is_owner), (REQUESTER, is_requester)) if is_one)


def who_may_set(status: str) -> frozenset[str]:
    """The parties that may set a Task.status outside programs."""
    return MAY_SET.get(status, frozenset({OWNER}))
