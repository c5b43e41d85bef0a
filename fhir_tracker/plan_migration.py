"""Moving running plans to another version of their program, by a map of statuses, stages and kinds of work that is shown first.

1. `preview` counts what would change and names whatever has no place in the version that is wanted.
2. `migrate` goes plan by plan, each in a transaction of its own; what is done already is passed over, so it can be run again.

Cycles and firings stay, so that no case escalates twice, and so do due times, but for those that another calendar counts
otherwise: these are counted anew, with a row that says so. The time in a status counts on under its new name.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from fhir_tracker import plan_rewriting, programs, regeneration
from fhir_tracker.errors import Busy, Conflict, Incorrect, Issue, RuleBroken
from fhir_tracker.model.author import Author
from fhir_tracker.model.plan_map import Change, Kind, PlanMap
from fhir_tracker.model.program import NOTHING_ASKED, ChangeControl, Program
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.model.vocabulary import CLOSED_TASK
from fhir_tracker.model.work import WorkItem
from fhir_tracker.plan_rewriting import Resolve, Unmapped
from fhir_tracker.storage import programs as rows
from fhir_tracker.storage import settings, standing_work, work_items
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.standing_work import Standing

BATCH = 100
TRIES = 5
ENDED = ("completed", "revoked", "entered-in-error")
_VIEWER = worker_viewer("change-control")


@dataclass(frozen=True, kw_only=True)
class Refused:
    """Open work that would have no place: how many items of a version stand in `code`, and why that cannot be."""

    kind: Kind
    version: int
    code: str
    count: int
    why: str

    @property
    def text(self) -> str:
        """The refusal as a sentence."""
        what = {"status": "open tasks in status", "stage": "open plans in stage", "task": "open tasks of kind"}[
            self.kind
        ]
        return f"{self.count} {what} {self.code} (version {self.version}): {self.why}"


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a migration would do: plans and tasks by version, each change with its count, and what stands in its way."""

    program: str
    to: int
    plans: Mapping[int, int]
    tasks: Mapping[int, int]
    changes: Sequence[tuple[Change, int]]
    refused: tuple[Refused, ...]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """The preview as plain JSON values."""
        return {
            "program": self.program,
            "to": self.to,
            "plans": {str(version): count for version, count in self.plans.items()},
            "tasks": {str(version): count for version, count in self.tasks.items()},
            "changes": [{"kind": one.kind, "from": one.before, "to": one.after, "count": n} for one, n in self.changes],
            "refused": [one.text for one in self.refused],
            "notes": list(self.notes),
        }

    def as_lines(self) -> list[str]:
        """The preview for a terminal."""
        plans, tasks = sum(self.plans.values()), sum(self.tasks.values())
        lines = [f"{self.program} to version {self.to}: {plans} open plans, {tasks} open tasks"]
        lines += [f"  {count} {one.kind} {one.before} -> {one.after}" for one, count in self.changes]
        lines += [f"  note: {one}" for one in self.notes]
        return lines + [f"  REFUSED: {one.text}" for one in self.refused]


@dataclass(kw_only=True)
class Migrated:
    """What a migration did: plans and tasks moved, and the plans that stay where they are, with the reason."""

    plans: int = 0
    tasks: int = 0
    left: dict[str, str] = field(default_factory=dict)


def preview(tx: Tx, wanted: Program, by: PlanMap) -> Preview:
    """Count what moving every open plan and task of the program to `wanted` would mean."""
    standing = standing_work.of_program(tx, _VIEWER, wanted.code, wanted.version)
    changes: Counter[Change] = Counter()
    refused: list[Refused] = []
    for one in standing:
        former = programs.load_readable(tx, wanted.code, one.version)
        for change, why in _changes(one, wanted, former, by):
            if why:
                refused.append(
                    Refused(kind=change.kind, version=one.version, code=change.before, count=one.count, why=why)
                )
            elif change.before != change.after:
                changes[change] += one.count
    plans, tasks = (_by_version(one for one in standing if one.kind == kind) for kind in ("plan", "task"))
    return Preview(
        program=wanted.code,
        to=wanted.version,
        plans=plans,
        tasks=tasks,
        changes=sorted(changes.items(), key=lambda one: (one[0].kind, one[0].before)),
        refused=_summed(refused),
        notes=_notes(tx, wanted, sorted({one.version for one in standing})),
    )


def migrate(
    database: Database,
    wanted: Program,
    by: PlanMap,
    author: Author,
    reason: str,
    control: ChangeControl = NOTHING_ASKED,
) -> Migrated:
    """Move every open plan and task to `wanted`; raises RuleBroken, with an issue each, when anything has no place there, and
    where `control` or the program asks for a second person, for who wrote that version.

    What changed meanwhile so that it has none is left where it is and named.
    """
    with database.begin() as tx:
        _require_second_person(tx, wanted, author, control)
        seen = preview(tx, wanted, by)
        if seen.refused:
            issues = tuple(Issue(message=one.text, code="business-rule") for one in seen.refused)
            raise RuleBroken(
                f"Nothing was moved: work would have no place in version {wanted.version}. Name one with --map.",
                issues=issues,
            )
        for version in {*seen.plans, *seen.tasks}:
            settings.put(tx, _key(wanted.code, version, wanted.version), json.dumps(by.as_json()))

    def resolve(_: Tx, item: WorkItem) -> tuple[str, str]:
        return plan_rewriting.forward(wanted, item, by)

    return _all(database, wanted, resolve, author, reason)


def migrate_back(
    database: Database, left: int, wanted: Program, author: Author, reason: str, control: ChangeControl = NOTHING_ASKED
) -> Migrated:
    """Move the open plans of version `left` to `wanted`, whose text was in force before: each item to where it stood when it
    was moved, or by the inverse of the map, where there is only one way; what has none stays and is named. A second person
    is asked for as in `migrate`.
    """
    with database.read() as tx:
        _require_second_person(tx, wanted, author, control)
        inverse = PlanMap.inverse(
            [json.loads(text) for text in settings.starting(tx, f"plan-migration:{wanted.code}:", f":{left}")]
        )

    def resolve(tx: Tx, item: WorkItem) -> tuple[str, str]:
        return plan_rewriting.backward(tx, wanted, item, inverse)

    return _all(database, wanted, resolve, author, reason, only=left)


def _require_second_person(tx: Tx, wanted: Program, author: Author, control: ChangeControl) -> None:
    """Raise RuleBroken for who wrote the version (or went back to it), where two people have to agree on what runs."""
    row, active = rows.find(tx, wanted.code, wanted.version), programs.load_readable(tx, wanted.code, None)
    asked = [control, wanted.change_control, *([active.change_control] if active else [])]
    if row is not None and row.published_by == author.viewer.who and any(one.approver for one in asked):
        raise RuleBroken(
            f"{row.published_by} wrote version {row.version}: another person has to move plans to it.",
        )


def _all(
    database: Database, wanted: Program, resolve: Resolve, author: Author, reason: str, *, only: int | None = None
) -> Migrated:
    done = Migrated()
    for kind in ("plan", "task"):
        after = 0
        while True:
            with database.read() as tx:
                found = standing_work.next_items(tx, _VIEWER, wanted.code, wanted.version, kind, after, BATCH, only)
            if not found:
                break
            for key, ref in found:
                after = key
                _one(database, wanted, ref, resolve, author, reason, done)
    return done


def _one(
    database: Database,
    wanted: Program,
    ref: str,
    resolve: Resolve,
    author: Author,
    reason: str,
    done: Migrated,
) -> None:
    """One plan with its open work, or one task that belongs to none; again when somebody else was at it meanwhile."""
    for attempt in range(1, TRIES + 1):
        try:
            _try(database, wanted, ref, resolve, author, reason, done)
            return
        except (Unmapped, Incorrect) as error:
            done.left[ref] = str(error)
            return
        except (Busy, Conflict) as error:
            if attempt == TRIES:
                done.left[ref] = str(error)


def _try(
    database: Database,
    wanted: Program,
    ref: str,
    resolve: Resolve,
    author: Author,
    reason: str,
    done: Migrated,
) -> None:
    with database.begin() as tx:
        item = work_items.find(tx, author.viewer, ref)
        if item is None or not item.open or item.program_version == wanted.version or item.plan in done.left:
            return
        own = [item]
        if item.kind == "plan":
            work = work_items.of_plan(tx, author.viewer, ref)
            own += [one for one in work if one.open and one.kind == "task" and one.program == wanted.code]
        moved = plan_rewriting.rewrite(tx, wanted, own, resolve, author, reason)
        former = (
            programs.load_readable(tx, wanted.code, item.program_version) if item.program_version is not None else None
        )
        if former is not None and former.calendar != wanted.calendar:
            regeneration.recount_work(tx, [one.ref for one in own], former, wanted, author)
    done.plans += item.kind == "plan"
    done.tasks += moved - (item.kind == "plan")


def _changes(one: Standing, wanted: Program, former: Program | None, by: PlanMap) -> Iterable[tuple[Change, str]]:
    """Each change that a group of items needs, with why it cannot be ("" when it can)."""
    if one.kind == "plan":
        to = by.stage(one.status)
        stage = next((each for each in wanted.stages if each.code == to), None)
        yield Change(kind="stage", before=one.status, after=to), _no_stage(to, stage.fhir if stage else None)
        return
    to = by.status(one.status)
    yield Change(kind="status", before=one.status, after=to), _no_status(wanted, former, one.status, to)
    template = by.task(one.code)
    is_ours = former is not None and former.task(one.code) is not None
    missing = wanted.task(template) is None and (is_ours or template != one.code)
    yield Change(kind="task", before=one.code, after=template), f"there is no task {template}" if missing else ""


def _no_stage(to: str, fhir: str | None) -> str:
    if fhir is None:
        return f"there is no stage {to}"
    return f"{to} ends the plan, and a migration ends nothing" if fhir in ENDED else ""


def _no_status(wanted: Program, former: Program | None, before: str, to: str) -> str:
    status = wanted.status(to)
    if status is None:
        return f"there is no status {to}"
    if status.fhir in CLOSED_TASK:
        return f"{to} is closed, and a migration closes nothing"
    old = former.clock_in(before) if former else None
    return f"{to} is a hold, and nobody said until when" if status.clock == "paused" and old != "paused" else ""


def _by_version(found: Iterable[Standing]) -> dict[int, int]:
    counts: Counter[int] = Counter()
    for one in found:
        counts[one.version] += one.count
    return dict(sorted(counts.items()))


def _summed(refused: Sequence[Refused]) -> tuple[Refused, ...]:
    counts: Counter[tuple[Kind, int, str, str]] = Counter()
    for one in refused:
        counts[one.kind, one.version, one.code, one.why] += one.count
    return tuple(
        Refused(kind=kind, version=version, code=code, count=count, why=why)
        for (kind, version, code, why), count in sorted(counts.items())
    )


def _notes(tx: Tx, wanted: Program, versions: Sequence[int]) -> tuple[str, ...]:
    """What the map cannot carry over, so that who migrates knows."""
    notes = []
    for version in versions:
        former = programs.load_readable(tx, wanted.code, version)
        if former is None:
            continue
        gone = sorted({one.id for one in former.rules} - {one.id for one in wanted.rules} - {*wanted.renamed})
        new = sorted({one.code for one in wanted.tasks if one.on == "enrolment"} - {one.code for one in former.tasks})
        notes += [f"rules of version {version} that are gone: {', '.join(gone)}; their open escalations stay"] * bool(
            gone
        )
        notes += [f"work that open plans of version {version} do not get: {', '.join(new)}"] * bool(new)
    return tuple(notes)


def _key(code: str, version: int, to: int) -> str:
    return f"plan-migration:{code}:{version}:{to}"
