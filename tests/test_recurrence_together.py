"""Recurring work under several workers at once, and work that starts when other work ends in whichever way."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta
from threading import Barrier

import pytest

from fhir_tracker import enrolment, plan_migration, sweep
from fhir_tracker.brake import Limit
from fhir_tracker.errors import Busy
from fhir_tracker.model.plan_map import PlanMap
from fhir_tracker.model.work import WorkItem
from fhir_tracker.storage.database import Database
from tests.support.care_program import CARE
from tests.support.clinic import COORDINATOR, MONDAY, PROVIDER, Clinic, author

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
PATIENCE = 120
PATIENTS = [f"p{number}" for number in range(6)]
LIMITS = sweep.Limits(brake=Limit(share=0, floor=2))
PAST = """
  - {code: again, role: rn, starts: {after: assess, in: [dropped, missed]}}
  - {code: after-both, role: rn, starts: {after: [assess, labs]}}
"""


def opened(database: Database, text: str = CARE) -> Clinic:
    clinic = Clinic(database, text)
    for who in PATIENTS:
        clinic.patient(who)
        with clinic.acting(MONDAY, COORDINATOR) as (tx, by):
            enrolment.by_hand(tx, clinic.program, who, by)
    return clinic


def work_of(clinic: Clinic, who: str, code: str) -> list[WorkItem]:
    return [one for one in clinic.items(who) if one.kind == "task" and one.code == code]


def test_workers_that_look_at_the_same_moment_make_each_occurrence_once(database: Database, ready_url: str) -> None:
    clinic = opened(database)
    moments = [MONDAY + day * DAY for day in (0, 5, 12, 13, 40)]
    start = Barrier(3)

    def work() -> int:
        done = 0
        with closing(Database.open(ready_url)) as mine:
            for moment in moments:
                start.wait(PATIENCE)
                try:
                    done += sweep.settle(mine, moment, LIMITS).applied
                except Busy:
                    continue
        return done

    with ThreadPoolExecutor(3) as threads:
        done = sum(one.result(PATIENCE) for one in [threads.submit(work) for _ in range(3)])
    left = clinic.sweep(moments[-1] + 10 * 60 * timedelta(seconds=1)).applied
    assert done + left > 0
    for who in PATIENTS:
        starts = Counter(one.starts_at for one in work_of(clinic, who, "weekly"))
        assert set(starts.values()) == {1}
        assert {moment for moment in starts if moment and moment > moments[-1]} == {
            MONDAY + week * 7 * DAY for week in (6, 7, 8) if week * 7 <= 60
        }
        for code in ("assess", "labs"):
            assert len(work_of(clinic, who, code)) == 1


def test_a_plan_that_moves_to_a_new_rhythm_has_each_occurrence_of_it_once(database: Database) -> None:
    clinic = opened(database)
    clinic.sweep(MONDAY)
    now = MONDAY + 8 * DAY
    clinic.sweep(now)
    wanted = clinic.publish(CARE.replace("every: 1 week", "every: 10 days"), now)
    plan_migration.migrate(clinic.database, wanted, PlanMap(), author(now, PROVIDER), "Less often")
    for hours in (0, 1, 30):
        clinic.sweep(now + hours * HOUR)
    for who in PATIENTS:
        left = [one.starts_at for one in work_of(clinic, who, "weekly") if one.open]
        begun = [MONDAY, MONDAY + 7 * DAY]
        assert sorted(one for one in left if one) == sorted({*begun, MONDAY + 10 * DAY, MONDAY + 20 * DAY})


def test_a_patient_who_moves_and_comes_back_has_the_work_of_home_again(database: Database) -> None:
    autumn = datetime(2026, 10, 26, 14, tzinfo=MONDAY.tzinfo)
    clinic = Clinic(database, CARE)
    clinic.patient("ann")
    with clinic.acting(autumn, COORDINATOR) as (tx, by):
        enrolment.by_hand(tx, clinic.program, "ann", by)
    clinic.sweep(autumn)
    home = [one.starts_at for one in work_of(clinic, "ann", "weekly")]
    for hours, state in ((1, "AZ"), (2, "NY"), (3, "AZ"), (4, "NY")):
        clinic.put(
            {"resourceType": "Patient", "id": "ann", "address": [{"state": state, "country": "USA"}]},
            autumn + hours * HOUR,
        )
        clinic.sweep(autumn + hours * HOUR)
    assert [one.starts_at for one in work_of(clinic, "ann", "weekly") if one.open] == home


@pytest.mark.parametrize(
    ("ends", "made"),
    [
        ({"assess": "done", "labs": "done"}, ["after-both"]),
        ({"assess": "done"}, []),
        ({"assess": "dropped"}, ["again"]),
        ({"assess": "missed"}, ["again"]),
        ({"assess": "dropped", "labs": "done"}, ["again"]),
        ({"assess": "dropped", "labs": "dropped"}, ["again"]),
        ({"assess": "done", "labs": "missed"}, []),
    ],
    ids=lambda value: "-".join(f"{code}-{status}" for code, status in value.items()) if isinstance(value, dict) else "",
)
def test_work_starts_after_the_end_that_it_names_and_after_no_other(
    database: Database, ends: dict[str, str], made: list[str]
) -> None:
    text = CARE.replace(
        "  - {code: dropped,", '  - {code: missed, is: failed, means: "Could not be done"}\n  - {code: dropped,'
    ).replace(
        "  - {from: [done], to: doing}",
        "  - {from: [done, dropped, missed], to: doing}\n  - {from: [todo, doing], to: missed}",
    )
    text = text.replace("  - {code: weekly", f"{PAST.strip(chr(10))}\n  - {{code: weekly").replace(
        "{from: [todo, doing], to: dropped, require: [reason]}", "{from: [todo, doing], to: dropped}"
    )
    clinic = Clinic(database, text)
    clinic.patient("ann")
    with clinic.acting(MONDAY, COORDINATOR) as (tx, by):
        enrolment.by_hand(tx, clinic.program, "ann", by)
    clinic.sweep(MONDAY)
    for code, status in ends.items():
        clinic.move(work_of(clinic, "ann", code)[0].ref, status, MONDAY + HOUR, fields={"reason": "In the story"})
    for hours in (1, 2, 50):
        clinic.sweep(MONDAY + hours * HOUR)
    begun = sorted(one.code for one in clinic.items("ann") if one.code in ("again", "after-both"))
    assert begun == made
    if "again" in made:
        (assess,) = work_of(clinic, "ann", "assess")
        clinic.move(assess.ref, "doing", MONDAY + 51 * HOUR)
        clinic.sweep(MONDAY + 51 * HOUR)
        assert [one.open for one in work_of(clinic, "ann", "again")] == [False], (
            "its reason is gone: nobody has begun it"
        )
