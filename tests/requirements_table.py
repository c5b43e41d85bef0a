"""Which requirements and threats the tests of a run name, as a table at its end; several test processes add up."""

from __future__ import annotations

from typing import Any

import pytest

COVERED = pytest.StashKey[dict[str, set[str]]]()
GROUPS = (
    ("A REST", 1, 15),
    ("B Search", 16, 32),
    ("C Bundles", 33, 39),
    ("D Versions", 40, 46),
    ("L US Core", 119, 123),
    ("M Tasks", 124, 134),
)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[COVERED] = {}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    covered = config.stash[COVERED]
    for item in items:
        for marker in (*item.iter_markers("requirement"), *item.iter_markers("security")):
            for number in marker.args:
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
    threats = sorted((one for one in covered if not one.isdigit()), key=lambda one: (one[0], len(one), one))
    terminalreporter.line(f"{'Security':11} {' '.join(f'{one}:{len(covered[one])}' for one in threats) or '-'}")


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
