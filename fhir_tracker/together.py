"""Applying the effects of many items with few statements: those that change nothing but what they add to.

Each kind of row is written by one statement a batch, whatever the number of items, under the same firing keys as `effects`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from fhir_tracker import batching, effects, escalation, failpoints, provenance, records
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.effects import CreateTask, Effect, Escalate, Notify
from fhir_tracker.model.facts import Facts
from fhir_tracker.model.program import Program
from fhir_tracker.model.viewer import RULE_WORKER
from fhir_tracker.storage import firings, resources
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.resources import Stored


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """An effect that is to happen, on which item and by which program."""

    program: Program
    facts: Facts
    effect: Effect


@dataclass
class _Work:
    """The plans that Tasks are made for (None: gone), and what was made for each, with its title and why."""

    plans: Mapping[str, Stored | None]
    made: dict[str, list[tuple[Stored, str, Why]]] = field(default_factory=dict)


def can_be(effect: Effect) -> bool:
    """Whether the effect only adds, and needs nothing but the item's facts for it."""
    if isinstance(effect, CreateTask):
        return effect.owner in ("", "same") and effect.activity is None
    return isinstance(effect, Escalate) or (isinstance(effect, Notify) and effect.to != "primary")


def apply_all(tx: Tx, wanted: Sequence[Wanted], now: datetime) -> list[bool]:
    """Do what each effect (`can_be`) says unless it has been done before; for each whether it was done now."""
    author = Author(viewer=RULE_WORKER, origin="rules", at=now)
    refs = {one.facts.item.plan for one in wanted if isinstance(one.effect, CreateTask)}
    with batching.together(tx, [ref for ref in refs if ref], now):
        return _apply_all(tx, wanted, author)


def _apply_all(tx: Tx, wanted: Sequence[Wanted], author: Author) -> list[bool]:
    now, work = author.at, _Work(plans=_plans(tx, wanted, author))
    ids = [records.fresh_id(now) if _makes_task(one, work) else None for one in wanted]
    rows = [
        (effects.firing_of(one.program, one.effect, now, f"Task/{id_}" if id_ else None), one.facts.item.patient)
        for one, id_ in zip(wanted, ids, strict=True)
    ]
    new = firings.fire_many(tx, rows)
    done = [one.effect.key in new and _apply(tx, one, id_, author, work) for one, id_ in zip(wanted, ids, strict=True)]
    _name_in_plans(tx, work, author)
    return done


def _plans(tx: Tx, wanted: Sequence[Wanted], author: Author) -> dict[str, Stored | None]:
    refs = {one.facts.item.plan for one in wanted if isinstance(one.effect, CreateTask)}
    named = sorted(ref for ref in refs if ref)
    found = {ref: resources.find(tx, author.viewer, *ref.split("/")) for ref in named}
    return {ref: None if plan is None or plan.deleted else plan for ref, plan in found.items()}


def _makes_task(one: Wanted, work: _Work) -> bool:
    if not isinstance(one.effect, CreateTask):
        return isinstance(one.effect, Escalate)
    plan = one.facts.item.plan
    return one.program.task(one.effect.template) is not None and (not plan or work.plans[plan] is not None)


def _apply(tx: Tx, one: Wanted, id_: str | None, author: Author, work: _Work) -> bool:
    why, effect = effects.why_of(one.program, one.effect), one.effect
    if id_ is not None and isinstance(effect, Escalate):
        escalation.fire(tx, one.facts.item, effect, author, why.rule or "", id_)
    elif id_ is not None and isinstance(effect, CreateTask):
        _create(tx, one, effect, id_, author, work)
    else:
        return effects.do(tx, one.program, one.facts, effect, author, why)
    failpoints.reached(f"effect-{effects.KINDS[type(effect)]}")
    return True


def _create(tx: Tx, one: Wanted, effect: CreateTask, id_: str, author: Author, work: _Work) -> None:
    template, item, why = one.program.task(effect.template), one.facts.item, effects.why_of(one.program, effect)
    if template is None:
        return
    resource = effects.task_of(one.program, template, one.facts, effect, author, id_)
    if effect.owner and item.owner:
        resource["owner"] = {"reference": item.owner}
    task = records.save(tx, resource, author, why=why, fresh=True)
    work.made.setdefault(item.plan or "", []).append((task, template.title, why))


def _name_in_plans(tx: Tx, work: _Work, author: Author) -> None:
    """One new version for each plan, whatever was made for it."""
    for ref, made in work.made.items():
        before, plan = work.plans.get(ref), None
        if before is not None:
            changed = effects.with_work(records.resource_of(before), [(task.ref, title) for task, title, _ in made])
            plan = records.save(tx, changed, author, why=made[0][2])
        for task, _, why in made:
            provenance.record(tx, [task, plan] if plan else [task], author, why, activity="CREATE")
