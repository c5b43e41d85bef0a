"""Opening the page of a patient asks for it to be read at the EHR anew."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from api.context import Access
from fhir_tracker import intake
from fhir_tracker.model.author import Author
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage import jobs
from fhir_tracker.storage.database import Database
from mappings import Source, mapping_named
from tests.api.conftest import Serve
from tests.api.staff.conftest import Reader
from tests.support.followed import KEY, followed


@pytest.fixture
def ready_url(one_file: str) -> str:
    """The subject is the page."""
    return one_file


def test_a_page_leaves_a_job_for_the_worker_and_waits_for_nothing(
    serve: Serve, database: Database, now: datetime
) -> None:
    source = Source(key=KEY, base_url="http://127.0.0.1:9/fhir")
    raw = b'{"resourceType":"Patient","id":"a","name":[{"family":"Synthetic"}]}'
    entry = intake.read_entry(raw, "Patient", lambda one: mapping_named("generic").to_tracker(one, source))
    with database.begin() as tx:
        followed(tx, now)
        author = Author(viewer=worker_viewer("sync"), origin=f"ehr:{KEY}", at=now - timedelta(hours=1))
        intake.take_page(tx, [entry], KEY, author)
    reader = Reader(serve(Access.OPEN))
    assert [reader.get(f"/patients/{KEY}-a").status for _ in range(2)] == [200, 200]
    with database.read() as tx:
        assert {one.kind: one.waiting for one in jobs.states(tx)}[f"opened:{KEY}"] == 1
