"""Why is this in my queue: rule, facts, clock and next level of one item, for the command line, the page and the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from fhir_tracker import gathering, programs
from fhir_tracker.errors import NotFound
from fhir_tracker.misfiled import with_misfiled
from fhir_tracker.model.facts import Facts, Finding
from fhir_tracker.model.program import Program
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.model.work import Firing, WorkItem
from fhir_tracker.rules.engine import evaluate
from fhir_tracker.rules.sla import sla_due
from fhir_tracker.storage import work_items
from fhir_tracker.storage.database import Tx


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """One item's answer: its findings (one a rule), the due time after pauses, and when it is looked at again."""

    item: WorkItem
    facts: Facts
    program: Program | None
    due_at: datetime | None
    findings: tuple[Finding, ...]
    next_at: datetime | None

    def as_json(self) -> dict[str, object]:
        """The explanation as plain JSON values; moments as ISO 8601 in UTC."""
        return {
            "item": self.item.ref,
            "title": self.item.title,
            "status": self.item.status,
            "fhirStatus": self.item.fhir_status,
            "role": self.item.role,
            "owner": self.item.owner,
            "program": f"{self.program.code}|{self.program.version}" if self.program else None,
            "clock": self.item.clock,
            "created": _text(self.item.created_at),
            "due": _text(self.due_at),
            "cycle": self.item.cycle,
            "escalationLevel": self.item.escalation_level,
            "nextLook": _text(self.next_at),
            "rules": [_finding(one) for one in self.findings],
        }

    def as_lines(self) -> list[str]:
        """The explanation as lines for a terminal."""
        program = f"{self.program.code} version {self.program.version}" if self.program else "no program"
        lines = [
            f"{self.item.ref}  {self.item.title}  [{self.item.status}]  {program}",
            f"clock {self.item.clock}, due {_text(self.due_at) or 'never'}, role {self.item.role or '-'}",
        ]
        for one in self.findings:
            lines.append(f"{'YES' if one.verdict.holds else 'no ':3} {one.rule}: {one.verdict.why}")
            lines += [f"      {name} = {value}" for name, value in sorted(one.verdict.facts.items())]
            lines += [f"      {_fired(f)}" for f in one.fired]
            if one.next_level:
                lines.append(
                    f"      next: level {one.next_level.number} to {one.next_level.to} at {_text(one.next_level.at)}"
                )
            if one.stopped:
                lines.append(f"      stopped: {one.stopped}")
        lines.append(f"next look {_text(self.next_at) or 'when something changes'}")
        return lines


def explain(tx: Tx, viewer: Viewer, ref: str, now: datetime) -> Explanation:
    """Explain `Task/<id>` or `CarePlan/<id>`; raises NotFound. An escalation is explained by the work it is about."""
    item = work_items.find(tx, viewer, ref)
    if item is not None and item.kind == "escalation" and item.focus:
        item = work_items.find(tx, viewer, item.focus) or item
    if item is None:
        raise NotFound(f"There is no work item for {ref}.")
    facts = gathering.gather(tx, viewer, [item])[0]
    program = programs.load(tx, item.program, item.program_version) if item.program else None
    if program is None:
        return Explanation(item=item, facts=facts, program=None, due_at=item.due_at, findings=(), next_at=None)
    facts = with_misfiled(tx, viewer, facts)
    found = evaluate(program, facts, now)
    return Explanation(
        item=item,
        facts=facts,
        program=program,
        due_at=sla_due(program.at(*facts.places), facts, now),
        findings=found.findings,
        next_at=item.next_action_at or found.next_at,
    )


def _fired(one: Firing) -> str:
    """`level 1 to rn fired ...` for a level of a ladder, else what was done; why, where it was skipped."""
    what = f"level {one.key.level} to {one.to_role}" if one.key.level > 0 else one.kind
    why = f": {one.reason}" if one.state == "skipped" else ""
    return f"{what} fired {_text(one.fired_at)}, {one.state}{why}"


def _finding(one: Finding) -> Mapping[str, object]:
    return {
        "rule": one.rule,
        "title": one.title,
        "holds": one.verdict.holds,
        "why": one.verdict.why,
        "facts": dict(one.verdict.facts),
        "since": _text(one.verdict.since),
        "nextChange": _text(one.verdict.next_change),
        "fired": [
            {
                "kind": firing.kind,
                "level": firing.key.level,
                "cycle": firing.key.cycle,
                "to": firing.to_role,
                "at": _text(firing.fired_at),
                "state": firing.state,
                "task": firing.task,
                "reason": firing.reason,
            }
            for firing in one.fired
        ],
        "nextLevel": (
            {"level": one.next_level.number, "to": one.next_level.to, "at": _text(one.next_level.at)}
            if one.next_level
            else None
        ),
        "stopped": one.stopped,
    }


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
