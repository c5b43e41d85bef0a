"""Which requirements and threats the tests of a run name, and which must be met and are not, as a table at its end.

Several test processes add up.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

COVERED = pytest.StashKey[dict[str, set[str]]]()
GROUPS = (
    ("A REST", 1, 15),
    ("B Search", 16, 32),
    ("C Bundles", 33, 39),
    ("D Versions", 40, 46),
    ("F Told", 70, 80),
    ("G Resources", 81, 89),
    ("H App", 90, 101),
    ("I Backend", 102, 109),
    ("L US Core", 119, 123),
    ("M Tasks", 124, 134),
    ("N $apply", 135, 138),
    ("O Audit", 139, 142),
)
MUST = frozenset(
    {*range(1, 9), 10, 11, 14, *range(16, 27), 29, 30, *range(33, 38), 39, 40, *range(42, 47), *range(119, 124)}
    | {*range(70, 81), *range(135, 139)}
    | {*range(81, 88), *range(89, 99), 100, *range(102, 109), 139, 140}
)
"""What must be met, by number; the rest of the groups should or may be."""
OPEN: dict[int, str] = {}
"""What is not met, or not wholly, and why."""
FAILED = pytest.StashKey[set[str]]()
_NAMED = "requirements"


def pytest_configure(config: pytest.Config) -> None:
    config.stash[COVERED] = {}
    config.stash[FAILED] = set()
    config.pluginmanager.register(_Failures(config.stash[FAILED]), "requirements that failed")


class _Failures:
    """Notes the requirements of each test that failed, whatever process ran it."""

    def __init__(self, failed: set[str]) -> None:
        self._failed = failed

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._failed.update(str(number) for name, number in report.user_properties if name == _NAMED)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    covered = config.stash[COVERED]
    for item in items:
        for marker in (*item.iter_markers("requirement"), *item.iter_markers("security")):
            for number in marker.args:
                item.user_properties.append((_NAMED, str(number)))
                covered.setdefault(str(number), set()).add(item.nodeid.partition("[")[0])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    covered = config.stash[COVERED]
    if not covered:
        return
    terminalreporter.section("requirements and threats with tests in this run")
    for name, first, last in GROUPS:
        counted = [
            f"{number}:{len(covered[str(number)])}" for number in range(first, last + 1) if str(number) in covered
        ]
        terminalreporter.line(f"{name:11} {' '.join(counted) or '-'}")
    grouped = {str(number) for _, first, last in GROUPS for number in range(first, last + 1)}
    others = sorted((one for one in covered if one.isdigit() and one not in grouped), key=int)
    terminalreporter.line(f"{'Others':11} {' '.join(f'{one}:{len(covered[one])}' for one in others) or '-'}")
    failed = {int(one) for one in config.stash[FAILED] if one.isdigit()}
    untested = sorted(number for number in MUST - OPEN.keys() if str(number) not in covered)
    terminalreporter.line(
        f"{'Must':11} {len(MUST)}; failed: {_joined(failed & MUST)}; untested here: {_joined(untested)}"
    )
    for number, reason in OPEN.items():
        terminalreporter.line(f"{'Open':11} {number}: {reason}")
    threats = sorted((one for one in covered if not one.isdigit()), key=lambda one: (one[0], len(one), one))
    terminalreporter.line(f"{'Security':11} {' '.join(f'{one}:{len(covered[one])}' for one in threats) or '-'}")


def _joined(numbers: Iterable[int]) -> str:
    return " ".join(map(str, sorted(numbers))) or "-"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A test process of several hands its table to the one that reports."""
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["covered"] = {number: sorted(tests) for number, tests in session.config.stash[COVERED].items()}


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over the table of a test process that has ended."""
    for number, tests in getattr(node, "workeroutput", {}).get("covered", {}).items():
        node.config.stash[COVERED].setdefault(number, set()).update(tests)
