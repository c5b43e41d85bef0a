"""Applying effects that change what is there: one item after the other, in one batch of acts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fhir_tracker import batching, consequences, effects
from fhir_tracker.model.author import Author
from fhir_tracker.model.effects import CreateTask, Effect
from fhir_tracker.model.facts import Facts
from fhir_tracker.model.program import Program
from fhir_tracker.model.viewer import RULE_WORKER
from fhir_tracker.storage import firings
from fhir_tracker.storage.database import Tx


@dataclass(frozen=True, kw_only=True)
class Asked:
    """All that the rules want of one item, in order."""

    program: Program
    facts: Facts
    effects: tuple[Effect, ...]


def apply_all(tx: Tx, asked: Sequence[Asked], now: datetime) -> list[tuple[Effect, ...]]:
    """Do what each effect says unless it has been done before; for each item those that were done now.

    An item that an effect on another one changed is left alone: its facts are not those that were judged, and it will be
    looked at again at once. What follows from the only effect of an item is drawn when all of them are done.
    """
    author = Author(viewer=RULE_WORKER, origin="rules", at=now)
    rows = [(effects.firing_of(one.program, effect, now), one) for one in asked for effect in one.effects]
    new = firings.fire_many(tx, [(row, one.facts.item.patient) for row, one in rows])
    done: list[tuple[Effect, ...]] = []
    with consequences.drawn_after(tx, effects.apply, len(asked)), batching.together(tx, _touched(asked), now):
        for one in asked:
            mine = [effect for effect in one.effects if effect.key in new]
            if batching.is_changed(tx, one.facts.item):
                firings.take_back(tx, [effect.key for effect in mine])
                done.append(())
            else:
                done.append(_apply(tx, one, mine, author))
    return done


def _apply(tx: Tx, one: Asked, mine: Sequence[Effect], author: Author) -> tuple[Effect, ...]:
    found = []
    for effect in mine:
        if effects.do(tx, one.program, one.facts, effect, author, effects.why_of(one.program, effect)):
            found.append(effect)
        if len(mine) > 1:
            consequences.draw(tx, effects.apply, even_within=True)
    return tuple(found)


def _touched(asked: Sequence[Asked]) -> list[str]:
    items = {one.facts.item.ref for one in asked}
    plans = {one.facts.item.plan for one in asked if any(isinstance(each, CreateTask) for each in one.effects)}
    return sorted(items | {plan for plan in plans if plan})
