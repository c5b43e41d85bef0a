"""Who may answer an escalation: the roles of its level, of those above, whom it was handed to; nobody else, on page and API."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from fhir_tracker import bulk_moves, escalation, records, transitions, writes
from fhir_tracker.errors import RuleBroken
from fhir_tracker.model.author import Author
from fhir_tracker.model.moves import MoveRequest
from fhir_tracker.model.sight import EVERYTHING
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage.database import Database, Tx
from tests.support.clinic import COORDINATOR, FRONT_DESK, MONDAY, NURSE, PROVIDER, RING, SYSTEM, Clinic, author

DAY = timedelta(days=1)
LATE = MONDAY + 3 * DAY
ADMIN = Viewer(who="Practitioner/admin", name="The admin", roles=frozenset({"clinic-admin"}), sight=EVERYTHING)
ONLY_PROVIDERS = RING.replace("- {to: role/rn}\n", "- {to: role/rn, by: [provider, role/clinic-admin]}\n")
Act = Callable[[Tx, str, Author], object]


def put(**changes: object) -> Act:
    """A client's PUT of the escalation with other values."""

    def act(tx: Tx, ref: str, by: Author) -> object:
        body = records.resource_of(transitions.find_task(tx, by.viewer, ref).stored)
        return writes.update(tx, "Task", body["id"], body | changes, by)

    return act


ACTS: dict[str, Act] = {
    "acknowledge": lambda tx, ref, by: escalation.acknowledge(tx, ref, by),
    "take-over": lambda tx, ref, by: escalation.take_over(tx, ref, by),
    "resolve": lambda tx, ref, by: escalation.resolve(tx, ref, by),
    "send-back": lambda tx, ref, by: escalation.send_back(tx, ref, "Not ours", by),
    "move": lambda tx, ref, by: transitions.move(tx, ref, MoveRequest(to="accepted"), by),
    "entered-in-error": lambda tx, ref, by: transitions.move(
        tx, ref, MoveRequest(to="entered-in-error", fields={"reason": "x"}), by
    ),
    "claim": lambda tx, ref, by: transitions.claim(tx, ref, by),
    "assign": lambda tx, ref, by: transitions.assign(tx, ref, by.viewer.who, by),
    "hand on": lambda tx, ref, by: transitions.give_role(tx, ref, "front-desk", by),
    "put status": put(status="accepted"),
    "put closed": put(status="completed"),
    "put owner": put(owner={"reference": "Practitioner/desk"}),
    "put role": put(performerType=[{"text": "front-desk"}]),
}


def clinic_with(database: Database, program: str = RING) -> tuple[Clinic, str]:
    clinic = Clinic(database, program)
    clinic.patient("ann")
    clinic.discharge("ann", MONDAY)
    clinic.sweep(LATE)
    return clinic, clinic.escalations("ann")[0].ref


def do(clinic: Clinic, act: Act, ref: str, who: Viewer) -> None:
    with clinic.acting(LATE + timedelta(minutes=1), who) as (tx, by):
        act(tx, ref, by)


@pytest.mark.requirement(126)
@pytest.mark.parametrize("name", ACTS)
def test_nobody_answers_or_takes_an_escalation_that_waits_for_others(database: Database, name: str) -> None:
    clinic, ref = clinic_with(database)
    before = clinic.resource(ref)
    with pytest.raises(RuleBroken) as refused:
        do(clinic, ACTS[name], ref, FRONT_DESK)
    said = "Only rn, provider or clinic-admin, or who has taken it over, may answer this escalation."
    assert refused.value.message == said, "every way says the same"
    assert refused.value.issues[0].expression == "Task.status"
    assert clinic.resource(ref) == before
    assert [one.state for one in clinic.firings(clinic.task("ann", "first-call").ref)] == ["open"]
    do(clinic, ACTS[name], ref, NURSE)
    assert clinic.resource(ref)["meta"]["versionId"] > before["meta"]["versionId"]


@pytest.mark.parametrize(
    ("program", "level", "may"),
    [
        (RING, 1, {"rn", "provider", "clinic-admin"}),
        (RING, 2, {"provider", "clinic-admin"}),
        (RING, 3, {"clinic-admin"}),
        (ONLY_PROVIDERS, 1, {"provider", "clinic-admin"}),
        (ONLY_PROVIDERS, 2, {"provider", "clinic-admin"}),
    ],
)
def test_each_level_waits_for_its_role_and_those_above_or_for_whom_it_names(
    database: Database, program: str, level: int, may: set[str]
) -> None:
    clinic, _ = clinic_with(database, program)
    clinic.sweep(LATE + timedelta(hours=5))
    clinic.sweep(LATE + timedelta(hours=7))
    ref = clinic.escalations("ann")[level - 1].ref
    for who in (NURSE, COORDINATOR, PROVIDER, FRONT_DESK, ADMIN, SYSTEM):
        with clinic.database.read() as tx:
            offered = transitions.options(tx, who, ref)
        may_now = bool(who.roles & (may | {"system"}))
        assert bool(offered) is may_now, f"{who.name} is offered what is refused"
        if not may_now:
            with pytest.raises(RuleBroken, match="may answer this escalation"):
                do(clinic, ACTS["acknowledge"], ref, who)


def test_who_has_it_and_the_role_it_was_handed_to_may_answer_too(database: Database) -> None:
    clinic, ref = clinic_with(database)
    do(clinic, ACTS["hand on"], ref, NURSE)
    do(clinic, ACTS["acknowledge"], ref, FRONT_DESK)
    do(clinic, lambda tx, one, by: transitions.assign(tx, one, COORDINATOR.who, by), ref, FRONT_DESK)
    do(clinic, ACTS["resolve"], ref, COORDINATOR)
    assert not clinic.item(ref).open


def test_an_escalation_of_a_rule_that_the_program_has_no_more_waits_for_its_role_and_the_admin(
    database: Database,
) -> None:
    clinic, ref = clinic_with(database)
    start, end = RING.index("  - id: late"), RING.index("  - id: missed")
    gone = RING[:start] + RING[end:]
    clinic.publish(gone[: gone.index("ladders:")], LATE)
    call = clinic.task("ann", "first-call").ref
    body = clinic.resource(call)
    body["instantiatesCanonical"] = body["instantiatesCanonical"].replace("|1", "|2")
    clinic.put(body, LATE)
    with clinic.database.read() as tx:
        assert transitions.find_task(tx, NURSE, ref).answering == ("rn", "clinic-admin")
    with pytest.raises(RuleBroken, match="Only rn or clinic-admin"):
        do(clinic, ACTS["acknowledge"], ref, PROVIDER)
    do(clinic, ACTS["acknowledge"], ref, ADMIN)


def test_a_step_on_many_says_for_each_who_may(database: Database) -> None:
    clinic, ref = clinic_with(database)
    wanted = [bulk_moves.Wanted(ref=ref), bulk_moves.Wanted(ref=clinic.task("ann", "first-call").ref)]
    step = bulk_moves.giving("front-desk")
    first, second = bulk_moves.each(clinic.database, wanted, step, author(LATE, FRONT_DESK))
    assert (first.outcome, second.outcome) == ("failed", "done")
    assert first.why.startswith("Only rn, provider or clinic-admin")
    assert [one.message for one in first.issues] == [first.why]


def test_closing_the_late_work_resolves_its_escalation_whoever_does_it(database: Database) -> None:
    clinic, ref = clinic_with(database)
    call = clinic.task("ann", "first-call").ref
    clinic.move(call, "reached", LATE + DAY, COORDINATOR, {"outreach.outcome": "reached", "note": "Well"})
    assert clinic.item(ref).fhir_status == "completed"
