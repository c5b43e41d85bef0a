"""Security labels: which of them restrict, on whatever resource they are, in every way to read; and bodies in quarantine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from api.fhir.exchange import FhirResponse
from fhir_tracker import glass, intake, quarantine, restrictions
from fhir_tracker.errors import Incorrect, NotFound
from fhir_tracker.model.author import Author
from fhir_tracker.model.labels import CONFIDENTIALITY, DEFAULT, SENSITIVITY, read_labels, restricts
from fhir_tracker.model.policy import Policy
from fhir_tracker.model.viewer import Viewer, open_viewer
from fhir_tracker.roles import built_in
from fhir_tracker.storage import epochs, patients
from fhir_tracker.storage.database import Database
from tests.support.asking import NOW, Asker, holder, member, told

CONF = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
OURS = "https://example.org/labels"
CREATOR = open_viewer()
NURSE = member("rn", who="Practitioner/nurse")
TRUSTED = member("rn", who="Practitioner/nurse", policy=replace(built_in()["rn"], restricted=True))
REASON = {"name": "reason", "valueString": "She collapsed in the waiting room"}
BREAK = {"resourceType": "Parameters", "parameter": [REASON]}


def labelled(body: Mapping[str, Any], *labels: object) -> dict[str, Any]:
    return {**body, "meta": {"security": list(labels)}}


def of(type_: str, id_: str, patient: str, **more: Any) -> dict[str, Any]:
    whose = "for" if type_ == "Task" else "subject"
    return {"resourceType": type_, "id": id_, whose: {"reference": f"Patient/{patient}"}, **more}


def coded(system: str | None, code: object) -> dict[str, Any]:
    return {"code": code} if system is None else {"system": system, "code": code}


TASK = of("Task", "kept", "ann", status="requested", intent="order", description="canary-task")
OBSERVATION = of("Observation", "lab", "ann", status="final", code={"coding": [{"code": "canary-lab"}]})
SHUT = labelled(OBSERVATION, coded(ACT, "HIV"))


@pytest.mark.parametrize(
    ("label", "shuts"),
    [
        *((coded(CONF, code), code in "RV") for code in sorted(CONFIDENTIALITY)),
        *((coded(ACT, code), code in DEFAULT) for code in ("HIV", "ETH", "SUD", "42CFRPart2", "PSY", "SDV", "TREAT")),
        (coded("http://hl7.org/fhir/v3/Confidentiality", "V"), True),
        (coded("urn:oid:2.16.840.1.113883.5.25", "R"), True),
        (coded("urn:oid:2.16.840.1.113883.5.4", "ETH"), True),
        (coded(f"{CONF}/", "R"), True),
        (coded(None, "R"), True),
        (coded("", "V"), True),
        (coded(OURS, "R"), False),
        (coded(CONF, "r"), False),
        (coded(CONF, None), False),
        (coded(CONF, 7), False),
        ({"display": "restricted"}, False),
        ("R", False),
    ],
)
def test_the_labels_that_restrict_are_those_of_the_law_until_a_practice_says_otherwise(
    label: object, shuts: bool
) -> None:
    assert restricts(labelled(TASK, label), DEFAULT) is shuts
    assert restricts(labelled(TASK, coded(CONF, "N"), label), DEFAULT) is shuts


@pytest.mark.parametrize("meta", [None, [], "R", {"security": "R"}, {"security": None}, {"security": [None, [], 1]}])
def test_what_is_no_label_restricts_nothing(meta: object) -> None:
    assert not restricts({**TASK, "meta": meta}, DEFAULT)


def test_a_label_of_a_practice_is_named_with_its_system() -> None:
    staff = labelled(TASK, coded(OURS, "staff"))
    assert restricts(staff, read_labels([f"{OURS}|staff"]))
    assert not restricts(staff, read_labels(["R", f"{OURS}|board"]))
    assert read_labels([" V", "R", "V"]) == ("R", "V")
    assert set(DEFAULT) <= CONFIDENTIALITY | SENSITIVITY


@pytest.mark.parametrize("wrong", ["HVI", "restricted", "", "|R", "x|R", f"{OURS}|", f"{OURS}|a b", "R\n", "r", "é|R"])
def test_what_can_be_on_nothing_is_refused_as_a_label(wrong: str) -> None:
    if wrong.strip() in CONFIDENTIALITY:
        assert read_labels([wrong]) == (wrong.strip(),)
        return
    with pytest.raises(Incorrect, match=r"label|sensitivity"):
        read_labels(["R", wrong])


@pytest.fixture
def nurse(database: Database) -> Asker:
    """A nurse, where ann has one restricted observation, one restricted task and one of each that is not."""
    whole = Asker(database=database, viewer=CREATOR)
    whole.put({"resourceType": "Patient", "id": "ann", "name": [{"family": "Ash"}]})
    whole.put(SHUT, of("Observation", "plain", "ann", status="final", code={"text": "x"}))
    whole.put(labelled(TASK, coded(CONF, "R")), of("Task", "free", "ann", status="requested", intent="order"))
    whole.put(of("Communication", "said", "ann", status="completed", basedOn=[{"reference": "Task/kept"}]))
    whole.put(
        labelled({"resourceType": "Practitioner", "id": "chief", "name": [{"family": "canary"}]}, coded(CONF, "V"))
    )
    return whole.as_viewer(NURSE)


ADDRESSES = (
    "Observation", "Observation/_history", "Task?_sort=-_lastUpdated", "?_type=Task,Observation", "_history",
    "Patient/ann/*", "Patient/ann/Observation", "Patient?_revinclude=Observation:subject", "Patient?_revinclude=*",
    "Communication?_include=Communication:based-on", "Observation?_security=HIV", "Observation?_id=lab,plain",
    "Observation?code=canary-lab", "Practitioner?name=canary", "Practitioner",
    "Communication?based-on:Task.status=requested&_include=*",
)  # fmt: skip


@pytest.mark.security("A5", "A3", "S42", "S43", "M3")
def test_a_restricted_record_is_in_no_way_to_read(nurse: Asker) -> None:
    for address in ADDRESSES:
        page = nurse.read(f"{address}{'&' if '?' in address else '?'}_total=accurate")
        shown = {f"{one['resource']['resourceType']}/{one['resource']['id']}" for one in page.get("entry", [])}
        assert not shown & {"Observation/lab", "Task/kept", "Practitioner/chief"}, address
        assert "canary" not in json.dumps(page.get("entry", [])), address
        counted = nurse.read(f"{address}{'&' if '?' in address else '?'}_summary=count")["total"]
        own = sum(one.get("search", {"mode": "match"})["mode"] == "match" for one in page.get("entry", []))
        assert counted == page["total"] == own, address
    for query in ("Patient?_has:Observation:subject:code=canary-lab", "Patient?_has:Task:patient:_id=kept"):
        assert nurse.read(query)["total"] == 0, query
    assert nurse.read("Observation?_summary=count")["total"] == 1
    whole = {one["resource"]["id"] for one in nurse.as_viewer(TRUSTED).read("Observation")["entry"]}
    assert whole == {"lab", "plain"}


@pytest.mark.security("A5", "S41", "M3")
@pytest.mark.parametrize("ref", ["Observation/lab", "Task/kept", "Practitioner/chief"])
@pytest.mark.parametrize("role", ["front-desk", "clinic-admin", "auditor", "provider"])
def test_a_restricted_record_is_as_one_that_never_was(nurse: Asker, ref: str, role: str) -> None:
    one, (type_, id_) = nurse.as_viewer(member(role)), ref.split("/")
    for address in ("{}", "{}/_history", "{}/_history/1"):
        hidden, absent = (one.ask("GET", address.format(at)) for at in (ref, f"{type_}/nothing"))
        if role == "provider" and hidden.status == 403 and ref != "Practitioner/chief":
            assert "Patient/ann/$break-glass" in told(hidden)
            continue
        assert (hidden.status, hidden.body) == (absent.status, absent.body), address
        assert hidden.status in (403, 404)
    body = nurse.as_viewer(CREATOR).read(ref)
    for method, sent in (("PUT", body), ("DELETE", None)):
        hidden, absent = (
            one.ask(method, ref, sent),
            one.ask(method, f"{type_}/nothing", sent and {**sent, "id": "nothing"}),
        )
        assert hidden.status in (403, 404), method
        assert (hidden.status, hidden.body) == (absent.status, absent.body), (method, id_)


@pytest.mark.security("A5")
def test_the_glass_of_a_patient_opens_what_is_restricted_of_them(nurse: Asker) -> None:
    assert nurse.ask("GET", "Patient/ann").status == 200
    assert "Patient/ann/$break-glass" in told(nurse.ask("GET", "Observation/lab"))
    assert nurse.ask("POST", "Patient/ann/$break-glass", BREAK).status == 200
    with nurse.database.read() as tx:
        seeing = glass.with_openings(tx, NURSE, NOW)
    opened = nurse.as_viewer(seeing)
    assert opened.read("Observation/lab")["code"] == OBSERVATION["code"]
    assert opened.read("Observation?_summary=count")["total"] == 2
    assert opened.ask("GET", "Practitioner/chief").status == 404
    again = opened.ask("POST", "Patient/ann/$break-glass", BREAK)
    assert again.status == 409


def test_where_nothing_is_restricted_there_is_no_glass_to_break(nurse: Asker) -> None:
    nurse.as_viewer(CREATOR).put({"resourceType": "Patient", "id": "bob"})
    assert nurse.ask("POST", "Patient/bob/$break-glass", BREAK).status == 409


@pytest.mark.security("A5", "S46")
def test_systems_and_roles_that_may_see_what_is_restricted(nurse: Asker) -> None:
    for viewer in (TRUSTED, holder("system/*.rs"), CREATOR):
        assert nurse.as_viewer(viewer).ask("GET", "Observation/lab").status == 200
    person = holder("user/*.rs", roles=("rn",))
    assert nurse.as_viewer(person).ask("GET", "Observation/lab").status == 403


@pytest.mark.security("A5", "S50")
def test_a_label_that_comes_or_goes_with_a_version_counts_from_that_version_on(nurse: Asker) -> None:
    whole = nurse.as_viewer(CREATOR)
    whole.put(labelled(of("Observation", "plain", "ann", status="final", code={"text": "x"}), coded(None, "V")))
    assert [nurse.ask("GET", f"Observation/plain{tail}").status for tail in ("", "/_history/1")] == [403, 404]
    whole.put(OBSERVATION)
    assert nurse.ask("GET", "Observation/lab").status == 200


@pytest.mark.security("A5", "S41")
def test_what_was_restricted_stays_so_when_it_is_deleted(nurse: Asker) -> None:
    assert nurse.as_viewer(CREATOR).ask("DELETE", "Observation/lab").status == 204
    for address in ("Observation/lab", "Observation/lab/_history", "Observation/lab/_history/1"):
        assert nurse.ask("GET", address).status in (403, 404), address
    assert "lab" not in {one.get("fullUrl", "")[-3:] for one in nurse.read("Observation/_history")["entry"]}
    nurse.as_viewer(CREATOR).put(OBSERVATION)
    assert nurse.ask("GET", "Observation/lab").status == 200


@pytest.mark.security("A5", "S50")
def test_a_change_of_the_labels_counts_for_what_is_stored_already(nurse: Asker) -> None:
    whole = nurse.as_viewer(CREATOR)
    whole.put(labelled({"resourceType": "Patient", "id": "bob"}, coded(OURS, "staff")))
    whole.put(of("Task", "bobs", "bob", status="requested", intent="order"))
    assert nurse.ask("GET", "Task/bobs").status == 200
    with nurse.database.begin() as tx:
        before = epochs.epoch(tx)
        assert restrictions.change(tx, ["PSY", f"{OURS}|staff"]) == ("PSY", f"{OURS}|staff")
        assert epochs.epoch(tx) > before
    assert [nurse.ask("GET", ref).status for ref in ("Task/bobs", "Patient/bob")] == [403, 403]
    assert [nurse.ask("GET", ref).status for ref in ("Observation/lab", "Task/kept")] == [200, 200]
    whole.put(labelled(of("Observation", "mind", "ann", status="final", code={"text": "x"}), coded(ACT, "PSY")))
    assert nurse.ask("GET", "Observation/mind").status == 403
    with nurse.database.begin() as tx:
        restrictions.change(tx, ())
    assert nurse.ask("GET", "Observation/mind").status == 200
    whole.put(labelled(OBSERVATION, coded(CONF, "V")))
    assert nurse.ask("GET", "Observation/lab").status == 200


@pytest.mark.security("A5")
def test_who_did_what_to_a_restricted_record_is_not_told_either(nurse: Asker) -> None:
    """Provenance of before the label, of the labelled version, a caller's own, and of a deletion."""
    whole = nurse.as_viewer(CREATOR)

    def targets(viewer: Viewer = NURSE) -> set[str]:
        page = nurse.as_viewer(viewer).read("Provenance?_count=500")
        found = {each["reference"] for one in page.get("entry", []) for each in one["resource"]["target"]}
        return {one for one in found if one.startswith("Task/")}

    assert targets() == {"Task/free/_history/1"}
    whole.put(labelled(of("Task", "free", "ann", status="requested", intent="order"), coded(CONF, "V")))
    assert targets() == set()
    assert targets(TRUSTED) == {"Task/free/_history/1", "Task/free/_history/2", "Task/kept/_history/1"}
    whole.put(of("Task", "free", "ann", status="requested", intent="order"))
    assert targets() == {f"Task/free/_history/{number}" for number in (1, 2, 3)}
    assert [whole.ask("DELETE", ref).status for ref in ("Communication/said", "Task/kept")] == [204, 204]
    assert {one.rpartition("/_h")[0] for one in targets()} == {"Task/free"}
    with nurse.database.begin() as tx:
        restrictions.change(tx, ["PSY"])
    assert "Task/free/_history/1" in targets()


def test_labels_that_are_none_change_nothing(nurse: Asker) -> None:
    with pytest.raises(Incorrect), nurse.database.begin() as tx:
        restrictions.change(tx, ["R", "nonsense"])
    with nurse.database.read() as tx:
        assert restrictions.restricting(tx) == DEFAULT


@pytest.mark.security("A5")
def test_a_restricted_flag_is_not_beside_the_name(nurse: Asker) -> None:
    flag = of("Flag", "f", "ann", status="active", code={"coding": [{"system": OURS, "code": "violent"}]})
    whole = nurse.as_viewer(CREATOR)

    def flags() -> tuple[str, ...]:
        with nurse.database.read() as tx:
            return patients.find_many(tx, NURSE, ["ann"])["ann"].flags

    whole.put(flag)
    assert flags() == ("violent",)
    whole.put(labelled(flag, coded(ACT, "PSY")))
    assert flags() == ("violent",)
    with nurse.database.begin() as tx:
        restrictions.change(tx, ["PSY"])
    assert flags() == ()
    with nurse.database.begin() as tx:
        restrictions.change(tx, ["R"])
    assert flags() == ("violent",)


@pytest.mark.security("A5", "S45")
def test_who_labels_what_they_write_away_from_themselves_is_refused(nurse: Asker) -> None:
    kept = nurse.read("Task/free")
    refused = nurse.ask("PUT", "Task/free", {**kept, "meta": {"security": [coded(CONF, "V")]}})
    assert refused.status == 403
    assert nurse.read("Task/free")["meta"]["versionId"] == kept["meta"]["versionId"]
    made: FhirResponse = nurse.ask("POST", "Task", labelled({**TASK, "id": "x"}, coded(ACT, "ETH")))
    assert made.status == 403
    assert nurse.read("Task?_summary=count")["total"] == 1


# Quarantine

ADMIN = member("clinic-admin", who="Practitioner/admin")
WHOLE_ADMIN = member(
    "clinic-admin", policy=Policy(grants=built_in()["rn"].grants, acts=frozenset({"quarantine", "break-glass"}))
)
IN_PROGRAM = member("clinic-admin", policy=Policy(grants=built_in()["rn"].grants, programs=frozenset({"tcm"})))


def aside(database: Database, type_: str, body: object, id_: str = "1") -> int:
    sent = body if isinstance(body, str) else json.dumps(body)
    with database.begin() as tx:
        intake.put_aside(tx, intake.unusable(type_, id_, "odd", sent), "north", NOW)
        return max(one.id for one in quarantine.waiting(tx, CREATOR))


def may_see(database: Database, viewer: Viewer, id_: int) -> bool:
    with database.read() as tx:
        listed = id_ in {one.id for one in quarantine.waiting(tx, viewer)}
        try:
            quarantine.get(tx, viewer, id_)
        except NotFound:
            assert not listed
            return False
        assert listed
        return True


@pytest.fixture
def north(database: Database) -> Database:
    """The patients of one EHR: vip is restricted, ann is not."""
    whole = Asker(database=database, viewer=CREATOR)
    whole.put(labelled({"resourceType": "Patient", "id": "north-vip"}, coded(CONF, "R")))
    whole.put({"resourceType": "Patient", "id": "north-ann"})
    return database


def task_of(patient: str, *labels: object) -> dict[str, Any]:
    made = {"resourceType": "Task", "id": "1", "status": "?", "intent": "order", "for": {"reference": patient}}
    return labelled(made, *labels) if labels else made


@pytest.mark.security("A5", "S50")
@pytest.mark.parametrize(
    ("type_", "id_", "body", "seen"),
    [
        ("Task", "1", task_of("Patient/ann"), True),
        ("Task", "1", task_of("Patient/vip"), False),
        ("Task", "1", task_of("https://ehr.example.org/fhir/Patient/vip"), False),
        ("Task", "1", task_of("Patient/vip/_history/3"), False),
        ("Task", "1", task_of("Patient/nobody"), True),
        ("Task", "1", task_of("Patient/ann", coded(CONF, "V")), False),
        ("Task", "1", task_of("Patient/ann", coded(CONF, "N")), True),
        ("Task", "1", '{"resourceType": "Task", "for": {"reference": "Pat', True),
        ("Task", "1", '{"resourceType": "Task", "meta": {"security": [{"code": "N"', False),
        ("Patient", "vip", '{"resourceType": "Patient", "name": "canary', False),
        ("Patient", "new", labelled({"resourceType": "Patient", "id": "new", "name": 1}, coded(ACT, "HIV")), False),
        ("Patient", "ann", {"resourceType": "Patient", "id": "ann", "name": 1}, True),
        ("CarePlan", "1", {"resourceType": "CarePlan", "id": "1", "subject": {"reference": "Patient/vip"}}, False),
    ],
)
def test_a_body_in_quarantine_is_its_patients_where_that_is_known(
    north: Database, type_: str, id_: str, body: object, seen: bool
) -> None:
    entry = aside(north, type_, body, id_)
    assert may_see(north, CREATOR, entry)
    assert may_see(north, ADMIN, entry) is seen
    assert not may_see(north, member("auditor", policy=Policy(acts=frozenset({"quarantine"}))), entry)


@pytest.mark.security("A5")
def test_an_unreadable_body_is_that_of_the_patient_of_the_version_before(north: Database) -> None:
    author = Author(viewer=CREATOR, at=NOW, origin="ehr")
    for number, patient in enumerate(("Patient/north-vip", "Patient/north-ann")):
        sent = {"resourceType": "Task", "id": f"t{number}", "status": "requested", "intent": "order"}
        body = json.dumps({**sent, "for": {"reference": patient}}).encode()
        entry = intake.read_entry(body, "Task", lambda one, n=number: {**one, "id": f"north-t{n}"})  # type: ignore[misc]
        with north.begin() as tx:
            intake.take_page(tx, [entry], "north", author)
    assert not may_see(north, ADMIN, aside(north, "Task", '{"half', "t0"))
    assert may_see(north, ADMIN, aside(north, "Task", '{"half', "t1"))


@pytest.mark.security("A5", "A3")
def test_quarantine_opens_with_the_glass_and_is_bounded_by_programs(north: Database) -> None:
    hers, anns = aside(north, "Task", task_of("Patient/vip")), aside(north, "CarePlan", task_of("Patient/ann"), "2")
    labelled_one = aside(north, "Task", task_of("Patient/vip", coded(CONF, "V")), "3")
    opened = replace(WHOLE_ADMIN, opened=frozenset({"north-vip"}))
    assert [may_see(north, one, hers) for one in (WHOLE_ADMIN, opened)] == [False, True]
    assert [may_see(north, one, labelled_one) for one in (WHOLE_ADMIN, opened)] == [False, True]
    assert may_see(north, WHOLE_ADMIN, anns)
    unknown = aside(north, "Observation", "{", "4")
    assert not any(may_see(north, IN_PROGRAM, one) for one in (hers, anns, unknown))
    assert may_see(north, WHOLE_ADMIN, unknown)


@pytest.mark.security("A5")
def test_a_patient_who_is_restricted_later_takes_what_waits_along_and_so_do_new_labels(north: Database) -> None:
    anns = aside(north, "Task", task_of("Patient/ann", coded(ACT, "PSY")))
    assert may_see(north, ADMIN, anns)
    with north.begin() as tx:
        restrictions.change(tx, ["PSY", "R"])
    assert not may_see(north, ADMIN, anns)
    with north.begin() as tx:
        restrictions.change(tx, ["R"])
    assert may_see(north, ADMIN, anns)
    patient = labelled({"resourceType": "Patient", "id": "north-ann"}, coded(CONF, "R"))
    Asker(database=north, viewer=CREATOR).put(patient)
    assert not may_see(north, ADMIN, anns)


@pytest.mark.security("A3")
def test_of_a_body_in_quarantine_a_role_sees_what_it_sees_of_such_records(north: Database) -> None:
    noted = {**task_of("Patient/ann"), "note": [{"text": "canary"}], "text": {"status": "generated", "div": "canary"}}
    whole, half = aside(north, "Task", noted), aside(north, "Task", '{"note": "canary', "2")
    other = aside(north, "Task", {"resourceType": "Basic", "note": "canary"}, "3")
    with north.read() as tx:
        shown = quarantine.text_for(ADMIN, quarantine.get(tx, ADMIN, whole))
        assert shown is not None
        assert "canary" not in shown
        assert json.loads(shown)["for"] == {"reference": "Patient/ann"}
        for unclear in (half, other):
            assert quarantine.text_for(ADMIN, quarantine.get(tx, ADMIN, unclear)) is None
        assert quarantine.text_for(CREATOR, quarantine.get(tx, CREATOR, half)) == '{"note": "canary'


@pytest.mark.security("A5")
def test_no_row_of_restriction_is_left_for_what_lost_its_labels(nurse: Asker) -> None:
    nurse.as_viewer(CREATOR).put(OBSERVATION, TASK, {"resourceType": "Practitioner", "id": "chief"})
    with nurse.database.read() as tx:
        assert tx.connection.execute(text("SELECT count(*) FROM restricted_record")).scalar() == 0
