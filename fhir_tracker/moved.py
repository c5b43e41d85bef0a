"""What moved in a transaction and is still to have its consequences: noted where it is stored, taken by `consequences`."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import cast

from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.work import WorkItem
from fhir_tracker.storage.database import Tx

_WAITING = "moved"


@dataclass(frozen=True, kw_only=True)
class Moved:
    """One task or plan as it stood before somebody changed it; `quietly`: no transition's own effects follow.

    `is_new`: it was just made, and `before` is how it is.
    """

    before: WorkItem
    author: Author
    why: Why | None = None
    quietly: bool = False
    is_new: bool = False


def note(tx: Tx, moved: Moved) -> None:
    """Remember a change until its consequences are drawn, which are the tracker's doing and bound by nobody's rights."""
    told = replace(moved, author=moved.author.unbound())
    cast(deque[Moved], tx.here.setdefault(_WAITING, deque())).append(told)


def take(tx: Tx) -> Moved | None:
    """The change noted first, which is then forgotten; None when there is none."""
    waiting = cast(deque[Moved], tx.here.get(_WAITING, ()))
    return waiting.popleft() if waiting else None


def one_at_a_time(tx: Tx, plan: str) -> None:
    """Go on when nobody else is ending this plan or closing work of it: the last of two must see what the first did."""
    tx.wait_for_others(f"plan {plan}")
