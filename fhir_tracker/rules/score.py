"""`score: {form: phq-9, at_least: 10}`: the latest response to one of the program's forms scores within the bounds.

`missing: D` holds instead when no response with a score was given in the last D (since the plan began, at the earliest).
"""

from __future__ import annotations

from decimal import Decimal
from typing import cast

from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.facts import Verdict
from fhir_tracker.model.forms import Form
from fhir_tracker.model.program import Duration
from fhir_tracker.rules.calendar import later
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.form_section import number_of
from fhir_tracker.rules.forms import Scored, latest, score_words
from fhir_tracker.rules.predicate import Args, Case, Predicate, begin, no, word
from fhir_tracker.rules.source import Node, fields


def _read(node: Node, draft: Draft) -> Args | None:
    given = fields(node, draft.problems, ("form",), ("at_least", "at_most", "item", "missing"))
    form_node = given.node("form") if given else None
    if given is None or form_node is None:
        return None
    code = draft.reference(form_node, "form", tuple(one.code for one in draft.forms))
    form = next((one for one in draft.forms if one.code == code), None)
    least, most, item = given.node("at_least"), given.node("at_most"), given.node("item")
    missing = given.duration("missing")
    if form is None or (given.node("missing") and missing is None):
        return None
    if (missing is None) == (least is None and most is None):
        draft.problems.add(given.place, 'say which score: "at_least" or "at_most"; or for how long it is "missing"')
        return None
    return {
        "form": code,
        "title": form.title,
        "least": number_of(least, draft) if least else None,
        "most": number_of(most, draft) if most else None,
        "item": draft.reference(item, "item", tuple(one.code for one in form.items)) if item else "",
        "missing": missing,
    }


def _judge(case: Case, args: Args) -> tuple[Verdict, ...]:
    form = case.program.form(word(args, "form"))
    if form is None:
        return no(f"the program has no form {word(args, 'form')}")
    found = latest(case.program, case.facts, form)
    told = score_words(form, found)
    if isinstance(args["missing"], Duration):
        return _missing(case, args["missing"], found, told)
    number = _number(found, word(args, "item"))
    used = _used(form, found)
    least, most = cast("Decimal | None", args["least"]), cast("Decimal | None", args["most"])
    if (
        found is None
        or number is None
        or (least is not None and number < least)
        or (most is not None and number > most)
    ):
        return no(told, used)
    return (Verdict(holds=True, why=told, facts=used, since=found.at, occurrence=found.ref),)


def _missing(case: Case, within: Duration, found: Scored | None, told: str) -> tuple[Verdict, ...]:
    last = found.at if found is not None and found.score is not None else None
    start = max(last, begin(case.facts)) if last else begin(case.facts)
    due = later(case.program.calendar, start, within)
    used = {"last": instant(last) if last else "none", "due": instant(due), "response": found.ref if found else "none"}
    if case.now < due:
        return no(told, used, due)
    return (Verdict(holds=True, why=f"{told}; one was due within {within}", facts=used, since=due),)


def _number(found: Scored | None, item: str) -> Decimal | None:
    if found is None:
        return None
    return found.answers.get(item) if item else found.score


def _used(form: Form, found: Scored | None) -> dict[str, str]:
    if found is None:
        return {"form": form.code, "response": "none"}
    score = "none" if found.score is None else str(found.score)
    used = {"form": form.code, "response": found.ref, "score": score, "answered": str(found.answered)}
    return used | ({"missing": ", ".join(found.missing)} if found.missing else {})


def _describe(args: Args) -> str:
    title = word(args, "title") or word(args, "form")
    if args["missing"]:
        return f"{title} was not filled in for {args['missing']}"
    what = f"{title}, {word(args, 'item')}," if word(args, "item") else title
    bounds = [f"at least {args['least']}" if args["least"] is not None else ""]
    bounds.append(f"at most {args['most']}" if args["most"] is not None else "")
    return f"{what} scored {' and '.join(one for one in bounds if one)}"


PREDICATE = Predicate(
    name="score",
    takes="{form: one of the program's `forms`, at_least, at_most: numbers, item: one of its items}, or {form, missing: a duration}",
    says="the latest response scores so; `missing`: none with a score for that long",
    subjects=("task", "plan"),
    read=_read,
    judge=_judge,
    describe=_describe,
)
