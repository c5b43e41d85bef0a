"""Chains, reverse chains, includes by rounds, searches of several types and in a compartment, over HTTP.

https://hl7.org/fhir/R4/search.html#chaining
"""

from __future__ import annotations

import httpx
import pytest

from tests.conformance.stock import task
from tests.conformance.talk import FORM, TAGS, Body, Corner, issue_of, link_of, matches_of

STRICT = {"Prefer": "handling=strict"}


@pytest.fixture(scope="session")
def ward(client: httpx.Client) -> Corner:
    """Two patients, who looks after them, their plans and work."""
    corner = Corner(client)

    def ref(type_: str, short: str) -> Body:
        return {"reference": f"{type_}/{corner.id(short)}"}

    corner.put("Organization", "clinic", name="Reed Clinic")
    corner.put("Practitioner", "reed", name=[{"family": "Reed"}])
    corner.put("Patient", "ann", name=[{"family": "Ash"}], identifier=[{"system": "http://mrn", "value": corner.name}])
    corner.put("Patient", "bob", name=[{"family": "Birch"}], managingOrganization=ref("Organization", "clinic"))
    plan = {"status": "active", "intent": "plan"}
    corner.put("CarePlan", "p", **plan, subject=ref("Patient", "ann"))
    corner.put("CarePlan", "q", **plan, subject=ref("Patient", "bob"))
    ann, bob = ref("Patient", "ann"), ref("Patient", "bob")
    task(
        corner, "a", **{"for": ann}, owner=ref("Practitioner", "reed"), basedOn=[ref("CarePlan", "p")], priority="stat"
    )
    task(
        corner,
        "b",
        **{"for": bob},
        owner=ref("Organization", "clinic"),
        basedOn=[ref("CarePlan", "q")],
        priority="asap",
    )
    task(corner, "c", **{"for": bob}, partOf=[ref("Task", "b")], status="draft")
    task(corner, "d", **{"for": bob}, partOf=[ref("Task", "c")], status="draft")
    return corner


def included(bundle: Body, corner: Corner) -> str:
    """The short names of what came beside the matches, sorted."""
    entries = [one for one in bundle.get("entry", []) if one["search"]["mode"] == "include"]
    return " ".join(sorted(str(one["resource"]["id"]).removeprefix(f"{corner.name}-") for one in entries))


@pytest.mark.requirement(28)
@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("Task?patient.identifier=http://mrn|{corner}", "a"),
        ("Task?patient.name=birch", "b c d"),
        ("Task?subject:Patient.name=birch&status=draft", "c d"),
        ("Task?owner.name=reed", "a b"),
        ("Task?owner:Practitioner.name=reed", "a"),
        ("Task?based-on.subject.name=ash", "a"),
        ("Task?part-of.part-of.patient.name=birch", "d"),
        ("Task?patient.organization.name=reed", "b c d"),
        ("CarePlan?_has:Task:based-on:status=requested", "p q"),
        ("CarePlan?_has:Task:based-on:priority=stat", "p"),
        ("Patient?_has:Task:patient:status=draft", "bob"),
        ("Patient?_has:Task:patient:_has:Task:part-of:status=draft", "bob"),
        ("Patient?_has:Task:patient:owner.name=reed&name=ash", "ann"),
        ("Task?patient.name=nobody", ""),
    ],
)
def test_chains_go_along_references_forward_and_back(ward: Corner, query: str, names: str) -> None:
    assert ward.names(query.format(corner=ward.name)) == names


@pytest.mark.requirement(16, 28)
def test_a_chain_by_post_is_the_chain_by_get(ward: Corner) -> None:
    text = f"_tag={TAGS}|{ward.name}&patient.name=birch&_has:Task:part-of:status=draft"
    got = ward.client.get(f"/Task?{text}").json()
    posted = ward.client.post("/Task/_search", content=text, headers=FORM).json()
    assert matches_of(got) == matches_of(posted)
    assert len(matches_of(got)) == 2
    assert "patient.name=birch" in link_of(got, "self")
    assert link_of(got, "self") == link_of(posted, "self")


@pytest.mark.requirement(19, 28)
@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("patient.colour=x", "colour"),
        ("status.name=x", "no reference"),
        ("part-of.part-of.part-of.part-of.status=x", "up to 3"),
        ("_has:Observation:patient:code=x", "does not refer to Task"),
        ("_has:Task:based-on=x", "_has:Type:reference:parameter"),
    ],
)
def test_a_chain_that_leads_nowhere_is_400_saying_why(client: httpx.Client, query: str, said: str) -> None:
    issue = issue_of(client.get(f"/Task?{query}"), 400)
    assert said in issue["details"]["text"]


@pytest.mark.requirement(27)
@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("Task?priority=stat&_include=Task:owner&_include=Task:based-on&_include=Task:patient", "ann p reed"),
        ("Task?priority=stat&_include=*", "ann p reed"),
        ("Task?priority=asap&_include=Task:owner:Practitioner", ""),
        ("Task?priority=asap&_include=Task:patient&_include:iterate=Patient:organization", "bob clinic"),
        ("Task?_id={d}&_include:iterate=Task:part-of", "b c"),
        ("Task?_id={d}&_include=Task:part-of", "c"),
        ("Patient?name=birch&_revinclude=Task:patient", "b c d"),
        ("Patient?name=birch&_revinclude=CarePlan:patient&_revinclude:iterate=Task:based-on", "b q"),
    ],
)
def test_includes_come_by_rounds_marked_and_not_counted(ward: Corner, query: str, names: str) -> None:
    page = ward.bundle(query.format(d=ward.id("d")) + "&_total=accurate")
    assert included(page, ward) == names
    assert page["total"] == len(matches_of(page)) == 1


@pytest.mark.requirement(30)
@pytest.mark.parametrize(
    ("query", "order"),
    [
        ("Task?_sort=priority,_id", "b a c d"),
        ("Task?_sort=-priority,_id", "a b c d"),
        ("Task?_sort=status,-_id", "d c b a"),
        ("Task?_sort=patient,-_lastUpdated", "a d c b"),
        ("Task?_sort=owner,_id", "b a c d"),
        ("CarePlan?_sort=-subject", "q p"),
    ],
)
@pytest.mark.parametrize("count", [1, 50])
def test_tokens_and_references_can_be_sorted_by(ward: Corner, query: str, order: str, count: int) -> None:
    page = ward.bundle(f"{query}&_count={count}")
    listed = [str(one["id"]) for one in matches_of(page)]
    while following := link_of(page, "next"):
        page = ward.client.get(following).json()
        listed += [str(one["id"]) for one in matches_of(page)]
    assert " ".join(one.removeprefix(f"{ward.name}-") for one in listed) == order


@pytest.mark.requirement(32)
@pytest.mark.parametrize(
    ("place", "names"),
    [
        ("Patient/ann/Task", "a"),
        ("Patient/bob/Task", "d c b"),
        ("Patient/bob/Task?status=draft", "d c"),
        ("Patient/ann/CarePlan", "p"),
        ("Patient/ann/*?_type=Task,CarePlan", "a p"),
        ("Patient/ann/*", "a p ann"),
        ("Patient/bob/Task?patient.name=ash", ""),
    ],
)
def test_a_compartment_holds_its_patients_work(ward: Corner, place: str, names: str) -> None:
    type_, short, rest = place.split("/", 2)
    answer = ward.client.get(f"/{type_}/{ward.id(short)}/{rest}", headers=STRICT)
    found = [str(one["id"]).removeprefix(f"{ward.name}-") for one in matches_of(answer.json())]
    assert " ".join(found) == names
    assert f"/{type_}/{ward.id(short)}/" in link_of(answer.json(), "self")


@pytest.mark.requirement(16, 17, 18, 29)
def test_several_types_are_searched_at_the_base(ward: Corner) -> None:
    text = f"_type=Task,CarePlan&_tag={TAGS}|{ward.name}&subject=Patient/{ward.id('ann')}&_count=1"
    page = ward.client.get(f"?{text}", headers=STRICT).json()
    first = matches_of(page)
    second = matches_of(ward.client.get(link_of(page, "next")).json())
    assert [one["resourceType"] for one in (*first, *second)] == ["Task", "CarePlan"]
    assert "_type=Task,CarePlan" in link_of(page, "self")
    issue_of(ward.client.get(f"?{text}&owner=x", headers=STRICT), 400)
    issue_of(ward.client.get("?_type=Nothing"), 400)


@pytest.mark.requirement(29)
def test_a_page_link_of_another_key_or_search_is_refused(ward: Corner) -> None:
    page = ward.bundle("Task?_count=1")
    following = link_of(page, "next")
    issue_of(ward.client.get(following.replace("_count=1", "_count=1&status=draft")), 400)
    head, _, cursor = following.rpartition("_page=")
    for changed in (cursor[:-2], f"{cursor}A", cursor[::-1], f"{'A' if cursor[0] != 'A' else 'B'}{cursor[1:]}"):
        issue_of(ward.client.get(f"{head}_page={changed}"), 400)


@pytest.mark.requirement(29)
def test_the_self_link_says_the_count_that_was_used(ward: Corner) -> None:
    assert "_count=1000" in link_of(ward.bundle("Task?_count=5000"), "self").split("&")


@pytest.mark.requirement(20, 21, 25)
@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("Task?_id:not={a}", "b c d"),
        ("Task?owner:missing=true&status:not=requested", "c d"),
        ("Task?part-of:missing=true", "a b"),
        ("Task?patient={base}/Patient/{ann}", "a"),
        ("Task?patient={ann}", "a"),
        ("Task?priority:missing=true", "c d"),
        ("Patient?identifier:missing=true", "bob"),
    ],
)
def test_modifiers_and_forms_of_references(ward: Corner, query: str, names: str) -> None:
    base = str(ward.client.base_url).rstrip("/")
    assert ward.names(query.format(a=ward.id("a"), ann=ward.id("ann"), base=base)) == names


@pytest.mark.requirement(20, 23)
@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("ValueSet?url:below=http://{corner}/fhir", "one two"),
        ("ValueSet?url:below=http://{corner}/fh", ""),
        ("ValueSet?url:above=http://{corner}/fhir/vs/x", "one two"),
        ("ValueSet?url=http://{corner}/fhir", "one"),
        ("Patient?identifier:of-type=http://v2|MR|7", "typed"),
        ("Patient?identifier:of-type=http://v2|SS|7", ""),
        ("Location?near=42|-83|10|km", "near"),
        ("Location?near=42|-83|10|m", ""),
        ("ValueSet?_source=http://{corner}/source", "one"),
        ("ValueSet?_profile=http://{corner}/profile", "one"),
        ("ValueSet?_security=http://s|R", "one"),
        ("ValueSet?_tag:not=http://s|R", "one two"),
    ],
)
def test_uris_typed_identifiers_places_and_what_meta_says(client: httpx.Client, query: str, names: str) -> None:
    corner = Corner(client)
    base = f"http://{corner.name}"
    meta = {
        "source": f"{base}/source",
        "profile": [f"{base}/profile"],
        "security": [{"system": "http://s", "code": "R"}],
    }
    corner.put("ValueSet", "one", status="active", url=f"{base}/fhir", meta=meta)
    corner.put("ValueSet", "two", status="active", url=f"{base}/fhir/vs")
    typed = {"type": {"coding": [{"system": "http://v2", "code": "MR"}]}, "value": "7"}
    corner.put("Patient", "typed", identifier=[typed])
    corner.put("Location", "near", position={"latitude": 42.05, "longitude": -83.05})
    assert corner.names(query.format(corner=corner.name)) == names


@pytest.mark.requirement(18)
@pytest.mark.parametrize("name", ["_text", "_content", "_list", "_query", "_filter"])
def test_text_lists_and_named_queries_are_nothing_that_is_known(ward: Corner, name: str) -> None:
    answer = ward.client.get(f"/Task?_tag={TAGS}|{ward.name}&{name}=x")
    assert len(matches_of(answer.json())) == 4
    assert name not in link_of(answer.json(), "self")
    issue_of(ward.client.get(f"/Task?{name}=x", headers=STRICT), 400)


@pytest.mark.requirement(29)
def test_a_total_is_none_exact_or_told_by_a_count(ward: Corner) -> None:
    told = {one: ward.bundle(f"Task?_count=2&_total={one}").get("total") for one in ("none", "accurate", "estimate")}
    assert told == {"none": None, "accurate": 4, "estimate": 4}
    for text in ("_summary=count", "_count=0"):
        page = ward.bundle(f"Task?patient.name=birch&{text}")
        assert (page["total"], page.get("entry")) == (3, None)
