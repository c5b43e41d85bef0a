"""A process for fault tests that carries notifications out at a moment it is given, to a webhook or by mail. It may be killed."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from datetime import datetime

from fhir_tracker.config import load_settings
from fhir_tracker.storage.database import Database
from subscriptions import deliver_due


def main(url: str, moment: str) -> int:
    """One round with the settings of the environment."""
    at = datetime.fromisoformat(moment)
    with closing(Database.open(url)) as database:
        deliver_due(database, load_settings(os.environ), lambda: at, lambda: 0.0)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], sys.argv[2]))
