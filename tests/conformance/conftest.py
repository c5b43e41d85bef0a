"""One server of each kind of database for the whole run, in open mode; the end of the run prints what was covered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conformance.server import Tracker, running_tracker
from tests.conformance.talk import Corner
from tests.peers.postgres.server import Postgres

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


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def tracker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracker]:
    """A server in open mode that many tests share: each keeps to a corner of its own."""
    folder = tmp_path_factory.mktemp(f"tracker-{request.param}")
    with running_tracker(_address(request, folder), folder, "--open") as server:
        yield server


@pytest.fixture(scope="session")
def one_tracker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracker]:
    """A server on SQLite, for questions that no database has a say in."""
    folder = tmp_path_factory.mktemp("tracker-one")
    with running_tracker(f"sqlite:///{folder / 'tracker.db'}", folder, "--open") as server:
        yield server


@pytest.fixture(scope="session")
def client(tracker: Tracker) -> Iterator[httpx.Client]:
    """A client at the FHIR base."""
    with httpx.Client(base_url=tracker.fhir, timeout=30, trust_env=False) as one:
        yield one


@pytest.fixture(scope="session")
def one_client(one_tracker: Tracker) -> Iterator[httpx.Client]:
    """A client at the FHIR base of the server on SQLite."""
    with httpx.Client(base_url=one_tracker.fhir, timeout=30, trust_env=False) as one:
        yield one


@pytest.fixture
def corner(client: httpx.Client) -> Corner:
    """A corner for one test."""
    return Corner(client)


def _address(request: pytest.FixtureRequest, folder: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{folder / 'tracker.db'}"
    server: Postgres = request.getfixturevalue("postgres")
    return server.url(server.create())
