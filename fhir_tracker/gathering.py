"""Gathering the facts of a batch of work items with a fixed number of queries, never one an item."""

from __future__ import annotations

from collections.abc import Sequence

from fhir_tracker import records
from fhir_tracker.model.facts import Facts, PlanFacts
from fhir_tracker.model.plan import plan_facts
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.model.work import WorkItem
from fhir_tracker.storage import events, firings, patients, resources, transitions, work_items
from fhir_tracker.storage.database import Tx


def gather(tx: Tx, viewer: Viewer, items: Sequence[WorkItem]) -> list[Facts]:
    """The facts of each item, in the same order."""
    refs = [item.ref for item in items]
    people = sorted({item.patient for item in items if item.patient})
    plans = _plans(tx, viewer, sorted({item.plan for item in items if item.plan}))
    logs = transitions.of_items(tx, viewer, refs)
    fired = firings.of_items(tx, viewer, refs)
    seen = events.of_patients(tx, viewer, people)
    tasks = work_items.of_plans(tx, viewer, sorted({item.plan for item in items if item.plan}))
    known = patients.find_many(tx, viewer, people)
    return [
        Facts(
            item=item,
            plan=plans.get(item.plan or ""),
            log=logs[item.ref],
            events=tuple(seen.get(item.patient or "", ())),
            fired=fired[item.ref],
            tasks=tuple(one for one in tasks.get(item.plan or "", ()) if one.ref != item.ref),
            deceased=item.patient in known and known[item.patient].deceased,
        )
        for item in items
    ]


def _plans(tx: Tx, viewer: Viewer, refs: Sequence[str]) -> dict[str, PlanFacts]:
    items = work_items.find_many(tx, viewer, refs)
    stored = resources.find_many(tx, viewer, list(items))
    return {ref: plan_facts(records.resource_of(one), items[ref]) for ref, one in stored.items() if not one.deleted}
