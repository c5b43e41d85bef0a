"""The audit row of a change of configuration that a command made: who ran it on this machine, and what it changed."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage import audit
from fhir_tracker.storage.database import Tx

VIEWER = worker_viewer("command-line")


def note_change(tx: Tx, command: str, ref: str, now: datetime, **changed: Any) -> None:
    """In the transaction of the change: `command` as it is called, `ref` what it changed, never a secret."""
    detail: Mapping[str, Any] = {"command": command, "by": operating_user(), **changed}
    audit.add(tx, at=now, viewer=VIEWER, action="configure", ref=ref, detail=detail, kind="command")


def operating_user() -> str:
    """Who the operating system says is running this."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
