"""The dry run of a program version: what it would have done in the last days, beside what the versions in force did.

Real history is played again, patient by patient, under both; nothing is written, and no more than a few patients and the
counts are held at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from fhir_tracker import patient_history, programs
from fhir_tracker.effects import KINDS
from fhir_tracker.history_facts import Programs
from fhir_tracker.model.effects import Escalate
from fhir_tracker.model.program import Calendar, Program
from fhir_tracker.model.task import task_code
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.model.work import Firing, FiringKey
from fhir_tracker.patient_history import PatientHistory, Point
from fhir_tracker.records import ONE_ACT
from fhir_tracker.replaying import CREATED, Replay, Replayed, replay
from fhir_tracker.rules.calendar import local, working_between
from fhir_tracker.rules.renaming import present
from fhir_tracker.storage import past
from fhir_tracker.storage.database import Database, Tx

BATCH = 20
EXAMPLES = 10
COUNTED: Final = ("rule", "level", "owner", "role", "hour")
EFFECTS_BY: Final = ("rule", "owner", "hour")
_TOLD: Final = ("template", "code", "status", "stage", "priority", "program", "to_role")
SIDES: Final = ("really", "old", "new")
_VIEWER = worker_viewer("dry-run")
_SECOND = timedelta(seconds=1)
_NOBODY = "nobody"
_AT_ONCE = timedelta(minutes=1)
_ELIGIBLE = "who would have come in or stayed out by the changed eligibility"
_MADE = "work that would not have been made, with all that came of it"


@dataclass(frozen=True, kw_only=True)
class Example:
    """One level: of which work, by which rule, to whom, whose it was and when; references only."""

    at: datetime
    item: str
    task: str
    rule: str
    level: int
    to: str
    owner: str

    def as_json(self) -> dict[str, object]:
        """The example as plain JSON values."""
        return self.__dict__ | {"at": self.at.isoformat()}


@dataclass(kw_only=True)
class Side:
    """The counts of one side: levels that fire in all, outside working hours, by what they are counted; and other effects, by
    what they do and by the same.
    """

    escalations: int = 0
    outside_hours: int = 0
    by: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in COUNTED})
    effects: Counter[str] = field(default_factory=Counter)
    effects_by: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in EFFECTS_BY})

    def count(self, example: Example, calendar: Calendar) -> None:
        """Add one level that fires."""
        self.escalations += 1
        self.outside_hours += not _is_open(calendar, example.at)
        level = f"{example.rule} level {example.level}"
        told = (example.rule, level, example.owner, example.to, _hour(calendar, example.at))
        for name, value in zip(COUNTED, told, strict=True):
            self.by[name][value] += 1

    def count_effect(self, what: str, example: Example, calendar: Calendar) -> None:
        """Add one effect that is no level."""
        self.effects[what] += 1
        told = (example.rule, example.owner, _hour(calendar, example.at))
        for name, value in zip(EFFECTS_BY, told, strict=True):
            self.effects_by[name][value] += 1

    def as_json(self) -> dict[str, object]:
        """The counts as plain JSON values."""
        counts: dict[str, object] = {f"by{name.title()}": dict(sorted(one.items())) for name, one in self.by.items()}
        others: dict[str, object] = {"otherEffects": dict(sorted(self.effects.items()))}
        others |= {f"otherEffectsBy{name.title()}": dict(sorted(one.items())) for name, one in self.effects_by.items()}
        return {"escalations": self.escalations, "outsideHours": self.outside_hours, **counts, **others}


@dataclass(kw_only=True)
class DryRun:
    """The report: what really fired, what the versions in force fire when played again, and what the new version fires."""

    program: str
    since: datetime
    until: datetime
    patients: int = 0
    sides: dict[str, Side] = field(default_factory=lambda: {name: Side() for name in SIDES})
    examples: dict[str, list[Example]] = field(default_factory=lambda: {"gained": [], "lost": [], "moved": []})
    differing: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    renamed: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """The report as plain JSON values."""
        return {
            "program": self.program,
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "patients": self.patients,
            **{name: side.as_json() for name, side in self.sides.items()},
            "differing": {name: self.differing[name] for name in self.examples},
            "examples": {name: [one.as_json() for one in some] for name, some in self.examples.items()},
            "renamed": dict(sorted(self.renamed.items())),
            "notReplayed": dict(sorted(self.left_out.items())),
        }

    def as_lines(self) -> list[str]:
        """The report for a terminal."""
        old, new = self.sides["old"], self.sides["new"]
        window = f"{self.since.isoformat(timespec='minutes')} to {self.until.isoformat(timespec='minutes')}"
        really, others = self.sides["really"].escalations, self.differing
        lines = [
            f"{self.program}, {window}, {self.patients} patients",
            f"would have escalated {new.escalations} times, {new.outside_hours} outside working hours",
            f"the versions in force: {old.escalations} times, {old.outside_hours} outside (really fired: {really})",
            f"{others['gained']} new, {others['lost']} fewer, {others['moved']} at another time",
        ]
        lines += [f"renamed: {was} -> {now}, counted under the new name" for was, now in sorted(self.renamed.items())]
        for name in COUNTED:
            lines += _section(f"by {name}:", {side: self.sides[side].by[name] for side in SIDES})
        lines += _section("other effects:", {side: self.sides[side].effects for side in SIDES})
        for name in EFFECTS_BY:
            counts = {side: self.sides[side].effects_by[name] for side in SIDES}
            lines += _section(f"other effects by {name}:", counts)
        for name, some in self.examples.items():
            lines += [f"{name}:"] * bool(some)
            lines += [
                f"  {one.at.isoformat(timespec='minutes')} {one.item} {one.task} {one.rule} level {one.level} "
                f"to {one.to}, owner {one.owner}"
                for one in some
            ]
        lines += ["not replayed:"] * bool(self.left_out)
        return lines + [f"  {what}: {count}" for what, count in sorted(self.left_out.items())]


def run(database: Database, candidate: Program, since: datetime, until: datetime, *, most: int | None = None) -> DryRun:
    """Play (since, until] again for everybody who had work of the program, or for the first `most` patients by id."""
    with database.read() as tx:
        wanted = _numbered(tx, candidate)
    report = DryRun(program=candidate.code, since=since, until=until, renamed=wanted.renamed)
    after = ""
    while most is None or report.patients < most:
        size = BATCH if most is None else min(BATCH, most - report.patients)
        with database.read() as tx:
            patients = past.with_work(tx, _VIEWER, candidate.code, since, after, size)
            for one in patient_history.read(tx, _VIEWER, patients, until).values():
                _one(report, in_force(tx), wanted, one)
        if not patients:
            break
        report.patients += len(patients)
        after = patients[-1]
    _note_eligibility(database, report, candidate)
    return report


def in_force(tx: Tx) -> Programs:
    """The version that work really names; None for what this release cannot read."""
    return partial(programs.load_readable, tx)


def _one(report: DryRun, own: Programs, wanted: Program, history: PatientHistory) -> None:
    code = wanted.code
    old = replay(history, code, own, report.since, report.until)
    new = replay(
        history.as_called(wanted),
        code,
        lambda named, version: wanted if named == code else own(named, version),
        report.since,
        report.until,
        own=own,
    )
    _count(report.sides["old"], old, wanted)
    _count(report.sides["new"], new, wanted)
    _count_real(report, own, history, wanted)
    _compare(report, old, new, wanted)
    report.left_out.update(new.left_out)
    if new.unmade:
        report.left_out[_MADE] += len(new.unmade)


def _numbered(tx: Tx, candidate: Program) -> Program:
    """The candidate with the number it would have now, and with what it has to know of the versions before it."""
    active = programs.load_readable(tx, candidate.code)
    number = candidate.version or (active.version + 1 if active else 1)
    return programs.carrying(tx, replace(candidate, version=number))


def _count(side: Side, found: Replay, wanted: Program) -> None:
    for one in found.fired:
        example, calendar = _example(one, wanted), one.program.calendar
        if isinstance(one.effect, Escalate):
            side.count(example, calendar)
        else:
            side.count_effect(_effect(one), example, calendar)


def _effect(one: Replayed) -> str:
    names = (getattr(one.effect, name, None) for name in _TOLD)
    return _named(KINDS[type(one.effect)], next((str(name) for name in names if name), ""))


def _named(kind: str, what: str) -> str:
    return f"{kind.replace('-', ' ')} {what}".rstrip()


def _example(one: Replayed, wanted: Program) -> Example:
    to = getattr(one.effect, "to_role", "")
    return Example(
        at=one.at,
        item=one.item.ref,
        task=one.item.code or one.item.kind,
        rule=present(wanted, one.key).rule,
        level=one.key.level,
        to=to,
        owner=one.item.owner or _NOBODY,
    )


def _count_real(report: DryRun, own: Programs, history: PatientHistory, wanted: Program) -> None:
    side = report.sides["really"]
    for firing in history.firings.values():
        if firing.program != wanted.code or not report.since < firing.fired_at <= report.until:
            continue
        example = _real(history, firing, wanted)
        if firing.kind == "escalate" and firing.state != "skipped":
            side.count(example, wanted.calendar)
        elif firing.kind != "escalate":
            side.count_effect(_named(firing.kind, _real_name(own, history, firing)), example, wanted.calendar)


def _real_name(own: Programs, history: PatientHistory, firing: Firing) -> str:
    """What a real firing was about, as `_effect` tells it: the kind of work made, where it moved to, the flag."""
    at = Point(start=firing.fired_at, end=firing.fired_at + ONE_ACT)
    program = own(firing.program or "", firing.program_version)
    if firing.kind == CREATED and firing.task:
        made = history.resource(firing.task, at)
        return task_code(made, program) if made else ""
    by = f"{firing.program}|{firing.program_version}#{firing.key.rule}"
    moved = [row for row in history.log(firing.key.item, at) if row.rule == by and row.recorded_at >= firing.fired_at]
    rule = next((one for one in program.rules if one.id == firing.key.rule), None) if program else None
    asked = [one.value for one in rule.do if one.kind != "escalate"] if rule else []
    return asked[-firing.key.level] if -firing.key.level < len(asked) else (moved[-1].after or "" if moved else "")


def _real(history: PatientHistory, firing: Firing, wanted: Program) -> Example:
    at = firing.fired_at
    point = Point(start=at, end=at)
    rows = [row for row in history.log(firing.key.item, point) if row.what == "owner"]
    return Example(
        at=at,
        item=firing.key.item,
        task="",
        rule=present(wanted, firing.key).rule,
        level=firing.key.level,
        to=firing.to_role or "",
        owner=(rows[-1].after if rows else None) or _NOBODY,
    )


def _compare(report: DryRun, old: Replay, new: Replay, wanted: Program) -> None:
    before, after = _levels(old, wanted), _levels(new, wanted)
    for key in sorted({*before, *after}, key=lambda one: (one.item, one.rule, one.cycle, one.level)):
        was, is_ = before.get(key), after.get(key)
        if is_ is None and was is not None:
            _tell(report, "lost", was, wanted)
        elif was is None and is_ is not None:
            _tell(report, "gained", is_, wanted)
        elif was is not None and is_ is not None and abs(is_.at - was.at) > _AT_ONCE:
            _tell(report, "moved", is_, wanted)


def _levels(found: Replay, wanted: Program) -> dict[FiringKey, Replayed]:
    return {present(wanted, one.key): one for one in found.fired if isinstance(one.effect, Escalate)}


def _tell(report: DryRun, how: str, one: Replayed, wanted: Program) -> None:
    report.differing[how] += 1
    if len(report.examples[how]) < EXAMPLES:
        report.examples[how].append(_example(one, wanted))


def _note_eligibility(database: Database, report: DryRun, candidate: Program) -> None:
    with database.read() as tx:
        active = programs.load_readable(tx, candidate.code)
    if active is not None and active.eligible != candidate.eligible:
        report.left_out[_ELIGIBLE] = 1


def _hour(calendar: Calendar, at: datetime) -> str:
    return f"{local(calendar, at).hour:02}"


def _is_open(calendar: Calendar, at: datetime) -> bool:
    """Whether the site is open; the very moment of closing still belongs to the day."""
    return bool(working_between(calendar, at - _SECOND, at + _SECOND))


def _section(title: str, counts: Mapping[str, Counter[str]]) -> list[str]:
    """A table under its title; nothing where there is nothing to count."""
    rows = list(_table(counts))
    return [title, *rows] if rows else []


def _table(counts: Mapping[str, Counter[str]]) -> Iterator[str]:
    names = sorted({name for one in counts.values() for name in one})
    for name in names:
        yield f"  {name:<33} " + "  ".join(f"{side} {one[name]}" for side, one in counts.items())
