"""Writes stay within what their author may reach: nothing moves in or out, is signed by another, or tells what is hidden."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from fhir_tracker import flags
from fhir_tracker.errors import TrackerError
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.grants import grants_of
from fhir_tracker.model.policy import Policy
from fhir_tracker.model.sight import sight_of
from fhir_tracker.model.viewer import Viewer, open_viewer
from fhir_tracker.model.vocabulary import FLAG_SYSTEM
from fhir_tracker.storage.database import Database
from tests.support.asking import Asker, holder, member, told

ROLE = "https://fhir-tracker.example/CodeSystem/role"
CREATOR = open_viewer()
APP = holder("patient/*.cruds", patient="ann", who="Patient/ann")
NURSE = member("rn", who="Practitioner/nurse")
PATCH = {"content-type": "application/json-patch+json"}


def task(id_: str, of: str, **members: Any) -> Resource:
    base = {"resourceType": "Task", "id": id_, "status": "requested", "intent": "order"}
    return {**base, "for": {"reference": f"Patient/{of}"}, **members}


@pytest.fixture
def asker(database: Database) -> Asker:
    """Two patients with a task each; asked by whoever made them."""
    one = Asker(database=database, viewer=CREATOR)
    one.put(
        {"resourceType": "Patient", "id": "ann"},
        {"resourceType": "Patient", "id": "bob"},
        {"resourceType": "Practitioner", "id": "nurse"},
        task("hers", "ann", identifier=[{"system": "urn:s", "value": "1"}]),
        task("bobstask", "bob", identifier=[{"system": "urn:s", "value": "2"}]),
    )
    return one


def version(asker: Asker, ref: str) -> str:
    return str(asker.as_viewer(CREATOR).read(ref)["meta"]["versionId"])


@pytest.mark.security("S41", "A4", "M3")
@pytest.mark.requirement(86)
@pytest.mark.parametrize(("method", "address"), [
    ("GET", "Task/bobstask"), ("GET", "Task/bobstask/_history"), ("GET", "Task/bobstask/_history/1"), ("PUT", "Task/bobstask"),
    ("PATCH", "Task/bobstask"), ("DELETE", "Task/bobstask"), ("GET", "Patient/bob"), ("PUT", "Patient/bob"), ("DELETE", "Patient/bob"),
    ("POST", "Task/bobstask/$undo"), ("GET", "Task/bobstask/$options"),
])  # fmt: skip
def test_what_is_another_patients_is_not_there(asker: Asker, method: str, address: str) -> None:
    app, type_ = asker.as_viewer(APP), address.partition("/")[0]
    id_ = address.split("/")[1]
    body: Any = {"PUT": task("bobstask", "ann") if type_ == "Task" else {"resourceType": "Patient", "id": id_}}.get(
        method
    )
    headers = PATCH if method == "PATCH" else {}
    body = [{"op": "replace", "path": "/status", "value": "completed"}] if method == "PATCH" else body
    hidden = app.ask(method, address, body, headers)
    absent_body = json.loads(json.dumps(body).replace(f'"{id_}"', '"nobody"')) if body else body
    absent = app.ask(method, address.replace(id_, "nobody"), absent_body, headers)
    assert (hidden.status, absent.status) == (404, 404)
    assert hidden.body.replace(id_.encode(), b"nobody") == absent.body
    assert version(asker, "Task/bobstask") == "1"


@pytest.mark.security("S45", "S41")
@pytest.mark.parametrize("viewer", [APP, holder("patient/Task.cruds", patient="ann")], ids=["app", "one-type"])
def test_nothing_is_moved_to_another_patient_or_taken_from_one(asker: Asker, viewer: Viewer) -> None:
    app = asker.as_viewer(viewer)
    moved = {**app.read("Task/hers"), "for": {"reference": "Patient/bob"}}
    assert app.ask("PUT", "Task/hers", moved).status == 403
    patch = [{"op": "replace", "path": "/for/reference", "value": "Patient/bob"}]
    assert app.ask("PATCH", "Task/hers", patch, PATCH).status in (403, 422)
    nobodys = {key: value for key, value in moved.items() if key != "for"}
    assert app.ask("PUT", "Task/hers", nobodys).status in (403, 200)
    assert asker.read("Task/hers")["for"] == {"reference": "Patient/ann"}
    for other in ("bob", "nobody"):
        made = app.ask("POST", "Task", task("x", other))
        assert made.status == 403, other
    assert app.ask("POST", "Task", {"resourceType": "Task", "status": "requested", "intent": "order"}).status == 403


@pytest.mark.security("S45", "S41")
def test_conditional_writes_find_nothing_of_another_patient(asker: Asker) -> None:
    app = asker.as_viewer(APP)
    his = {
        key: value
        for key, value in task("x", "bob", identifier=[{"system": "urn:s", "value": "2"}]).items()
        if key != "id"
    }
    assert app.ask("PUT", "Task?identifier=urn:s|2", his).status == 403
    assert app.ask("DELETE", "Task?identifier=urn:s|2").status == 204
    assert app.ask("PATCH", "Task?identifier=urn:s|2", [{"op": "remove", "path": "/for"}], PATCH).status == 404
    made = app.ask(
        "POST", "Task", {**his, "for": {"reference": "Patient/ann"}}, {"if-none-exist": "identifier=urn:s|2"}
    )
    assert made.status == 201
    assert version(asker, "Task/bobstask") == "1"


@pytest.mark.security("S42", "S45")
@pytest.mark.parametrize("name", ["Task/bobstask", "Patient/bob", "Task/nobody", "Observation/nobody"])
def test_a_confined_caller_refers_to_nothing_of_another_patient(asker: Asker, name: str) -> None:
    app = asker.as_viewer(APP)
    answer = app.ask("POST", "Task", task("x", "ann", focus={"reference": name}))
    assert answer.status == 403
    assert "focus" in told(answer)
    assert app.ask("POST", "Task", task("x", "ann", focus={"reference": "Task/hers"})).status == 201
    assert app.ask("POST", "Task", task("x", "ann", owner={"reference": "Practitioner/nurse"})).status == 201
    entry = {"resource": task("x", "ann", focus={"reference": name}), "request": {"method": "POST", "url": "Task"}}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    assert app.ask("POST", "", bundle).status == (201 if "Observation" in name else 403) or name.endswith("nobody")


@pytest.mark.security("S44")
@pytest.mark.requirement(84)
def test_a_scope_with_a_query_holds_before_and_after_a_write(asker: Asker) -> None:
    system = asker.as_viewer(holder("system/Task.cruds?status=requested"))
    read = system.read("Task/hers")
    assert system.ask("PUT", "Task/hers", {**read, "description": "x"}).status == 200
    assert system.ask("PUT", "Task/hers", {**read, "status": "received"}).status == 403
    assert system.ask("POST", "Task", {**task("x", "ann"), "status": "draft"}).status == 403
    asker.put(task("going", "ann", status="in-progress"))
    assert system.ask("PUT", "Task/going", task("going", "ann")).status == 404
    assert system.ask("DELETE", "Task/going").status == 404


@pytest.mark.security("S9", "S40")
@pytest.mark.parametrize(("scope", "method", "wanted"), [
    ("system/Task.r", "PUT", 403), ("system/Task.c", "PUT", 403), ("system/Task.u", "PUT", 200),
    ("system/Task.u", "DELETE", 403), ("system/Task.d", "DELETE", 204), ("system/Task.read", "DELETE", 403),
    ("system/Task.write", "PUT", 200), ("system/*.read", "PUT", 403), ("system/Observation.cruds", "PUT", 403),
])  # fmt: skip
def test_each_letter_lets_do_its_own(asker: Asker, scope: str, method: str, wanted: int) -> None:
    system = asker.as_viewer(holder(scope))
    answer = system.ask(method, "Task/hers", task("hers", "ann") if method == "PUT" else None)
    assert answer.status == wanted, told(answer)
    if scope == "system/Task.u" and method == "PUT":
        assert answer.body == b"", "who may not read gets nothing back"


@pytest.mark.security("S9", "S40", "S44")
@pytest.mark.requirement(83)
@pytest.mark.parametrize(("scope", "by_id", "by_condition"), [
    ("system/Task.u", 201, 403), ("system/Task.us", 201, 201), ("system/Task.write", 201, 403), ("system/*.cruds", 201, 201),
    ("system/Task.c", 403, 403), ("system/Task.cs", 403, 403), ("system/Task.rs", 403, 403), ("system/Task.crds", 403, 403),
    ("system/Task.us?status=requested", 404, 201), ("system/Task.us?status=draft", 404, 403),
    ("system/Task.us system/Task.us?status=draft", 201, 201), ("system/Communication.cruds", 403, 403),
])  # fmt: skip
def test_an_update_that_makes_something_new_is_an_update_to_a_system(
    asker: Asker, scope: str, by_id: int, by_condition: int
) -> None:
    system, unnamed = asker.as_viewer(holder(*scope.split())), {**task("", "ann")}
    del unnamed["id"]
    before = held(asker)
    for number, wanted in enumerate((by_id, by_condition)):
        ways = [("Task/new-1", task("new-1", "ann")), ("Task/new-2", task("new-2", "ann"))]
        ways = ways if number == 0 else [(f"Task?identifier=urn:s|{one}", unnamed) for one in (8, 9)]
        assert system.ask("PUT", *ways[0]).status == wanted, told(system.ask("PUT", *ways[0]))
        entry = {"resource": ways[1][1], "request": {"method": "PUT", "url": ways[1][0]}}
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
        assert system.ask("POST", "", bundle).status == (200 if wanted == 201 else wanted)
    assert held(asker) - before == 2 * (by_id == 201) + 2 * (by_condition == 201)


def held(asker: Asker) -> int:
    """How many tasks there are."""
    total: int = asker.as_viewer(CREATOR).read("Task?_summary=count")["total"]
    return total


@pytest.mark.security("S40", "S45")
@pytest.mark.requirement(83, 89)
def test_a_role_that_may_change_and_not_create_makes_nothing_new_by_an_update(asker: Asker) -> None:
    policy = Policy(grants=grants_of(["user/Task.rus"]), restricted=True)
    person = asker.as_viewer(replace(NURSE, sight=sight_of(None, policy, None)))
    new = task("brand-new", "ann", requester={"reference": NURSE.who})
    for address in ("Task/brand-new", "Task?identifier=urn:s|3"):
        answer = person.ask("PUT", address, new)
        assert (answer.status, "create a Task" in told(answer)) == (403, True), address
    assert person.ask("PUT", "Task/hers", task("hers", "ann", description="x")).status == 200


@pytest.mark.security("S45")
@pytest.mark.requirement(130)
@pytest.mark.parametrize(("change", "named"), [
    ({"requester": {"reference": "Practitioner/boss"}}, "Task.requester"),
    ({"requester": {"display": "The boss"}}, "Task.requester"),
    ({"note": [{"text": "x", "authorReference": {"reference": "Practitioner/boss"}}]}, "Task.note.author[x]"),
    ({"note": [{"text": "x", "authorString": "The boss"}]}, "Task.note.author[x]"),
])  # fmt: skip
def test_a_person_signs_as_nobody_else(asker: Asker, change: Resource, named: str) -> None:
    nurse = asker.as_viewer(NURSE)
    answer = nurse.ask("POST", "Task", task("x", "ann", **change))
    assert (answer.status, named in told(answer)) == (403, True)


@pytest.mark.security("S45", "A2")
def test_a_task_that_a_person_files_says_who_asked(asker: Asker) -> None:
    made = json.loads(asker.as_viewer(NURSE).ask("POST", "Task", task("x", "ann")).body)
    assert made["requester"] == {"reference": "Practitioner/nurse"}
    sent = {"resourceType": "Communication", "status": "completed", "subject": {"reference": "Patient/ann"}}
    forged = asker.as_viewer(NURSE).ask("POST", "Communication", {**sent, "sender": {"reference": "Practitioner/boss"}})
    assert forged.status == 403
    system = asker.as_viewer(holder("system/Task.cruds"))
    named = system.ask("POST", "Task", task("x", "ann", requester={"reference": "Practitioner/boss"}))
    assert named.status == 201


@pytest.mark.security("S45")
@pytest.mark.parametrize("viewer", [NURSE, holder("system/Task.cruds")], ids=["nurse", "system"])
def test_the_source_is_the_servers_and_labels_stay(asker: Asker, viewer: Viewer) -> None:
    label = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HTEST"}
    asker.put(task("hers", "ann", meta={"source": "urn:here", "security": [label]}))
    one = asker.as_viewer(viewer)
    forged = {
        **task("hers", "ann"),
        "meta": {"source": "https://ehr.example.org", "versionId": "77"},
        "description": "x",
    }
    assert one.ask("PUT", "Task/hers", forged).status == 200
    meta = asker.read("Task/hers")["meta"]
    assert (meta["source"], meta["security"], meta["versionId"]) == ("urn:here", [label], "3")
    made = json.loads(one.ask("POST", "Task", {**task("x", "ann"), "meta": {"source": "https://ehr.example.org"}}).body)
    assert "source" not in made["meta"]


@pytest.mark.requirement(130)
@pytest.mark.security("S45")
def test_a_patient_changes_of_a_task_its_status_and_output_only(asker: Asker) -> None:
    app = asker.as_viewer(APP)
    asker.put(task("mine", "ann", owner={"reference": "Patient/ann"}, requester={"reference": "Practitioner/nurse"}))
    read = app.read("Task/mine")
    for change in ({"priority": "stat"}, {"owner": {"reference": "Practitioner/nurse"}}, {"description": "x"}):
        answer = app.ask("PUT", "Task/mine", {**read, **change})
        assert (answer.status, "not a patient's to change" in told(answer)) == (403, True)
    done = {**read, "status": "received"}
    assert app.ask("PUT", "Task/mine", done).status == 200


@pytest.mark.security("S38", "S41")
@pytest.mark.requirement(87)
def test_each_entry_is_judged_and_one_refused_ends_a_transaction(asker: Asker) -> None:
    app = asker.as_viewer(APP)
    good = {"resource": task("x", "ann"), "request": {"method": "POST", "url": "Task"}}
    bad = {"resource": task("bobstask", "bob"), "request": {"method": "PUT", "url": "Task/bobstask"}}
    whole = app.ask("POST", "", {"resourceType": "Bundle", "type": "transaction", "entry": [good, bad]})
    assert whole.status == 404
    assert app.read("Task?_summary=count")["total"] == 1
    batch = app.ask("POST", "", {"resourceType": "Bundle", "type": "batch", "entry": [good, bad]})
    assert [one["response"]["status"][:3] for one in json.loads(batch.body)["entry"]] == ["201", "404"]


@pytest.mark.security("S45")
def test_a_rehearsal_is_refused_as_the_write_would_be(asker: Asker) -> None:
    app = asker.as_viewer(APP)
    answer = app.ask("POST", "Task/bobstask/$validate?mode=update", task("bobstask", "bob"))
    assert answer.status == 200
    assert "error" in {one["severity"] for one in json.loads(answer.body)["issue"]}
    assert app.ask("GET", "Task/bobstask/$validate").status == 404
    assert app.ask("POST", "Task/bobstask/$validate?mode=delete").status == 404


@pytest.mark.security("A3", "S40")
@pytest.mark.requirement(126)
def test_who_may_move_work_holds_for_every_way(asker: Asker) -> None:
    """Outside programs: the owner's steps are the owner's, by PUT, PATCH and $move alike."""
    asker.put(
        task("owned", "ann", status="received", owner={"reference": "Practitioner/other"},
             requester={"reference": "Practitioner/boss"}, performerType=[{"coding": [{"system": ROLE, "code": "provider"}]}])
    )  # fmt: skip
    nurse = asker.as_viewer(NURSE)
    read = nurse.read("Task/owned")
    assert nurse.ask("PUT", "Task/owned", {**read, "status": "accepted"}).status == 422
    patch = [{"op": "replace", "path": "/status", "value": "accepted"}]
    assert nurse.ask("PATCH", "Task/owned", patch, PATCH).status == 422
    parts = [{"name": "task", "valueReference": {"reference": "Task/owned"}}, {"name": "to", "valueCode": "accepted"}]
    moved = nurse.ask("POST", "Task/$move", {"resourceType": "Parameters", "parameter": parts})
    assert b'"valueCode":"failed"' in moved.body
    owner = asker.as_viewer(member("provider", who="Practitioner/other"))
    assert owner.ask("PUT", "Task/owned", {**read, "status": "accepted"}).status == 200


@pytest.mark.security("S49")
def test_a_communication_of_another_patient_is_out_of_reach(asker: Asker) -> None:
    sent = {"resourceType": "Communication", "id": "c", "status": "completed", "subject": {"reference": "Patient/bob"}}
    asker.put(sent)
    app = asker.as_viewer(APP)
    for method, body in (("GET", None), ("PUT", sent), ("DELETE", None)):
        assert app.ask(method, "Communication/c", body).status == 404


DESK = member("front-desk", who="Practitioner/nurse")
SECRET_LABEL = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}


def flag(*, is_up: bool, **members: Any) -> Resource:
    """An exception of ann, which a person put up."""
    coding = {"system": FLAG_SYSTEM, "code": "declined"}
    made = {"resourceType": "Flag", "id": "hers", "subject": {"reference": "Patient/ann"}, "code": {"coding": [coding]}}
    return {**made, "status": "active" if is_up else "inactive", **members}


def ended(asker: Asker, viewer: Viewer) -> str:
    """What somebody is told who takes down that exception; nothing of it stays."""
    author = Author.for_viewer(viewer, "staff", asker.now, "r")
    try:
        with asker.database.begin() as tx:
            told = flags.take_down(tx, "ann", "declined", (), author, Why())
            raise Undone(str(told))
    except (TrackerError, Undone) as error:
        return str(error)


class Undone(Exception):
    pass


@pytest.mark.security("S41", "A3", "M3")
@pytest.mark.requirement(86)
@pytest.mark.parametrize(
    ("viewer", "hiding"), [(DESK, {}), (NURSE, {"meta": {"security": [SECRET_LABEL]}})], ids=["desk", "nurse"]
)
def test_who_does_not_see_a_flag_does_not_learn_by_taking_it_down_whether_it_is_up(
    asker: Asker, viewer: Viewer, hiding: Resource
) -> None:
    absent = ended(asker, viewer)
    asker.put(flag(is_up=False, **hiding))
    down = ended(asker, viewer)
    asker.put(flag(is_up=True, **hiding))
    assert absent == down == ended(asker, viewer)
    assert version(asker, "Flag/hers") == "2"


@pytest.mark.security("S41", "M3")
def test_a_flag_that_is_seen_is_taken_down_and_one_that_is_hidden_is_put_up_once_more(asker: Asker) -> None:
    asker.put(flag(is_up=True))
    assert ended(asker, NURSE) == "None"
    asker.put(flag(is_up=True, meta={"security": [SECRET_LABEL]}))
    author = Author.for_viewer(NURSE, "staff", asker.now, "r")
    with asker.database.begin() as tx:
        assert flags.put_up(tx, "ann", "declined", "", author, Why()) is None
    seen = asker.as_viewer(NURSE).read("Flag?patient=ann")["entry"]
    assert [one["resource"]["status"] for one in seen] == ["active"]
    assert "hers" not in {one["resource"]["id"] for one in seen}
