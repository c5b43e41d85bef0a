"""Random chains, reverse chains, several types and sorts give what a naive walk over all bodies gives, on both databases."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from fhir_tracker.fhir.query import Query, parse_query, parse_system_query
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage import search, search_links
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.page_cursor import PageCursor
from fhir_tracker.storage.resources import Stored
from fhir_tracker.storage.scope import SHARED
from tests.storage.samples import KEY, VIEWER, locked, pairs, patient_of, put_all
from tests.storage.shelf import CODES, PEOPLE, Asked, Body, some_observation, some_patient, some_task

Bodies = Mapping[str, Body]
DOCTORS = ("p1", "p2", "p3")


def references(body: Body, path: str) -> list[str]:
    """The targets at a member that is a Reference or a list of them."""
    held = body.get(path) or []
    return [one["reference"] for one in (held if isinstance(held, list) else [held])]


@dataclass(frozen=True, kw_only=True)
class Way:
    """A reference parameter: where it stands and what it can lead to."""

    source: str
    param: str
    path: str
    targets: tuple[str, ...]


WAYS = (
    Way(source="Task", param="patient", path="for", targets=("Patient",)),
    Way(source="Task", param="subject", path="for", targets=("Patient",)),
    Way(source="Task", param="owner", path="owner", targets=("Practitioner",)),
    Way(source="Task", param="part-of", path="partOf", targets=("Task",)),
    Way(source="Task", param="focus", path="focus", targets=("Task", "Observation", "Patient")),
    Way(source="Observation", param="patient", path="subject", targets=("Patient",)),
    Way(source="Patient", param="general-practitioner", path="generalPractitioner", targets=("Practitioner",)),
)


def stock(chance: random.Random) -> dict[str, dict[str, Any]]:
    """Resources that refer to each other, some of them to nothing that is there."""
    bodies: list[dict[str, Any]] = [some_patient(chance, one) for one in (*PEOPLE, "dan")]
    for body in bodies:
        body["gender"] = chance.choice(("male", "female"))
        if chance.random() < 0.7:
            body["generalPractitioner"] = [{"reference": f"Practitioner/{chance.choice(DOCTORS)}"}]
    bodies += [
        {"resourceType": "Practitioner", "id": one, "gender": chance.choice(("male", "female"))} for one in DOCTORS[:2]
    ]
    bodies += [some_observation(chance, f"o{number}") for number in range(10)]
    for number in range(25):
        body = some_task(chance, f"t{number}")
        if chance.random() < 0.5:
            body["partOf"] = [{"reference": f"Task/t{chance.randint(0, 30)}"} for _ in range(chance.randint(1, 2))]
        if chance.random() < 0.6:
            target = chance.choice(
                (f"Task/t{chance.randint(0, 24)}", f"Observation/o{chance.randint(0, 9)}", "Patient/ann")
            )
            body["focus"] = {"reference": target}
        if chance.random() < 0.4:
            body["priority"] = chance.choice(("stat", "routine", "asap"))
        bodies.append(body)
    return {f"{body['resourceType']}/{body['id']}": body for body in bodies}


def simple(chance: random.Random, type_: str) -> Asked:
    """A condition on the resource itself."""
    gender = chance.choice(("male", "female"))
    status = chance.choice(("requested", "completed", "on-hold", "final"))
    code = chance.choice(CODES)
    said: dict[str, tuple[str, str, Callable[[Body], bool]]] = {
        "Task": ("status", status, lambda body: body.get("status") == status),
        "Observation": ("code", code, lambda body: code in {one["code"] for one in body["code"]["coding"]}),
        "Patient": ("gender", gender, lambda body: body.get("gender") == gender),
        "Practitioner": ("gender", gender, lambda body: body.get("gender") == gender),
    }
    param, text, fits = said[type_]
    if chance.random() < 0.2:
        return Asked(text=f"{param}:not={text}", fits=lambda body: not fits(body))
    return Asked(text=f"{param}={text}", fits=fits)


def condition(chance: random.Random, bodies: Bodies, type_: str, depth: int = 0) -> Asked:
    """A condition that goes along up to three references, forward and backward."""
    forward = [one for one in WAYS if one.source == type_]
    back = [one for one in WAYS if type_ in one.targets]
    roll = chance.random()
    if depth == 3 or roll < 0.25 + 0.2 * depth or not (forward or back):
        return simple(chance, type_)
    if forward and (roll < 0.65 or not back):
        return chained(chance, bodies, chance.choice(forward), depth)
    return reverse(chance, bodies, chance.choice(back), type_, depth)


def chained(chance: random.Random, bodies: Bodies, way: Way, depth: int) -> Asked:
    target = chance.choice(way.targets)
    inner = condition(chance, bodies, target, depth + 1)

    def fits(body: Body) -> bool:
        met = [bodies[ref] for ref in references(body, way.path) if ref.startswith(f"{target}/") and ref in bodies]
        return any(inner.fits(one) for one in met)

    return Asked(text=f"{way.param}:{target}.{inner.text}", fits=fits)


def reverse(chance: random.Random, bodies: Bodies, way: Way, type_: str, depth: int) -> Asked:
    inner = condition(chance, bodies, way.source, depth + 1)

    def fits(body: Body) -> bool:
        ref = f"{type_}/{body['id']}"
        of_source = [one for one in bodies.values() if one["resourceType"] == way.source]
        return any(ref in references(one, way.path) and inner.fits(one) for one in of_source)

    return Asked(text=f"_has:{way.source}:{way.param}:{inner.text}", fits=fits)


def walked(database: Database, query: Query, viewer: Viewer = VIEWER) -> Iterator[Stored]:
    page: PageCursor | None = None
    while True:
        with database.read() as tx:
            answer = search.search(tx, viewer, query, page=page)
        yield from answer.matches
        if answer.next is None:
            return
        page = PageCursor.decode(answer.next.encode(KEY), KEY)


def fitting(bodies: Bodies, types: tuple[str, ...], asked: list[Asked]) -> list[str]:
    return sorted(
        ref for ref, body in bodies.items() if body["resourceType"] in types and all(one.fits(body) for one in asked)
    )


@pytest.mark.requirement(28)
@pytest.mark.parametrize(("few", "looked_at"), [(1000, ()), (3, (64, 512)), (2, (1, 2)), (1, ())])
def test_random_chains_find_what_a_naive_walk_finds(
    database: Database, monkeypatch: pytest.MonkeyPatch, few: int, looked_at: tuple[int, ...]
) -> None:
    monkeypatch.setattr(search_links, "FEW_READ", few)
    monkeypatch.setattr(search_links, "LOOKED_AT", looked_at)
    chance = random.Random(few)
    bodies = stock(chance)
    put_all(database, list(bodies.values()))
    met = 0
    for _ in range(120):
        type_ = chance.choice(("Task", "Task", "Patient", "Observation", "Practitioner"))
        asked = [condition(chance, bodies, type_) for _ in range(chance.randint(1, 2))]
        text = "&".join([*(one.text for one in asked), f"_count={chance.choice((4, 50))}"])
        expected = fitting(bodies, (type_,), asked)
        query = parse_query(type_, pairs(text), strict=True)
        assert sorted(one.ref for one in walked(database, query)) == expected, text
        met += bool(expected)
    assert met > 30


@pytest.mark.requirement(28)
def test_random_chains_tell_a_locked_viewer_what_their_own_share_tells(database: Database) -> None:
    chance = random.Random(77)
    bodies = stock(chance)
    put_all(database, list(bodies.values()))
    for _ in range(100):
        patient = chance.choice(PEOPLE)
        own = {
            ref: body for ref, body in bodies.items() if patient_of(body) == patient or body["resourceType"] in SHARED
        }
        asked = [condition(chance, own, "Task")]
        query = parse_query("Task", pairs(asked[0].text), strict=True)
        seen = sorted(one.ref for one in walked(database, query, locked(patient)))
        assert seen == fitting(own, ("Task",), asked), asked[0].text


SYSTEM: tuple[tuple[str, Callable[[Body], bool]], ...] = (
    ("subject=Patient/ann", lambda body: "Patient/ann" in references(body, "for") + references(body, "subject")),
    ("patient=bob", lambda body: "Patient/bob" in references(body, "for") + references(body, "subject")),
    ("status=final,completed", lambda body: body.get("status") in {"final", "completed"}),
    ("status:not=final", lambda body: body.get("status") != "final"),
    ("code=call", lambda body: "call" in {one["code"] for one in (body.get("code") or {}).get("coding", [])}),
    ("code:missing=true", lambda body: "code" not in body),
    ("_id=t1,t2,o3,nothing", lambda body: body["id"] in {"t1", "t2", "o3"}),
)


def about(patient: str) -> Asked:
    """What is in the compartment of a patient, without words of its own."""
    ref = f"Patient/{patient}"
    return Asked(text="", fits=lambda body: ref in references(body, "for") + references(body, "subject"))


@pytest.mark.requirement(16, 32)
def test_random_searches_of_two_types_and_of_compartments(database: Database) -> None:
    chance = random.Random(5)
    bodies = stock(chance)
    put_all(database, list(bodies.values()))
    for _ in range(60):
        chosen = chance.sample(SYSTEM, chance.randint(0, 2))
        asked = [Asked(text=text, fits=fits) for text, fits in chosen]
        patient = chance.choice((None, *PEOPLE))
        if patient:
            asked.append(about(patient))
        text = "&".join(["_type=Task,Observation", *(one.text for one in asked if one.text), "_count=7"])
        query = parse_system_query(pairs(text), strict=True, compartment=("Patient", patient) if patient else None)
        expected = fitting(bodies, ("Task", "Observation"), asked)
        assert sorted(one.ref for one in walked(database, query)) == expected, text


def codes_of(body: Body) -> list[str]:
    return [one["code"] for one in (body.get("code") or {}).get("coding", [])]


VALUES: dict[str, Callable[[Body], list[str]]] = {
    "status": lambda body: [body["status"]],
    "priority": lambda body: [body["priority"]] if "priority" in body else [],
    "code": codes_of,
    "owner": lambda body: references(body, "owner"),
    "patient": lambda body: references(body, "for"),
    "part-of": lambda body: references(body, "partOf"),
    "focus": lambda body: references(body, "focus"),
}


@pytest.mark.requirement(30)
def test_random_sorts_give_the_order_of_a_naive_one(database: Database) -> None:
    chance = random.Random(9)
    bodies = stock(chance)
    put_all(database, list(bodies.values()))
    for _ in range(40):
        sorts = [(one, chance.random() < 0.5) for one in chance.sample(sorted(VALUES), chance.randint(1, 3))]
        text = ",".join(f"{'-' if down else ''}{one}" for one, down in sorts)
        query = parse_query("Task", pairs(f"_sort={text}&_count={chance.choice((3, 50))}"), strict=True)
        matches = list(walked(database, query))
        naive = sorted(matches, key=lambda one: one.k, reverse=sorts[-1][1])
        for param, down in reversed(sorts):
            values = {one.ref: VALUES[param](bodies[one.ref]) for one in matches}
            last = "" if down else "\U0010ffff"
            chosen = {ref: (max(held) if down else min(held)) if held else last for ref, held in values.items()}
            naive.sort(key=lambda one: chosen[one.ref], reverse=down)
        assert [one.ref for one in matches] == [one.ref for one in naive], text
