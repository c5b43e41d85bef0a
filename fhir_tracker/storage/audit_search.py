"""The trail searched as AuditEvents are: the conditions of a query as conditions on its rows, newest first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from string import ascii_uppercase
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, false, func, literal, not_, or_, select, true

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.query import Filter, Query
from fhir_tracker.fhir.query_values import DateValue, ReferenceValue, StringValue, TokenValue, Value
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.model.vocabulary import ROLE_SYSTEM
from fhir_tracker.storage.audit import AuditRow, row_of
from fhir_tracker.storage.audit_tables import audit_block, audit_patient
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.running_tables import audit
from fhir_tracker.storage.scope import row_scope
from fhir_tracker.storage.types import EPOCH


@dataclass(frozen=True, kw_only=True)
class Words:
    """The words of rows that a code stands for; with `others` it stands for all but these.

    `levels` says of a word on which kind of `ref` it counts: `system` (none), `type` or `instance`.
    """

    words: frozenset[str] = frozenset()
    others: bool = False
    levels: Mapping[str, str] = field(default_factory=dict)


Coded = Callable[[str, str | None, str], Words]
"""What a code of `action`, `type`, `subtype`, `outcome`, `site` or `source` (parameter, system, code) means for the rows."""
PARAMETERS = frozenset(
    "_id _lastUpdated action address agent agent-name agent-role altid date entity entity-name entity-role entity-type "
    "outcome patient policy site source subtype type".split()
)
"""What AuditEvents are searched by."""
ASKING = frozenset({"search", "search-type", "search-system", "search-compartment"})
"""The words of rows that tell of a query: what was asked is an entity of theirs."""
PERSON, SYSTEM_OBJECT, REQUEST = "1", "2", "XrequestId"
PATIENT, DATA, JOB, QUERY = "1", "4", "20", "24"
"""The codes of the types and of the roles that entities have."""
_LATE = timedelta(days=1)
"""A row is sealed at most so long after the moment it tells."""
_NEAR = 0.1


@dataclass(frozen=True, kw_only=True)
class TrailPage:
    """Rows in the order asked for; `next` is the row after which the next page begins; `total` where it was counted."""

    rows: tuple[AuditRow, ...]
    next: int | None
    total: int | None


def find(tx: Tx, viewer: Viewer, seq: int) -> AuditRow | None:
    """One row by its number."""
    row = tx.first(select(audit).where(row_scope(viewer, audit), audit.c.seq == seq))
    return row_of(row) if row else None


def page(
    tx: Tx,
    viewer: Viewer,
    query: Query,
    coded: Coded,
    now: datetime,
    *,
    after: int | None = None,
    counted: bool = False,
) -> TrailPage:
    """One page of what a query finds; raises Incorrect for what this search does not know."""
    condition = and_(row_scope(viewer, audit), *(_condition(tx, one, coded, now) for one in query.filters))
    if query.compartment is not None:
        condition = and_(condition, of_patient(tx, query.compartment[1]))
    total = int(tx.value(select(func.count()).select_from(audit).where(condition))) if counted else None
    if query.only_count or query.count == 0:
        return TrailPage(rows=(), next=None, total=total)
    is_rising = bool(query.sort) and not query.sort[0].descending
    chosen = select(audit).where(condition)
    if after is not None:
        chosen = chosen.where(audit.c.seq > after if is_rising else audit.c.seq < after)
    return _page(tx, chosen, query.count, total, is_rising=is_rising)


def _page(tx: Tx, chosen: Select[Any], count: int, total: int | None, *, is_rising: bool) -> TrailPage:
    order = audit.c.seq.asc() if is_rising else audit.c.seq.desc()
    found = [row_of(row) for row in tx.rows(chosen.order_by(order).limit(count + 1))]
    rows = found[:count]
    end = rows[-1].seq if len(found) > count else None
    rows.sort(key=lambda one: (one.at, one.seq), reverse=not is_rising)
    return TrailPage(rows=tuple(rows), next=end, total=total)


def of_patient(tx: Tx, *patients: str) -> ColumnElement[bool]:
    """Rows about a patient, by any of these ids: one read or changed, or one among those a search or a list returned."""
    last = int(tx.value(select(func.coalesce(func.max(audit_block.c.last_seq), 0))))
    returned = select(audit_patient.c.seq).where(audit_patient.c.patient.in_(patients))
    named = or_(*(audit.c.patients.contains(f'"{one}"', autoescape=True) for one in patients))
    return or_(audit.c.patient.in_(patients), audit.c.seq.in_(returned), and_(audit.c.seq > last, named))


def since(tx: Tx, low: datetime | None, high: datetime | None) -> ColumnElement[bool]:
    """Rows of the moments from `low` to before `high`; by the blocks few others are looked at."""
    parts: list[ColumnElement[bool]] = []
    if low is not None:
        first = select(func.min(audit_block.c.first_seq)).where(audit_block.c.last_at >= low)
        newer = select(func.max(audit_block.c.last_seq) + 1)
        start = tx.value(first)
        parts += [audit.c.at >= low, audit.c.seq >= int(start if start is not None else tx.value(newer) or 0)]
    if high is not None:
        parts.append(audit.c.at < high)
        newest = tx.value(select(audit_block.c.first_at).order_by(audit_block.c.number.desc()).limit(1))
        if newest is not None and high + _LATE < newest:
            end = tx.value(select(func.max(audit_block.c.last_seq)).where(audit_block.c.first_at < high + _LATE))
            parts.append(audit.c.seq <= int(end or 0))
    return and_(true(), *parts)


def _condition(tx: Tx, asked: Filter, coded: Coded, now: datetime) -> ColumnElement[bool]:
    if asked.links:
        raise Incorrect("AuditEvents are searched without chains.", expression=asked.param)
    if asked.missing is not None:
        return _missing(asked)
    found = or_(false(), *(_value(tx, asked, one, coded, now) for one in asked.values))
    return not_(func.coalesce(found, false())) if asked.modifier == "not" else found


def _missing(asked: Filter) -> ColumnElement[bool]:
    held = _HELD.get(asked.param)
    if held is None:
        raise Incorrect(f"{asked.param}:missing cannot be asked of AuditEvents here.", expression=asked.param)
    return not_(held) if asked.missing else held


_SOME_PATIENT = or_(func.coalesce(audit.c.patient, "") != "", audit.c.patients.is_not(None))
_IS_QUERY = audit.c.action.in_(sorted(ASKING))
_NAMES_DATA = and_(not_(_IS_QUERY), audit.c.ref != "")
_IS_DATA = func.substr(audit.c.ref, 1, 1).in_(list(ascii_uppercase))
_ENTITIES: Mapping[str, Mapping[str, ColumnElement[bool]]] = {
    "entity-type": {
        PERSON: _SOME_PATIENT,
        SYSTEM_OBJECT: or_(_IS_QUERY, audit.c.ref != ""),
        REQUEST: audit.c.request_id != "",
    },
    "entity-role": {
        PATIENT: _SOME_PATIENT,
        DATA: and_(_NAMES_DATA, _IS_DATA),
        JOB: and_(_NAMES_DATA, not_(_IS_DATA)),
        QUERY: _IS_QUERY,
    },
}
"""Parameter and code -> the rows that are told with an entity of it."""
_HAS_ENTITY = or_(*_ENTITIES["entity-type"].values())
_HELD: Mapping[str, ColumnElement[bool]] = {
    "patient": _SOME_PATIENT,
    "agent": true(),
    "agent-role": audit.c.roles != "",
    "entity": or_(_SOME_PATIENT, _NAMES_DATA, audit.c.request_id != ""),
    "entity-name": and_(_NAMES_DATA, not_(_IS_DATA)),
    "entity-role": or_(*_ENTITIES["entity-role"].values()),
    "entity-type": _HAS_ENTITY,
    "policy": false(),
    "site": true(),
    "source": true(),
    "agent-name": audit.c.name != "",
    "address": audit.c.address != "",
    "altid": audit.c.session != "",
    "date": true(),
    "action": true(),
    "type": true(),
    "subtype": true(),
    "outcome": true(),
}


def _value(tx: Tx, asked: Filter, value: Value, coded: Coded, now: datetime) -> ColumnElement[bool]:
    match asked.param, value:
        case (("date" | "_lastUpdated"), DateValue()):
            return _dated(tx, value, now)
        case "_id", TokenValue(code=code):
            return audit.c.seq == int(code) if code and code.isdecimal() and len(code) < 19 else false()
        case (("action" | "type" | "subtype" | "outcome"), TokenValue(system=system, code=code)):
            return _by_words(asked.param, coded(asked.param, system, code)) if code else true()
        case "altid", TokenValue(code=code):
            return and_(audit.c.session == code, audit.c.session != "")
        case "agent-role", TokenValue(system=system, code=code) if system in (None, ROLE_SYSTEM):
            return (
                _HELD["agent-role"]
                if not code
                else (literal(" ") + audit.c.roles + " ").contains(f" {code} ", autoescape=True)
            )
        case (("entity-role" | "entity-type"), TokenValue(system=system, code=code)):
            return _by_entity(asked.param, system, code)
        case (("site" | "source"), TokenValue(system=system, code=code)):
            return _by_words(asked.param, coded(asked.param, system, code)) if code else false()
        case (("agent" | "entity"), TokenValue(system=system, code=code)):
            return _identified(asked.param, system, code)
        case (("patient" | "agent" | "entity"), ReferenceValue(targets=targets)):
            return or_(false(), *(_referring(tx, asked.param, one) for one in targets))
        case (("agent-name" | "address" | "entity-name"), StringValue()):
            return _text(asked.param, value, asked.modifier)
        case (("agent-role" | "policy" | "source"), _):
            return false()
    raise Incorrect(f"{asked.param} is not searched in AuditEvents here.", expression=asked.param)


_LEVELS: Mapping[str, ColumnElement[bool]] = {
    "system": audit.c.ref == "",
    "type": and_(audit.c.ref != "", audit.c.ref.not_like("%/%")),
    "any-type": audit.c.ref != "",
    "instance": audit.c.ref.like("%/%"),
}


def _by_words(param: str, meant: Words) -> ColumnElement[bool]:
    if param in ("site", "source"):
        return true() if meant.others else false()
    column = audit.c.outcome if param == "outcome" else audit.c.action
    plain = sorted(meant.words - meant.levels.keys())
    found = column.not_in(plain) if meant.others else column.in_(plain)
    leveled = [and_(column == word, _LEVELS[level]) for word, level in sorted(meant.levels.items())]
    return or_(found, *leveled)


def _referring(tx: Tx, param: str, target: str) -> ColumnElement[bool]:
    type_, _, id_ = target.partition("/")
    if param == "agent":
        by_client = audit.c.client == id_ if type_ == "Device" else false()
        return or_(audit.c.who == target, by_client)
    about = of_patient(tx, id_) if type_ == "Patient" else false()
    return about if param == "patient" else or_(audit.c.ref == target, about)


SYSTEMS: Mapping[str, Mapping[str, str]] = {
    "entity-type": {
        PERSON: "http://terminology.hl7.org/CodeSystem/audit-entity-type",
        SYSTEM_OBJECT: "http://terminology.hl7.org/CodeSystem/audit-entity-type",
        REQUEST: "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType",
    },
    "entity-role": dict.fromkeys((PATIENT, DATA, JOB, QUERY), "http://terminology.hl7.org/CodeSystem/object-role"),
}
"""Parameter and code -> the system it is of."""


def _by_entity(param: str, system: str | None, code: str | None) -> ColumnElement[bool]:
    known = SYSTEMS[param]
    codes = [one for one in known if code in (None, one) and system in (None, known[one])]
    return or_(false(), *(_ENTITIES[param][one] for one in codes))


def _identified(param: str, system: str | None, code: str | None) -> ColumnElement[bool]:
    """By the identifiers that events tell: of who acted and of the client, of a request, and of what is no resource."""
    if param == "agent":
        of_issuer = true() if system is None else audit.c.issuer == system
        by_client = audit.c.client == code if not system else false()
        return or_(and_(audit.c.who == code, of_issuer), by_client) if code else and_(of_issuer, audit.c.issuer != "")
    if system or not code:
        return false()
    return or_(audit.c.request_id == code, and_(_NAMES_DATA, not_(_IS_DATA), audit.c.ref == code))


def _text(param: str, value: StringValue, modifier: str | None) -> ColumnElement[bool]:
    column = {"agent-name": audit.c.name, "address": audit.c.address, "entity-name": audit.c.ref}[param]
    there = _HELD[param]
    if modifier == "exact":
        return and_(there, column == value.text)
    folded, asked = func.lower(column), value.text.lower()
    if modifier == "contains":
        return and_(there, folded.contains(asked, autoescape=True))
    return and_(there, folded.startswith(asked, autoescape=True))


def _dated(tx: Tx, value: DateValue, now: datetime) -> ColumnElement[bool]:
    low, high = _moment(value.low), _moment(value.high)
    match value.prefix:
        case "eq":
            return since(tx, low, high)
        case "ne":
            return or_(audit.c.at < low, audit.c.at >= high)
        case "ge":
            return since(tx, low, None)
        case "gt" | "sa":
            return since(tx, high, None)
        case "le":
            return since(tx, None, high)
        case "lt" | "eb":
            return since(tx, None, low)
    around = abs(now - low) * _NEAR
    return since(tx, low - around, high + around)


def _moment(milliseconds: int) -> datetime:
    try:
        return EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return (
            datetime.max.replace(tzinfo=EPOCH.tzinfo) if milliseconds > 0 else datetime.min.replace(tzinfo=EPOCH.tzinfo)
        )


def rows_between(
    tx: Tx, viewer: Viewer, low: datetime | None, high: datetime | None, patients: Sequence[str], after: int, limit: int
) -> Sequence[AuditRow]:
    """Rows of a time, of one patient (by any of these ids) or all, oldest first, from the row after `after` on."""
    condition = and_(row_scope(viewer, audit), since(tx, low, high), audit.c.seq > after)
    if patients:
        condition = and_(condition, of_patient(tx, *patients))
    return [row_of(row) for row in tx.rows(select(audit).where(condition).order_by(audit.c.seq).limit(limit))]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What people ask of the trail: all that is set must hold; `who` a reference or the beginning of a name.

    `patients` are the ids of one patient, who has several where records were merged.
    """

    patients: tuple[str, ...] = ()
    who: str | None = None
    action: str | None = None
    outcome: str | None = None
    low: datetime | None = None
    high: datetime | None = None
    before: int | None = None


def listed(tx: Tx, viewer: Viewer, wanted: Wanted, limit: int) -> list[AuditRow]:
    """The latest rows that are wanted, newest first."""
    parts = [row_scope(viewer, audit), since(tx, wanted.low, wanted.high)]
    if wanted.patients:
        parts.append(of_patient(tx, *wanted.patients))
    if wanted.who is not None:
        folded = func.lower(audit.c.name)
        parts.append(or_(audit.c.who == wanted.who, folded.startswith(wanted.who.lower(), autoescape=True)))
    parts += [
        audit.c[name] == value for name, value in (("action", wanted.action), ("outcome", wanted.outcome)) if value
    ]
    if wanted.before is not None:
        parts.append(audit.c.seq < wanted.before)
    return [row_of(row) for row in tx.rows(select(audit).where(*parts).order_by(audit.c.seq.desc()).limit(limit))]
