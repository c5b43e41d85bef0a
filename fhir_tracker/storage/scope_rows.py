"""How a row of each table tells whose it is: the type and id of the resource that it is, or is about, and the patient."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, FromClause, and_, exists, false, func, literal, literal_column, not_, or_, true

from fhir_tracker.errors import Fault
from fhir_tracker.fhir.definitions.registry import resource_types
from fhir_tracker.storage.scope_filters import Needed
from fhir_tracker.storage.tables import ix, resource

_key = ix.alias("seen_key")
_one = resource.alias("seen_one")
Is = Callable[[tuple[str, ...]], ColumnElement[bool]]


@dataclass(frozen=True, kw_only=True)
class Told:
    """`types` are all that rows can be of, none where that is every type. `of` says whether a row is of some types.

    `k` is that of the resource; where there is none, `id_of` gives its id by its type, or nothing when it is not known.
    `ref` is `Type/id`. `has_patients`: rows can be of patients though no column says of whom; `is_certain`: what has no
    patient is nobody's, and not of one whom nobody could find out.
    """

    table: FromClause
    of: Is
    types: tuple[str, ...] = ()
    k: ColumnElement[int] | None = None
    id_of: Callable[[str], ColumnElement[str]] | None = None
    ref: ColumnElement[str] | None = None
    has_patients: bool = True
    is_certain: bool = True
    current: ColumnElement[bool] | None = None

    @property
    def patient(self) -> ColumnElement[str] | None:
        """The column of the patient."""
        return self.table.c.patient if "patient" in self.table.c else None

    @property
    def restricted(self) -> ColumnElement[bool] | None:
        """The column of what is restricted by itself."""
        return self.table.c.restricted if "restricted" in self.table.c else None

    def is_of(self, types: tuple[str, ...], but: tuple[str, ...]) -> ColumnElement[bool]:
        """Whether a row is of one of `types`, or where `but` are given of any but these."""
        return not_(self.of(but)) if but else self.of(types)

    def has(self, types: tuple[str, ...], wanted: Sequence[Needed]) -> ColumnElement[bool]:
        """Whether the index tells of the resource all that is wanted; a version must be the one that the index knows."""
        if self.current is not None:
            return self.current
        if self.k is not None:
            return and_(*(_met(one, self.k, self.table.c.id, self.table) for one in wanted))
        if self.id_of is None:
            return false()
        ways = []
        for type_ in types:
            id_ = self.id_of(type_)
            is_it = [_one.c.type == _named(type_), _one.c.id == id_]
            met = [_met(one, _one.c.k, _one.c.id, _one) for one in wanted]
            ways.append(and_(self.of((type_,)), exists().where(*is_it, *met).correlate(self.table)))
        return or_(*ways) if ways else false()


def _met(one: Needed, k: ColumnElement[int], id_: ColumnElement[str], table: FromClause) -> ColumnElement[bool]:
    ways: list[ColumnElement[bool]] = []
    if one.ids:
        ways.append(one_of(id_, one.ids))
    if one.keys:
        keys: list[ColumnElement[int]] = [literal_column(str(int(key))) for key in sorted(one.keys)]
        ways.append(exists().where(_key.c.h.in_(keys), _key.c.k == k).correlate(table))
    return or_(*ways)


def one_of(column: ColumnElement[str], texts: Collection[str]) -> ColumnElement[bool]:
    """Whether a column holds one of some texts, each a value of its own."""
    return column.in_([literal(one) for one in sorted(texts)]) if texts else false()


def _named(type_: str) -> ColumnElement[str]:
    """The name of a type as it stands in a statement, so that statements of one sight are one text."""
    if type_ not in resource_types():
        raise Fault("A row scope names no resource type.")
    return literal_column(f"'{type_}'")


def told_by(table: FromClause) -> Told:
    """What the rows of a table, or of an alias of it, tell; raises Fault for one that nothing is known of."""
    whole = getattr(table, "element", table)
    name = str(getattr(whole, "name", ""))
    if name not in _TABLES:
        raise Fault(f"No row scope is known of the table {name}.")
    return _TABLES[name](table)


def _by_type(column: ColumnElement[str]) -> Is:
    return lambda types: column.in_([_named(one) for one in types]) if types else false()


def _by_ref(column: ColumnElement[str]) -> Is:
    return lambda types: or_(
        false(), *(func.substr(column, 1, len(one) + 1) == literal_column(f"'{one}/'") for one in types)
    )


def _rest(column: ColumnElement[str]) -> Callable[[str], ColumnElement[str]]:
    """The id at the end of a reference."""
    return lambda type_: func.substr(column, len(type_) + 2)


def _ref(type_: ColumnElement[str], id_: ColumnElement[str]) -> ColumnElement[str]:
    return type_.op("||")(literal_column("'/'")).op("||")(id_)


def _resource(table: FromClause) -> Told:
    row = table.c
    return Told(table=table, of=_by_type(row.type), k=row.k, ref=_ref(row.type, row.id))


def _version(table: FromClause) -> Told:
    """Of the resource that it is joined to; what a filter of a scope says is known of the present version alone."""
    current = table.c.version == resource.c.version
    return Told(table=table, of=_by_type(resource.c.type), ref=_ref(resource.c.type, resource.c.id), current=current)


def _event(table: FromClause) -> Told:
    return Told(table=table, of=_by_type(table.c.type), id_of=_rest(table.c.ref), ref=table.c.ref)


def _outgoing(table: FromClause) -> Told:
    row = table.c
    return Told(table=table, of=_by_type(row.type), id_of=lambda _: row.local_id, ref=_ref(row.type, row.local_id))


def _work(column: str) -> Callable[[FromClause], Told]:
    """Rows of work say by their kind whether they are of a plan."""

    def told(table: FromClause) -> Told:
        ref, is_plan = table.c[column], table.c.kind == literal_column("'plan'")
        each = {"Task": not_(is_plan), "CarePlan": is_plan}
        return Told(
            table=table,
            of=lambda types: or_(false(), *(each[one] for one in types if one in each)),
            types=("Task", "CarePlan"),
            id_of=_rest(ref),
            ref=ref,
        )

    return told


def _about(column: str) -> Callable[[FromClause], Told]:
    """Rows about a piece of work."""

    def told(table: FromClause) -> Told:
        ref = table.c[column]
        return Told(table=table, of=_by_ref(ref), types=("Task", "CarePlan"), id_of=_rest(ref), ref=ref)

    return told


def _only(type_: str, column: str | None = None, *, is_ref: bool = False) -> Callable[[FromClause], Told]:
    """Rows of one type; `column` holds the id, or the reference."""

    def told(table: FromClause) -> Told:
        held = table.c[column] if column else None
        found = None if held is None else (_rest(held) if is_ref else (lambda _: held))
        return Told(
            table=table,
            of=lambda types: true() if type_ in types else false(),
            types=(type_,),
            id_of=found,
            ref=held if is_ref else None,
        )

    return told


_TABLES: dict[str, Callable[[FromClause], Told]] = {
    "resource": _resource,
    "resource_version": _version,
    "change": _resource,
    "event": _event,
    "outbox": _outgoing,
    "work_item": _work("ref"),
    "spell": _work("item"),
    "transition": _about("item"),
    "firing": _about("item"),
    "attempt_log": _about("item"),
    "notification": _about("subject"),
    "enrolment": _only("CarePlan", "plan", is_ref=True),
    "patient_summary": _only("Patient", "patient"),
    "quarantine": lambda table: Told(table=table, of=_by_type(table.c.type), is_certain=False),
    "audit": _only("AuditEvent"),
    "broken_glass": _only("Patient", "patient"),
}
"""Every table whose rows are of patients and that a viewer reads."""
