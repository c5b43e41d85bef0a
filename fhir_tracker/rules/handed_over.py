"""`handed_over: {times: 3, within: 7 days}`: the work went from one owner to another that often."""

from __future__ import annotations

from fhir_tracker.model.facts import Verdict
from fhir_tracker.model.program import Duration
from fhir_tracker.rules.calendar import later
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.predicate import Args, Case, Predicate, earliest, no, number
from fhir_tracker.rules.source import Node, fields
from fhir_tracker.rules.words import moment, named


def _read(node: Node, draft: Draft) -> Args | None:
    given = fields(node, draft.problems, ("times",), ("within",))
    return {"times": given.number("times", 1), "within": given.duration("within")} if given else None


def _judge(case: Case, args: Args) -> tuple[Verdict, ...]:
    within, calendar, item = args["within"], case.program.calendar, case.facts.item
    moves = sorted(
        (one.effective_at, one.before or "", one.after)
        for one in case.facts.log
        if one.what == "owner" and one.before and one.after and one.before != one.after
    )
    ends = [later(calendar, at, within) if isinstance(within, Duration) else None for at, *_ in moves]
    fresh = [(move, end) for move, end in zip(moves, ends, strict=True) if end is None or case.now < end]
    used = {"handovers": str(len(moves)), "owners": ", ".join(dict.fromkeys(to for (_, _, to), _ in fresh)) or "none"}
    times = number(args, "times")
    if len(fresh) < times:
        return no(f"{named(case.program, item)} was handed over {_count(len(fresh))}", used)
    why = (
        f"{named(case.program, item)} was handed over {_count(len(fresh))}, last on {moment(calendar, fresh[-1][0][0])}"
    )
    change = earliest(case.now, (fresh[-times][1],))
    return (Verdict(holds=True, why=why, facts=used, since=fresh[times - 1][0][0], next_change=change),)


def _count(number_: int) -> str:
    return {0: "never", 1: "once"}.get(number_, f"{number_} times")


def _describe(args: Args) -> str:
    within = f" within {args['within']}" if args.get("within") else ""
    return f"it was handed over {_count(number(args, 'times'))} or more{within}"


PREDICATE = Predicate(
    name="handed_over",
    takes="{times: a number, within: a duration (ever when left out)}",
    says="the work went from one owner to another at least that often",
    subjects=("task",),
    read=_read,
    judge=_judge,
    describe=_describe,
)
