"""Queues and the page of operations say so where their numbers do not count all there is."""

from __future__ import annotations

from datetime import datetime

import pytest

from api.context import Access
from fhir_tracker.roles import built_in
from tests.api.conftest import Serve
from tests.api.staff.conftest import Reader, late
from tests.support.clinic import Clinic
from tests.support.launched import Tab, launched, person

SAID = "Only what you may see is counted."
ROLES = [name for name, one in sorted(built_in().items()) if "operations" in one.acts]


@pytest.fixture
def ready_url(one_file: str) -> str:
    """The subject is the page, not the database."""
    return one_file


@pytest.mark.security("S42")
@pytest.mark.parametrize("role", ROLES)
def test_a_role_that_may_not_see_all_is_told(serve: Serve, clinic: Clinic, now: datetime, role: str) -> None:
    tab = Tab(serve(Access.LOCKED), *launched(clinic.database, person(clinic.database, "somebody", role, now=now), now))
    answer = tab.get("/operations")
    assert answer.status_code == 200
    assert (SAID in answer.text) is not built_in()[role].restricted


@pytest.mark.security("S42", "S50")
@pytest.mark.parametrize("role", [name for name, one in sorted(built_in().items()) if "queue" in one.acts])
def test_queues_say_that_they_show_a_part_with_rows_and_without(
    serve: Serve, clinic: Clinic, now: datetime, role: str
) -> None:
    late(clinic, now, "ivo")
    tab = Tab(serve(Access.LOCKED), *launched(clinic.database, person(clinic.database, "somebody", role, now=now), now))
    for page in ("/?tab=team&role=every", "/?tab=done&role=every"):
        assert (SAID.lower()[:-1] in tab.get(page).text.lower()) is not built_in()[role].restricted, page


@pytest.mark.parametrize("page", ["/operations", "/?tab=team&role=every", "/?tab=done&role=every"])
def test_who_sees_all_is_told_of_no_limit(reader: Reader, clinic: Clinic, now: datetime, page: str) -> None:
    late(clinic, now, "ivo")
    assert SAID.lower()[:-1] not in reader.get(page).text.lower()
