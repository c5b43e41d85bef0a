from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fhir_tracker.storage.database import Database
from tests.faults.ehr_process import EhrProcess
from tests.faults.scene import Scene


@pytest.fixture
def ehr(tmp_path: Path) -> Iterator[EhrProcess]:
    """A fake EHR in a process of its own, empty."""
    made = EhrProcess(tmp_path)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def shared_ehr(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EhrProcess]:
    """One fake EHR for the tests of a module, which set it back to nothing."""
    made = EhrProcess(tmp_path_factory.mktemp("ehr"))
    yield made
    made.stop()


@pytest.fixture
def scene(database: Database, shared_ehr: EhrProcess) -> Iterator[Callable[..., Scene]]:
    """`scene()`: a tracker that follows the empty EHR, `scene(base_url)` through a proxy; all is checked at the end."""
    shared_ehr.act("reset")
    made: list[Scene] = []

    def make(base_url: str = "", **options: float) -> Scene:
        made.append(Scene(database, shared_ehr, base_url or shared_ehr.base_url, **options))
        return made[-1]

    yield make
    assert made, "the test has no scene"
    if not made[-1].checked:
        made[-1].check()
