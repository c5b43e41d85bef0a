"""Real servers for the tests, each started once a run and stopped at its end; a missing one fails the test."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from playwright.sync_api import Browser, Page

from tests.peers.chromium.browser import running_chromium
from tests.peers.hapi.server import Hapi
from tests.peers.postgres.server import Copies, Postgres, running_postgres
from tests.peers.redis.server import RedisServer
from tests.peers.sekmet.server import Sekmet

if TYPE_CHECKING:
    from fhir_tracker.storage.database import Database

pytest_plugins = [
    "tests.requirements_table",
    "tests.fault_table",
    "tests.threat_table",
    "tests.work_order",
    "tests.leak_watch",
]
VERSIONS = pytest.StashKey[dict[str, str]]()
SOON_UP = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""Java's compiler that is done soon: half the work for a server of some minutes. Benchmarks leave Java as it is."""
# How long one example takes says how busy the machine is, and nothing about the product. The examples are the same in each
# run; `--hypothesis-profile=exploring` looks for new ones.
settings.register_profile("exploring", settings(), deadline=None)
settings.register_profile("steady", settings.get_profile("exploring"), derandomize=True)
settings.load_profile("steady")


def pytest_configure(config: pytest.Config) -> None:
    own = tempfile.mkdtemp(prefix="fhir-tracker-home")
    atexit.register(shutil.rmtree, own, ignore_errors=True)
    os.environ.setdefault("XDG_DATA_HOME", own)
    config.stash[VERSIONS] = {}


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Nothing that is collected goes away again: neither while it grows nor later is it worth looking through."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_sessionfinish(session: pytest.Session) -> None:
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["versions"] = session.config.stash[VERSIONS]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash[VERSIONS].update(getattr(node, "workeroutput", {}).get("versions", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    versions = config.stash[VERSIONS]
    if versions:
        terminalreporter.section("peers that really ran")
        for name, version in sorted(versions.items()):
            terminalreporter.line(f"{name} {version}")


@pytest.fixture(scope="session")
def peer_versions(pytestconfig: pytest.Config) -> dict[str, str]:
    """Name -> version of each peer that ran; the end of the run prints it."""
    return pytestconfig.stash[VERSIONS]


@pytest.fixture(scope="session")
def postgres(peer_versions: dict[str, str]) -> Iterator[Postgres]:
    """A PostgreSQL cluster for the whole run; do not kill it, start one with `own_postgres` for that."""
    with running_postgres() as server:
        peer_versions["PostgreSQL"] = server.version
        yield server


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A PostgreSQL cluster for one test, which may kill and restart it."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server(peer_versions: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis for the whole run, append-only file on."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    peer_versions["Redis"] = server.version
    yield server
    server.stop()


@pytest.fixture(scope="session")
def hapi(peer_versions: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hapi]:
    """One HAPI FHIR server for the whole run: use ids of your own, others write there too."""
    server = Hapi(tmp_path_factory.mktemp("hapi"), *SOON_UP)
    peer_versions["HAPI FHIR"] = server.version
    yield server
    server.stop()


@pytest.fixture
def sekmet(peer_versions: dict[str, str], tmp_path: Path) -> Iterator[Sekmet]:
    """An empty sekmet-fhir for one test (it starts in about two seconds)."""
    folder = tmp_path / "sekmet"
    folder.mkdir()
    server = Sekmet(folder)
    peer_versions["sekmet-fhir"] = server.version
    yield server
    server.stop()


@pytest.fixture(scope="session")
def chromium(peer_versions: dict[str, str]) -> Iterator[Browser]:
    """One browser for the whole run."""
    with running_chromium() as browser:
        peer_versions["Chromium"] = browser.version
        yield browser


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A page with cookies of its own, 1280 px wide."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(90_000)
    yield context.new_page()
    context.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty database, once on each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'tracker.db'}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = server.create()
    yield server.url(name)
    server.drop(name)


@pytest.fixture(scope="session")
def prepared_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file that is set up and empty, to be copied."""
    path = tmp_path_factory.mktemp("prepared") / "tracker.db"
    _set_up(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def prepared_name(postgres: Postgres) -> str:
    """A PostgreSQL database that is set up and empty, to be copied."""
    name = postgres.create()
    _set_up(postgres.url(name))
    return name


@pytest.fixture(scope="session")
def copies(postgres: Postgres, prepared_name: str) -> Iterator[Copies]:
    """What hands out copies of the prepared database."""
    with postgres.copies(prepared_name) as made:
        yield made


@pytest.fixture(params=["sqlite", "postgresql"])
def ready_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a database that is set up and empty, once on each kind: a copy, since setting up takes time."""
    if request.param == "sqlite":
        path = tmp_path / "tracker.db"
        shutil.copyfile(request.getfixturevalue("prepared_file"), path)
        yield f"sqlite:///{path}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    copies: Copies = request.getfixturevalue("copies")
    with copies.one() as name:
        yield server.url(name)


@pytest.fixture
def database(ready_url: str) -> Iterator[Database]:
    """The store, set up and empty, once on each kind of database."""
    from fhir_tracker.storage.database import Database

    with closing(Database.open(ready_url)) as opened:
        yield opened


def _set_up(url: str) -> None:
    from fhir_tracker.storage.database import Database
    from fhir_tracker.storage.schema import prepare

    with closing(Database.open(url)) as opened:
        prepare(opened)
