"""What a reaction of the tracker looks like through its FHIR API: comparisons of one patient's work before and now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from api.demo.ehr import FhirApi
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import at, objects_at
from fhir_tracker.model.vocabulary import CLOSED_TASK, ESCALATION, program_named


@dataclass(frozen=True, kw_only=True)
class Work:
    """One patient's Tasks and CarePlans as the tracker's FHIR API gives them, by id, and the patient's page."""

    tasks: dict[str, Resource]
    plans: dict[str, Resource]
    page: str = ""


Expectation = Callable[[Work, Work], str | None]
"""What is seen in words, from the work before the step and the work now; None as long as it is not there."""


def work_of(tracker: FhirApi, patient: str, page: str) -> Work:
    """The work about the tracker's `Patient/<id>` now, with their page as staff sees it."""
    tasks = tracker.search("Task", patient=patient, _count="200")
    plans = tracker.search("CarePlan", patient=patient, _count="200")
    return Work(tasks={one["id"]: one for one in tasks}, plans={one["id"]: one for one in plans}, page=page)


def new_task(code: str) -> Expectation:
    """Open work of that code that was not there before, with a role or owner."""

    def look(before: Work, now: Work) -> str | None:
        for task in now.tasks.values():
            if task["id"] not in before.tasks and _code(task) == code and _is_open(task):
                return f"{_title(task)}, for {_whose(task)}"
        return None

    return look


def new_task_due(code: str) -> Expectation:
    """As `new_task`, and with a due time."""

    def look(before: Work, now: Work) -> str | None:
        for task in now.tasks.values():
            due = at(task, "restriction", "period", "end")
            if task["id"] not in before.tasks and _code(task) == code and isinstance(due, str):
                return f"{_title(task)}, for {_whose(task)}, due {due[:16].replace('T', ' ')} UTC"
        return None

    return look


def on_page(text: str) -> Expectation:
    """The patient's page says `text` more often than before."""

    def look(before: Work, now: Work) -> str | None:
        return text if now.page.count(text) > before.page.count(text) else None

    return look


def new_plan(program: str) -> Expectation:
    """A plan of that program that was not there before."""

    def look(before: Work, now: Work) -> str | None:
        for plan in now.plans.values():
            named = [program_named(text) for text in plan.get("instantiatesCanonical", [])]
            if plan["id"] not in before.plans and any(one is not None and one[0] == program for one in named):
                return str(plan.get("title") or program)
        return None

    return look


def closed_by_itself(code: str) -> Expectation:
    """Work of that code that was open before and is completed now."""

    def look(before: Work, now: Work) -> str | None:
        for ref, task in before.tasks.items():
            if _code(task) == code and _is_open(task) and now.tasks.get(ref, {}).get("status") == "completed":
                return _title(task)
        return None

    return look


def escalated(level: int, role: str) -> Expectation:
    """An escalation of that level, sent to that role, that was not there before."""

    def look(before: Work, now: Work) -> str | None:
        for task in now.tasks.values():
            if task["id"] in before.tasks or _code(task) != ESCALATION or _whose(task) != role:
                continue
            if level in [one.get("valuePositiveInt") for one in objects_at(task, "input")]:
                return str(at(task, "reasonCode", "text") or _title(task))
        return None

    return look


def _code(task: Resource) -> str | None:
    codes = [coding.get("code") for coding in objects_at(task, "code", "coding")]
    return codes[0] if codes else None


def _is_open(task: Resource) -> bool:
    return task.get("status") not in CLOSED_TASK


def _title(task: Resource) -> str:
    return str(at(task, "code", "text") or _code(task) or "work")


def _whose(task: Resource) -> str:
    codes = [c.get("code") for kind in objects_at(task, "performerType") for c in objects_at(kind, "coding")]
    owner = at(task, "owner", "display") or at(task, "owner", "reference")
    return str(owner or (codes[0] if codes else "nobody"))
