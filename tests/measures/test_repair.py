"""Each repair of a queue: what is written of it, asking twice, and a world that changed between finding and repairing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from fhir_tracker import transitions
from fhir_tracker.fhir.dates import instant
from fhir_tracker.measures import hygiene, repair
from fhir_tracker.measures.hygiene import KINDS, Finding
from fhir_tracker.measures.repair import Repaired
from fhir_tracker.model.work import WorkItem
from fhir_tracker.storage.standing import Moment
from tests.support.clinic import EVERYONE, MONDAY, SYSTEM, Clinic, author

HOUR = timedelta(hours=1)
LATER = MONDAY + timedelta(days=1)
DUE = {"restriction": {"period": {"end": instant(LATER + HOUR)}}}
NURSE = "Practitioner/nurse"


def plain(id_: str, **members: Any) -> dict[str, Any]:
    coded = {"coding": [{"code": "call"}], "text": "Call"}
    body: dict[str, Any] = {"resourceType": "Task", "id": id_, "status": "requested", "intent": "order", "code": coded}
    return body | {"for": {"reference": "Patient/ann"}} | members


def call(clinic: Clinic) -> WorkItem:
    return clinic.task("ann", "first-call")


def nurse(clinic: Clinic, *, active: bool) -> None:
    at = MONDAY + (2 * HOUR if active else HOUR)
    clinic.put({"resourceType": "Practitioner", "id": "nurse", "active": active}, at)


def give(clinic: Clinic, ref: str, owner: str | None) -> None:
    with clinic.acting(MONDAY + 3 * HOUR, EVERYONE) as (tx, by):
        transitions.assign(tx, ref, owner, by)


def close_plan(clinic: Clinic) -> str:
    plan = clinic.resource(call(clinic).plan or "")
    clinic.put(plan | {"status": "completed"}, MONDAY + HOUR)
    return call(clinic).ref


def reopen_plan(clinic: Clinic) -> None:
    plan = clinic.resource(call(clinic).plan or "")
    clinic.put(plan | {"status": "active"}, MONDAY + 2 * HOUR)


def undated(clinic: Clinic) -> str:
    body = clinic.resource(call(clinic).ref)
    clinic.put({name: value for name, value in body.items() if name != "restriction"}, MONDAY + HOUR)
    return call(clinic).ref


def doubled(clinic: Clinic) -> str:
    for number, id_ in enumerate("ab"):
        clinic.put(plain(id_, authoredOn=instant(MONDAY + number * HOUR), **DUE), MONDAY + number * HOUR)
    return "Task/b"


def left_behind(clinic: Clinic) -> str:
    clinic.put({"resourceType": "Practitioner", "id": "nurse", "active": True}, MONDAY)
    give(clinic, call(clinic).ref, NURSE)
    nurse(clinic, active=False)
    return call(clinic).ref


def put(clinic: Clinic, **members: Any) -> str:
    clinic.put(plain("t", **members), MONDAY)
    return "Task/t"


@dataclass(frozen=True, kw_only=True)
class Case:
    """What brings a task out of order, and what puts it right before the repair comes to it."""

    kind: str
    wrong: Callable[[Clinic], str]
    right: Callable[[Clinic], object]


CASES = (
    Case(kind="no-owner", wrong=lambda c: put(c, **DUE), right=lambda c: give(c, "Task/t", "Practitioner/coordinator")),
    Case(
        kind="no-due",
        wrong=undated,
        right=lambda c: c.put(c.resource(call(c).ref) | DUE, MONDAY + 2 * HOUR),
    ),
    Case(
        kind="endless-hold",
        wrong=lambda c: put(c, status="on-hold"),
        right=lambda c: c.put(plain("t", status="in-progress"), MONDAY + HOUR),
    ),
    Case(kind="closed-plan", wrong=close_plan, right=reopen_plan),
    Case(kind="inactive-owner", wrong=left_behind, right=lambda c: give(c, call(c).ref, "Practitioner/coordinator")),
    Case(kind="inactive-owner", wrong=left_behind, right=lambda c: nurse(c, active=True)),
    Case(kind="duplicate", wrong=doubled, right=lambda c: c.put(c.resource("Task/a") | {"status": "completed"}, LATER)),
    Case(kind="duplicate", wrong=doubled, right=lambda c: c.remove("Task/a", LATER)),
    Case(
        kind="duplicate",
        wrong=doubled,
        right=lambda c: c.put(c.resource("Task/b") | {"code": {"coding": [{"code": "letter"}]}}, LATER),
    ),
)
ONCE = [next(case for case in CASES if case.kind == kind) for kind in KINDS]
by_kind = pytest.mark.parametrize("case", ONCE, ids=[one.kind for one in ONCE])


def finding(clinic: Clinic, kind: str, ref: str) -> Finding:
    with clinic.database.read() as tx:
        found = hygiene.findings(tx, SYSTEM, Moment(at=LATER, now=True), kinds=[kind])
    return next(one for one in found if one.ref == ref)


def refs(clinic: Clinic, kind: str) -> list[str]:
    with clinic.database.read() as tx:
        return [one.ref for one in hygiene.findings(tx, SYSTEM, Moment(at=LATER, now=True), kinds=[kind])]


def repaired(clinic: Clinic, one: Finding, *, dry_run: bool = False) -> Repaired:
    return repair.repair(clinic.database, one, author(LATER + HOUR, EVERYONE), dry_run=dry_run)


def test_every_kind_of_finding_has_a_repair_that_is_tried_here() -> None:
    assert [one.kind for one in ONCE] == list(KINDS)
    assert {one.kind for one in CASES} == set(KINDS)


@by_kind
def test_a_repair_is_done_once_and_says_who_did_it_and_why(clinic: Clinic, case: Case) -> None:
    ref = case.wrong(clinic)
    one, before = finding(clinic, case.kind, ref), clinic.item(ref)
    version, rows = clinic.resource(ref)["meta"]["versionId"], len(clinic.log(ref))
    planned = repaired(clinic, one, dry_run=True)
    assert (planned.state, clinic.item(ref)) == ("planned", before)
    assert clinic.resource(ref)["meta"]["versionId"] == version
    done = repaired(clinic, one)
    assert (done.state, done.what) == ("done", planned.what)
    written = clinic.log(ref)[rows:]
    assert {row.who for row in written} == ({EVERYONE.who} if case.kind != "endless-hold" else set())
    assert case.kind != "endless-hold" or "its hold had no end" in clinic.resource(ref)["note"][-1]["text"]
    assert all("Queue hygiene" in (row.reason or "") for row in written)
    assert {row.recorded_at for row in written} <= {LATER + HOUR}
    told = [one for one in clinic.provenance(ref) if "Queue hygiene" in str(one.get("reason"))]
    assert [one["agent"][0]["who"]["reference"] for one in told] == [EVERYONE.who]
    after, rows = clinic.resource(ref), len(clinic.log(ref))
    again = repaired(clinic, one)
    assert again.state == "skipped"
    assert again.what
    assert (clinic.resource(ref), len(clinic.log(ref))) == (after, rows)


@by_kind
def test_what_was_repaired_is_in_order(clinic: Clinic, case: Case) -> None:
    ref = case.wrong(clinic)
    others = {name: set(refs(clinic, name)) for name in KINDS}
    repaired(clinic, finding(clinic, case.kind, ref))
    left = refs(clinic, case.kind)
    assert ref not in left or (case.kind == "no-owner" and clinic.item(ref).role)
    came = {name: set(refs(clinic, name)) - others[name] for name in KINDS}
    assert came == {name: {ref} if (case.kind, name) == ("inactive-owner", "no-owner") else set() for name in KINDS}


@pytest.mark.parametrize("case", CASES, ids=[f"{number}-{one.kind}" for number, one in enumerate(CASES)])
def test_what_was_put_right_meanwhile_is_left_as_it_is(clinic: Clinic, case: Case) -> None:
    ref = case.wrong(clinic)
    one = finding(clinic, case.kind, ref)
    case.right(clinic)
    before = clinic.item(ref), clinic.resource(ref), clinic.log(ref)
    for dry_run in (True, False):
        found = repaired(clinic, one, dry_run=dry_run)
        assert (found.state, bool(found.what)) == ("skipped", True)
    assert (clinic.item(ref), clinic.resource(ref), clinic.log(ref)) == before


@by_kind
def test_what_was_closed_or_deleted_meanwhile_is_not_touched(clinic: Clinic, case: Case) -> None:
    ref = case.wrong(clinic)
    one = finding(clinic, case.kind, ref)
    clinic.put(clinic.resource(ref) | {"status": "cancelled", "businessStatus": {"text": "Cancelled"}}, LATER)
    assert (clinic.item(ref).open, repaired(clinic, one).state) == (False, "skipped")
    clinic.remove(ref, LATER + timedelta(minutes=1))
    assert repaired(clinic, one).state in ("failed", "skipped")


def test_an_owner_nobody_knows_here_keeps_the_work(clinic: Clinic) -> None:
    give(clinic, call(clinic).ref, "Practitioner/from-elsewhere")
    assert refs(clinic, "inactive-owner") == []
    made_up = Finding(kind="inactive-owner", ref=call(clinic).ref, program="", role="", other="", repair="")
    assert repaired(clinic, made_up).state == "skipped"
    assert call(clinic).owner == "Practitioner/from-elsewhere"


def test_of_three_alike_the_first_made_stays_whatever_order_they_are_repaired_in(clinic: Clinic) -> None:
    for number, id_ in enumerate("abc"):
        clinic.put(plain(id_, authoredOn=instant(MONDAY + number * HOUR), **DUE), MONDAY + number * HOUR)
    found = [finding(clinic, "duplicate", ref) for ref in ("Task/c", "Task/b")]
    assert {one.other for one in found} == {"Task/a"}
    assert [repaired(clinic, one).state for one in found] == ["done", "done"]
    assert [clinic.item(f"Task/{id_}").open for id_ in "abc"] == [True, False, False]
    assert refs(clinic, "duplicate") == []


def test_work_of_nobody_that_is_alike_is_no_double(clinic: Clinic) -> None:
    for id_ in "ab":
        body = plain(id_, **DUE)
        clinic.put({name: value for name, value in body.items() if name != "for"}, MONDAY)
    clinic.put(plain("c", **DUE) | {"for": {"reference": "Patient/bob"}}, MONDAY)
    assert refs(clinic, "duplicate") == []
