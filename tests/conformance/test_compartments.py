"""Searches of everything here and of what is in the compartment of a resource.

https://hl7.org/fhir/R4/compartmentdefinition.html
"""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx
import pytest

from tests.conformance.talk import FORM, TAGS, Body, Corner, issue_of, link_of, matches_of


@pytest.fixture
def stocked(corner: Corner) -> Corner:
    """Two patients with a Task, an Observation and an Appointment each, an Encounter and a practitioner."""
    for who in ("ann", "bob"):
        patient = {"reference": f"Patient/{corner.id(who)}"}
        corner.put("Patient", who, active=True)
        corner.put("Task", f"task-{who}", status="requested", intent="order", **{"for": patient})
        corner.put("Observation", f"seen-{who}", status="final", code={"text": "x"}, subject=patient)
        corner.put(
            "Appointment", f"visit-{who}", status="proposed", participant=[{"actor": patient, "status": "accepted"}]
        )
    corner.put(
        "Encounter",
        "stay",
        status="finished",
        subject={"reference": f"Patient/{corner.id('ann')}"},
        participant=[{"individual": {"reference": f"Practitioner/{corner.id('nurse')}"}}],
        **{"class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"}},
    )
    corner.put("Practitioner", "nurse", active=True)
    corner.put(
        "Observation",
        "stay-seen",
        status="final",
        code={"text": "x"},
        encounter={"reference": f"Encounter/{corner.id('stay')}"},
    )
    return corner


def found(corner: Corner, path: str, query: str = "") -> list[str]:
    """The short names of what a search finds in this corner, sorted."""
    bundle = asked(corner, path, query)
    return sorted(str(one["id"]).removeprefix(f"{corner.name}-") for one in matches_of(bundle))


def asked(corner: Corner, path: str, query: str = "") -> Body:
    answer = corner.client.get(f"/{path}?_tag={TAGS}|{corner.name}{query}", headers={"Prefer": "handling=strict"})
    assert answer.status_code == 200, answer.text[:300]
    body: Body = answer.json()
    return body


@pytest.mark.requirement(32)
def test_a_task_is_in_the_compartment_of_the_patient_it_is_for(stocked: Corner) -> None:
    ann = f"Patient/{stocked.id('ann')}"
    assert found(stocked, f"{ann}/Task") == ["task-ann"]
    assert found(stocked, f"{ann}/Task", "&status=requested") == ["task-ann"]
    assert found(stocked, f"{ann}/Task", "&status=completed") == []
    assert found(stocked, f"{ann}/Appointment") == ["visit-ann"]


@pytest.mark.requirement(32)
def test_a_star_gives_everything_in_the_compartment_with_the_resource_itself(stocked: Corner) -> None:
    ann = f"Patient/{stocked.id('ann')}"
    assert found(stocked, f"{ann}/*") == ["ann", "seen-ann", "stay", "task-ann", "visit-ann"]
    assert found(stocked, f"{ann}/*", "&_type=Task,Observation") == ["seen-ann", "task-ann"]
    assert found(stocked, f"{ann}/Patient") == ["ann"]


@pytest.mark.requirement(32)
def test_encounters_and_practitioners_have_compartments_too(stocked: Corner) -> None:
    assert found(stocked, f"Encounter/{stocked.id('stay')}/Observation") == ["stay-seen"]
    assert found(stocked, f"Practitioner/{stocked.id('nurse')}/Encounter") == ["stay"]
    assert found(stocked, f"Practitioner/{stocked.id('nurse')}/Observation") == []
    for other in ("RelatedPerson", "Device"):
        assert found(stocked, f"{other}/{stocked.id('none')}/*") == []


@pytest.mark.requirement(16, 32)
def test_a_compartment_is_searched_by_post_and_paged_by_get(stocked: Corner) -> None:
    address = f"/Patient/{stocked.id('ann')}/*"
    form = f"_tag={TAGS}|{stocked.name}&_count=2"
    page = stocked.client.post(f"{address}/_search", content=form, headers=FORM).json()
    assert urlsplit(link_of(page, "self")).path.endswith("/*")
    names = [one["id"] for one in matches_of(page)]
    while link_of(page, "next"):
        page = stocked.client.get(link_of(page, "next")).json()
        names += [one["id"] for one in matches_of(page)]
    assert sorted(names) == sorted(stocked.id(one) for one in ("ann", "seen-ann", "stay", "task-ann", "visit-ann"))


@pytest.mark.requirement(32)
def test_a_page_link_of_one_compartment_is_no_link_of_another(stocked: Corner) -> None:
    page = asked(stocked, f"Patient/{stocked.id('ann')}/*", "&_count=1")
    issue_of(stocked.client.get(link_of(page, "next").replace(stocked.id("ann"), stocked.id("bob"))), 400)


@pytest.mark.requirement(2, 32)
@pytest.mark.parametrize(
    "path",
    [
        "Patient/x/Medication",
        "Patient/x/Nope",
        "Patient/x/task",
        "Task/x/Patient",
        "Task/x/*",
        "Encounter/x/Task",
        "Nope/x/Task",
    ],
)
def test_what_is_in_no_compartment_is_404(client: httpx.Client, path: str) -> None:
    issue_of(client.get(f"/{path}"), 404)


@pytest.mark.requirement(16, 23)
def test_everything_here_is_searched_by_type_and_by_common_parameters(stocked: Corner) -> None:
    assert found(stocked, "", "&_type=Task") == ["task-ann", "task-bob"]
    assert found(stocked, "", "&_type=Practitioner,Encounter") == ["nurse", "stay"]
    assert len(found(stocked, "")) == 11
    assert found(stocked, "", f"&_id={stocked.id('nurse')}") == ["nurse"]
    form = f"_type=Task&_tag={TAGS}|{stocked.name}"
    posted = stocked.client.post("/_search", content=form, headers=FORM).json()
    assert [one["id"] for one in matches_of(posted)] == [
        one["id"] for one in matches_of(asked(stocked, "", "&_type=Task"))
    ]


@pytest.mark.requirement(17, 29)
def test_a_search_of_everything_is_paged_and_its_links_are_of_the_base(stocked: Corner) -> None:
    page = asked(stocked, "", "&_count=3")
    names: list[str] = []
    for _ in range(10):
        assert urlsplit(link_of(page, "self")).path == "/fhir"
        assert {one["search"]["mode"] for one in page["entry"]} == {"match"}
        names += [one["id"] for one in matches_of(page)]
        if not link_of(page, "next"):
            break
        page = stocked.client.get(link_of(page, "next")).json()
    assert len(names) == len(set(names)) == 11


@pytest.mark.requirement(18, 19)
@pytest.mark.parametrize("query", ["_type=Nope", "_type=Task,patient", "_lastUpdated=x"])
def test_a_search_of_everything_that_cannot_be_is_400(client: httpx.Client, query: str) -> None:
    issue_of(client.get(f"/?{query}"), 400)


@pytest.mark.requirement(18)
def test_a_parameter_that_not_all_types_have_is_unknown_in_a_search_of_everything(client: httpx.Client) -> None:
    issue_of(client.get("/?_type=Task,Patient&birthdate=2020", headers={"Prefer": "handling=strict"}), 400)
    lenient = client.get("/?_type=Task,Patient&birthdate=2020&_count=1").json()
    assert "birthdate" not in link_of(lenient, "self")
    assert [one for one in lenient["entry"] if one["search"]["mode"] == "outcome"]
