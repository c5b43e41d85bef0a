"""What the rules said, or would have said, at an earlier moment, beside what really fired."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from fhir_tracker import dry_run, patient_history
from fhir_tracker.errors import NotFound
from fhir_tracker.history_facts import Scene, scene
from fhir_tracker.model.facts import Finding
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.model.work import Firing, FiringKey
from fhir_tracker.patient_history import PatientHistory, Point
from fhir_tracker.records import moment_of
from fhir_tracker.rules.engine import evaluate
from fhir_tracker.storage import past, work_items
from fhir_tracker.storage.database import Database, Tx

BATCH = 20


@dataclass(frozen=True, kw_only=True)
class Said:
    """One thing the rules wanted of an item at the moment asked for; `fired_at` when it really fired, None: never."""

    key: FiringKey
    effect: str
    reason: str
    fired_at: datetime | None

    def as_json(self) -> dict[str, object]:
        """The same as plain JSON values."""
        return {
            "rule": self.key.rule,
            "level": self.key.level,
            "cycle": self.key.cycle,
            "effect": self.effect,
            "reason": self.reason,
            "firedAt": self.fired_at.isoformat() if self.fired_at else None,
        }


@dataclass(frozen=True, kw_only=True)
class ItemThen:
    """One item at that moment: how it stood, each rule's answer, what was wanted then, what had fired by then."""

    item: str
    program: str
    status: str
    as_of: datetime
    findings: tuple[Finding, ...]
    wanted: tuple[Said, ...]
    fired: tuple[Firing, ...]
    next_at: datetime | None

    def as_json(self) -> dict[str, object]:
        """The same as plain JSON values."""
        return {
            "item": self.item,
            "program": self.program,
            "status": self.status,
            "asOf": self.as_of.isoformat(),
            "rules": [{"rule": one.rule, "holds": one.verdict.holds, "why": one.verdict.why} for one in self.findings],
            "wanted": [one.as_json() for one in self.wanted],
            "fired": [_fired(one) for one in self.fired],
            "nextLook": self.next_at.isoformat() if self.next_at else None,
        }

    def as_lines(self, *, whole: bool) -> list[str]:
        """The same for a terminal; not `whole`: only what was wanted."""
        lines = [f"{self.item}  [{self.status}]  {self.program}  at {self.as_of.isoformat(timespec='seconds')}"]
        if whole:
            lines += [
                f"{'YES' if one.verdict.holds else 'no ':3} {one.rule}: {one.verdict.why}" for one in self.findings
            ]
            lines += [
                f"had fired: {one.key.rule} level {one.key.level} at {one.fired_at.isoformat()}" for one in self.fired
            ]
        for one in self.wanted:
            then = f"fired {one.fired_at.isoformat()}" if one.fired_at else "NEVER FIRED"
            lines.append(f"wanted: {one.key.rule} level {one.key.level} ({one.effect}): {then}")
        return lines + ["nothing was wanted"] * (whole and not self.wanted)


def of_item(tx: Tx, viewer: Viewer, ref: str, as_of: datetime) -> ItemThen:
    """One Task or CarePlan at an earlier moment; raises NotFound when there was no such work of a program then."""
    item = work_items.find(tx, viewer, ref)
    if item is None or item.patient is None:
        raise NotFound(f"There is no work item for {ref}.")
    history = patient_history.read(tx, viewer, [item.patient], as_of)[item.patient]
    later = patient_history.read_firings(tx, viewer, [ref])
    found = next((one for one in _items(tx, history, later, as_of) if one.item == ref), None)
    if found is None:
        raise NotFound(f"{ref} was no work of a program at {as_of.isoformat(timespec='seconds')}.")
    return found


def waiting(database: Database, viewer: Viewer, programs: tuple[str, ...], as_of: datetime) -> Iterator[ItemThen]:
    """Every item of these programs of which the rules wanted something at that moment that had not fired yet."""
    for code in programs:
        after = ""
        while True:
            with database.read() as tx:
                patients = past.with_work(tx, viewer, code, as_of, after, BATCH)
                found = [one for one in _of_patients(tx, viewer, patients, as_of) if one.program.startswith(f"{code}|")]
            yield from (one for one in found if one.wanted)
            if not patients:
                break
            after = patients[-1]


def _of_patients(tx: Tx, viewer: Viewer, patients: list[str], as_of: datetime) -> list[ItemThen]:
    found: list[ItemThen] = []
    for history in patient_history.read(tx, viewer, patients, as_of).values():
        found += _items(tx, history, patient_history.read_firings(tx, viewer, history.work), as_of)
    return found


def _items(tx: Tx, history: PatientHistory, really: Mapping[FiringKey, Firing], as_of: datetime) -> Iterator[ItemThen]:
    present = scene(history, Point(start=as_of, end=as_of), dry_run.in_force(tx))
    for ref in present.programs:
        yield _then(present, ref, really, as_of)


def _then(present: Scene, ref: str, really: Mapping[FiringKey, Firing], as_of: datetime) -> ItemThen:
    program = present.programs[ref]
    before = [one for key, one in really.items() if key.item == ref and moment_of(one.fired_at) <= as_of]
    facts = present.facts(ref, before)
    found = evaluate(program, facts, as_of)
    wanted = tuple(
        Said(key=one.key, effect=type(one).__name__, reason=one.reason, fired_at=_when(really.get(one.key)))
        for one in found.effects
    )
    return ItemThen(
        item=ref,
        program=f"{program.code}|{program.version}",
        status=facts.item.status,
        as_of=as_of,
        findings=found.findings,
        wanted=wanted,
        fired=facts.fired,
        next_at=found.next_at,
    )


def _when(firing: Firing | None) -> datetime | None:
    return firing.fired_at if firing else None


def _fired(one: Firing) -> dict[str, object]:
    return {"rule": one.key.rule, "level": one.key.level, "at": one.fired_at.isoformat(), "state": one.state}
