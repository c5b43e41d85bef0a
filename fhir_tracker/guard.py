"""The one place that catches whatever asking the rules may raise: one patient's data never stops everybody's work."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from fhir_tracker.errors import TrackerError

Answer = TypeVar("Answer")
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """No answer; `reason` is safe to show and names no patient."""

    reason: str


def guarded(ask: Callable[[], Answer], what: str, **fields: str) -> Answer | Failure:
    """The answer of a pure question, or why there is none; the log gets `what` failed, with the ids in `fields`."""
    try:
        return ask()
    except TrackerError as error:
        reason = error.message
    except Exception as error:
        reason = f"a fault of this release ({type(error).__name__})"
        log.exception("%s failed", what, extra={"fields": fields})
        return Failure(reason=reason)
    log.warning("%s failed: %s", what, reason, extra={"fields": fields})
    return Failure(reason=reason)
