"""What EHRs said of patients to people in whose name they were asked, as one process remembers it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

Said = Literal["", "shown", "refused", "silent"]
FRESH = timedelta(minutes=1)
"""How long an answer counts: an EHR is not asked more often about one patient for one session."""
SILENT_FOR = timedelta(seconds=10)
"""The same when it did not answer."""
MOST = 10_000
_LASTS: Mapping[Said, timedelta] = {"": timedelta(), "shown": FRESH, "refused": FRESH, "silent": SILENT_FOR}


@dataclass
class Asked:
    """What an EHR said of one patient to one session, and when; whoever asks holds `guard`."""

    guard: threading.Lock = field(default_factory=threading.Lock)
    said: Said = ""
    at: datetime | None = None

    def note(self, said: Said, at: datetime) -> None:
        """What it said just now."""
        self.said, self.at = said, at

    def is_fresh(self, now: datetime) -> bool:
        """Whether it need not be asked again."""
        return self.counts(now, _LASTS[self.said])

    def counts(self, now: datetime, lasts: timedelta) -> bool:
        """Whether that was so lately; never after our clock was put back."""
        return self.at is not None and timedelta() <= now - self.at < lasts


class Answers:
    """Those of all sessions; of very many the ones are forgotten that were looked at longest ago."""

    def __init__(self, most: int = MOST) -> None:
        self._guard = threading.Lock()
        self._most = most
        self._held: OrderedDict[tuple[str, str], Asked] = OrderedDict()

    def of(self, session: str, patient: str) -> Asked:
        """What was said of that patient to that session."""
        with self._guard:
            found = self._held.setdefault((session, patient), Asked())
            self._held.move_to_end((session, patient))
            if len(self._held) > self._most:
                self._held.popitem(last=False)
        return found

    def is_closed(self, session: str, patient: str) -> bool:
        """Whether that patient was not shown to that session when it was last asked for."""
        with self._guard:
            found = self._held.get((session, patient))
        return found is not None and found.said in ("refused", "silent")

    def __len__(self) -> int:
        return len(self._held)


ANSWERS = Answers()
