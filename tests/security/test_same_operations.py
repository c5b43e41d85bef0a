"""Of what a caller may not see no operation tells anything: figures, evidence, options and reports are alike with it and without it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fhir_tracker import publishing
from fhir_tracker.measures.definitions import MEASURES
from fhir_tracker.model.author import Author
from fhir_tracker.model.policy import policy_of
from fhir_tracker.model.viewer import Viewer, open_viewer
from fhir_tracker.roles import built_in
from fhir_tracker.storage.database import Database
from tests.security.test_same_answers import (
    HIDDEN,
    SEEN,
    Body,
    Somebody,
    differing,
    each_restricted,
    of_roles,
    other_database,
    ref,
    restricted,
    task,
)
from tests.support.asking import NOW, Asker, holder, member
from tests.support.matrix import CANONICAL, PROGRAM

__all__ = ["other_database"]
PARAMETERS = "Parameters"


def near(id_: str, whose: str, **more: Any) -> Body:
    """Work of the program `near`."""
    return task(id_, whose, instantiatesCanonical=f"{CANONICAL}near", **more)


def work_of(whose: str) -> list[Body]:
    """Work of every kind that figures count: open, late, on nobody's desk, done, tried, told and flagged."""
    plan: Body = {
        "resourceType": "CarePlan",
        "id": f"p-{whose}",
        "status": "active",
        "intent": "plan",
        "subject": ref(f"Patient/{whose}"),
    }
    told: Body = {
        "resourceType": "Communication",
        "id": f"c-{whose}",
        "status": "completed",
        "subject": ref(f"Patient/{whose}"),
    }
    due = {"period": {"end": (NOW - timedelta(days=2)).isoformat()}}
    return [
        plan | {"instantiatesCanonical": [f"{CANONICAL}near"]},
        near(f"n1-{whose}", whose, basedOn=[ref(f"CarePlan/p-{whose}")], restriction=due),
        near(f"n2-{whose}", whose, owner=ref("Practitioner/doc"), restriction=due, priority="stat"),
        near(f"n3-{whose}", whose, status="completed"),
        told | {"about": [ref(f"Task/n1-{whose}")], "sent": NOW.isoformat()},
    ]  # fmt: skip


ALL_HIDDEN = [*HIDDEN, *work_of("bob")]
BOUNDED = [one for one in ALL_HIDDEN if one["resourceType"] != "Patient"]
QUIET = "may: ['*.cruds'], acts: [queue, patient, task, operations]"


def somebodies() -> Iterator[Somebody]:
    """Roles without the act that lets them be told of what they may open."""
    shut = tuple(restricted(ALL_HIDDEN))
    for role in ("provider", "clinic-admin", "auditor", "rn", "front-desk"):
        held = policy_of((role,), built_in())
        policy = replace(held, acts=held.acts - {"break-glass"})
        yield Somebody(name=role, viewer=member(role, policy=policy, who="Practitioner/doc"), hidden=shut)
    yield Somebody(
        name="app of ann", viewer=holder("patient/*.cruds", patient="ann", who="Patient/ann"), hidden=tuple(ALL_HIDDEN)
    )
    yield Somebody(
        name="launched", viewer=member("provider", patient="ann", who="Practitioner/doc"), hidden=tuple(ALL_HIDDEN)
    )
    elsewhere = member("x", policy=of_roles(f"{QUIET}, locations: [Location/north]"), who="Practitioner/doc")
    yield Somebody(name="another place", viewer=elsewhere, hidden=tuple(ALL_HIDDEN))
    anybody = member("x", policy=of_roles(QUIET), who="Practitioner/doc")
    yield Somebody(name="no restricted", viewer=anybody, hidden=shut)
    yield Somebody(name="no restricted records", viewer=anybody, hidden=tuple(each_restricted(ALL_HIDDEN)))


def figures() -> Iterator[tuple[Any, ...]]:
    spans = (
        "",
        "periodStart=2026-02-01&periodEnd=2026-03-20",
        "asOf=2026-03-09T15:29:00Z",
        "program=near&reportType=population",
    )
    for name in sorted(MEASURES):
        yield from (("GET", f"Measure/{name}/$evaluate-measure?{span}") for span in spans)
    for name in sorted(MEASURES)[:6]:
        for subject in ("Patient/bob", "Patient/nobody", "Patient/ann", "bob", "Patient?identifier=bob"):
            yield "GET", f"Measure/{name}/$evaluate-measure?subject={subject}&reportType=subject"
        stored = [{"name": "store", "valueBoolean": True}, {"name": "measure", "valueString": name}]
        yield "POST", "Measure/$evaluate-measure", {"resourceType": PARAMETERS, "parameter": stored[1:]}
    get = {"request": {"method": "GET", "url": f"Measure/{min(MEASURES)}/$evaluate-measure"}}
    yield "POST", "", {"resourceType": "Bundle", "type": "batch", "entry": [get, get]}
    yield from (
        ("GET", one)
        for one in ("Measure", "MeasureReport", "MeasureReport?subject=Patient/bob", "MeasureReport?_count=0")
    )


def operations() -> Iterator[tuple[Any, ...]]:
    nothing = {"resourceType": PARAMETERS}
    for id_ in ("b1", "n1-bob", "n3-bob", "nobody"):
        yield from (("GET", f"Task/{id_}/{one}") for one in ("$options", "$outreach", "$validate"))
        yield from (("POST", f"Task/{id_}/$undo", nothing), ("POST", f"Task/{id_}/$validate?mode=delete", nothing))
    for id_ in ("p-bob", "nobody"):
        yield from (("GET", f"CarePlan/{id_}/$options"), ("POST", f"CarePlan/{id_}/$undo", nothing))
    for id_ in ("bob", "ann", "nobody"):
        yield from (
            ("GET", f"Patient/{id_}/$evidence{query}") for query in ("", "?program=near", "?program=near&month=2026-03")
        )
    for subject in ("Patient/bob", "Patient/nobody", "Patient/ann"):
        asked = {"resourceType": PARAMETERS, "parameter": [{"name": "subject", "valueString": subject}]}
        yield from (
            ("POST", f"PlanDefinition/{one}/{do}", asked) for one in ("pd", "near") for do in ("$apply", "$instantiate")
        )
        yield from (
            ("GET", f"{type_}/$apply?subject={subject}")
            for type_ in ("PlanDefinition/near", "ActivityDefinition/near.step")
        )
    said = [{"name": "reason", "valueString": "A reason that is long enough"}]
    for id_ in ("bob", "nobody"):
        for parts in (said, [{"name": "close", "valueBoolean": True}]):
            yield "POST", f"Patient/{id_}/$break-glass", {"resourceType": PARAMETERS, "parameter": parts}
    for ids in (("n1-bob",), ("a1", "n1-bob"), ("nobody",)):
        tasks = [{"name": "task", "valueReference": ref(f"Task/{one}")} for one in ids]
        for part in ({"name": "to", "valueCode": "prepared"}, {"name": "priority", "valueCode": "stat"}):
            yield "POST", "Task/$move", {"resourceType": PARAMETERS, "parameter": [*tasks, part]}


def world(database: Database, *bodies: Body) -> Asker:
    """A store with the programs, what everybody sees, and these."""
    asker = Asker(database=database, viewer=open_viewer())
    with database.begin() as tx:
        publishing.publish(
            tx, PROGRAM.format("near"), Author(viewer=open_viewer(), origin="cli", at=NOW - timedelta(days=30))
        )
    asker.put(*SEEN, near("a3", "ann", restriction={"period": {"end": NOW.isoformat()}}), *bodies)
    return asker


def answers(somebody: Viewer, database: Database, other: Database, hidden: tuple[Body, ...]) -> list[str]:
    one, two = (world(each, *bodies).as_viewer(somebody) for each, bodies in ((database, hidden), (other, ())))
    later = NOW + timedelta(minutes=5)
    one, two = (replace(each, now=later) for each in (one, two))
    asked = [*figures(), *operations()]
    return differing(one, two, asked if database.dialect == "sqlite" else asked[::5])


@pytest.mark.security("M3", "S41", "S42", "S44", "A3", "A4")
@pytest.mark.requirement(86, 87, 89)
@pytest.mark.parametrize("somebody", list(somebodies()), ids=lambda one: one.name.replace(" ", "-"))
def test_what_is_hidden_changes_no_figure_and_no_operation(
    database: Database, other_database: Database, somebody: Somebody
) -> None:
    found = answers(somebody.viewer, database, other_database, somebody.hidden)
    assert found == [], f"{len(found)}\n" + "\n".join(found[:20])


def test_the_figures_differ_for_who_sees_everything(database: Database, other_database: Database) -> None:
    found = answers(open_viewer(), database, other_database, tuple(ALL_HIDDEN))
    told = {one.split("'")[3].partition("?")[0] for one in found if "$evaluate-measure" in one.splitlines()[0]}
    assert len(told) > 4, sorted(told)
