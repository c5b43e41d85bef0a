"""`open_work: {task: [visit, first-call], at_most: 0}`: how much of the plan's other work is open."""

from __future__ import annotations

from fhir_tracker.model.facts import Verdict
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.predicate import Args, Case, Predicate, no, words
from fhir_tracker.rules.source import Node, fields
from fhir_tracker.rules.words import listed


def _read(node: Node, draft: Draft) -> Args | None:
    given = fields(node, draft.problems, (), ("task", "at_least", "at_most"))
    if given is None:
        return None
    codes = tuple(draft.reference(text, "task", draft.tasks) for text in given.texts("task"))
    least = given.number("at_least", 0 if given.node("at_most") else 1, least=0)
    most = given.number("at_most", 0, least=0) if given.node("at_most") else None
    if most is not None and least > most:
        draft.problems.add(given.place, f"at least {least} and at most {most} cannot be")
    return {"task": codes, "at_least": least, "at_most": most} if all(codes) else None


def _judge(case: Case, args: Args) -> tuple[Verdict, ...]:
    codes = words(args, "task")
    found = [one for one in case.facts.tasks if one.open and one.kind == "task" and (not codes or one.code in codes)]
    used = {"open": ", ".join(sorted(one.ref for one in found)) or "none"}
    kinds = listed(codes, "or") or "any"
    said = f"{len(found) or 'no'} other work of the plan is open ({kinds})"
    least, most = args["at_least"], args["at_most"]
    fits = isinstance(least, int) and len(found) >= least and (not isinstance(most, int) or len(found) <= most)
    if not fits:
        return no(said, used)
    changed = [one.status_since for one in case.facts.tasks if one.kind == "task" and (not codes or one.code in codes)]
    return (Verdict(holds=True, why=said, facts=used, since=max(changed, default=None)),)


def _describe(args: Args) -> str:
    kind = f"{listed(words(args, 'task'), 'or')} " if words(args, "task") else ""
    bounds = [f"at least {args['at_least']}"] if args["at_least"] else []
    bounds += [f"at most {args['at_most']}"] if args["at_most"] is not None else []
    return f"{listed(bounds) or 'any'} other {kind}tasks of the plan are open"


PREDICATE = Predicate(
    name="open_work",
    takes="{task: a code or a list (any), at_least: a number (1), at_most: a number}",
    says="so many of the plan's other tasks are open",
    subjects=("task", "plan"),
    read=_read,
    judge=_judge,
    describe=_describe,
)
