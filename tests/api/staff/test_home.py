"""Where each role begins, with and without an open chart; nobody begins at a page that is shut to them."""

from __future__ import annotations

from datetime import datetime

import pytest
from starlette.testclient import TestClient

from fhir_tracker import accounts, roles
from fhir_tracker.storage.accounts import Account
from fhir_tracker.storage.database import Database
from tests.api.staff.markup import problems
from tests.support.clinic import Clinic
from tests.support.launched import Tab, launched

BEGINS = {
    "rn": "",
    "care-coordinator": "",
    "provider": "",
    "front-desk": "",
    "clinic-admin": "",
    "auditor": "/audit",
    "counts": "/operations",
    "reads": "/programs",
    "keys": "/setup",
    "sorts": "/quarantine",
    "sends": "/outbox",
}
OWN = """
roles:
  - {role: counts, may: [Task.rs], acts: [operations]}
  - {role: reads, may: [Task.rs], acts: [programs]}
  - {role: keys, may: [Task.rs], acts: [clients]}
  - {role: sorts, may: [Task.rs], acts: [quarantine]}
  - {role: sends, may: [Task.rs], acts: [outbox]}
  - {role: nothing, may: [Task.rs]}
"""


@pytest.fixture
def ready_url(one_file: str) -> str:
    """The subject is the page."""
    return one_file


def somebody(database: Database, now: datetime, role: str) -> Account:
    with database.begin() as tx:
        roles.load(tx, OWN, name="own", at=now, by="a test")
        known = roles.defined(tx)
        user = "Practitioner/some"
        made, _ = accounts.add(tx, "Some Body", (role,), known=known, now=now, connection="north", fhir_user=user)
    return made


@pytest.mark.security("A1")
@pytest.mark.parametrize(("role", "place"), BEGINS.items())
def test_each_role_begins_at_the_first_place_that_is_open_to_it(
    north: TestClient, clinic: Clinic, now: datetime, role: str, place: str
) -> None:
    tab = Tab(north, *launched(clinic.database, somebody(clinic.database, now, role), now))
    first = tab.get("/")
    assert first.headers.get("location", "") == (f"{tab.prefix}{place}" if place else "")
    shown = tab.get(place or "/")
    assert shown.status_code == 200
    assert tab.get("/open").headers["location"] == f"{tab.prefix}{place or '/'}"


def test_who_may_open_nothing_is_told_so(north: TestClient, clinic: Clinic, now: datetime) -> None:
    tab = Tab(north, *launched(clinic.database, somebody(clinic.database, now, "nothing"), now))
    page = tab.get("/")
    assert (page.status_code, "Your role may not" in page.text, problems(page.text)) == (403, True, [])


@pytest.mark.requirement(94)
@pytest.mark.parametrize(
    ("role", "page"), [("rn", ""), ("front-desk", ""), ("clinic-admin", ""), ("auditor", "/access")]
)
def test_a_chart_opens_the_patient_or_for_auditors_who_looked_at_them(
    north: TestClient, clinic: Clinic, now: datetime, role: str, page: str
) -> None:
    clinic.patient("rosa", now)
    account = somebody(clinic.database, now, role)
    tab = Tab(north, *launched(clinic.database, account, now, patient="rosa"))
    there = f"{tab.prefix}/patients/rosa{page}"
    assert tab.get("/open").headers["location"] == tab.get("/").headers["location"] == there
    shown = tab.get(f"/patients/rosa{page}")
    assert (shown.status_code, problems(shown.text)) == (200, [])
    assert f'href="{there}"' in shown.text
