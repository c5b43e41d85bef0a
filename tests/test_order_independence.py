"""The order in which an EHR's news arrives decides nothing: the same plans are open in the end, and rebuilding agrees."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from fhir_tracker import rebuilding
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.storage import patients
from fhir_tracker.storage.database import Database
from tests.support.clinic import EVERYONE, MONDAY, RING, SYSTEM, Clinic, appointment, encounter

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
PEOPLE = ("ann", "bob", "cid", "dee")


@contextmanager
def copy_of(prepared: Path, folder: Path, name: str) -> Iterator[Clinic]:
    path = folder / f"{name}.db"
    shutil.copyfile(prepared, path)
    database = Database.open(f"sqlite:///{path}")
    try:
        yield Clinic(database)
    finally:
        database.close()


def news() -> list[Resource]:
    """What the EHR tells of four patients: two discharges, one stay that goes on, one that was long ago."""
    told: list[Resource] = [
        {"resourceType": "Patient", "id": name, "name": [{"family": "Synthetic", "given": [name]}]} for name in PEOPLE
    ]
    told.append(encounter("ann", MONDAY - DAY, id_="stay-ann"))
    told.append(encounter("bob", MONDAY - 2 * DAY, id_="stay-bob"))
    told.append(encounter("cid", MONDAY, id_="stay-cid", status="in-progress"))
    told.append(encounter("dee", MONDAY - 90 * DAY, id_="stay-dee"))
    told.append(appointment("ann", MONDAY - HOUR, id_="visit-ann", status="noshow"))
    told.append(appointment("bob", MONDAY + DAY, id_="visit-bob", status="booked"))
    return told


def summary(clinic: Clinic) -> dict[str, list[tuple[object, ...]]]:
    """What the work of each patient comes to, without ids and without what only the moment of arrival decides."""
    return {
        name: sorted(
            (item.kind, item.code, item.status, item.role or "", item.due_at.isoformat() if item.due_at else "")
            for item in clinic.items(name)
            if item.code != "reschedule" or item.kind != "task"
        )
        for name in PEOPLE
    }


@pytest.mark.parametrize("seed", range(8))
def test_any_order_of_arrival_opens_the_same_plans(prepared_file: Path, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    with copy_of(prepared_file, tmp_path, "straight") as straight, copy_of(prepared_file, tmp_path, "mixed") as mixed:
        for body in news():
            straight.put(body, MONDAY)
        straight.enrol(MONDAY)
        shuffled = news() + chance.choices(news(), k=5)
        chance.shuffle(shuffled)
        for number, body in enumerate(shuffled):
            mixed.put(body, MONDAY + timedelta(seconds=number))
            if chance.random() < 0.4:
                mixed.enrol(MONDAY + timedelta(seconds=number))
        mixed.enrol(MONDAY + timedelta(seconds=60))
        for clinic in (straight, mixed):
            clinic.sweep(MONDAY + HOUR)
        assert summary(mixed) == summary(straight)
        assert [len(summary(mixed)[name]) > 0 for name in PEOPLE] == [True, True, False, False]
        assert mixed.enrol(MONDAY + HOUR) == 0


@pytest.mark.parametrize("seed", range(6))
def test_live_read_models_equal_rebuilt_ones_after_a_random_history(database: Database, seed: int) -> None:
    clinic = Clinic(database)
    chance = random.Random(seed)
    now = MONDAY
    for body in news():
        clinic.put(body, now)
    clinic.enrol(now)
    for _ in range(25):
        now += timedelta(minutes=chance.randrange(1, 600))
        live_through(clinic, chance, now)
    clinic.sweep(now)
    before = read_models(clinic)
    rebuilding.rebuild_all(clinic.database, now)
    assert read_models(clinic) == before
    clinic.sweep(now)
    assert {name: len(clinic.escalations(name)) for name in PEOPLE} == {
        name: sum(kind == "escalation" for kind, *_ in before[name]) for name in PEOPLE
    }


def live_through(clinic: Clinic, chance: random.Random, now: datetime) -> None:
    """One random happening: work moved, tried, written again, deleted; news of the EHR; a sweep."""
    tasks = [item for name in PEOPLE for item in clinic.items(name) if item.kind == "task"]
    item = chance.choice(tasks)
    what = chance.choice(["move", "try", "plain", "flag", "sweep", "again", "deceased"])
    if what == "move" and item.program:
        to = {"to-call": "calling", "waiting": "calling"}.get(item.status)
        if to:
            clinic.move(item.ref, to, now, EVERYONE)
    elif what == "try":
        clinic.attempt(item.ref, now, channel=chance.choice(["phone", "sms"]))
    elif what == "plain":
        name = f"plain-{chance.randrange(3)}"
        body: Resource = {"resourceType": "Task", "id": name, "status": "requested", "intent": "order"}
        owner = chance.choice([{}, {"owner": {"reference": "Practitioner/nurse"}}])
        clinic.put(body | owner | {"for": {"reference": f"Patient/{chance.choice(PEOPLE)}"}}, now)
        if chance.random() < 0.3:
            clinic.remove(f"Task/{name}", now)
    elif what == "flag":
        code = {"coding": [{"code": chance.choice(["fall", "high-risk"])}]}
        flag: Resource = {"resourceType": "Flag", "id": f"flag-{chance.randrange(2)}", "code": code}
        status = chance.choice(["active", "inactive"])
        clinic.put(flag | {"status": status, "subject": {"reference": f"Patient/{chance.choice(PEOPLE)}"}}, now)
    elif what == "sweep":
        clinic.sweep(now)
    elif what == "again":
        clinic.put(chance.choice(news()), now)
        clinic.enrol(now)
    else:
        clinic.put(next(one for one in news() if one["id"] == "dee") | {"deceasedBoolean": True}, now)


def read_models(clinic: Clinic) -> dict[str, list[tuple[object, ...]]]:
    """Every work item but for when it is looked at next, and every patient in a line."""
    found: dict[str, list[tuple[object, ...]]] = {
        name: [
            (item.kind, *(value for field, value in sorted(vars(item).items()) if field != "next_action_at"))
            for item in sorted(clinic.items(name), key=lambda one: one.ref)
        ]
        for name in PEOPLE
    }
    with clinic.database.read() as tx:
        known = patients.find_many(tx, SYSTEM, PEOPLE)
    return found | {"patients": [(one, known[one]) for one in sorted(known)]}


def test_reading_the_whole_log_again_opens_nothing_new(prepared_file: Path, tmp_path: Path) -> None:
    with copy_of(prepared_file, tmp_path, "again") as clinic:
        for body in news():
            clinic.put(body, MONDAY)
        clinic.enrol(MONDAY)
        before = summary(clinic)
        for edition in range(3):
            clinic.program = clinic.publish(RING + f"# edition {edition}\n", MONDAY + HOUR)
            assert clinic.enrol(MONDAY + HOUR) == 0
        assert summary(clinic) == before
