"""The engine beside a second reading of docs/programs.md: the same answer in every half hour, the same firings, each once."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import datetime
from typing import Final

import pytest

from fhir_tracker.model.effects import Escalate, RaiseFlag
from fhir_tracker.model.facts import Facts, PlanFacts, Verdict
from fhir_tracker.model.program import Program
from fhir_tracker.model.vocabulary import FLAG_SYSTEM
from fhir_tracker.model.work import Event, Firing, FiringKey, FiringState, WorkItem
from fhir_tracker.rules.conditions import judge
from fhir_tracker.rules.engine import evaluate, look
from tests.rules.samples import attempt, event, item, moved, plan, visit
from tests.rules.situations import asking
from tests.rules.slow_rules import (
    BUSINESS_DUE,
    CELLS,
    MANY_CASES,
    PAUSED,
    TRUTHS,
    Story,
    Tree,
    Visit,
    add,
    at,
    grown,
    invented,
    leaf,
    wall,
)

NAMES: Final = sorted(TRUTHS)
ONE_CASE: Final = [one for one in NAMES if one not in MANY_CASES]
FHIR: Final = {"to-call": "requested", "calling": "in-progress", PAUSED: "on-hold"}
CODES: Final = {"risk": ("risk",), "no-show": (f"{FLAG_SYSTEM}|no-show",), "deceased": (f"{FLAG_SYSTEM}|deceased",)}


def work_at(story: Story, now: int) -> WorkItem:
    """The task as it stands in a cell."""
    status = story.status(now)
    return item(
        code=story.code,
        created_at=at(story.created),
        due_at=None if story.due is None else at(story.due),
        priority=story.priority,
        status=status,
        fhir_status=FHIR[status],
        clock="paused" if status == PAUSED else "running",
        status_since=at(story.status_since(now)),
        owner=story.owner(now),
    )


def visit_at(one: Visit, now: int) -> Event:
    told = one.told if one.outcome and now >= one.told else one.booked
    return visit(one.name, one.status(now), at(one.start), seen_at=at(told))


def events_at(story: Story, now: int) -> list[Event]:
    """What has been heard of the patient up to a cell."""
    found = [attempt(f"c{index}", at(index), outcome, channel) for index, outcome, channel in story.tries]
    found += [visit_at(one, now) for one in story.visits if one.booked <= now]
    for index, value in story.readings:
        detail = {"component |sys value": f"{value} mm[Hg]"}
        found.append(event(f"Observation/o{index}", "final", at(index), codes=("|bp",), detail=detail))
    for index, end, code in story.flags:
        known = None if end is None else at(end)
        found.append(event(f"Flag/f{index}", "active", at(index), end=known, codes=CODES[code]))
    for start, end in story.stays:
        is_over = end is not None and end <= now
        told = at(end) if end is not None and is_over else None
        status = "finished" if is_over else "in-progress"
        found.append(event(f"Encounter/s{start}", status, at(start), end=told, codes=("|IMP",)))
    return [one for one in found if one.seen_at <= at(now)]


def facts_at(story: Story, now: int, fired: tuple[Firing, ...] = ()) -> Facts:
    """Everything known of the task in a cell."""
    rows = [
        *(
            moved(was, code, at(index))
            for (_, was), (index, code) in zip([(0, None), *story.statuses], story.statuses, strict=False)
        ),
        *(
            moved(was, who, at(index), what="owner")
            for (_, was), (index, who) in zip(story.owners, story.owners[1:], strict=False)
        ),
    ]
    others = [
        item(
            ref=f"Task/o{start}", code=code, open=end is None or now < end, created_at=at(start), status_since=at(start)
        )
        for start, end, code in story.others
        if start <= now
    ]
    known: PlanFacts = replace(plan(at(story.created)), stage=story.stage)
    return Facts(
        item=work_at(story, now),
        plan=known,
        log=tuple(sorted((row for row in rows if row.recorded_at <= at(now)), key=lambda row: row.recorded_at)),
        events=tuple(events_at(story, now)),
        tasks=tuple(others),
        fired=fired,
    )


def answers(demo: Program, story: Story, now: int) -> tuple[Verdict, ...]:
    return judge(demo, facts_at(story, now), demo.rules[0].when, at(now))


def check_every_cell(story: Story, tree: Tree, step: int = 1) -> int:
    """The engine and the second reading agree in each cell; how often it held.

    Between two things that are heard of, nothing changes before the moment that the engine names.
    """
    demo, heard = asking(tree.text), story.moments()
    held, quiet_until, last = 0, at(story.created), False
    for now in range(story.created, CELLS):
        if (now - story.created) % step and now not in heard:
            continue
        truth = tree.holds(story, now)
        found = answers(demo, story, now)
        assert any(one.holds for one in found) == truth, (tree.text, now - story.created, story, found[0].why)
        if at(now) < quiet_until and heard.isdisjoint(range(now - step + 1, now + 1)):
            assert truth == last, (tree.text, now, quiet_until)
        changes = [one.next_change for one in found if one.next_change is not None]
        quiet_until, last = min(changes, default=datetime.max.replace(tzinfo=at(0).tzinfo)), truth
        held += truth
    return held


@pytest.mark.parametrize("name", NAMES)
def test_each_test_holds_in_the_half_hours_in_which_the_docs_say_so(name: str) -> None:
    chance = random.Random(f"leaf {name}")
    held, cells = 0, 0
    for _ in range(7):
        story = invented(chance)
        held += check_every_cell(story, leaf(name, chance), step=3)
        cells += (CELLS - story.created) // 3
    assert 0 < held < cells


@pytest.mark.parametrize("seed", range(8))
def test_trees_of_tests_hold_in_the_half_hours_in_which_their_parts_say_so(seed: int) -> None:
    chance = random.Random(f"tree {seed}")
    for _ in range(3):
        check_every_cell(invented(chance), grown(chance, NAMES), step=5)


ANSWERS: Final[tuple[FiringState, ...]] = ("acknowledged", "taken-over", "resolved", "sent-back", "open")
LEVELS: Final = {2: "4 business hours", 3: "1 business day"}


class Slow:
    """A ladder and a flag by walking through every half hour: nothing is planned, everything is asked."""

    def __init__(self, story: Story, tree: Tree, said: dict[int, FiringState]) -> None:
        self.fired: dict[int, int] = {}
        self.states: dict[int, FiringState] = {}
        self.flagged: int | None = None
        for now in range(story.created, CELLS):
            if now in said and self.fired:
                self.states[max(self.fired)] = said[now]
            if tree.holds(story, now):
                self.flagged = now if self.flagged is None else self.flagged
                self._climb(now)

    def _climb(self, now: int) -> None:
        level = max(self.fired, default=0) + 1
        if level > 3 or any(one in ("acknowledged", "taken-over", "resolved") for one in self.states.values()):
            return
        if level == 1 or now >= add(self.fired[level - 1], LEVELS[level]):
            self.fired[level] = now


def swept(
    demo: Program, story: Story, said: dict[int, FiringState], missed: set[int]
) -> tuple[Counter[int], dict[int, int]]:
    """What the engine fires when it is asked only when something is heard of or its own time has come.

    In the cells of `missed` no sweep runs, and what was due waits for the next one. Level 0 is the flag.
    """
    times: Counter[int] = Counter()
    when: dict[int, int] = {}
    fired: dict[FiringKey, Firing] = {}
    next_at: datetime | None = at(story.created)
    heard = story.moments() | set(said)
    is_due = False
    for now in range(story.created, CELLS):
        if now in said and (levels := [key for key, one in fired.items() if one.kind == "escalate"]):
            last = max(levels, key=lambda key: key.level)
            fired[last] = replace(fired[last], state=said[now])
        is_due = is_due or now in heard or (next_at is not None and next_at <= at(now))
        if not is_due or now in missed:
            continue
        for _ in range(9):
            known = facts_at(story, now, tuple(fired.values()))
            found = look(demo, known, at(now))
            assert found.effects == evaluate(demo, known, at(now)).effects
            mine = [one for one in found.effects if isinstance(one, Escalate | RaiseFlag)]
            for one in mine:
                assert one.key not in fired
                kind = "escalate" if isinstance(one, Escalate) else "raise_flag"
                fired[one.key] = Firing(key=one.key, fired_at=at(now), kind=kind)
                times[one.key.level] += 1
                when.setdefault(one.key.level, now)
            if not mine:
                break
        else:
            raise AssertionError("one moment never comes to rest")
        is_due, next_at = False, found.next_at
    return times, when


def never_done(story: Story) -> Story:
    """The same of the work that no fulfilled visit closes by itself."""
    story.code = BUSINESS_DUE
    return story


def replies(chance: random.Random, story: Story) -> dict[int, FiringState]:
    cells = chance.sample(range(story.created, CELLS), chance.randrange(0, 4))
    return {cell: chance.choice(ANSWERS) for cell in cells}


@pytest.mark.parametrize("seed", range(10))
def test_levels_and_flags_fire_once_and_in_the_half_hour_in_which_a_walk_through_all_of_them_fires_them(
    seed: int,
) -> None:
    chance = random.Random(f"fire {seed}")
    for _ in range(3):
        story, tree = never_done(invented(chance)), grown(chance, ONE_CASE, 2)
        said = replies(chance, story)
        times, when = swept(asking(tree.text), story, said, set())
        slow = Slow(story, tree, said)
        assert all(count == 1 for count in times.values()), (tree.text, times)
        assert when.pop(0, None) == slow.flagged, (tree.text, story)
        assert when == slow.fired, (tree.text, story, said)


@pytest.mark.parametrize("seed", range(8))
def test_after_a_worker_was_down_what_still_holds_fires_once_and_no_level_is_left_out(seed: int) -> None:
    """Late, in order, each level its time after the one before, and never more than without the stop."""
    chance = random.Random(f"down {seed}")
    for _ in range(3):
        story, tree = never_done(invented(chance)), grown(chance, ONE_CASE, 2)
        start = chance.randrange(story.created, CELLS - 100)
        missed = set(range(start, start + chance.randrange(1, 96)))
        times, when = swept(asking(tree.text), story, {}, missed)
        slow = Slow(story, tree, {})
        levels = {level: cell for level, cell in when.items() if level}
        assert all(count == 1 for count in times.values())
        assert sorted(levels) == list(range(1, len(levels) + 1))
        assert all(cell not in missed for cell in when.values())
        assert all(levels[level] >= add(levels[level - 1], LEVELS[level]) for level in levels if level > 1)
        assert set(levels) <= set(slow.fired)
        before = {level: cell for level, cell in slow.fired.items() if cell < start}
        assert {level: cell for level, cell in levels.items() if cell < start} == before
        if tree.holds(story, max(missed) + 1) and slow.fired:
            assert levels.get(1, CELLS) <= max(missed) + 1


def test_the_second_reading_counts_time_as_the_examples_in_the_docs_do() -> None:
    """2 business days after a Friday discharge, at any hour, is Tuesday 17:00; days keep the clock on the wall."""
    friday = 4 * 48 + 18
    assert f"{wall(friday):%a %H:%M}" == "Fri 09:00"
    for cell in (friday - 18, friday, friday + 29):
        assert f"{wall(add(cell, '2 business days')):%a %H:%M}" == "Tue 17:00"
    saturday = add(friday, "1 day")
    assert (saturday - friday, add(saturday, "1 day") - saturday) == (48, 46)
    assert f"{wall(add(friday + 18, '4 business hours')):%a %H:%M}" == "Mon 12:00"
