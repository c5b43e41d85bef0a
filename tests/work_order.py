"""Which file a test process takes next: those that share a slow peer are one piece, and what may take long comes first."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

ROOT = Path(__file__).parents[1]
SHARED = {
    "hapi": re.compile(r"^from tests\.peers\.hapi|params=\[\"hapi\"", re.MULTILINE),
    "chromium": re.compile(r"^from \w*playwright", re.MULTILINE),
}
"""Peers that a whole run shares and that take long to start, and how a file that asks for one looks."""
LONG = ("tests/faults/", "tests/demo/", "tests/subscriptions/", "tests/api/test_")
"""Where files start processes of their own and wait for them: not to be left for the end, when one process has nothing to do."""
SERVED = ("tests/conformance/", "tests/security/")
"""Where files share servers that run to the end of the run: the later the first is started, the less they work for nobody."""
OWN_PROCESS = re.compile(r"\brunning_tracker\(|\bown_client\(|\bsubprocess\.|\bProcess\(")
"""How a file looks that starts one for itself all the same, which takes long."""


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    return WorkOrder(config, log) if config.getoption("dist") == "loadfile" else None


class WorkOrder(LoadFileScheduling):  # type: ignore[misc]
    """As `--dist loadfile`, in an order of its own."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        self._sorted = False
        self._places: dict[WorkerController, dict[str, int]] = {}

    def _split_scope(self, nodeid: str) -> str:
        return piece(nodeid.partition("::")[0])

    def _assign_work_unit(self, node: WorkerController) -> None:
        if not self._sorted:
            self._sorted = True
            for name in sorted(self.workqueue, key=lambda name: rank(name, len(self.workqueue[name]))):
                self.workqueue.move_to_end(name)
        name, unit = self.workqueue.popitem(last=False)
        self.assigned_work.setdefault(node, {})[name] = unit
        collected = self.registered_collections[node]
        places = self._places.setdefault(node, {test: place for place, test in enumerate(collected)})
        node.send_runtest_some([places[test] for test, done in unit.items() if not done])

    def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:
        name = self._split_scope(self.registered_collections[node][item_index])
        super().mark_test_complete(node, item_index, duration)
        units = self.assigned_work[node]
        if len(units) > 1 and all(units[name].values()):
            del units[name]


@cache
def piece(file: str) -> str:
    """What a file is handed out with: the peer it shares with others, else itself alone."""
    path = ROOT / file
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return next((peer for peer, asks in SHARED.items() if file.startswith("tests/") and asks.search(text)), file)


def rank(name: str, tests: int) -> tuple[int, int]:
    """Sorts pieces: shared peers, what waits for processes, what only computes, what shares servers; most tests first."""
    if name in SHARED:
        return 0, -tests
    if name.startswith(SERVED):
        return 3 if starts_its_own(name) else 4, -tests
    return 1 if name.startswith(LONG) else 2, -tests


@cache
def starts_its_own(file: str) -> bool:
    """Whether a file starts processes for itself."""
    path = ROOT / file
    return path.is_file() and OWN_PROCESS.search(path.read_text(encoding="utf-8")) is not None
