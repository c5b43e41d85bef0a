"""Rules that fell silent: each is an open Task for the clinic admin until the rule is asked again.

A rule is asked when an item is due for a look, which may be seldom. So one that was not asked for a period has a few open
items looked at, and one that is still not asked a period later is dead: something between the sweep and the rule is broken.
A rule without open items has nothing to say and is not silent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from fhir_tracker import programs, provenance, records, task_resources
from fhir_tracker.fhir.identity import local_id
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.program import Program, Rule
from fhir_tracker.model.viewer import RULE_WORKER
from fhir_tracker.storage import heartbeats, resources, settings, work_items
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.heartbeats import Heartbeat

CODE = "dead-rule"
PROBES = 3
_WATCHED = "rules-watched-since"


def watch(tx: Tx, now: datetime, period: timedelta) -> list[str]:
    """Look for silent rules of active programs; `program#rule` of those that are dead now."""
    began = _watched_since(tx, now)
    beats = {(one.program, one.rule): one for one in heartbeats.all(tx)}
    dead: list[str] = []
    for program in programs.active_programs(tx):
        for kind in ("task", "plan"):
            rules = [rule for rule in program.rules if rule.subject == kind]
            open_items = work_items.some_open(tx, RULE_WORKER, kind, program.code, PROBES) if rules else []
            dead += _watch_rules(tx, program, rules, open_items, _Silence(beats, began, now, period))
    return dead


class _Silence:
    """For how long each rule has been silent."""

    def __init__(
        self, beats: Mapping[tuple[str, str], Heartbeat], began: datetime, now: datetime, period: timedelta
    ) -> None:
        self._beats, self._began = beats, began
        self.now, self.period = now, period

    def of(self, program: Program, rule: Rule) -> timedelta:
        beat = self._beats.get((program.code, rule.id))
        return self.now - max(self._began, beat.last_evaluated if beat else self._began)


def _watch_rules(
    tx: Tx, program: Program, rules: list[Rule], open_items: list[str], silence: _Silence
) -> Iterator[str]:
    author = Author(viewer=RULE_WORKER, origin="rules", at=silence.now)
    for rule in rules:
        quiet = silence.of(program, rule)
        if open_items and quiet > silence.period:
            for ref in open_items:
                work_items.wake(tx, ref, silence.now)
        if open_items and quiet > 2 * silence.period:
            _open(tx, program, rule, quiet, author)
            yield f"{program.code}#{rule.id}"
        elif quiet <= silence.period or not open_items:
            _close(tx, program, rule, author)


def _watched_since(tx: Tx, now: datetime) -> datetime:
    """Since when rules are watched: none was silent before that."""
    text = settings.get(tx, _WATCHED)
    if text is None:
        settings.put(tx, _WATCHED, now.isoformat())
        return now
    return datetime.fromisoformat(text)


def task_id(program: Program, rule: Rule) -> str:
    """The id of the one Task that says a rule is dead."""
    return local_id(CODE, f"{program.code}.{rule.id}", "Task")


def _open(tx: Tx, program: Program, rule: Rule, quiet: timedelta, author: Author) -> None:
    item = work_items.find(tx, author.viewer, f"Task/{task_id(program, rule)}")
    if item is not None and item.open:
        return
    hours = round(quiet.total_seconds() / 3600, 1)
    reason = (
        f"The rule {rule.id} ({rule.title}) of {program.title} was not asked for {hours} hours though work of it is open. "
        "Nothing it watches for is noticed: see `fhir-tracker rules poisoned` and the log of the worker. This closes by "
        "itself when the rule is asked again."
    )
    task = task_resources.admin_task(task_id(program, rule), CODE, f"Silent rule: {rule.title}", reason, author.at)
    stored = records.save(tx, task, author, why=Why(reason=reason))
    provenance.record(tx, [stored], author, Why(reason=reason))


def _close(tx: Tx, program: Program, rule: Rule, author: Author) -> None:
    item = work_items.find(tx, author.viewer, f"Task/{task_id(program, rule)}")
    stored = resources.find(tx, author.viewer, "Task", task_id(program, rule)) if item and item.open else None
    if stored is None or stored.deleted:
        return
    why = Why(reason="The rule is asked again.")
    done = task_resources.with_status(records.resource_of(stored), None, "completed", author.at)
    provenance.record(tx, [records.save(tx, done, author, why=why)], author, why)
