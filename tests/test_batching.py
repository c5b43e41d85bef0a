"""Acts that share one transaction's reads and writes leave what the same acts leave alone, whatever their order."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine, event, select

from fhir_tracker import batching, effects, escalation, outreach, side_by_side, sweep, transitions
from fhir_tracker.errors import RuleBroken
from fhir_tracker.fhir.body import read_json
from fhir_tracker.fhir.search_values import extract
from fhir_tracker.model.author import Author
from fhir_tracker.model.effects import RaiseFlag, ReturnToQueue, SetPriority, SetStatus
from fhir_tracker.model.moves import MoveRequest
from fhir_tracker.model.work import FiringKey, WorkItem
from fhir_tracker.storage import resources, work_items
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.indexing import index_rows
from fhir_tracker.storage.tables import ix, ixd, ixs, resource
from tests.support.clinic import COORDINATOR, EVERYONE, MONDAY, SYSTEM, Clinic, author
from tests.support.crowd import LATE, discharge_many

META = re.compile(r"'(meta|lastUpdated)': (\{[^}]*\}|'[^']*')")
IDS = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NOW = MONDAY + timedelta(hours=3)
ACTS = ("claim", "attempt", "calling", "waiting", "reached", "unreachable", "note", "release", "urgent", "role")


@pytest.fixture
def clinic(database: Database) -> Clinic:
    made = Clinic(database)
    discharge_many(made, 8)
    made.enrol(MONDAY)
    made.sweep(MONDAY)
    return made


def act(tx: Tx, ref: str, kind: str, by: Author) -> str:
    """One thing a person does; what was wrong with it, if anything."""
    fields = {"reason": "because", "note": "so", "outreach.outcome": "reached"}
    if kind == "waiting":
        fields["hold.until"] = (by.at + timedelta(days=2)).isoformat()
    try:
        if kind == "claim":
            transitions.claim(tx, ref, by)
        elif kind == "attempt":
            item = transitions.find_task(tx, by.viewer, ref).item
            attempt = outreach.Attempt(channel="phone", outcome="no-answer", at=NOW)
            outreach.log_attempt(tx, item, attempt, by)
        elif kind == "note":
            transitions.note(tx, ref, "a note", by)
        elif kind == "release":
            transitions.assign(tx, ref, None, by)
        elif kind == "urgent":
            transitions.prioritise(tx, ref, "urgent", by)
        elif kind == "role":
            transitions.give_role(tx, ref, "rn", by)
        else:
            transitions.move(tx, ref, MoveRequest(to=kind, fields=fields), by)
    except RuleBroken as error:
        return error.message
    return ""


def traces(clinic: Clinic, patient: str) -> list[str]:
    """All that is left of a patient's work and how it came to be, without ids and the moments of writing."""
    items = clinic.items(patient)
    with clinic.database.read() as tx:
        versions = [
            (one.version, one.op, one.who, one.body)
            for item in items
            for one in resources.history(tx, SYSTEM, *item.ref.split("/"), count=100)
        ]
    told = clinic.stored("Communication")
    left = [
        *(one.having(next_action_at=to_the_minute(one)) for one in items),
        *(row for one in items for row in clinic.log(one.ref)),
        *(row for one in items for row in clinic.firings(one.ref)),
        *(clinic.resource(one.ref) for one in items),
        *((version, op, who, read_json(body.encode()) if body else None) for version, op, who, body in versions),
        *(one for one in told if one["subject"]["reference"] == f"Patient/{patient}"),
    ]
    return sorted(META.sub("META", IDS.sub("ID", repr(one))).replace(patient, "PATIENT") for one in left)


def to_the_minute(item: WorkItem) -> datetime | None:
    """When its rules look next; escalations are looked at whenever the batch is written."""
    if item.kind == "escalation" or item.next_action_at is None:
        return None
    return item.next_action_at.replace(second=0)


def unindexed(clinic: Clinic) -> list[str]:
    """Resources whose rows in the search index are not those of their present text."""
    found = list[str]()
    with clinic.database.read() as tx:
        for row in tx.rows(select(resource).where(~resource.c.deleted)):
            wanted = index_rows(row["type"], extract(read_json(row["body"].encode()), unions=False))
            keys = {one["h"] for one in tx.rows(select(ix.c.h).where(ix.c.k == row["k"]))}
            dates = {
                tuple(one.values()) for one in tx.rows(select(ixd.c.h, ixd.c.lo, ixd.c.hi).where(ixd.c.k == row["k"]))
            }
            texts = {
                tuple(one.values()) for one in tx.rows(select(ixs.c.h, ixs.c.v, ixs.c.exact).where(ixs.c.k == row["k"]))
            }
            there: tuple[set[object], set[object], set[object]] = ({*keys}, {*dates}, {*texts})
            if there != ({*wanted.keys}, {*wanted.dates}, {*wanted.strings}):
                found.append(f"{row['type']}/{row['id']}")
    return found


@pytest.mark.parametrize("seed", range(4))
def test_any_acts_in_one_batch_leave_what_each_alone_leaves(clinic: Clinic, seed: int) -> None:
    dice = random.Random(seed)
    work = {name: clinic.task(name, "first-call").ref for name in ("p0", "p1", "p2", "p3")}
    twin = {"p0": "p2", "p1": "p3"}
    plan = [(dice.choice(("p0", "p1")), dice.choice(ACTS)) for _ in range(14)]
    times = [author(NOW + timedelta(seconds=number), EVERYONE) for number in range(len(plan))]
    alone = []
    for (name, kind), by in zip(plan, times, strict=True):
        with clinic.database.begin() as tx:
            alone.append(act(tx, work[name], kind, by))
    with clinic.database.begin() as tx, batching.together(tx, [work["p2"], work["p3"]], NOW):
        shared = [act(tx, work[twin[name]], kind, by) for (name, kind), by in zip(plan, times, strict=True)]
    assert shared == alone
    assert traces(clinic, "p2") == traces(clinic, "p0")
    assert traces(clinic, "p3") == traces(clinic, "p1")
    assert unindexed(clinic) == []


def test_what_an_act_wrote_is_there_for_who_reads_it_next(clinic: Clinic) -> None:
    ref = clinic.task("p0", "first-call").ref
    by = author(NOW, COORDINATOR)
    with clinic.database.begin() as tx, batching.together(tx, [ref], NOW):
        transitions.claim(tx, ref, by)
        item = work_items.find(tx, SYSTEM, ref)
        assert item is not None
        assert (item.owner, item.assigned_since) == (COORDINATOR.who, NOW)
        act(tx, ref, "attempt", by)
        assert [one.attempts for one in work_items.of_patient(tx, SYSTEM, "p0") if one.ref == ref] == [1]


def test_a_version_that_somebody_else_wrote_is_never_written_over(clinic: Clinic) -> None:
    ref = clinic.task("p0", "first-call").ref
    with clinic.database.begin() as tx, batching.together(tx, [ref], NOW):
        for _ in range(3):
            transitions.note(tx, ref, "again", author(NOW, EVERYONE))
    with clinic.database.read() as tx:
        told = resources.history(tx, SYSTEM, *ref.split("/"), count=10)
    assert [one.version for one in told] == list(range(len(told), 0, -1))
    assert [read_json((one.body or "").encode())["meta"]["versionId"] for one in told] == [
        str(one.version) for one in told
    ]


def test_a_batch_that_fails_leaves_nothing(clinic: Clinic) -> None:
    refs = [clinic.task(name, "first-call").ref for name in ("p0", "p1")]
    before = [traces(clinic, name) for name in ("p0", "p1")]
    with pytest.raises(ZeroDivisionError):
        fail_amid(clinic, refs)
    assert [traces(clinic, name) for name in ("p0", "p1")] == before
    assert unindexed(clinic) == []


def fail_amid(clinic: Clinic, refs: Sequence[str]) -> None:
    with clinic.database.begin() as tx, batching.together(tx, refs, NOW):
        for ref in refs:
            transitions.claim(tx, ref, author(NOW, COORDINATOR))
        work_items.of_patient(tx, SYSTEM, "p0")
        raise ZeroDivisionError


def test_what_acts_read_does_not_grow_with_their_number(clinic: Clinic) -> None:
    counts = []
    for names in (("p0",), ("p1", "p2", "p3", "p4", "p5", "p6", "p7")):
        refs, said = [clinic.task(name, "first-call").ref for name in names], list[str]()

        def note(_connection: object, _cursor: object, statement: str, *_rest: object, said: list[str] = said) -> None:
            said.append(statement)

        event.listen(Engine, "before_cursor_execute", note)
        try:
            with clinic.database.begin() as tx, batching.together(tx, refs, NOW):
                for ref in refs:
                    transitions.claim(tx, ref, author(NOW, COORDINATOR))
        finally:
            event.remove(Engine, "before_cursor_execute", note)
        counts.append(sum(one.startswith("SELECT") for one in said))
    assert counts[1] <= counts[0]


def judged(clinic: Clinic, at: datetime) -> dict[str, side_by_side.Asked]:
    """What is due, by patient, with effects that change it."""
    found = {}
    for one in sweep.judge_batch(clinic.database, at, 100):
        if one.facts.item.kind == "task" and one.program:
            key = FiringKey(item=one.facts.item.ref, rule="late", cycle="0", level=0)
            wanted = (
                SetPriority(key=key, priority="stat", reason="late"),
                ReturnToQueue(key=FiringKey(item=key.item, rule="late", cycle="0", level=-1), reason="late"),
                RaiseFlag(key=FiringKey(item=key.item, rule="late", cycle="0", level=-2), code="risk", reason="late"),
                SetStatus(
                    key=FiringKey(item=key.item, rule="late", cycle="0", level=-3), status="calling", reason="late"
                ),
            )
            found[one.facts.item.patient or ""] = side_by_side.Asked(
                program=one.program, facts=one.facts, effects=wanted
            )
    return found


def test_effects_side_by_side_leave_what_each_leaves_alone_and_happen_once(clinic: Clinic) -> None:
    asked = judged(clinic, LATE)
    for name in ("p0", "p1"):
        with clinic.database.begin() as tx:
            one = asked[name]
            alone = [effects.apply(tx, one.program, one.facts, each, LATE) for each in one.effects]
    with clinic.database.begin() as tx:
        done = side_by_side.apply_all(tx, [asked["p2"], asked["p3"]], LATE)
    kept = [each for each, applied in zip(asked["p3"].effects, alone, strict=True) if applied]
    assert [list(one) for one in done] == [
        [each for each in asked[name].effects if any(each.key.level == other.key.level for other in kept)]
        for name in ("p2", "p3")
    ]
    assert traces(clinic, "p2") == traces(clinic, "p0")
    assert unindexed(clinic) == []
    with clinic.database.begin() as tx:
        assert side_by_side.apply_all(tx, [asked["p2"], asked["p3"]], LATE) == [(), ()]


def test_an_item_that_another_effect_changed_waits_for_its_next_look_and_loses_nothing(clinic: Clinic) -> None:
    asked = judged(clinic, LATE)["p0"]
    (plan,) = [one for one in clinic.items("p0") if one.kind == "plan"]
    facts = sweep.judge_batch(clinic.database, LATE, 1, None)
    key = FiringKey(item=plan.ref, rule="late", cycle="0", level=0)
    about_plan = side_by_side.Asked(
        program=asked.program,
        facts=type(asked.facts)(item=plan),
        effects=(RaiseFlag(key=key, code="risk", reason="late"),),
    )
    with clinic.database.begin() as tx:
        done = side_by_side.apply_all(tx, [asked, about_plan], LATE)
    assert (len(done[0]) > 0, done[1]) == (True, ())
    assert (facts, clinic.firings(plan.ref)) == ([], ())
    assert clinic.item(plan.ref).next_action_at == LATE


def test_an_escalation_is_resolved_with_the_work_in_a_batch_too(clinic: Clinic) -> None:
    clinic.sweep(LATE)
    ref = clinic.task("p0", "first-call").ref
    (raised,) = clinic.escalations("p0")
    later = LATE + timedelta(minutes=1)
    with clinic.database.begin() as tx, batching.together(tx, [ref, raised.ref], later):
        escalation.acknowledge(tx, raised.ref, author(later, EVERYONE))
        assert act(tx, ref, "reached", author(later, EVERYONE)) == ""
    assert (clinic.item(raised.ref).open, clinic.item(ref).open, clinic.item(ref).escalation_level) == (False, False, 0)
    assert {one.state for one in clinic.firings(ref) if one.kind == "escalate"} == {"resolved"}
