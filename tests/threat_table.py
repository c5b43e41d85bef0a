"""Which threats S1 to S58 and safeguards A1 to M3 the tests of a run name, and how each did, as a table at its end."""

from __future__ import annotations

import pytest

THREATS = (
    *(f"S{number}" for number in range(1, 59)),
    *("A1", "A2", "A3", "A4", "A5", "A6", "B1", "B2", "B3", "C1", "D1", "E1", "E2"),
    *("L1", "L2", "L3", "L4", "M1", "M2", "M3"),
)
NOTHING_YET = {
    "S46": "we send to no subscribers yet: a Subscription that is stored makes us call nobody",
    "S47": "there is no bulk export of ours yet: $export is refused",
}
"""What there is nothing to test of but its absence."""
RESULTS = pytest.StashKey[dict[str, list[str]]]()
_NAMED = "threat"


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RESULTS] = {}
    config.pluginmanager.register(_Results(config.stash[RESULTS]), "results of threats")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        named = {str(one) for marker in item.iter_markers("security") for one in marker.args}
        wrong = named - set(THREATS)
        if wrong:
            raise pytest.UsageError(f"{item.nodeid} names threats that are none: {', '.join(sorted(wrong))}")
        item.user_properties += [(_NAMED, one) for one in sorted(named)]


class _Results:
    """Takes down what became of each test that names a threat, whatever process ran it."""

    def __init__(self, results: dict[str, list[str]]) -> None:
        self._results = results

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.failed:
            for name, value in report.user_properties:
                if name == _NAMED:
                    self._results.setdefault(str(value), []).append(report.outcome)


def verdict(threat: str, results: dict[str, list[str]]) -> str:
    """One line of the table without the threat's name."""
    found = results.get(threat, [])
    if "failed" in found:
        return f"FAILED {found.count('failed')} of {len(found)}"
    told = f"passed {found.count('passed')}" if "passed" in found else "no test"
    return f"{told:12} {NOTHING_YET[threat]}" if threat in NOTHING_YET else told


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    results = config.stash[RESULTS]
    if not results:
        return
    terminalreporter.section("threats S1 to S58, safeguards A1 to M3")
    told = {threat: verdict(threat, results) for threat in THREATS}
    for threat in THREATS:
        terminalreporter.line(f"{threat:4} {told[threat]}".rstrip())
    without = [threat for threat in THREATS if told[threat].startswith("no test")]
    terminalreporter.line(f"without a test in this run: {' '.join(without) or '-'}")
