"""All that is known of how one patient's work, events and plans were at each moment, read once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from fhir_tracker import gathering, records
from fhir_tracker.fhir.body import read_stored
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import text_at
from fhir_tracker.model.event import EVENT_TYPES, event_of
from fhir_tracker.model.program import Program
from fhir_tracker.model.staff import People
from fhir_tracker.model.viewer import RULE_WORKER, Viewer
from fhir_tracker.model.work import Event, Firing, FiringKey, Transition
from fhir_tracker.rules.renaming import as_called
from fhir_tracker.storage import firings, past, staff, transitions
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.past import PastResource

WORK = ("Task", "CarePlan")
TYPES = EVENT_TYPES | {*WORK, "Patient"}


@dataclass(frozen=True, kw_only=True)
class Point:
    """A place in a history: all before `start`, and what happened in [start, end]; of that, unless `whole`, nothing that the
    tracker's own rules did.
    """

    start: datetime
    end: datetime
    whole: bool = True

    def sees(self, at: datetime, by_rules: bool) -> bool:
        """Whether what happened `at` is known here."""
        return at < self.start or (at <= self.end and (self.whole or not by_rules))


@dataclass(frozen=True, kw_only=True)
class Was:
    """One version of a resource: `resource` None from its deletion on, `event` as rules see it."""

    at: datetime
    by_rules: bool
    resource: Resource | None
    event: Event | None
    mirrored: bool


@dataclass(frozen=True, kw_only=True)
class PatientHistory:
    """One patient: the versions of each resource by reference, oldest first; the rows and firings of each item.

    `people` are the staff who ever owned some of the work, as they are known today; `strangers` as in `Facts`.
    """

    patient: str
    versions: Mapping[str, tuple[Was, ...]]
    logs: Mapping[str, tuple[Transition, ...]] = field(default_factory=dict)
    firings: Mapping[FiringKey, Firing] = field(default_factory=dict)
    people: People = field(default_factory=dict)
    strangers: frozenset[str] = frozenset()

    @property
    def work(self) -> tuple[str, ...]:
        """The references of all Tasks and CarePlans, in the order they were first written."""
        return tuple(ref for ref in self.versions if ref.partition("/")[0] in WORK)

    def as_called(self, program: Program) -> PatientHistory:
        """The same, with what rules of the program fired under what they are called in this version of it."""
        if not program.renamed:
            return self
        own = [as_called(program, [one])[0] if one.program == program.code else one for one in self.firings.values()]
        return replace(self, firings={one.key: one for one in own})

    def latest(self, ref: str, point: Point) -> Was | None:
        """The version of a resource that was the present one; None before the first."""
        return next((one for one in reversed(self.versions.get(ref, ())) if point.sees(one.at, one.by_rules)), None)

    def resource(self, ref: str, point: Point) -> Resource | None:
        """The resource as it was; None when it was not there."""
        was = self.latest(ref, point)
        return was.resource if was else None

    def events(self, point: Point) -> tuple[Event, ...]:
        """The events that rules saw, by start, then when they were seen."""
        found = (was.event for ref in self.versions if (was := self.latest(ref, point)) and was.event)
        return tuple(sorted(found, key=lambda one: one.order))

    def log(self, ref: str, point: Point) -> tuple[Transition, ...]:
        """The rows of an item."""
        return tuple(
            row
            for row in self.logs.get(ref, ())
            if point.sees(records.moment_of(row.recorded_at), row.who == RULE_WORKER.who)
        )

    def status_of(self, ref: str | None, point: Point) -> str | None:
        """The FHIR status that a Task had."""
        resource = self.resource(ref, point) if ref else None
        return text_at(resource, "status") if resource else None

    def changes(self, since: datetime, until: datetime) -> list[Point]:
        """The acts after `since`: what people and the EHR did, then, at the same moment, what the rules made of it."""
        seen = {(one.at, one.by_rules) for some in self.versions.values() for one in some}
        seen |= {
            (records.moment_of(row.recorded_at), row.who == RULE_WORKER.who)
            for some in self.logs.values()
            for row in some
        }
        acts: list[list[tuple[datetime, bool]]] = []
        for moment in sorted(one for one in seen if since < one[0] <= until + records.ONE_ACT):
            if acts and moment[0] - acts[-1][-1][0] <= records.ONE_ACT:
                acts[-1].append(moment)
            else:
                acts.append([moment])
        return [point for act in acts for point in _steps(act)]


def _steps(act: Sequence[tuple[datetime, bool]]) -> list[Point]:
    start, end = act[0][0], act[-1][0]
    kinds = {by_rules for _, by_rules in act}
    return [Point(start=start, end=end, whole=whole) for whole in (False, True) if whole in kinds or len(kinds) > 1]


def read(tx: Tx, viewer: Viewer, patients: Sequence[str], until: datetime) -> dict[str, PatientHistory]:
    """Patient -> their history up to `until`, with a fixed number of queries."""
    rows = past.of_patients(tx, viewer, patients, TYPES, until + records.ONE_ACT)
    versions = {patient: _versions(some) for patient, some in rows.items()}
    refs = [ref for some in versions.values() for ref in some if ref.partition("/")[0] in WORK]
    logs = transitions.of_items(tx, viewer, refs)
    fired = firings.of_items(tx, viewer, refs)
    owners = {row.after for log in logs.values() for row in log if row.what == "owner" and row.after}
    people = staff.people(tx, owners)
    strangers = gathering.strangers_of(tx, {patient: _events(some) for patient, some in versions.items()})
    return {
        patient: PatientHistory(
            patient=patient,
            versions=some,
            logs={ref: _until(logs[ref], until) for ref in some if ref in logs},
            firings={one.key: one for ref in some for one in fired.get(ref, ()) if one.fired_at <= until},
            people=people,
            strangers=strangers.get(patient, frozenset()),
        )
        for patient, some in versions.items()
    }


def read_firings(tx: Tx, viewer: Viewer, refs: Sequence[str]) -> dict[FiringKey, Firing]:
    """Everything that ever fired for these items, by key."""
    return {one.key: one for some in firings.of_items(tx, viewer, refs).values() for one in some}


def _events(versions: Mapping[str, tuple[Was, ...]]) -> list[Event]:
    return [one.event for some in versions.values() for one in some if one.event]


def _until(log: Sequence[Transition], until: datetime) -> tuple[Transition, ...]:
    return tuple(row for row in log if row.recorded_at <= until)


def _versions(rows: Sequence[PastResource]) -> dict[str, tuple[Was, ...]]:
    found: dict[str, list[Was]] = defaultdict(list)
    for row in rows:
        found[f"{row.type}/{row.id}"].append(_was(row))
    return {ref: tuple(some) for ref, some in found.items()}


def _was(row: PastResource) -> Was:
    resource = read_stored(row.body) if row.body and row.op != "delete" else None
    seen = resource is not None and row.type in EVENT_TYPES
    return Was(
        at=row.updated_at,
        by_rules=row.who == RULE_WORKER.who,
        resource=resource,
        event=event_of(resource, seen_at=row.updated_at) if resource and seen else None,
        mirrored=row.connection is not None,
    )
