"""Whether a rule certainly does not hold, found without a word of explanation, for sweeps that look at many items.

Each program's conditions are compiled once into closures over the facts. A closure answers whether its condition holds
and when time alone could change that, as the predicate's own three answers do, or UNKNOWN: then the predicate is asked.
An answer may ask to look sooner than the predicate would, never later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, cast

from fhir_tracker.model.facts import Facts
from fhir_tracker.model.program import Condition, Duration, Match, Program, Rule
from fhir_tracker.model.vocabulary import FLAG_SYSTEM
from fhir_tracker.model.work import WorkItem
from fhir_tracker.rules.calendar import END, later, sooner
from fhir_tracker.rules.events import has_code
from fhir_tracker.rules.predicate import Args, words
from fhir_tracker.rules.sla import clock_changes, clock_of, sla_due

Answer = tuple[bool, datetime | None]
Due = tuple[datetime | None, bool, datetime | None]
Kept = tuple[tuple["Compiled", ...], Mapping[str, tuple["Compiled", ...]]]
"""All rules, and those for work of each code that a rule names and of any other."""
Quick = Callable[[Facts, datetime], Answer | None]
"""Holds and next change; None is unknown."""
_NO: Final[Answer] = (False, None)
_YES: Final[Answer] = (True, None)
_KEPT: Final = "_quick"
_OTHER: Final = ""


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """One rule, the closure that answers for its condition, and the codes of the only work it can hold for (None: any)."""

    rule: Rule
    quick: Quick
    codes: frozenset[str] | None


def compiled(program: Program, subject: str) -> tuple[Compiled, ...]:
    """The program's rules for that subject, by id; compiled once for each Program value."""
    return _kept(program)[subject][0]


def concerning(program: Program, item: WorkItem) -> tuple[Compiled, ...]:
    """Those that can ever hold for work of the item's kind and code, by id."""
    _, rules = _kept(program)[item.kind]
    return rules.get(item.code or _OTHER, rules[_OTHER])


def _kept(program: Program) -> Mapping[str, Kept]:
    kept = program.__dict__.get(_KEPT)
    if kept is None:
        kept = program.__dict__[_KEPT] = {one: _compile(program, one) for one in ("task", "plan")}
    return cast("Mapping[str, Kept]", kept)


def _compile(program: Program, subject: str) -> Kept:
    rules = sorted((one for one in program.rules if one.subject == subject), key=lambda one: one.id)
    every = tuple(Compiled(rule=one, quick=_condition(program, one.when), codes=_codes(one.when)) for one in rules)
    named = {_OTHER, *(code for one in every for code in one.codes or ())}
    return every, {code: tuple(one for one in every if one.codes is None or code in one.codes) for code in named}


def _codes(condition: Condition) -> frozenset[str] | None:
    """The codes of work outside of which a condition fails for good; None where it names none."""
    if condition.op == "predicate":
        return frozenset(words(condition.args, "codes")) if condition.name == "task" else None
    parts = [_codes(child) for child in condition.children]
    known = [one for one in parts if one is not None]
    if condition.op == "all" and known:
        return frozenset.intersection(*known)
    if condition.op == "any" and len(known) == len(parts):
        return frozenset().union(*known)
    return None


def _condition(program: Program, condition: Condition) -> Quick:
    if condition.op == "predicate":
        make = _MAKE.get(condition.name)
        return make(program, condition.args) if make else _unknown
    parts = [_condition(program, child) for child in sorted(condition.children, key=_cost)]
    if condition.op == "all":
        return _all(parts)
    if condition.op == "any":
        return _any(parts)
    return _not(parts[0]) if condition.op == "not" else _unknown


def _cost(condition: Condition) -> int:
    """What is cheap, and often settles it, is asked first."""
    if condition.op != "predicate":
        return 3
    return {"task": 0, "priority": 0, "stage": 0, "flag": 1}.get(condition.name, 2 if condition.name in _MAKE else 4)


def _unknown(facts: Facts, now: datetime) -> Answer | None:
    return None


def _all(parts: list[Quick]) -> Quick:
    def quick(facts: Facts, now: datetime) -> Answer | None:
        unknown, change = False, None
        for part in parts:
            answer = part(facts, now)
            if answer is None:
                unknown = True
            elif not answer[0]:
                if answer[1] is None:
                    return _NO
                change = answer[1] if change is None else max(change, answer[1])
        if change is not None:
            return False, change
        return None if unknown else _YES

    return quick


def _any(parts: list[Quick]) -> Quick:
    def quick(facts: Facts, now: datetime) -> Answer | None:
        change = None
        for part in parts:
            answer = part(facts, now)
            if answer is None or answer[0]:
                return None
            if answer[1] is not None and (change is None or answer[1] < change):
                change = answer[1]
        return False, change

    return quick


def _not(part: Quick) -> Quick:
    def quick(facts: Facts, now: datetime) -> Answer | None:
        answer = part(facts, now)
        return None if answer is None else (not answer[0], answer[1])

    return quick


def _task(program: Program, args: Args) -> Quick:
    codes = frozenset(words(args, "codes"))
    return lambda facts, _: _YES if facts.item.code in codes else _NO


def _priority(program: Program, args: Args) -> Quick:
    codes = frozenset(words(args, "codes"))
    return lambda facts, _: _YES if facts.item.priority in codes else _NO


def _stage(program: Program, args: Args) -> Quick:
    codes = frozenset(words(args, "codes"))

    def quick(facts: Facts, now: datetime) -> Answer | None:
        stage = facts.plan.stage if facts.plan else facts.item.status if facts.item.kind == "plan" else ""
        return _YES if stage in codes else _NO

    return quick


def _kinds(facts: Facts) -> set[str]:
    """The types of the events there are; found once for one value of the facts."""
    kept = facts.__dict__.get("_kinds")
    if kept is None:
        kept = facts.__dict__["_kinds"] = {one.type for one in facts.events}
    return cast("set[str]", kept)


def _due(program: Program) -> Callable[[Facts, datetime], Due]:
    """Due time, whether the clock runs, and when it next changes; found once for one look."""
    plain = _plain_due(program)

    def due(facts: Facts, now: datetime) -> Due:
        kept = facts.__dict__.get("_due")
        if kept is not None and kept[0] is program and kept[1] == now:
            return cast(Due, kept[2])
        found = plain(facts)
        if found is None:
            moved = sla_due(program, facts, now)
            found = (moved, clock_of(program, facts, now) == "running", clock_changes(program, facts, now))
        facts.__dict__["_due"] = (program, now, found)
        return found

    return due


def _plain_due(program: Program) -> Callable[[Facts], Due | None]:
    """Where nothing ever paused the work and nothing but its status can: the due time itself; None otherwise."""
    clocks = {one.code: one.clock for one in program.statuses}
    paused = {code for code, clock in {**program.former, **clocks}.items() if clock == "paused"}
    pausing = bool(program.pauses) or any(one.pauses for one in program.tasks)

    def plain(facts: Facts) -> Due | None:
        if pausing or not paused.isdisjoint([row.after for row in facts.log]):
            return None
        item = facts.item
        return item.due_at, clocks.get(item.status, item.clock) == "running", None

    return plain


def _overdue_by(program: Program, args: Args) -> Quick:
    by, calendar, due_of = cast(Duration, args["by"]), program.calendar, _due(program)

    def quick(facts: Facts, now: datetime) -> Answer | None:
        if facts.item.due_at is None:
            return _NO
        due, runs, change = due_of(facts, now)
        if due is None or not runs:
            return False, change
        if now < due:
            return False, due if change is None or due < change else change
        late = later(calendar, due, by)
        return None if late <= now else (False, late if change is None or late < change else change)

    return quick


def _due_within(program: Program, args: Args) -> Quick:
    within, calendar, due_of = cast(Duration, args["within"]), program.calendar, _due(program)

    def quick(facts: Facts, now: datetime) -> Answer | None:
        if facts.item.due_at is None:
            return _NO
        due, runs, change = due_of(facts, now)
        if due is None or not runs or now >= due:
            return False, change
        soon = sooner(calendar, due, within)
        return None if soon <= now else (False, soon if change is None or soon < change else change)

    return quick


def _unassigned_for(program: Program, args: Args) -> Quick:
    return lambda facts, _: _NO if facts.item.owner is not None else None


def _in_status_for(program: Program, args: Args) -> Quick:
    wanted, for_, calendar = frozenset(words(args, "status")), cast(Duration, args["for"]), program.calendar

    def quick(facts: Facts, now: datetime) -> Answer | None:
        if wanted and facts.item.status not in wanted:
            return _NO
        begins = later(calendar, facts.item.status_since, for_)
        return None if begins <= now else (False, begins if begins < END else None)

    return quick


def _hold(program: Program, args: Args) -> Quick:
    clocks = {one.code: one.clock for one in program.statuses}
    return lambda facts, _: _NO if clocks.get(facts.item.status, facts.item.clock) != "paused" else None


def _owner(program: Program, args: Args) -> Quick:
    states = frozenset(words(args, "states"))
    plain = not states & {"present", "wrong-role"}

    def quick(facts: Facts, now: datetime) -> Answer | None:
        owner = facts.item.owner
        if owner is None:
            return None if "none" in states else _NO
        person = facts.people.get(owner)
        if person is None:
            return None if "unknown" in states else _NO
        return _NO if plain and person.active and not person.absences else None

    return quick


def _untouched_for(program: Program, args: Args) -> Quick:
    """Counted from the last change by hand alone: other touches only make it later."""
    for_, calendar = cast(Duration, args["for"]), program.calendar

    def quick(facts: Facts, now: datetime) -> Answer | None:
        touched = facts.item.created_at
        for row in facts.log:
            if row.rule is None and touched < row.effective_at <= now:
                touched = row.effective_at
        begins = later(calendar, touched, for_)
        return None if begins <= now else (False, begins if begins < END else None)

    return quick


def _handed_over(program: Program, args: Args) -> Quick:
    times = cast(int, args["times"])
    return lambda facts, _: _NO if sum(row.what == "owner" for row in facts.log) < times else None


def _escalated(program: Program, args: Args) -> Quick:
    return lambda facts, _: None if any(one.kind == "escalate" for one in facts.fired) else _NO


def _flag(program: Program, args: Args) -> Quick:
    codes = words(args, "codes")

    def quick(facts: Facts, now: datetime) -> Answer | None:
        if "Flag" not in _kinds(facts):
            return _NO
        up = (one.status == "active" and has_code(one, codes) for one in facts.by_type["Flag"])
        return None if any(up) else _NO

    return quick


def _exception(program: Program, args: Args) -> Quick:
    codes = frozenset(f"{FLAG_SYSTEM}|{code}" for code in words(args, "codes"))

    def quick(facts: Facts, now: datetime) -> Answer | None:
        if "Flag" not in _kinds(facts):
            return _NO
        return None if any(codes.intersection(one.codes) for one in facts.by_type["Flag"]) else _NO

    return quick


def _attempts(program: Program, args: Args) -> Quick:
    """Tries of the item: with too few that could be about it, no policy is exhausted and nobody was reached."""
    least = cast(int, args.get("attempts", args.get("times", 1)))

    def quick(facts: Facts, now: datetime) -> Answer | None:
        if "Communication" not in _kinds(facts):
            return _NO
        if facts.item.kind == "plan":
            return None
        ref = facts.item.ref
        tried = [one for one in facts.events if one.type == "Communication" and ref in one.about]
        return None if len(tried) >= least else _NO

    return quick


def _needing(*types: str) -> Callable[[Program, Args], Quick]:
    """A predicate that can only hold where the patient has an event of one of these types."""

    wanted = frozenset(types)

    def make(program: Program, args: Args) -> Quick:
        return lambda facts, _: _NO if wanted.isdisjoint(_kinds(facts)) else None

    return make


def _seen(program: Program, args: Args) -> Quick:
    kind = cast(Match, args["match"]).type
    return lambda facts, _: None if kind in _kinds(facts) else _NO


_MAKE: Final[Mapping[str, Callable[[Program, Args], Quick]]] = {
    "task": _task,
    "priority": _priority,
    "stage": _stage,
    "overdue_by": _overdue_by,
    "due_within": _due_within,
    "unassigned_for": _unassigned_for,
    "in_status_for": _in_status_for,
    "untouched_for": _untouched_for,
    "hold": _hold,
    "owner": _owner,
    "handed_over": _handed_over,
    "escalated": _escalated,
    "flag": _flag,
    "exception": _exception,
    "outreach_failed": _attempts,
    "outreach_reached": _attempts,
    "outreach": _attempts,
    "appointment_missed": _needing("Appointment"),
    "no_show_chain": _needing("Appointment"),
    "appointment": _needing("Appointment"),
    "in_hospital": _needing("Encounter"),
    "authorization": _needing("ClaimResponse", "Flag"),
    "observation": _needing("Observation"),
    "seen": _seen,
}
