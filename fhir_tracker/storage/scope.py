"""Who may see a row: the one function that turns a viewer into a condition on a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    and_,
    exists,
    false,
    literal,
    literal_column,
    not_,
    or_,
    select,
    true,
)
from sqlalchemy.dialects import postgresql, sqlite

from fhir_tracker.fhir.definitions.registry import resource_types
from fhir_tracker.model.grants import ANY
from fhir_tracker.model.sight import Sight, Way
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage.database import Dialect
from fhir_tracker.storage.role_tables import restricted_patient, restricted_record
from fhir_tracker.storage.scope_filters import able, needed
from fhir_tracker.storage.scope_rows import Told, one_of, told_by
from fhir_tracker.storage.tables import resource
from fhir_tracker.storage.work_tables import work_item

SHARED = frozenset(
    "Practitioner PractitionerRole Organization OrganizationAffiliation Location HealthcareService Endpoint Medication"
    " ActivityDefinition PlanDefinition Questionnaire Measure Library CodeSystem ValueSet ConceptMap NamingSystem"
    " StructureDefinition SearchParameter OperationDefinition CapabilityStatement CompartmentDefinition".split()
)
"""What belongs to no patient and is part of every compartment: who and where care is given, and definitions."""
WORK = ("Task", "CarePlan")
_TRAIL = ("AuditEvent",)
"""Who may read the trail reads who looked at anybody."""
_DIALECTS = {
    "sqlite": sqlite.dialect(paramstyle="format"),
    "postgresql": postgresql.dialect(paramstyle="format"),  # type: ignore[no-untyped-call]
}
_inner = work_item.alias("seen_work")
_plan = work_item.alias("plan_of_inside")


def row_scope(viewer: Viewer, table: FromClause, *, right: str = "r", types: Sequence[str] = ()) -> ColumnElement[bool]:
    """The condition under which `viewer` sees a row of `table` (or an alias of it) by a right: `r` to read, `s` to search.

    `types` are those that the statement is restricted to anyway, which makes the condition shorter. Rows of
    `resource_version` must be joined to `resource`, which has a condition of its own.
    A viewer locked to a patient sees only rows of that patient and what is SHARED, and none of a table without patients.
    """
    if viewer.patient is None and viewer.sight.is_whole(right):
        return true()
    return _condition(table, viewer.sight, viewer.patient, viewer.opened, right, tuple(types))


def confined_to(viewer: Viewer, right: str, types: Sequence[str]) -> str | None:
    """The patient whose records are all that is seen of these types, so that they are looked for among those; else None."""
    if viewer.patient is None and viewer.sight.is_whole(right):
        return None
    ways = {way.patient or viewer.patient for type_ in types for way in viewer.sight.ways(right, type_)}
    return ways.pop() if len(ways) == 1 and not SHARED.intersection(types) else None


def led_by(viewer: Viewer, right: str, types: Sequence[str]) -> tuple[int, ...]:
    """Keys of the index of which every resource of these types that is seen has one; none where not all have such."""
    if viewer.sight.is_whole(right):
        return ()
    keys: set[int] = set()
    for ways in {viewer.sight.ways(right, type_) for type_ in types} - {()}:
        for way in ways:
            wanted = needed(types, way.filters) if way.filters else None
            best = min((one.keys for one in wanted or () if not one.ids), key=len, default=frozenset[int]())
            if not best:
                return ()
            keys |= best
    return tuple(sorted(keys))


def row_scope_text(
    viewer: Viewer,
    alias: str,
    dialect: Dialect,
    *,
    table: FromClause = resource,
    right: str = "r",
    types: Sequence[str] = (),
) -> tuple[str, tuple[str, ...]]:
    """The same for a statement kept as text, over `table` under this alias: what to add to its WHERE, and the values."""
    if viewer.patient is None and viewer.sight.is_whole(right):
        return "", ()
    return _text(table, alias, dialect, viewer.sight, viewer.patient, viewer.opened, right, tuple(types))


@lru_cache(maxsize=4096)
def _text(
    table: FromClause,
    alias: str,
    dialect: Dialect,
    sight: Sight,
    lock: str | None,
    opened: frozenset[str],
    right: str,
    types: tuple[str, ...],
) -> tuple[str, tuple[str, ...]]:
    named = table if getattr(table, "name", "") == alias else table.alias(alias)
    condition = _condition(named, sight, lock, opened, right, types)
    if condition.compare(true()):
        return "", ()
    whole: Select[Any] = select(literal_column("1")).select_from(named).where(condition)
    made = whole.compile(dialect=_DIALECTS[dialect], compile_kwargs={"render_postcompile": True})
    text = str(made).split("WHERE", 1)[1]
    return f" AND ({text})", tuple(str(made.params[name]) for name in made.positiontup or ())


@lru_cache(maxsize=4096)
def _condition(
    table: FromClause, sight: Sight, lock: str | None, opened: frozenset[str], right: str, types: tuple[str, ...]
) -> ColumnElement[bool]:
    row = told_by(table)
    groups = _groups(sight, right, types or row.types)
    ways = [
        and_(row.is_of(some, rest) if is_part else true(), _reached(row, led, some, lock))
        for led, some, rest, is_part in groups
    ]
    seen = or_(*ways) if ways else false()
    if not sight.sees_restricted and row.types != _TRAIL:
        seen = and_(seen, *_unrestricted(row, opened))
    if not sight.is_bounded or row.current is not None:
        return seen
    inside = _inside(row, sight, types or row.types)
    is_open = (
        row.patient.in_([literal(one) for one in sorted(opened)]) if opened and row.patient is not None else false()
    )
    return and_(seen, or_(inside, is_open))


_Group = tuple[tuple[Way, ...], tuple[str, ...], tuple[str, ...], bool]


def _groups(sight: Sight, right: str, types: tuple[str, ...]) -> list[_Group]:
    """Types that are reached in the same ways: the ways, the types, those it is all but (else none), whether there are others."""
    if types:
        by_ways: dict[tuple[Way, ...], list[str]] = {}
        for type_ in types:
            by_ways.setdefault(sight.ways(right, type_), []).append(type_)
        is_part = len(by_ways) > 1
        return [(ways, tuple(some), (), is_part) for ways, some in by_ways.items() if ways]
    named = {type_: ways for type_, ways in sight.named(right).items() if type_ != ANY}
    groups: list[_Group] = [
        (ways, tuple(one for one in sorted(named) if named[one] == ways), (), True)
        for ways in dict.fromkeys(named.values())
        if ways
    ]
    others = sight.named(right).get(ANY, ())
    if others:
        rest = tuple(sorted(named))
        groups.append((others, tuple(sorted(resource_types() - named.keys())), rest, bool(rest)))
    return groups


def _reached(row: Told, ways: tuple[Way, ...], types: tuple[str, ...], lock: str | None) -> ColumnElement[bool]:
    reached = [_by_way(row, way, types, lock) for way in ways]
    return or_(*(one for one in reached if one is not None)) if any(one is not None for one in reached) else false()


def _by_way(row: Told, way: Way, types: tuple[str, ...], lock: str | None) -> ColumnElement[bool] | None:
    """None where it leads nowhere."""
    if None not in (way.patient, lock) and way.patient != lock:
        return None
    patient = way.patient or lock
    conditions = [] if patient is None else [_of_patient(row, patient, types)]
    if way.filters:
        wanted = needed(types, way.filters)
        if wanted is None:
            return None
        conditions.append(row.has(able(types, way.filters), wanted))
    return and_(true(), *conditions)


def _of_patient(row: Told, patient: str, types: tuple[str, ...]) -> ColumnElement[bool]:
    """In the compartment, or one of what is SHARED and has no patient."""
    column = row.patient
    if column is None:
        return false()
    own = column == patient
    shared = tuple(one for one in types if one in SHARED)
    if not shared:
        return own
    nobodys = column.is_(None)
    return or_(own, nobodys if len(shared) == len(types) else and_(nobodys, row.is_of(shared, ())))


def _unrestricted(row: Told, opened: frozenset[str]) -> Iterator[ColumnElement[bool]]:
    """Of nobody or of a patient who is not restricted, and no restricted record; or of one for whom the glass is broken."""
    texts = [literal(one) for one in sorted(opened)]
    is_open = row.patient.in_(texts) if texts and row.patient is not None else false()
    if row.patient is not None:
        others = restricted_patient.c.patient.not_in(texts) if texts else true()
        yield not_(exists().where(restricted_patient.c.patient == row.patient, others).correlate(row.table))
    if row.ref is not None and row.current is None:
        shut = exists().where(restricted_record.c.ref == row.ref).correlate(row.table)
        yield or_(is_open, not_(shut))
    if row.restricted is not None:
        yield or_(is_open, not_(row.restricted))


def inside(sight: Sight, work: FromClause) -> list[ColumnElement[bool]]:
    """The rows of `work`, the table of work, that are of the programs and places of a sight: by their own, or where they name
    none, as escalations and what a program makes, by that of the plan of the same patient.
    """
    limits = (("program", sight.programs), ("site", sight.locations))
    return [_own_or_the_plans(work, name, values) for name, values in limits if values is not None]


def own(sight: Sight, work: FromClause) -> list[ColumnElement[bool]]:
    """Each limit of a sight for itself, as rows of `work` meet it that name their own program or place."""
    limits = (("program", sight.programs), ("site", sight.locations))
    return [one_of(work.c[name], values) for name, values in limits if values is not None]


def _own_or_the_plans(work: FromClause, name: str, values: frozenset[str]) -> ColumnElement[bool]:
    its_plan = (_plan.c.ref == work.c.plan, _plan.c.patient == work.c.patient)
    of_plan = exists().where(*its_plan, one_of(_plan.c[name], values)).correlate(work)
    return or_(one_of(work.c[name], values), and_(work.c[name].is_(None), of_plan))


def _inside(row: Told, sight: Sight, types: tuple[str, ...]) -> ColumnElement[bool]:
    """Work of the programs and places of the sight, and the other records of the patients who have some."""
    limits = inside(sight, _inner)
    work = tuple(one for one in types if one in WORK) if types else WORK
    is_own = exists().where(_inner.c.ref == row.ref, *limits).correlate(row.table) if row.ref is not None else false()
    if row.patient is None:
        return false() if row.has_patients else true()
    somebodys = exists().where(_inner.c.patient == row.patient, *limits).correlate(row.table)
    other = or_(row.patient.is_(None), somebodys) if row.is_certain else somebodys
    if types and len(work) == len(types):
        return is_own
    if not work:
        return other
    return or_(and_(row.is_of(work, ()), is_own), and_(row.is_of((), work), other))
