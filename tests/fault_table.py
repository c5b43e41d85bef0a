"""Which faults of F1 to F38 the tests of a run name, and how each did on each kind of database, as a table at its end."""

from __future__ import annotations

import pytest

FAULTS = tuple(f"F{number}" for number in range(1, 39))
DATABASES = ("sqlite", "postgresql")
NEITHER = {
    "F7": ("sqlite", "SQLite has no server"),
    "F8": ("sqlite", "SQLite has no server"),
    "F9": ("sqlite", "SQLite has no server"),
    "F10": ("sqlite", "writers take turns"),
    "F17": ("postgresql", "rows are locked, not files"),
    "F37": ("sqlite", "no network between worker and file"),
}
"""What cannot happen on one of the databases."""
OPEN = {
    "F36": "we have no subscribers yet",
}
RESULTS = pytest.StashKey[dict[str, list[str]]]()
_NAMED = "fault"


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RESULTS] = {}
    config.pluginmanager.register(_Results(config.stash[RESULTS]), "results of faults")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        bases = [one for one in DATABASES if one in item.name]
        if not bases:
            bases = ["postgresql"] if "own_postgres" in getattr(item, "fixturenames", ()) else list(DATABASES)
        for marker in item.iter_markers("fault"):
            for fault in marker.args:
                item.user_properties += [(_NAMED, f"{fault} {base}") for base in bases]


class _Results:
    """Takes down what became of each test that names a fault, whatever process ran it."""

    def __init__(self, results: dict[str, list[str]]) -> None:
        self._results = results

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.failed:
            for name, value in report.user_properties:
                if name == _NAMED:
                    self._results.setdefault(str(value), []).append(report.outcome)


def verdict(fault: str, base: str, results: dict[str, list[str]]) -> str:
    """One cell of the table."""
    found = results.get(f"{fault} {base}", [])
    if NEITHER.get(fault, ("", ""))[0] == base:
        return "not applicable"
    if "failed" in found:
        return f"FAILED {found.count('failed')} of {len(found)}"
    if found:
        return f"passed {len(found)}"
    return "open" if fault in OPEN else "not in this run"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    results = config.stash[RESULTS]
    if not results:
        return
    terminalreporter.section("faults, on SQLite and on PostgreSQL")
    for fault in FAULTS:
        cells = [verdict(fault, base, results) for base in DATABASES]
        why = NEITHER[fault][1] if fault in NEITHER else OPEN.get(fault, "") if "open" in cells else ""
        terminalreporter.line(f"{fault:4} {cells[0]:16} {cells[1]:16} {why}".rstrip())
