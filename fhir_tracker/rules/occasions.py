"""What a coded reason is for: the occasion that a move is, by the FHIR statuses it leaves and enters."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

CLOSED: Final = frozenset({"completed", "failed", "cancelled", "rejected", "entered-in-error", "revoked"})


def kind_of(sources: Collection[str], to: str) -> str:
    """One of `model.program.REASON_KINDS`: `hold` and `decline` by where a move leads, `reopen` where closed work goes on,
    `stop` where it ends without being done, `exception` for the rest. Works for Task and CarePlan statuses.
    """
    if to == "on-hold":
        return "hold"
    if to == "rejected":
        return "decline"
    if to in ("cancelled", "failed", "revoked", "entered-in-error"):
        return "stop"
    if to not in CLOSED and sources and all(one in CLOSED for one in sources):
        return "reopen"
    return "exception"
