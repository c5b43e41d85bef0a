"""`escalated: {level: 2, unanswered_for: 1 business day}`: the work was escalated, and nobody has answered for that long."""

from __future__ import annotations

from fhir_tracker.model.facts import Verdict
from fhir_tracker.model.program import Duration
from fhir_tracker.rules.calendar import later
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.predicate import Args, Case, Predicate, earliest, no, number
from fhir_tracker.rules.source import Node, fields
from fhir_tracker.rules.words import moment


def _read(node: Node, draft: Draft) -> Args | None:
    given = fields(node, draft.problems, (), ("level", "unanswered_for"))
    if given is None:
        return None
    return {"level": given.number("level", 1), "unanswered": given.duration("unanswered_for")}


def _judge(case: Case, args: Args) -> tuple[Verdict, ...]:
    unanswered, calendar = args["unanswered"], case.program.calendar
    fired = sorted(
        (
            one
            for one in case.facts.fired
            if one.kind == "escalate" and one.key.level >= number(args, "level") and one.state != "resolved"
        ),
        key=lambda one: (one.fired_at, one.key.rule, one.key.cycle, one.key.level),
    )
    used = {"escalations": ", ".join(f"{one.key.rule} level {one.key.level} {one.state}" for one in fired) or "none"}
    if isinstance(unanswered, Duration):
        fired = [one for one in fired if one.state == "open"]
        begins = [later(calendar, one.fired_at, unanswered) for one in fired]
    else:
        begins = [one.fired_at for one in fired]
    change = earliest(case.now, begins)
    first = next((one for one, at in zip(fired, begins, strict=True) if at <= case.now), None)
    if first is None:
        return no("no such escalation is open", used, change)
    at = min(begins)
    said = f"level {first.key.level} of {first.key.rule} went to {first.to_role or 'somebody'}"
    why = f"{said} on {moment(calendar, first.fired_at)} and is {first.state.replace('-', ' ')}"
    return (Verdict(holds=True, why=why, facts=used, since=at),)


def _describe(args: Args) -> str:
    level = f" to level {number(args, 'level')} or higher" if number(args, "level") > 1 else ""
    unanswered = f" and unanswered for {args['unanswered']}" if args["unanswered"] else ""
    return f"it is escalated{level}{unanswered}"


PREDICATE = Predicate(
    name="escalated",
    takes="{level: a number (1), unanswered_for: a duration}",
    says="an escalation of that level or a higher one is not resolved, or nobody has answered it for that long",
    subjects=("task", "plan"),
    read=_read,
    judge=_judge,
    describe=_describe,
)
