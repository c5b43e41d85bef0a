"""What becomes of a request that failed: its answer, its row in the audit trail, and when it is tried again.

https://hl7.org/fhir/R4/http.html#Status-Codes
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

from api.fhir.actions import Action
from api.fhir.auditing import asked_for
from api.fhir.exchange import AuditNote, FhirRequest, FhirResponse
from api.outcomes import challenge, headers_of, outcome_of, status_of
from fhir_tracker import clock
from fhir_tracker.errors import Busy, Category, TrackerError, VersionConflict

ATTEMPTS = 6
_DENIALS = frozenset({Category.FORBIDDEN, Category.NOT_FOUND})
_NOT_RECORDED = frozenset({Category.BUSY, Category.UNAVAILABLE})
T = TypeVar("T")


def refusal(error: TrackerError) -> FhirResponse:
    """The answer that says what was wrong."""
    status, headers = status_of(error), headers_of(error)
    if status == 403:
        headers["WWW-Authenticate"] = challenge("insufficient_scope")
    return FhirResponse(status=status, body=outcome_of(error), headers=headers)


def is_recorded(error: TrackerError) -> bool:
    """False where the store did not answer in time: the trail, which is in it, could not be written either."""
    return error.category not in _NOT_RECORDED


def failure(request: FhirRequest, action: Action, error: TrackerError) -> tuple[AuditNote, str]:
    """What the audit trail says of a request that failed, and with which outcome."""
    ref = f"{request.type}/{request.id}".rstrip("/")
    query = asked_for(request) if request.pairs else None
    note = AuditNote(action=action.interaction, ref=ref, query=query, detail={"status": status_of(error)})
    return note, "denied" if error.category in _DENIALS else "error"


def pause_after(attempt: int) -> float:
    """Seconds to wait before a write that lost a race is done again: more after each attempt, and never in step."""
    return random.uniform(0.0, 0.01 * 2**attempt)  # noqa: S311 - spreads writers, guards nothing


def repeated(work: Callable[[], T], is_guarded: Callable[[], bool], message: str) -> T:
    """What `work` gives, done again while others are faster.

    Raises VersionConflict at once when the caller guarded against that, Busy with `message` after the last attempt.
    """
    for attempt in range(ATTEMPTS):
        try:
            return work()
        except VersionConflict:
            if is_guarded():
                raise
            clock.pause(pause_after(attempt))
    raise Busy(message)
