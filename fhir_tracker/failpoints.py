"""Places at which a test ends or stops its process, as kill -9 would; none unless FHIR_TRACKER_FAILPOINT names one."""

from __future__ import annotations

import os
import signal

VARIABLE = "FHIR_TRACKER_FAILPOINT"
"""`PLACE`, `PLACE:N` for the Nth time it is reached, or `PLACE:N:stop` to stand still there until SIGCONT."""
_place, _, _rest = os.environ.get(VARIABLE, "").partition(":")
_left = int(_rest.partition(":")[0] or 1) if _place else 0


def is_set() -> bool:
    """Whether the environment names one."""
    return bool(_place)


def reached(place: str) -> None:
    """Say that the program is at `place`; nothing happens there, unless the environment asks for it."""
    global _left
    if place != _place:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGSTOP if _rest.endswith(":stop") else signal.SIGKILL)
