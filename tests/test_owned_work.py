"""Whose work it is when its owner is a role of somebody, a care team or an organization: my work, filters, figures, counts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fhir_tracker import records, staff
from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.sight import EVERYTHING
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.model.work import WorkItem
from fhir_tracker.storage import caseloads, figures, queue, work_items
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.queue import QueueFilter
from tests.storage.samples import NOW, VIEWER, item
from tests.support.clinic import author

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NURSE, OTHER = "Practitioner/n", "Practitioner/o"
OWNERS = {
    "own": NURSE,
    "by-role": "PractitionerRole/n1",
    "by-other-role": "PractitionerRole/n2",
    "others": OTHER,
    "others-role": "PractitionerRole/o1",
    "unknown-role": "PractitionerRole/x",
    "team": "CareTeam/ours",
    "role-team": "CareTeam/of-roles",
    "past-team": "CareTeam/past",
    "over-team": "CareTeam/over",
    "to-be-team": "CareTeam/to-be",
    "others-team": "CareTeam/theirs",
    "house": "Organization/house",
}


def member(ref: str, **period: str) -> dict[str, Any]:
    return {"member": {"reference": ref}, **({"period": period} if period else {})}


def team(id_: str, *members: dict[str, Any], status: str = "active", who: str = "ann") -> dict[str, Any]:
    base = {"resourceType": "CareTeam", "id": id_, "status": status, "subject": {"reference": f"Patient/{who}"}}
    return base | {"participant": list(members)}


def role(id_: str, person: str, **members: Any) -> dict[str, Any]:
    base = {"resourceType": "PractitionerRole", "id": id_, "practitioner": {"reference": person}}
    return base | {"code": [{"coding": [{"code": "rn"}]}]} | members


def late(name: str, owner: str | None) -> WorkItem:
    return item(f"Task/{name}", owner=owner, role="rn", due_at=NOW - HOUR, program="tcm")


@pytest.fixture
def practice(database: Database) -> Database:
    with database.begin() as tx:
        for name, owner in OWNERS.items():
            work_items.save(tx, late(name, owner))
        work_items.save(tx, late("nobodys", None))
        told = [role("n1", NURSE), role("n2", NURSE, active=False), role("o1", OTHER)]
        for one in told:
            records.save(tx, one, author(NOW))
            staff.learn(tx, one)
        for one in (
            team("ours", member(OTHER), member(NURSE)),
            team("of-roles", member("PractitionerRole/n1")),
            team("past", member(NURSE, end=instant(NOW - HOUR))),
            team("to-be", member(NURSE, start=instant(NOW + DAY), end=instant(NOW + 2 * DAY))),
            team("over", member(NURSE), status="inactive"),
            team("theirs", member(OTHER)),
        ):
            records.save(tx, one, author(NOW))
    return database


def listed(database: Database, wanted: QueueFilter, viewer: Viewer = VIEWER, hours: float = 0) -> set[str]:
    with database.read() as tx:
        page = queue.queue(tx, viewer, wanted, NOW + hours * HOUR)
        counted = queue.counts(tx, viewer, wanted, NOW + hours * HOUR).open
    names = {row.item.ref.partition("/")[2] for row in page.rows}
    assert page.total == len(names)
    assert wanted.state != "open" or counted == page.total, "the badge counts what the list shows"
    return names


def test_my_work_is_what_is_mine_my_roles_and_my_teams(practice: Database) -> None:
    mine = QueueFilter(owner=NURSE, teams=True)
    assert listed(practice, mine) == {"own", "by-role", "by-other-role", "team", "role-team"}
    assert listed(practice, QueueFilter(owner=OTHER, teams=True)) == {"others", "others-role", "team", "others-team"}
    assert listed(practice, mine, hours=30) == {"own", "by-role", "by-other-role", "team", "role-team", "to-be-team"}


@pytest.mark.parametrize(
    ("owner", "expected"),
    [
        (NURSE, {"own", "by-role", "by-other-role"}),
        (OTHER, {"others", "others-role"}),
        ("PractitionerRole/n1", {"by-role"}),
        ("PractitionerRole/x", {"unknown-role"}),
        ("CareTeam/ours", {"team"}),
        ("Organization/house", {"house"}),
        ("Practitioner/nobody", set()),
        ("Practitioner/", set()),
        ("' OR 1=1 --", set()),
    ],
)
def test_the_filter_by_an_owner_shows_the_person_with_their_roles(
    practice: Database, owner: str, expected: set[str]
) -> None:
    assert listed(practice, QueueFilter(owner=owner)) == expected


def test_other_filters_narrow_my_work_as_ever(practice: Database) -> None:
    mine = QueueFilter(owner=NURSE, teams=True)
    with practice.begin() as tx:
        work_items.save(tx, late("by-role", "PractitionerRole/n1").having(role="provider"))
        work_items.save(tx, late("team", "CareTeam/ours").having(patient="bob"))
    assert listed(practice, QueueFilter(**{**vars(mine), "role": "provider"})) == {"by-role"}
    assert listed(practice, QueueFilter(**{**vars(mine), "patient": "bob"})) == {"team"}
    assert listed(practice, QueueFilter(**{**vars(mine), "state": "hold"})) == set()


def test_who_sees_one_patient_learns_of_no_team_of_another(practice: Database) -> None:
    locked = Viewer(who=NURSE, roles=frozenset({"rn"}), patient="bob", sight=EVERYTHING)
    with practice.begin() as tx:
        work_items.save(tx, late("team", "CareTeam/ours").having(patient="bob"))
        work_items.save(tx, late("own", NURSE).having(patient="bob"))
    assert listed(practice, QueueFilter(owner=NURSE, teams=True), locked) == {"own"}


def test_a_role_that_passes_to_somebody_else_takes_its_work_along(practice: Database) -> None:
    with practice.begin() as tx:
        staff.learn(tx, role("n1", OTHER))
    assert "by-role" not in listed(practice, QueueFilter(owner=NURSE))
    assert "by-role" in listed(practice, QueueFilter(owner=OTHER))


def test_each_number_of_late_work_by_owner_opens_a_list_of_as_many(practice: Database) -> None:
    with practice.read() as tx:
        found = figures.overdue(tx, VIEWER, NOW, "owner")
    assert {one.row: one.count for one in found}[NURSE] == 3
    assert sum(one.count for one in found) == len(OWNERS) + 1
    for one in found:
        assert len(listed(practice, one.opens)) == one.count, one


def test_what_a_person_may_have_counts_the_work_of_their_roles(practice: Database) -> None:
    with practice.read() as tx:
        assert caseloads.open_counts(tx, VIEWER, [NURSE, OTHER]) == {NURSE: 3, OTHER: 2}
