"""Measures worked out the slow way: every row of the transition log gone through again, one item at a time."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from fhir_tracker.model.program import Program
from fhir_tracker.model.work import Event, Transition

CLOSED: Final = {"completed", "failed", "cancelled", "rejected", "entered-in-error", "deleted"}
PLAN_CLOSED: Final = {"completed", "withdrawn", "deleted", "entered-in-error", "revoked"}
OFFICE: Final = {"front-desk", "care-coordinator", "clinic-admin", "billing"}
Figures = dict[tuple[str, ...], dict[str, object]]


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """What never changes of an item."""

    kind: str
    code: str
    program: str
    plan: str | None
    created_at: datetime


@dataclass(kw_only=True)
class Stand:
    """How an item stood after some rows of its log."""

    status: str | None = None
    owner: str | None = None
    role: str | None = None
    due: datetime | None = None
    since: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Step:
    """All rows of an item that one act wrote, with how it stood before and after."""

    item: str
    at: datetime
    effective: datetime
    before: Stand
    after: Stand
    rows: tuple[Transition, ...]


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A try as it was known from `since` until `until`."""

    event: Event
    item: str
    since: datetime
    until: datetime | None


class Slow:
    """A practice's history: items that never change, their log, and attempts; asked as of any moment."""

    def __init__(
        self, program: Program, fixed: Mapping[str, Fixed], log: Sequence[Transition], attempts: Iterable[Attempt]
    ) -> None:
        self._statuses = {one.code: one for one in program.statuses}
        self._program = program.code
        self.zone = ZoneInfo(program.calendar.zone)
        self.fixed = fixed
        self._attempts = tuple(attempts)
        by_item: dict[str, list[Transition]] = defaultdict(list)
        for row in log:
            by_item[row.item].append(row)
        self.steps = sorted(
            (step for item in by_item if item in fixed for step in _steps(item, by_item[item])), key=lambda one: one.at
        )

    def fhir(self, item: str, status: str | None) -> str:
        """The FHIR status of a status of that item."""
        own = self._statuses.get(status or "") if self.fixed[item].program and self.fixed[item].kind == "task" else None
        return own.fhir if own else status or ""

    def is_open(self, item: str, status: str | None) -> bool:
        """Whether work in that status is open."""
        if self.fixed[item].kind == "plan":
            return status is not None and status not in PLAN_CLOSED
        return status is not None and status != "deleted" and self.fhir(item, status) not in CLOSED

    def is_paused(self, item: str, status: str | None) -> bool:
        """Whether a status pauses the clock of a task."""
        own = self._statuses.get(status or "") if self.fixed[item].program else None
        return own.clock == "paused" if own else status == "on-hold"

    def at(self, moment: datetime) -> dict[str, Stand]:
        """How all open work stood."""
        found = {step.item: step.after for step in self.steps if step.at <= moment}
        return {item: stand for item, stand in found.items() if self.is_open(item, stand.status)}

    def within(self, start: datetime, end: datetime) -> Iterator[Step]:
        """What was recorded in a period."""
        return (step for step in self.steps if start <= step.at < end)

    def aging(self, moment: datetime) -> Figures:
        """By kind, program and status."""
        found: dict[tuple[str, ...], list[timedelta]] = defaultdict(list)
        for item, stand in self.at(moment).items():
            fixed = self.fixed[item]
            found[fixed.kind, fixed.program, stand.status or ""].append(moment - (stand.since or fixed.created_at))
        return _spread(found)

    def overdue(self, moment: datetime) -> Figures:
        """By owner, role and program."""
        found: dict[tuple[str, ...], list[timedelta]] = defaultdict(list)
        for item, stand in self.at(moment).items():
            fixed = self.fixed[item]
            runs = fixed.kind != "plan" and not self.is_paused(item, stand.status)
            if runs and stand.due is not None and stand.due < moment:
                found[stand.owner or "", stand.role or "", fixed.program].append(moment - stand.due)
        return _spread(found)

    def holds(self, moment: datetime) -> Figures:
        """By program and status."""
        found: dict[tuple[str, ...], list[timedelta]] = defaultdict(list)
        for item, stand in self.at(moment).items():
            if self.fixed[item].kind == "task" and self.is_paused(item, stand.status):
                since = stand.since or self.fixed[item].created_at
                found[self.fixed[item].program, stand.status or ""].append(moment - since)
        return _spread(found)

    def hygiene(self, moment: datetime) -> Counter[tuple[str, str, str]]:
        """What has no owner, no due time, or a plan that is closed: by finding, program and role."""
        stands, found = self.at(moment), Counter[tuple[str, str, str]]()
        for item, stand in stands.items():
            fixed = self.fixed[item]
            if fixed.kind != "task":
                continue
            named = {"no-owner": not stand.owner, "no-due": stand.due is None}
            named["closed-plan"] = bool(fixed.plan) and fixed.plan in self.fixed and fixed.plan not in stands
            found.update((name, fixed.program, stand.role or "") for name, is_so in named.items() if is_so)
        return found

    def holds_ended(self, start: datetime, end: datetime) -> dict[tuple[str, ...], list[int]]:
        """Whole hours, by program and status."""
        found: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for step in self.within(start, end):
            was, fixed = step.before, self.fixed[step.item]
            left = was.status != step.after.status and self.is_paused(step.item, was.status)
            if fixed.kind == "task" and left and self.is_open(step.item, was.status):
                length = step.effective - (was.since or fixed.created_at)
                found[fixed.program, was.status or ""].append(max(0, int(length.total_seconds())) // 3600)
        return found

    def closings(self, start: datetime, end: datetime) -> Iterator[Step]:
        """Tasks that were closed and neither undone nor deleted."""
        for step in self.within(start, end):
            closes = self.is_open(step.item, step.before.status) and not self.is_open(step.item, step.after.status)
            undone = step.after.status == "deleted" or self.fhir(step.item, step.after.status) == "entered-in-error"
            if self.fixed[step.item].kind == "task" and closes and not undone:
                yield step

    def closed(self, start: datetime, end: datetime) -> Counter[tuple[str, ...]]:
        """By program, task, status and coded reason."""
        return Counter(
            (self.fixed[one.item].program, self.fixed[one.item].code, one.after.status or "", _reason(one))
            for one in self.closings(start, end)
        )

    def on_time(self, start: datetime, end: datetime) -> dict[tuple[str, ...], tuple[int, int, int]]:
        """Completed with a due time, on time, and without one, by program and task."""
        found: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0, 0, 0])
        for one in self.closings(start, end):
            if self.fhir(one.item, one.after.status) == "completed":
                counts, due = found[self.fixed[one.item].program, self.fixed[one.item].code], one.before.due
                counts[2] += due is None
                counts[0] += due is not None
                counts[1] += due is not None and one.effective <= due
        return {keys: (n[0], n[1], n[2]) for keys, n in found.items()}

    def reopened(self, start: datetime, end: datetime) -> Counter[tuple[str, ...]]:
        """By program and task."""
        found = Counter[tuple[str, ...]]()
        for one in self.within(start, end):
            was = one.before.status
            again = was not in (None, "deleted") and not self.is_open(one.item, was)
            if self.fixed[one.item].kind == "task" and again and self.is_open(one.item, one.after.status):
                found[self.fixed[one.item].program, self.fixed[one.item].code] += 1
        return found

    def handoffs(self, start: datetime, end: datetime) -> Counter[tuple[str, ...]]:
        """By program, task and what changed."""
        found = Counter[tuple[str, ...]]()
        for one in self.within(start, end):
            was, now, fixed = one.before, one.after, self.fixed[one.item]
            stays = self.is_open(one.item, was.status) and self.is_open(one.item, now.status)
            if fixed.kind != "plan" and stays and (what := _handed(was, now)):
                found[fixed.program, fixed.code, what] += 1
        return found

    def throughput(self, start: datetime, end: datetime) -> Counter[tuple[str, ...]]:
        """By program, outcome, stage and coded reason."""
        found = Counter[tuple[str, ...]]()
        for one in self.within(start, end):
            if self.fixed[one.item].kind != "plan":
                continue
            was, now = one.before.status, one.after.status or ""
            if was is None:
                found[self._program, "enrolled", "", _reason(one)] += 1
            if self.is_open(one.item, was) and now in ("completed", "withdrawn"):
                outcome = "completed" if now == "completed" else "stopped"
                found[self._program, outcome, now, _reason(one)] += 1
        return found

    def escalations(self, start: datetime, end: datetime) -> list[tuple[str, str, str, str, str]]:
        """Program, rule, level, role and hour of the day of each."""
        found = []
        for step in self.within(start, end):
            for row in step.rows:
                told = re.fullmatch(r"level (\d+) to (.+)", row.after or "") if row.what == "escalation" else None
                if told and row.rule:
                    rule = row.rule.partition("#")[2]
                    found.append((self._program, rule, told[1], told[2], self._hour(row.recorded_at, self._program)))
        return found

    def attempts(self, start: datetime, end: datetime, known: datetime | None) -> list[tuple[str, str, str, str]]:
        """Program, channel, outcome and hour of the day of each, as was known."""
        return [
            (
                program,
                one.event.detail.get("channel", "other"),
                one.event.detail["outcome"],
                self._hour(one.event.began, program),
            )
            for one in self._known(known)
            if start <= one.event.began < end and (program := self.fixed[one.item].program) is not None
        ]

    def contacted(self, moment: datetime) -> set[str]:
        """The plans of which somebody was reached about a task."""
        reached = (one for one in self._known(moment) if one.event.detail.get("outcome") == "reached")
        return {plan for one in reached if (plan := self.fixed[one.item].plan)}

    def waiting(self, moment: datetime) -> Figures:
        """Open plans without a contact, by program."""
        reached, found = self.contacted(moment), dict[tuple[str, ...], list[timedelta]]()
        for item in self.at(moment):
            if self.fixed[item].kind == "plan" and item not in reached:
                found.setdefault((self.fixed[item].program,), []).append(moment - self.fixed[item].created_at)
        return _spread(found)

    def first_contacts(self, start: datetime, end: datetime, known: datetime) -> list[int]:
        """Whole hours from each plan's beginning to its first contact, of those made in the period."""
        firsts: dict[str, datetime] = {}
        for one in self._known(known):
            plan = self.fixed[one.item].plan
            if plan and one.event.detail.get("outcome") == "reached":
                firsts[plan] = min(one.event.began, firsts.get(plan, one.event.began))
        waits = ((at - self.fixed[plan].created_at).total_seconds() for plan, at in firsts.items() if start <= at < end)
        return sorted(max(0, int(wait // 3600)) for wait in waits)

    def _known(self, moment: datetime | None) -> Iterator[Attempt]:
        for one in self._attempts:
            is_known = one.until is None if moment is None else one.since <= moment < (one.until or _after(moment))
            if is_known and one.item in self.fixed:
                yield one

    def _hour(self, at: datetime, program: str) -> str:
        there = self.zone if program else UTC
        return str(at.replace(minute=0, second=0, microsecond=0).astimezone(there).hour)


def ranks(lengths: Sequence[float]) -> tuple[float, float, float]:
    """Median, ninetieth percentile by nearest rank, and the longest."""
    ordered = sorted(lengths)
    return ordered[-(-len(ordered) // 2) - 1], ordered[-(-9 * len(ordered) // 10) - 1], ordered[-1]


def _after(moment: datetime) -> datetime:
    return moment + timedelta(microseconds=1)


def _steps(item: str, log: Sequence[Transition]) -> Iterator[Step]:
    """The rows of one act at a time: those recorded at one moment, until one of them tells of the same again."""
    acts: list[list[Transition]] = []
    for row in log:
        last = acts[-1] if acts else []
        same = last and last[0].recorded_at == row.recorded_at and row.what not in {one.what for one in last}
        if same:
            last.append(row)
        else:
            acts.append([row])
    stand = Stand()
    for act in acts:
        before, stand = stand, _applied(stand, act)
        yield Step(
            item=item,
            at=act[0].recorded_at,
            effective=act[0].effective_at,
            before=before,
            after=stand,
            rows=tuple(act),
        )


def _applied(stand: Stand, act: Sequence[Transition]) -> Stand:
    made = Stand(status=stand.status, owner=stand.owner, role=stand.role, due=stand.due, since=stand.since)
    for row in act:
        if row.what in ("status", "stage"):
            made.status, made.since = row.after, row.effective_at
        elif row.what == "owner":
            made.owner = row.after
        elif row.what == "role":
            made.role = row.after
        elif row.what == "due":
            made.due = datetime.fromisoformat(row.after) if row.after else None
    return made


def _handed(was: Stand, now: Stand) -> str:
    if was.role and now.role and was.role != now.role:
        return "role"
    if was.owner and was.owner != now.owner:
        return "owner" if now.owner else "returned"
    return ""


def _reason(step: Step) -> str:
    return next((row.reason_code for row in step.rows if row.reason_code), "")


def _spread(found: Mapping[tuple[str, ...], Sequence[timedelta]]) -> Figures:
    figures: Figures = {}
    for keys, lengths in found.items():
        seconds = [max(0, int(one / timedelta(seconds=1))) for one in lengths]
        median, p90, longest = (round(one / 3600, 2) for one in ranks(seconds))
        figures[keys] = {
            "count": len(lengths),
            "median_hours": median,
            "p90_hours": p90,
            "longest_hours": longest,
        }
    return figures
