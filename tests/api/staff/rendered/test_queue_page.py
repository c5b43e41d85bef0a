from __future__ import annotations

import re
from datetime import datetime, timedelta

import pytest

from api.context import Access
from fhir_tracker import records
from tests.api.conftest import Serve
from tests.api.staff.conftest import Reader
from tests.api.staff.markup import Node, tree
from tests.api.staff.rendered.conftest import HEBREW, LONG, World, task
from tests.support.clinic import Clinic, author


def rows(page: str) -> list[Node]:
    """The rows of a queue."""
    return [node for node in tree(page).all("li") if "row" in node.attrs.get("class", "").split()]


def part(row: Node, name: str) -> str:
    """The words of one part of a row."""
    (found,) = [node for node in row.walk() if node.attrs.get("class") == name]
    return found.text


def row_of(page: str, title: str, person: str = "") -> Node:
    (found,) = [row for row in rows(page) if title in part(row, "c-work") and person in part(row, "c-person")]
    return found


@pytest.mark.parametrize("path", ["/", "/?tab=all", "/pulse", "/pulse?tab=all"])
def test_nobody_logged_in_sees_no_queue(serve: Serve, path: str) -> None:
    assert serve(Access.LOCKED).get(path).status_code == 401


@pytest.mark.parametrize("role", ["rn", "care-coordinator", "provider", "front-desk", "clinic-admin"])
def test_each_role_begins_with_its_own_team(world: World, role: str) -> None:
    page = world.colleague(role).get("/")
    teams = {part(row, "c-owner") for row in rows(page.text)}
    heading = tree(page.text).all("h1")[0].text
    assert heading.lower() == f"team {role.replace('-', ' ')}"
    assert all(text.lower() == f"team {role.replace('-', ' ')}" for text in teams)
    assert bool(rows(page.text)) is (role in ("rn", "care-coordinator"))
    assert f"{role.replace('-', '').capitalize()} Synthetic" in page.words


def test_a_row_names_patient_work_status_due_owner_and_step(world: World) -> None:
    row = row_of(world.reader().get("/?role=care-coordinator").text, "First call", "rosa")
    assert part(row, "c-person").startswith("rosa Synthetic")
    assert part(row, "c-work") == "First call Ring after discharge"
    assert part(row, "c-status") == "To call Nobody has tried the patient yet"
    assert part(row, "c-due").startswith("3 days late")
    assert "waiting 5 days" in part(row, "c-due")
    assert part(row, "c-owner") == "Team Care coordinator"
    assert part(row, "c-action") == "Claim"
    assert re.search(r"Escalated, level 1: .*1 attempt, no answer", part(row, "c-more"))
    assert part(row, "c-state") == "late"


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("?tab=hold", {"ivo"}),
        ("?tab=done&role=care-coordinator", {"mia"}),
        ("?tab=unassigned&role=care-coordinator", {"rosa", "ivo", "fred"}),
        ("?state=late&role=care-coordinator", {"rosa"}),
        ("?status=waiting", {"ivo"}),
        ("?q=rosa&role=care-coordinator", {"rosa"}),
        ("?q=FIRST+call+ivo&role=care-coordinator", {"ivo"}),
        ("?state=due-week&role=care-coordinator", {"fred"}),
        ("?tab=mine", set()),
    ],
)
def test_a_tab_or_filter_lists_what_it_says(world: World, query: str, shown: set[str]) -> None:
    page = world.reader().get(f"/{query}")
    assert {part(row, "c-person").split()[0] for row in rows(page.text)} == shown


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("?tab=mine", "You have no open work. Claim something from your team's queue."),
        ("?q=zebra", "Nothing matches these filters. Take one away above, or show all."),
        ("?role=provider", "Team Provider has no open work. Work appears by itself"),
        ("?tab=hold&role=rn", "Nothing is on hold. Work appears by itself"),
        ("?tab=done&role=provider", "Nothing was closed yet."),
        ("?tab=escalated&role=provider", "Nothing is escalated."),
        ("?tab=unassigned&role=provider", "Somebody has everything here."),
    ],
)
def test_an_empty_list_says_why_and_what_would_fill_it(world: World, query: str, why: str) -> None:
    page = world.reader().get(f"/{query}")
    assert rows(page.text) == []
    assert why in page.words


def test_a_count_beside_a_tab_is_the_length_of_its_list(world: World) -> None:
    reader = world.reader()
    for role in ("every", "care-coordinator", "rn", "front-desk"):
        tabs = [node for node in tree(reader.get(f"/?role={role}").text).all("nav") if node.name == "Queues"]
        counted = [(link.attrs["href"], link.text) for link in tabs[0].all("a") if link.text.split()[-1].isdigit()]
        assert len(counted) == 5
        for href, text in counted:
            assert len(rows(reader.get(href).text)) == int(text.split()[-1]), (role, href)


def test_every_filter_can_be_taken_away_alone(world: World) -> None:
    page = world.reader().get("/?state=late&q=rosa&role=care-coordinator&program=ring")
    pills = [link for link in tree(page.text).all("a") if link.attrs.get("class") == "pill"]
    assert {link.name for link in pills} == {
        "Remove filter Late",
        "Remove filter Search: rosa",
        "Remove filter Program: Ring after discharge",
    }
    for link in pills:
        left = tree(world.reader().get(link.attrs["href"]).text).all("a")
        assert len([one for one in left if one.attrs.get("class") == "pill"]) == 2


def test_each_status_that_can_be_chosen_has_its_definition(world: World) -> None:
    page = tree(world.reader().get("/").text)
    (select,) = [node for node in page.all("select") if node.attrs["name"] == "status"]
    titles = {option.text: option.attrs.get("title") for option in select.all("option") if option.attrs["value"]}
    assert titles == {one.title: one.means for one in world.clinic.program.statuses}


@pytest.mark.parametrize(
    "query",
    [
        "?tab=nonsense",
        "?state=nonsense",
        "?role=nonsense",
        "?tab=mine&tab=team",
        "?q=%25%5F%5C",
        "?q=%00",
        "?flag=%22%5D",
        "?status=" + "x" * 3000,
        "?program=%27%3B+drop+table",
        "?owner=Practitioner%2F..%2F..",
        "?kind=plan",
        "?kind=nonsense",
        "?said=%3Cscript%3E",
        "?" + "&".join(f"a{n}=1" for n in range(300)),
        "?q=" + "%F0%9F%A7%91" * 50,
    ],
)
def test_an_odd_address_is_answered_with_a_list(world: World, query: str) -> None:
    page = world.reader().get(f"/{query}")
    assert page.status == 200
    assert "<script>" not in page.text


@pytest.mark.parametrize(
    "after", ["x", "1", ".", "1.", ".1", "-1.-1.1", "9" * 40 + ".1", "1.1; drop", "\u0661.x", "1e9.1", "null", "1.NaN"]
)
@pytest.mark.parametrize("path", ["/", "/pulse"])
def test_a_forged_place_is_refused_in_a_sentence(world: World, path: str, after: str) -> None:
    page = world.reader().get(f"{path}?after={after}")
    assert page.status == 400
    assert "The place to go on from is not one this queue gave." in page.words


@pytest.mark.parametrize("name", [LONG, HEBREW, "\U0001f9d1\u200d\u2695\ufe0f", "O'Neil & <Sons>"])
def test_names_of_every_kind_are_shown_and_found(reader: Reader, clinic: Clinic, now: datetime, name: str) -> None:
    clinic.put({"resourceType": "Patient", "id": "odd", "name": [{"text": name}]}, now)
    clinic.put(task("job", **{"for": {"reference": "Patient/odd"}}), now)
    page = reader.get("/")
    assert part(row_of(page.text, "job"), "c-person").startswith(" ".join(name.split()))
    assert len(rows(reader.client.get("/", params={"q": name.split()[0]}).text)) == 1


def test_work_without_a_due_time_or_patient_says_so_and_stands_last(world: World) -> None:
    page = world.reader().get("/").text
    row = row_of(page, "nobodys")
    assert part(row, "c-due").startswith("no due date")
    assert part(row, "c-person") == "No patient"
    assert part(row, "c-owner") == "Team none"
    states = [part(one, "c-due") for one in rows(page)]
    first = next(n for n, text in enumerate(states) if text.startswith("no due date"))
    assert all("late" not in text for text in states[first:])


def test_an_ehrs_work_is_listed_and_only_opened(world: World) -> None:
    row = row_of(world.reader().get("/").text, "ehrs")
    assert part(row, "c-work") == "ehrs From the EHR"
    assert part(row, "c-action") == "Open"
    assert row.all("form") == []


def test_a_paused_row_says_until_when_and_is_never_late(world: World) -> None:
    row = row_of(world.reader().get("/?tab=hold").text, "First call", "ivo")
    assert "until" in part(row, "c-status")
    assert "late" not in row.attrs["class"].split()
    assert part(row, "c-state") == "on hold"


def test_hundreds_of_rows_come_fifty_at_a_time_and_each_once(reader: Reader, clinic: Clinic, now: datetime) -> None:
    with clinic.database.begin() as tx:
        for number in range(260):
            records.save(tx, task(f"j{number:04}"), author(now))
    seen: list[str] = []
    path = "/"
    for _ in range(6):
        page = reader.get(path)
        seen += [part(row, "c-work").split()[0] for row in rows(page.text)]
        following = [node.attrs["href"] for node in tree(page.text).all("a") if node.attrs.get("rel") == "next"]
        path = following[0] if following else ""
    assert path == ""
    assert len(seen) == len(set(seen)) == 260
    assert "50 of 260" in reader.get("/").words


def test_a_page_further_on_leads_back_to_the_first(reader: Reader, clinic: Clinic, now: datetime) -> None:
    for number in range(51):
        clinic.put(task(f"j{number}"), now)
    (following,) = [
        node.attrs["href"] for node in tree(reader.get("/").text).all("a") if node.attrs.get("rel") == "next"
    ]
    second = reader.get(following)
    assert "first page" in second.words
    assert len(rows(second.text)) == 1


def test_the_pulse_of_a_list_names_exactly_its_rows(world: World) -> None:
    reader = world.reader()
    for query in ("", "?tab=hold", "?q=rosa", "?tab=done", "?tab=mine"):
        page = reader.get(f"/{query}").text
        drawn = {row.attrs["data-key"]: row.attrs["data-digest"] for row in rows(page)}
        (address,) = [node.attrs["data-pulse"] for node in tree(page).walk() if "data-pulse" in node.attrs]
        answer = reader.client.get(address)
        assert answer.json() == {"rows": drawn, "whole": True}
        assert answer.headers["cache-control"] == "no-store"
        assert reader.client.get(address, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304


def test_escalations_stand_among_what_is_late(reader: Reader, clinic: Clinic, now: datetime) -> None:
    clinic.patient("rosa", now - timedelta(days=6))
    clinic.discharge("rosa", now - timedelta(days=5))
    clinic.sweep(now)
    clinic.put(task("nobodys"), now)
    titles = [part(row, "c-work") for row in rows(reader.get("/").text)]
    assert [title.split()[0] for title in titles] == ["First", "Escalation:", "nobodys"]
