"""A dry run says what really happens: the same history is lived again in another database under the changed program.

People do the same at the same moments. An escalation that was answered is answered again, as soon as it is there.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from fhir_tracker import dry_run, escalation, patient_history, programs, replaying
from fhir_tracker.errors import RuleBroken
from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.effects import Escalate
from fhir_tracker.rules.program_file import read_program
from fhir_tracker.storage import firings
from fhir_tracker.storage.database import Database
from tests.scenarios.ehr import local, patient, stay
from tests.scenarios.practice import Practice
from tests.support.clinic import COORDINATOR, EVERYONE, FRONT_DESK, NURSE, SYSTEM

PEOPLE = ("ana", "bea", "cid")
BEGIN, END = local("2026-03-06 08:00"), local("2026-03-17 12:00")
HOUR = timedelta(hours=1)
Fired = set[tuple[str, str, str, int, datetime]]
"""Levels, each by patient, kind of work, rule, number and moment."""

PROGRAM = """
program: ring
calendar: {{zone: America/New_York, hours: "{hours}", holidays: US}}
eligible: {{any: [{{Encounter: {{status: finished, class: IMP, within: 30 days}}}}]}}
statuses:
  - {{code: to-call, is: requested, means: "Nobody has tried the patient yet"}}
  - {{code: calling, is: in-progress, means: "Being tried"}}
  - {{code: waiting, is: on-hold, means: "Waiting for records", hold: {{until: required}}}}
  - {{code: reached, is: completed, means: "Reached"}}
transitions:
  - {{from: [to-call], to: calling}}
  - {{from: [to-call, calling], to: reached, require: [note]}}
  - {{from: [to-call, calling], to: waiting, require: [hold.until, reason]}}
  - {{from: [waiting], to: calling}}
  - {{from: [reached], to: calling, require: [reason]}}
tasks:
  - {{code: first-call, role: care-coordinator, due: {{after: discharge, within: {due}}}}}
  - {{code: second-call, role: rn, due: {{after: enrolment, within: {second}}}}}
rules:
  - id: {late}
    when: {{all: [{{task: first-call}}, {{overdue_by: {grace}}}]}}
    do: [{{escalate: climb}}, {{raise_flag: hard-to-reach}}]
  - id: idle
    when: {{all: [{{unassigned_for: {idle}}}, {{not: {{overdue_by: 2 days}}}}]}}
    do: {{escalate: short}}
  - id: stuck
    when: {{in_status_for: {{status: [calling, waiting], for: {stuck}}}}}
    do: [{{notify: role/rn}}, {{set_priority: urgent}}]
  - id: tried
    when: {{all: [{{task: first-call}}, {{outreach_failed: {{attempts: {tries}, channels: 1}}}}]}}
    do: {{escalate: short}}
ladders:
  climb:
    stop_when: [{stop}]
    levels: [{{to: role/rn}}, {{to: role/provider, after: {step}}}, {{to: role/clinic-admin, after: 1 business day}}]
  short:
    levels: [{{to: role/care-coordinator}}, {{to: role/clinic-admin, after: {step}}}]
"""
CHOICES = {
    "hours": ["Mon-Fri 08:00-17:00", "Mon-Sat 07:00-19:00", "Mon-Thu 09:00-12:00"],
    "due": ["2 business days", "30 hours", "1 business hour", "5 days"],
    "second": ["3 days", "1 business day"],
    "grace": ["0 hours", "3 business hours", "1 day"],
    "idle": ["1 business day", "5 hours", "4 days"],
    "stuck": ["1 day", "6 business hours", "3 days"],
    "tries": ["2", "1", "3"],
    "step": ["4 hours", "1 business day", "90 minutes"],
    "stop": ["task.closed, acknowledged", "task.closed"],
    "late": ["late"],
}
FIRST = {name: values[0] for name, values in CHOICES.items()}


def edited(dice: random.Random) -> str:
    """The program with some of its numbers changed, and now and then a rule renamed."""
    changed = dict(FIRST)
    for name in dice.sample(sorted(CHOICES), 4):
        changed[name] = dice.choice(CHOICES[name])
    if dice.random() < 0.5:
        changed["late"] = "overdue\n    was: late"
    return PROGRAM.format(**changed)


@dataclass(frozen=True, kw_only=True)
class Act:
    """Something that a person does with the work `code` of a patient."""

    at: datetime
    what: str
    who: str
    code: str
    number: int


def acts(dice: random.Random) -> list[Act]:
    """What people do in these two weeks, in order."""
    kinds = [
        "attempt",
        "attempt",
        "calling",
        "waiting",
        "reached",
        "back",
        "claim",
        "release",
        "due",
        "answer",
        "answer",
    ]
    return sorted(
        (
            Act(
                at=BEGIN + timedelta(minutes=dice.randrange(60 * 20, 60 * 24 * 11)),
                what=dice.choice(kinds),
                who=dice.choice(PEOPLE),
                code=dice.choice(["first-call", "first-call", "second-call"]),
                number=dice.randrange(1000),
            )
            for _ in range(26)
        ),
        key=lambda one: one.at,
    )


class Life(Practice):
    """A practice in which the acts of one story happen; `answers` are those that escalations get, each by its level."""

    def __init__(
        self, database: Database, program: str, answers: dict[tuple[str, str, str, int], tuple[datetime, str]]
    ):
        super().__init__(database, BEGIN, (program,))
        self.given = answers
        self.answered: set[tuple[str, str, str, int]] = set()

    def work(self, at: datetime) -> None:
        super().work(at)
        if self.answer_all(at):
            super().work(at)

    def answer_all(self, at: datetime) -> bool:
        """Give each escalation that is there the answer that its level gets."""
        done = False
        if not [key for key, (when, _) in self.given.items() if when <= at and key not in self.answered]:
            return False
        for level in self.levels():
            key = level[:4]
            when, how = self.given.get(key, (END, ""))
            if how and when <= at and key not in self.answered:
                self.answered.add(key)
                done = self.respond(key, how, at) or done
        return done

    def respond(self, key: tuple[str, str, str, int], how: str, at: datetime) -> bool:
        ref = next(task for level, task in self.fired().items() if level[:4] == key)
        if not self.item(ref).open:
            return False
        with self.acting(at, EVERYONE) as (tx, by):
            if how == "send-back":
                escalation.send_back(tx, ref, "Not ours", by)
            else:
                (escalation.acknowledge if how == "acknowledge" else escalation.take_over)(tx, ref, by)
        return True

    def fired(self) -> dict[tuple[str, str, str, int, datetime], str]:
        """Every level that fired, with its Task."""
        found = {}
        items = {one.ref: one for one in self.all_items() if one.kind == "task"}
        with self.database.read() as tx:
            fired = firings.of_items(tx, SYSTEM, list(items))
        for ref, item in items.items():
            for one in fired[ref]:
                if one.kind == "escalate" and one.task:
                    rule = "late" if one.key.rule == "overdue" else one.key.rule
                    who = (item.patient or "").removeprefix("ehr-")
                    found[who, f"{item.code} {one.key.cycle}", rule, one.key.level, one.fired_at] = one.task
        return found

    def levels(self) -> Fired:
        return set(self.fired())

    def live(self, story: list[Act]) -> None:
        """Two weeks of it."""
        for number, who in enumerate(PEOPLE):
            left = BEGIN + number * 9 * HOUR
            self.ehr(left + HOUR, patient(who), stay(f"s-{who}", who, left))
        for act in story:
            self.until(act.at)
            try:
                self.act(act)
            except RuleBroken:
                continue
        self.until(END)

    def act(self, act: Act) -> None:
        ref, at = self.one(act.who, act.code).ref, act.at
        if act.what == "attempt":
            self.tries(ref, at, ("no-answer", "reached", "left-message")[act.number % 3])
        elif act.what == "due":
            self.change_due(ref, at + timedelta(hours=act.number % 90 - 20), at, FRONT_DESK)
        elif act.what == "claim":
            self.give(ref, at)
        elif act.what == "release":
            self.give(ref, at, role="rn", viewer=NURSE)
        elif act.what == "waiting":
            until = instant(at + timedelta(hours=1 + act.number % 60))
            self.do(ref, "waiting", at, COORDINATOR, hold_until=until, reason="Waits")
        elif act.what == "answer":
            self.choose(ref, act)
        else:
            to = {"back": "calling"}.get(act.what, act.what)
            self.do(ref, to, at, EVERYONE, note="So it is", reason="So it is")

    def choose(self, ref: str, act: Act) -> None:
        """In the first life: answer the latest level of this work that is open."""


class FirstLife(Life):
    def choose(self, ref: str, act: Act) -> None:
        mine = {level: task for level, task in self.fired().items() if self.item(task).focus == ref}
        still = sorted(level for level, task in mine.items() if self.item(task).fhir_status == "requested")
        if still:
            how = ("acknowledge", "send-back", "take-over")[act.number % 3]
            self.given[still[-1][:4]] = (act.at, how)
            self.work(act.at)


@contextmanager
def second(prepared_file: Path, tmp_path: Path) -> Iterator[Database]:
    """Another database, set up and empty."""
    path = tmp_path / "second.db"
    path.write_bytes(prepared_file.read_bytes())
    with closing(Database.open(f"sqlite:///{path}")) as opened:
        yield opened


@pytest.mark.requirement(138)
@pytest.mark.parametrize("seed", range(3))
def test_a_dry_run_tells_what_happens_when_history_repeats_under_the_new_version(
    database: Database, prepared_file: Path, tmp_path: Path, seed: int
) -> None:
    dice = random.Random(seed)
    story, changed = acts(dice), edited(dice)
    life = FirstLife(database, PROGRAM.format(**FIRST), {})
    life.live(story)
    report = dry_run.run(database, read_program(changed), BEGIN - HOUR, END)
    assert report.sides["old"].by == report.sides["really"].by
    with second(prepared_file, tmp_path) as other:
        again = Life(other, changed, life.given)
        again.live(story)
        really = again.levels()
        told = told_by(life, changed)
        assert told == really, "a dry run told something else than what then happened"
        assert len(really) > 4
        happened = dry_run.run(other, read_program(changed), BEGIN - HOUR, END).sides["really"]
    new = report.sides["new"]
    assert (new.escalations, new.outside_hours) == (happened.escalations, happened.outside_hours)
    assert (new.by, new.effects, new.effects_by) == (happened.by, happened.effects, happened.effects_by)
    assert report.left_out == {}


def told_by(life: Life, changed: str) -> Fired:
    """The levels of a dry run's new side, one by one."""
    found: Fired = set()
    with life.database.read() as tx:
        wanted = programs.carrying(tx, read_program(changed))
        own = dry_run.in_force(tx)
        histories = patient_history.read(tx, SYSTEM, [f"ehr-{one}" for one in PEOPLE], END)
        for history in histories.values():
            told = replaying.replay(
                history.as_called(wanted), "ring", lambda code, version: wanted, BEGIN - HOUR, END, own=own
            )
            for one in told.fired:
                if isinstance(one.effect, Escalate):
                    rule = "late" if one.key.rule == "overdue" else one.key.rule
                    who = history.patient.removeprefix("ehr-")
                    found.add((who, f"{one.item.code} {one.key.cycle}", rule, one.key.level, one.at))
    return found


def test_a_story_is_the_same_in_every_run() -> None:
    assert acts(random.Random(1)) == acts(random.Random(1))
    assert len({edited(random.Random(seed)) for seed in range(3)}) == 3
    for seed in range(3):
        dice = random.Random(seed)
        acts(dice)
        assert read_program(edited(dice)).code == "ring"
