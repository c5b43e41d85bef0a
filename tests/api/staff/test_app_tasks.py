"""The page of a Task by which an EHR asks that somebody opens an app: where it opens by itself, a link leads there and tells nothing."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from api.context import Access
from tests.api.conftest import Serve
from tests.api.staff.conftest import Reader
from tests.api.staff.markup import problems
from tests.model.test_app_launch import task
from tests.support.clinic import Clinic


@pytest.fixture
def ready_url(one_file: str) -> str:
    """The subject is the page."""
    return one_file


@pytest.mark.requirement(101)
@pytest.mark.security("S16", "S25")
def test_an_app_that_opens_by_itself_is_a_link_that_tells_nothing_and_hands_nothing_over(
    serve: Serve, clinic: Clinic, now: datetime
) -> None:
    clinic.patient("rosa", now - timedelta(days=2))
    asked = task("launch-app-standalone", url="https://app.example/launch?a=1&b=%22", context="secret of hers")
    subject = {"for": {"reference": "Patient/rosa"}, "status": "requested", "intent": "order"}
    clinic.put({**asked, **subject, "id": "open-app", "authoredOn": (now - timedelta(hours=1)).isoformat()}, now)
    page = Reader(serve(Access.OPEN)).get("/tasks/open-app")
    link = '<a href="https://app.example/launch?a=1&amp;b=%22" target="_blank" rel="noopener noreferrer external">'
    assert page.text.count(link) == 1
    assert page.text.count("app.example") == 2, "the address, and its words"
    assert "secret of hers" in page.words
    assert problems(page.text) == ["<a> leads to 'https://app.example/launch?a=1&b=%22'"], "the one way out"


@pytest.mark.requirement(101)
@pytest.mark.security("S16", "S25")
def test_the_app_is_named_with_what_it_is_handed_and_no_link_leads_there(
    serve: Serve, clinic: Clinic, now: datetime
) -> None:
    clinic.patient("rosa", now - timedelta(days=2))
    asked = task(url="https://app.example/launch", context='{"a": "<script>"}')
    subject = {"for": {"reference": "Patient/rosa"}, "status": "requested", "intent": "order"}
    clinic.put({**asked, **subject, "id": "open-app", "authoredOn": (now - timedelta(hours=1)).isoformat()}, now)
    page = Reader(serve(Access.OPEN)).get("/tasks/open-app")
    assert page.status == 200
    assert "Open the app https://app.example/launch, from within the EHR" in page.words
    assert 'href="https://app.example' not in page.text
    assert "<script>&#34;" not in page.text
    assert problems(page.text) == []
