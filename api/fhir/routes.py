"""The table of routes: address templates and methods to handlers; a template without `{type}` is one of the whole system.

https://hl7.org/fhir/R4/http.html#summary
"""

from __future__ import annotations

from api.fhir import (
    applying,
    bundling,
    caring,
    glass,
    history,
    measuring,
    moving,
    patching,
    reading,
    searching,
    validating,
    writing,
)
from api.fhir.actions import Action, Route
from api.fhir.capability import Statement
from api.fhir.exchange import FhirRequest, FhirResponse
from api.fhir.needs import ANYTHING, EACH_PART, HERE, MEMBER, OPEN, Needs, of_type
from fhir_tracker import own_operations
from fhir_tracker.errors import NotFound, UnknownType
from fhir_tracker.fhir.definitions.registry import resource_types
from fhir_tracker.storage.database import Tx


def _process(request: FhirRequest) -> FhirResponse:
    return bundling.process(request, find_route)


def _metadata(request: FhirRequest, tx: Tx | None = None) -> FhirResponse:
    return STATEMENT.answer(request)


_SEARCH_ALL = Action(handle=searching.search_all, interaction="search-system", needs=of_type("s", ANYTHING))
_SEARCH_COMPARTMENT = Action(
    handle=searching.search_compartment, interaction="search-compartment", needs=of_type("s", MEMBER)
)
_SEARCH = Action(handle=searching.search, interaction="search-type", needs=of_type("s"), quick=True)
_VALIDATE = Action(
    handle=validating.validate_here,
    interaction="operation",
    needs=of_type("rcu"),
    operation=own_operations.VALIDATE,
    own_transactions=validating.validate,
)
_APPLY_PLAN = Action(
    handle=applying.apply_plan,
    interaction="operation",
    needs=of_type("r", "PlanDefinition", ("r", "Patient")),
    operation=own_operations.APPLY_PLAN,
)
_APPLY_ACTIVITY = Action(
    handle=applying.apply_activity,
    interaction="operation",
    needs=of_type("r", "ActivityDefinition", ("r", "Patient")),
    operation=own_operations.APPLY_ACTIVITY,
)
_INSTANTIATE = Action(
    handle=applying.instantiate,
    interaction="operation",
    needs=of_type("r", "PlanDefinition", ("c", "CarePlan"), ("c", "Task")),
    operation=own_operations.INSTANTIATE,
    writes=True,
)
_EVALUATE = Action(
    handle=measuring.evaluate_here,
    interaction="operation",
    needs=of_type("r", "Measure", ("r", "MeasureReport")),
    operation=own_operations.EVALUATE,
    own_transactions=measuring.evaluate,
)
_OUTREACH = Action(
    handle=caring.outreach,
    interaction="operation",
    needs=of_type("r", "Task", ("r", "Communication")),
    operation=own_operations.OUTREACH,
)
_EVIDENCE = Action(
    handle=caring.evidence_of_month,
    interaction="operation",
    needs=of_type("r", "Patient", ("r", "Communication"), ("r", "ChargeItem")),
    operation=own_operations.EVIDENCE,
)
_MOVE = Action(
    handle=moving.move_here,
    interaction="operation",
    needs=of_type("u", "Task"),
    operation=own_operations.MOVE,
    own_transactions=moving.move,
)
_TASK_OPTIONS = Action(
    handle=moving.options_of_task,
    interaction="operation",
    needs=of_type("r", "Task"),
    operation=own_operations.TASK_OPTIONS,
)
_PLAN_OPTIONS = Action(
    handle=moving.options_of_plan,
    interaction="operation",
    needs=of_type("r", "CarePlan"),
    operation=own_operations.PLAN_OPTIONS,
)
_UNDO_TASK = Action(
    handle=moving.undo_task,
    interaction="operation",
    needs=of_type("u", "Task"),
    operation=own_operations.UNDO_TASK,
    writes=True,
)
_UNDO_PLAN = Action(
    handle=moving.undo_plan,
    interaction="operation",
    needs=of_type("u", "CarePlan"),
    operation=own_operations.UNDO_PLAN,
    writes=True,
)
_BREAK_GLASS = Action(
    handle=glass.break_glass,
    interaction="operation",
    needs=Needs(rights=(("r", "Patient"),), acts=frozenset({"break-glass"})),
    operation=own_operations.BREAK_GLASS,
    writes=True,
)
ROUTES: tuple[Route, ...] = (
    Route(
        template=(),
        actions={
            "GET": _SEARCH_ALL,
            "POST": Action(
                handle=bundling.nested, interaction="transaction", needs=EACH_PART, own_transactions=_process
            ),
        },
    ),
    Route(template=("_search",), actions={"POST": _SEARCH_ALL}),
    Route(
        template=("metadata",),
        actions={"GET": Action(handle=_metadata, interaction="capabilities", needs=OPEN, own_transactions=_metadata)},
    ),
    Route(
        template=("_history",),
        actions={
            "GET": Action(handle=history.history_of_all, interaction="history-system", needs=of_type("s", ANYTHING))
        },
    ),
    Route(template=("{type}", "_search"), actions={"POST": _SEARCH}),
    Route(template=("{type}", "$validate"), actions={"POST": _VALIDATE}),
    Route(template=("{type}", "{id}", "$validate"), actions={"GET": _VALIDATE, "POST": _VALIDATE}),
    Route(template=("Task", "$move"), actions={"POST": _MOVE}),
    Route(template=("Task", "{id}", "$options"), actions={"GET": _TASK_OPTIONS}),
    Route(template=("Task", "{id}", "$undo"), actions={"POST": _UNDO_TASK}),
    Route(template=("CarePlan", "{id}", "$options"), actions={"GET": _PLAN_OPTIONS}),
    Route(template=("CarePlan", "{id}", "$undo"), actions={"POST": _UNDO_PLAN}),
    Route(template=("PlanDefinition", "$apply"), actions={"POST": _APPLY_PLAN}),
    Route(template=("PlanDefinition", "{id}", "$apply"), actions={"GET": _APPLY_PLAN, "POST": _APPLY_PLAN}),
    Route(template=("PlanDefinition", "{id}", "$instantiate"), actions={"POST": _INSTANTIATE}),
    Route(template=("Task", "{id}", "$outreach"), actions={"GET": _OUTREACH}),
    Route(template=("Patient", "{id}", "$break-glass"), actions={"POST": _BREAK_GLASS}),
    Route(template=("Patient", "{id}", "$evidence"), actions={"GET": _EVIDENCE}),
    Route(template=("ActivityDefinition", "$apply"), actions={"POST": _APPLY_ACTIVITY}),
    Route(template=("ActivityDefinition", "{id}", "$apply"), actions={"GET": _APPLY_ACTIVITY, "POST": _APPLY_ACTIVITY}),
    Route(template=("Measure", "$evaluate-measure"), actions={"GET": _EVALUATE, "POST": _EVALUATE}),
    Route(template=("Measure", "{id}", "$evaluate-measure"), actions={"GET": _EVALUATE, "POST": _EVALUATE}),
    Route(
        template=("{type}", "_history"),
        actions={"GET": Action(handle=history.history_of_type, interaction="history-type", needs=of_type("s"))},
    ),
    Route(
        template=("{type}",),
        actions={
            "GET": _SEARCH,
            "POST": Action(handle=writing.create, interaction="create", needs=of_type("c"), writes=True),
            "PUT": Action(
                handle=writing.update_by_condition,
                interaction="update",
                needs=of_type("u", HERE, ("s", HERE)),
                writes=True,
            ),
            "PATCH": Action(
                handle=patching.patch_by_condition,
                interaction="patch",
                needs=of_type("u", HERE, ("s", HERE), ("r", HERE)),
                writes=True,
            ),
            "DELETE": Action(
                handle=writing.delete_by_condition,
                interaction="delete",
                needs=of_type("d", HERE, ("s", HERE)),
                writes=True,
            ),
        },
    ),
    Route(
        template=("{type}", "{id}"),
        actions={
            "GET": Action(handle=reading.read, interaction="read", needs=of_type("r"), quick=True),
            "PUT": Action(handle=writing.update, interaction="update", needs=of_type("u"), writes=True),
            "PATCH": Action(
                handle=patching.patch, interaction="patch", needs=of_type("u", HERE, ("r", HERE)), writes=True
            ),
            "DELETE": Action(handle=writing.delete, interaction="delete", needs=of_type("d"), writes=True),
        },
    ),
    Route(
        template=("{type}", "{id}", "_history"),
        actions={"GET": Action(handle=history.history_of_one, interaction="history-instance", needs=of_type("r"))},
    ),
    Route(
        template=("{type}", "{id}", "_history", "{version}"),
        actions={"GET": Action(handle=reading.read_version, interaction="vread", needs=of_type("r"))},
    ),
    Route(template=("{type}", "{id}", "{member}"), actions={"GET": _SEARCH_COMPARTMENT}),
    Route(template=("{type}", "{id}", "{member}", "_search"), actions={"POST": _SEARCH_COMPARTMENT}),
)

STATEMENT = Statement(ROUTES)
_Places = tuple[tuple[int, str], ...]
_Form = tuple[Route, _Places, _Places]
"""A route, the places of its address that are fixed with their texts, and the others with their names."""


def _form(route: Route) -> _Form:
    places = tuple(enumerate(route.template))
    named = tuple((at, part.strip("{}")) for at, part in places if part.startswith("{"))
    return route, tuple((at, part) for at, part in places if not part.startswith("{")), named


def _by_end() -> dict[tuple[int, str], tuple[_Form, ...]]:
    """Length and last part of a path -> what it can be of, in the order of the table; "" for every other last part."""
    ends = {(len(one.template), one.template[-1]) for one in ROUTES if one.template and one.template[-1][0] != "{"}
    lengths = {(len(one.template), "") for one in ROUTES}
    return {
        (length, end): tuple(
            _form(one)
            for one in ROUTES
            if len(one.template) == length
            and (not one.template or one.template[-1][0] == "{" or one.template[-1] == end)
        )
        for length, end in ends | lengths
    }


_BY_END = _by_end()


def find_route(path: tuple[str, ...]) -> tuple[Route, dict[str, str]]:
    """The route of a path and its parts by name; raises UnknownType or NotFound when there is none."""
    length, end = len(path), path[-1] if path else ""
    for route, fixed, named in _BY_END.get((length, end)) or _BY_END.get((length, ""), ()):
        parts = _match(path, fixed, named)
        member = parts.pop("member", None) if parts is not None else None
        if parts is not None and (member is None or searching.is_in_compartment(parts["type"], member)):
            if "type" in parts and parts["type"] not in resource_types():
                raise UnknownType("This is not a resource type of FHIR R4.")
            return route, parts
    if path and path[-1].startswith("$"):
        raise NotFound("There is no such operation here; see metadata for what there is.")
    if path and path[0] in resource_types():
        raise NotFound("There is nothing at this address; a resource is at Type/id.")
    raise NotFound("There is nothing at this address; see metadata for what there is.")


def _match(path: tuple[str, ...], fixed: _Places, named: _Places) -> dict[str, str] | None:
    for at, text in fixed:
        if path[at] != text:
            return None
    parts = {}
    for at, name in named:
        if path[at].startswith("$"):
            return None
        parts[name] = path[at]
    return parts
