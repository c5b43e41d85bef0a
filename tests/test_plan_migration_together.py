"""Plans move to another version while people work, over and over, and nobody's step is lost or done twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from random import Random
from threading import Barrier

import pytest

from fhir_tracker import consequences, effects, plan_migration, transitions
from fhir_tracker.errors import Busy, Conflict, RuleBroken
from fhir_tracker.model.moves import MoveRequest
from fhir_tracker.model.plan_map import PlanMap
from fhir_tracker.storage.database import Database
from tests.support.clinic import EVERYONE, MONDAY, PROVIDER, RING, Clinic, author

RENAMED = RING.replace("to-call", "new").replace("calling", "ringing").replace("code: first-call", "code: ring")
RENAMED = RENAMED.replace("task: first-call", "task: ring").replace("title: Ring after", "title: Ring anew after")
MAP = PlanMap(statuses={"to-call": "new", "calling": "ringing"}, tasks={"first-call": "ring"})
PATIENTS = [f"p{number}" for number in range(12)]
HOUR = timedelta(hours=1)
PATIENCE = 120


def steps(url: str, refs: list[str], start: Barrier) -> list[tuple[str, str]]:
    """One person moves every task on, by the names of whichever version it is at; (task, status) for what was done."""
    done = []
    with closing(Database.open(url)) as database:
        start.wait(PATIENCE)
        for ref in refs:
            for to in ("calling", "ringing"):
                try:
                    with database.begin() as tx:
                        transitions.move(tx, ref, MoveRequest(to=to), author(MONDAY + 2 * HOUR, EVERYONE))
                        consequences.draw(tx, effects.apply)
                except (RuleBroken, Conflict, Busy):
                    continue
                done.append((ref, to))
                break
    return done


@pytest.mark.parametrize("seed", [1, 2])
def test_people_work_on_while_plans_are_migrated_by_two_at_once(database: Database, ready_url: str, seed: int) -> None:
    clinic = Clinic(database)
    for one in PATIENTS:
        clinic.patient(one)
        clinic.discharge(one, MONDAY)
    refs = [clinic.task(one, "first-call").ref for one in PATIENTS]
    wanted = clinic.publish(RENAMED, MONDAY + HOUR)
    start = Barrier(3)
    mixed = Random(seed).sample(refs, len(refs))

    def migrate() -> plan_migration.Migrated:
        with closing(Database.open(ready_url)) as mine:
            start.wait(PATIENCE)
            return plan_migration.migrate(mine, wanted, MAP, author(MONDAY + 2 * HOUR, PROVIDER), "Renamed")

    with ThreadPoolExecutor(3) as threads:
        working = threads.submit(steps, ready_url, mixed, start)
        moving = [threads.submit(migrate) for _ in range(2)]
        moved = [one.result(PATIENCE) for one in moving]
        done = working.result(PATIENCE)
    left = plan_migration.migrate(database, wanted, MAP, author(MONDAY + 3 * HOUR, PROVIDER), "Renamed")
    assert sum(one.plans for one in (*moved, left)) == len(PATIENTS), "each plan is moved once"
    stepped = {ref for ref, _ in done}
    assert len(stepped) == len(done)
    for patient, ref in zip(PATIENTS, refs, strict=True):
        assert {(one.program_version, one.open) for one in clinic.items(patient)} == {(2, True)}
        item = clinic.item(ref)
        assert (item.code, item.status) == ("ring", "ringing" if ref in stepped else "new")
        rows = [(row.before, row.after) for row in clinic.log(ref) if row.what == "status"]
        ways = {("to-call", "new"), ("new", "ringing")}, {("to-call", "calling"), ("calling", "ringing")}
        told = {pair for pair in rows if pair[0] and pair[0] != pair[1]}
        assert told in ways if ref in stepped else told == {("to-call", "new")}, (
            "each step is told, and follows the last"
        )
        versions = clinic.resource(ref)["meta"]["versionId"]
        assert int(versions) <= 3
