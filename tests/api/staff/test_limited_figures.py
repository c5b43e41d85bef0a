"""The page of operations says so where its numbers do not count all there is."""

from __future__ import annotations

from datetime import datetime

import pytest

from api.context import Access
from fhir_tracker.roles import built_in
from tests.api.conftest import Serve
from tests.api.staff.conftest import Reader
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


def test_who_sees_all_is_told_of_no_limit(reader: Reader, clinic: Clinic) -> None:
    assert SAID not in reader.get("/operations").text
