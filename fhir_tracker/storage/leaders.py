"""One leader for what only one process is to do: a row with an end, which another takes over when its holder is silent."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

from fhir_tracker.storage import settings
from fhir_tracker.storage.database import Tx

SKEW = timedelta(minutes=2)
"""How far the clocks of two processes may differ."""


def lead(tx: Tx, what: str, me: str, now: datetime, lease: timedelta) -> bool:
    """Be, or stay, the leader of `what` for `lease`; False while another process is.

    A lease that ends later than any taken now was taken by a clock that has been turned back since: it counts no more.
    """
    tx.wait_for_others(f"leader:{what}")
    text = settings.get(tx, f"leader:{what}")
    if text is not None:
        held = json.loads(text)
        until = datetime.fromisoformat(held["until"])
        if held["who"] != me and now < until <= now + lease + SKEW:
            return False
    settings.put(tx, f"leader:{what}", json.dumps({"who": me, "until": (now + lease).isoformat()}))
    return True


def resign(tx: Tx, what: str, me: str) -> None:
    """Leave the place to whoever asks next; nothing happens when another has it."""
    tx.wait_for_others(f"leader:{what}")
    text = settings.get(tx, f"leader:{what}")
    if text is not None and json.loads(text)["who"] == me:
        settings.put(tx, f"leader:{what}", None)
