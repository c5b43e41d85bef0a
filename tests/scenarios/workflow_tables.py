"""The tables of docs/workflows.md, made from the starter programs so that the page cannot say something else."""

from __future__ import annotations

from collections.abc import Iterable

from fhir_tracker.model.program import Action, Ladder, Program, TaskTemplate
from fhir_tracker.rules.action_words import describe_action
from fhir_tracker.rules.match_words import describe_match
from fhir_tracker.rules.summary import describe
from fhir_tracker.rules.words import listed


def tables(program: Program) -> str:
    """The work, the rules and the ladders of one program as Markdown tables."""
    work = [_work(program, one) for one in program.tasks]
    rules = [(one.title, describe(one.when), _acts(program, one.do)) for one in program.rules]
    ladders = [(one.code, *_levels(one)) for one in program.ladders]
    return "\n\n".join(
        (
            _table(("work", "who", "begins", "due", "closes by itself"), work),
            _table(("rule", "when", "then"), rules),
            _table(("ladder", "first", "second", "third"), ladders),
        )
    )


def _work(program: Program, task: TaskTemplate) -> tuple[str, ...]:
    begins = {
        "enrolment": "with the plan",
        "intake": "with a candidate",
        "rule": "when a rule below asks",
        "cadence": f"every {task.every}",
    }[task.on]
    due = (
        f"{task.due.within} after {'it begins' if task.due.anchor == 'created' else task.due.anchor}"
        if task.due
        else "-"
    )
    return task.title, task.role, begins, due, _closing(program, task)


def _closing(program: Program, task: TaskTemplate) -> str:
    if task.done_by is None:
        return "by hand"
    match = task.done_by.match
    document = next((one.title for one in program.documents if one.satisfied_by == match), None)
    if document:
        return f"{document} is filed"
    service = next((name for name, codes in program.services.items() if codes == match.codes), "")
    if match.type == "Appointment":
        return f"{service} {'took place' if match.status == ('fulfilled',) else 'is booked'}"
    return "the patient is reached" if match.type == "Communication" else describe_match(match)


def _acts(program: Program, actions: Iterable[Action]) -> str:
    said = []
    for one in actions:
        task = program.task(one.value) if one.kind == "create_task" else None
        words = {
            "escalate": "climb ladder",
            "notify": "tell",
            "raise_flag": "raise the flag",
            "clear_flag": "end the flag",
        }
        plain = f"{words[one.kind]} {one.value}" if one.kind in words else describe_action(one)
        said.append(f"make the work “{task.title}”" if task else plain)
    return listed(said)


def _levels(ladder: Ladder) -> tuple[str, ...]:
    return tuple(
        f"{one.to}{f' after {one.after}' if one.after else ', at once'}, by {listed(one.notify)}"
        for one in ladder.levels
    )


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
