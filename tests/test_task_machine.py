"""A task under random users, roles, moves, claims and notes, against a model of a few lines: nothing else ever happens.

The model knows the transitions of the ring program and no code of the product.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from fhir_tracker import transitions, undo
from fhir_tracker.errors import RuleBroken, VersionConflict
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.dates import instant, parse_datetime
from fhir_tracker.model.moves import MoveRequest
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.model.vocabulary import HOLD_UNTIL
from fhir_tracker.storage.database import Database
from tests.support.clinic import COORDINATOR, EVERYONE, FRONT_DESK, MONDAY, NURSE, PROVIDER, STRANGER, Clinic

FHIR = {
    "to-call": "requested",
    "calling": "in-progress",
    "waiting": "on-hold",
    "reached": "completed",
    "unreachable": "failed",
    "entered-in-error": "entered-in-error",
}
OPEN = ("to-call", "calling", "waiting")
WAYS: dict[tuple[str, str], tuple[frozenset[str], frozenset[str]]] = {
    ("to-call", "calling"): (frozenset(), frozenset()),
    **{
        (one, "reached"): (frozenset({"care-coordinator", "rn"}), frozenset({"outreach.outcome", "note"}))
        for one in ("to-call", "calling")
    },
    **{(one, "waiting"): (frozenset(), frozenset({"hold.until", "reason"})) for one in ("to-call", "calling")},
    ("waiting", "calling"): (frozenset(), frozenset()),
    **{(one, "unreachable"): (frozenset(), frozenset({"reason"})) for one in ("to-call", "calling")},
    ("reached", "calling"): (frozenset({"rn"}), frozenset({"reason"})),
    **{(one, "entered-in-error"): (frozenset(), frozenset({"reason"})) for one in FHIR if one != "entered-in-error"},
}
"""(from, to) -> (who may, what must be given), as the ring program says; anything may be entered in error."""

USERS = st.sampled_from([NURSE, COORDINATOR, PROVIDER, FRONT_DESK, STRANGER, EVERYONE])
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "note": st.sampled_from(["", "  ", "Spoke with the daughter", "<b>&</b>"]),
        "reason": st.sampled_from(["", "Asked for it", "Records are missing"]),
        "outreach.outcome": st.sampled_from(["reached", "no-answer"]),
        "hold.until": st.sampled_from(["ahead", "ahead", "past", "soon"]),
    },
)

STORY: tuple[tuple[Viewer, str, dict[str, str]], ...] = (
    (NURSE, "reached", {"reason": "Asked for it", "outreach.outcome": "reached"}),
    (FRONT_DESK, "unreachable", {"reason": "Asked for it", "hold.until": "ahead", "outreach.outcome": "no-answer"}),
    (EVERYONE, "entered-in-error", {"hold.until": "ahead"}),
    (FRONT_DESK, "reached", {"reason": "", "outreach.outcome": "no-answer"}),
    (EVERYONE, "to-call", {"note": "Spoke with the daughter", "reason": "", "outreach.outcome": "no-answer"}),
    (EVERYONE, "entered-in-error", {"reason": "Records are missing"}),
    (NURSE, "calling", {"reason": "Asked for it"}),
)
"""Moves that the machine found when its model let nothing closed be entered in error."""


class TaskMachine(RuleBasedStateMachine):
    """One first call from the discharge on; `status`, `owner` and `notes` are what the model believes."""

    database: Database

    def __init__(self) -> None:
        super().__init__()
        self.clinic = Clinic(self.database)
        self.clinic.patient("ann")
        self.clinic.discharge("ann", MONDAY)
        self.ref = self.clinic.task("ann", "first-call").ref
        self.now = MONDAY
        self.status = "to-call"
        self.owner: str | None = None
        self.notes = 0
        self.attempts = 0
        self.version = 1
        self.statuses: list[str] = ["to-call"]
        self.role = "care-coordinator"
        self.last: tuple[str, str, str | None, str] | None = None
        """Who did what can be taken back still, and the status, owner and role that were before it."""

    def later(self) -> datetime:
        self.now += timedelta(minutes=7)
        self.last = None
        return self.now

    def stood(self, user: Viewer, before: tuple[str, str | None, str]) -> None:
        """The user moved something, as far as it is not as it was."""
        if before != (self.status, self.owner, self.role):
            self.last = (user.who, *before)

    def refused(self, act: Callable[[], object]) -> None:
        with pytest.raises(RuleBroken):
            act()

    @rule(user=USERS, to=st.sampled_from(sorted(FHIR)), fields=FIELDS)
    def move(self, user: Viewer, to: str, fields: dict[str, str]) -> None:
        now = self.later()
        until = {"ahead": now + timedelta(days=40), "past": now - timedelta(hours=1), "soon": now}
        given = fields | ({"hold.until": instant(until[fields["hold.until"]])} if "hold.until" in fields else {})
        filled = {name for name, text in given.items() if text.strip()}
        filled |= {"outreach.outcome"} if self.attempts else set()
        may, needs = WAYS.get((self.status, to), (frozenset(), frozenset()))
        is_known = to == self.status or (self.status, to) in WAYS
        allowed = is_known and (not may or bool(may & user.roles)) and (to == self.status or needs <= filled)
        allowed = allowed and (to != "waiting" or fields.get("hold.until") not in ("past", "soon"))
        if not allowed:
            self.refused(lambda: self.clinic.move(self.ref, to, now, user, given))
            return
        self.clinic.move(self.ref, to, now, user, given)
        before = (self.status, self.owner, self.role)
        self.attempts += "outreach.outcome" in given
        self.notes += bool(given.get("note", "").strip())
        self.status = to
        self.moved()
        self.stood(user, before)

    @rule(user=USERS, waited=st.sampled_from([10, 10, 10, 61]))
    def take_back(self, user: Viewer, waited: int) -> None:
        now, last = self.now + timedelta(seconds=waited), self.last

        def act() -> None:
            with self.clinic.acting(now, user) as (tx, by):
                undo.undo(tx, self.ref, by, timedelta(seconds=60))

        if last is None or last[0] != user.who or waited > 60:
            self.refused(act)
            return
        before = (self.status, self.owner, self.role)
        act()
        self.now = now
        _, self.status, self.owner, self.role = last
        self.last = (user.who, *before)
        self.moved()

    def moved(self) -> None:
        self.version += 1
        if self.statuses[-1] != self.status:
            self.statuses.append(self.status)

    @rule(user=USERS)
    def claim(self, user: Viewer) -> None:
        now = self.later()

        def act() -> None:
            with self.clinic.acting(now, user) as (tx, by):
                transitions.claim(tx, self.ref, by)

        if self.status not in OPEN or self.owner not in (None, user.who):
            self.refused(act)
            return
        before = (self.status, self.owner, self.role)
        act()
        self.owner = user.who
        self.version += 1
        self.stood(user, before)

    @rule(user=USERS, to=st.none() | USERS)
    def give(self, user: Viewer, to: Viewer | None) -> None:
        now = self.later()

        def act() -> None:
            with self.clinic.acting(now, user) as (tx, by):
                transitions.assign(tx, self.ref, to.who if to else None, by, reason="The day's list")

        if self.status not in OPEN:
            self.refused(act)
            return
        before = (self.status, self.owner, self.role)
        act()
        self.owner = to.who if to else None
        self.version += 1
        self.stood(user, before)

    @rule(user=USERS, role=st.sampled_from(["rn", "front-desk"]))
    def send_to_a_role(self, user: Viewer, role: str) -> None:
        now = self.later()

        def act() -> None:
            with self.clinic.acting(now, user) as (tx, by):
                transitions.give_role(tx, self.ref, role, by)

        if self.status not in OPEN:
            self.refused(act)
            return
        before = (self.status, self.owner, self.role)
        act()
        self.owner, self.role = None, role
        self.version += 1
        self.stood(user, before)

    @rule(user=USERS)
    def write_a_note(self, user: Viewer) -> None:
        with self.clinic.acting(self.later(), user) as (tx, by):
            transitions.note(tx, self.ref, "Looked at it", by)
        self.notes += 1
        self.version += 1

    @rule(outcome=st.sampled_from(["no-answer", "left-message", "reached"]))
    def try_the_patient(self, outcome: str) -> None:
        self.clinic.attempt(self.ref, self.later(), outcome=outcome)
        self.attempts += 1

    @rule(behind=st.integers(1, 3), user=USERS)
    def move_from_an_old_page(self, behind: int, user: Viewer) -> None:
        with self.clinic.acting(self.later(), user) as (tx, by), pytest.raises(VersionConflict):
            transitions.move(tx, self.ref, MoveRequest(to=self.status), by, if_match=self.version + behind)

    @precondition(lambda self: self.now < MONDAY + timedelta(days=1))
    @rule()
    def let_the_rules_look(self) -> None:
        self.clinic.sweep(self.later())

    @invariant()
    def status_owner_and_counts_are_what_the_model_says(self) -> None:
        item = self.clinic.item(self.ref)
        assert (item.status, item.fhir_status) == (self.status, FHIR[self.status])
        assert (item.owner, item.role, item.open) == (self.owner, self.role, self.status in OPEN)
        assert item.attempts == self.attempts
        assert item.clock == {"waiting": "paused"}.get(self.status, "running" if item.open else "stopped")
        assert (item.hold_until is not None) == (self.status == "waiting")

    @invariant()
    def the_resource_says_the_same_and_is_valid(self) -> None:
        body = self.clinic.resource(self.ref)
        assert [issue for issue in check(body) if issue.severity in ("error", "fatal")] == []
        assert body["status"] == FHIR[self.status]
        own = [one["code"] for one in body.get("businessStatus", {}).get("coding", ())]
        assert own == ([self.status] if self.status != "entered-in-error" else [])
        assert len(body.get("note", ())) == self.notes
        assert int(body["meta"]["versionId"]) == self.version
        assert parse_datetime(body["lastModified"]) >= parse_datetime(body["authoredOn"])
        held = [one for one in body.get("extension", ()) if one["url"] == HOLD_UNTIL]
        assert len(held) == (self.status == "waiting")

    @invariant()
    def the_rows_are_one_chain_and_the_acts_one_for_each_version(self) -> None:
        log = self.clinic.log(self.ref)
        assert [row.after for row in log if row.what == "status"] == self.statuses
        for what in ("status", "owner", "role", "due"):
            chain = [row for row in log if row.what == what]
            assert [row.before for row in chain[1:]] == [row.after for row in chain[:-1]]
        assert [row.recorded_at for row in log] == sorted(row.recorded_at for row in log)
        assert [row.cycle for row in log] == sorted(row.cycle for row in log)
        reopened = sum(
            before not in OPEN and after in OPEN
            for before, after in zip(self.statuses, self.statuses[1:], strict=False)
        )
        assert self.clinic.item(self.ref).cycle == reopened

    def teardown(self) -> None:
        targets = [one["target"][0]["reference"] for one in self.clinic.provenance(self.ref)]
        versions = sorted(int(text.rpartition("/")[2]) for text in targets if text.startswith(f"{self.ref}/"))
        assert len(versions) == len(set(versions))
        assert set(range(2, self.version + 1)) <= set(versions)


def test_the_story_of_a_call_that_is_closed_and_then_entered_in_error_goes_as_the_model_says(
    prepared_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "story.db"
    shutil.copyfile(prepared_file, path)
    with closing(Database.open(f"sqlite:///{path}")) as database:

        class Machine(TaskMachine):
            pass

        Machine.database = database
        told = Machine()
        for user, to, fields in STORY:
            told.move(user, to, fields)
            told.status_owner_and_counts_are_what_the_model_says()
            told.the_resource_says_the_same_and_is_valid()
            told.the_rows_are_one_chain_and_the_acts_one_for_each_version()
        told.teardown()
    assert told.statuses == ["to-call", "unreachable", "entered-in-error"]


def test_a_task_does_what_the_program_says_and_nothing_else(
    prepared_file: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    number = iter(range(10_000))

    class Machine(TaskMachine):
        def __init__(self) -> None:
            path = tmp_path / f"machine-{next(number)}.db"
            shutil.copyfile(prepared_file, path)
            self.path = path
            self.database = Database.open(f"sqlite:///{path}")
            super().__init__()

        def teardown(self) -> None:
            with closing(self.database):
                super().teardown()
            for one in tmp_path.glob(f"{self.path.name}*"):
                one.unlink()

    chosen = settings(
        max_examples=8,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate,),
        print_blob=False,
    )
    run_state_machine_as_test(Machine, settings=chosen)
