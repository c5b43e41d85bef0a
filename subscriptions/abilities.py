"""What one server can do and how each type is followed there, remembered with the connection for an hour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from fhir_tracker.errors import RemoteFailure
from fhir_tracker.fhir.dates import instant, parse_datetime
from fhir_tracker.storage import cursors
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.cursors import Cursor
from fhir_tracker.storage.database import Database, Tx
from mappings import Hint, mapping_named
from subscriptions.capabilities import Capabilities, read_capabilities
from subscriptions.following import Follow
from subscriptions.probing import probe_type
from subscriptions.strategies import ACTORS, LAUNCH, NONE, Choice, Facts, choice_from, choose, needs_probe

STATE = "*"
"""Under which name a connection's own state (failures, capabilities, strategies) is kept among its cursors."""
CAPABILITIES_FOR = timedelta(hours=1)
_TELLING = frozenset({"_lastUpdated", "date", *ACTORS})
"""The search parameters that a choice looks at."""
PROBES_FOR = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Abilities:
    """What is remembered of a server; None where its CapabilityStatement could not be read."""

    searchable: frozenset[str] | None
    history: frozenset[str] | None
    exports: frozenset[str] = frozenset()
    choices: Mapping[str, Choice] = field(default_factory=dict)
    skew: timedelta = timedelta()
    address: str = ""


def abilities_of(follow: Follow) -> Abilities | RemoteFailure:
    """What the server can do, from memory within the hour; a server without readable metadata is simply tried."""
    with follow.database.read() as tx:
        detail = dict(state_of(tx, follow.connection.key))
    read_at = detail.get("capabilities_at")
    if read_at and "strategies" in detail and follow.now() - parse_datetime(read_at) < CAPABILITIES_FOR:
        return remembered(detail)
    try:
        found = read_capabilities(follow.client)
    except RemoteFailure as failure:
        if "strategies" in detail and not failure.auth and failure.retry_after is None:
            return remembered(detail)
        return Abilities(searchable=None, history=None) if failure.permanent else failure
    probes = _probes(follow, found, detail)
    types = dict.fromkeys((*follow.connection.types, *follow.mapping.wanted))
    detail |= {
        "capabilities_at": instant(follow.now()),
        "software": found.software,
        "fhir_version": found.fhir_version,
        "searchable": sorted(found.searchable),
        "history": sorted(found.history),
        "exports": sorted(found.exports),
        "searches": {type_: sorted(_TELLING.intersection(found.searches.get(type_, ()))) for type_ in types},
        "address": found.address,
        "skew": (found.served_at - follow.now()).total_seconds() if found.served_at else 0.0,
        "probes": probes,
        "strategies": {
            type_: choose(type_, _facts(follow.connection, found, type_, probes)).as_detail() for type_ in types
        },
    }
    with follow.database.begin() as tx:
        follow.hold(tx)
        cursors.save(tx, state_cursor(follow, detail))
    return remembered(detail)


def reconsidered(follow: Follow, type_: str) -> Abilities | None:
    """What the server can do after it refused to search a type as a whole, asked by a probe; None when nothing is new.

    Some list `_lastUpdated` and want a patient with every search all the same.
    """
    with follow.database.read() as tx:
        detail = dict(state_of(tx, follow.connection.key))
    listed = detail.get("searches", {}).get(type_)
    known = type_ in detail.get("probes", {}) or type_ not in detail.get("searchable", ())
    if listed is None or known or _hints(follow.connection).get(type_) or overrides_of(follow.connection).get(type_):
        return None
    showed = probe_type(follow.client, type_)
    if showed is None:
        return None
    facts = Facts(searchable=True, parameters=frozenset(listed), probe=showed)
    told = {type_: {"showed": showed.value, "at": instant(follow.now())}}
    detail |= {
        "probes": {**detail["probes"], **told},
        "strategies": {**detail["strategies"], type_: choose(type_, facts).as_detail()},
    }
    with follow.database.begin() as tx:
        follow.hold(tx)
        cursors.save(tx, state_cursor(follow, detail))
    return remembered(detail)


def remembered(detail: Mapping[str, Any]) -> Abilities:
    """What the connection's state tells."""
    if "searchable" not in detail:
        return Abilities(searchable=None, history=None)
    return Abilities(
        searchable=frozenset(detail["searchable"]),
        history=frozenset(detail["history"]),
        exports=frozenset(detail.get("exports", ())),
        choices={type_: choice_from(one) for type_, one in detail.get("strategies", {}).items()},
        skew=timedelta(seconds=detail.get("skew", 0.0)),
        address=detail.get("address", ""),
    )


def address_of(database: Database, connection: Connection) -> str:
    """The base address by which the server itself goes, as it is remembered."""
    with database.read() as tx:
        return remembered(state_of(tx, connection.key)).address


def choice_of(connection: Connection, abilities: Abilities, type_: str) -> Choice:
    """How `type_` is followed; what the connection says goes before what is remembered."""
    known = abilities.choices.get(type_)
    override = overrides_of(connection).get(type_, "")
    if known is not None and not override:
        return known
    searchable = None if abilities.searchable is None else type_ in abilities.searchable
    found = choose(
        type_, Facts(searchable=searchable, asked_for=True, hint=_hints(connection).get(type_), override=override)
    )
    return found if known is None else Choice(**{**found.as_detail(), "actor": known.actor})


def followed_types(follow: Follow, abilities: Abilities) -> Sequence[str]:
    """The types that a sync pulls: those the connection names, else those of the mapping that the server searches."""
    named = follow.connection.types or follow.mapping.wanted
    return [type_ for type_ in named if choice_of(follow.connection, abilities, type_).strategy not in (NONE, LAUNCH)]


def overrides_of(connection: Connection) -> Mapping[str, str]:
    """Type -> strategy, as the practice chose."""
    told = connection.options.get("strategies")
    return told if isinstance(told, dict) else {}


def state_of(tx: Tx, connection: str) -> Mapping[str, Any]:
    """What is kept as the state of a connection; empty before it was first asked anything."""
    state = cursors.find(tx, connection, STATE)
    return state.detail if state else {}


def state_cursor(follow: Follow, detail: Mapping[str, Any]) -> Cursor:
    """The connection's state as the row it is kept in."""
    return Cursor(connection=follow.connection.key, type=STATE, updated_at=follow.now(), detail=detail)


def want_comparison(follow: Follow) -> None:
    """Have everything compared as a whole as soon as may be."""
    with follow.database.begin() as tx:
        follow.hold(tx)
        told = {"reconciled_at": instant(datetime.fromtimestamp(0, UTC)), "reconcile_tried_at": None}
        cursors.save(tx, state_cursor(follow, {**state_of(tx, follow.connection.key), **told}))


def _facts(connection: Connection, found: Capabilities, type_: str, probes: Mapping[str, Any]) -> Facts:
    return Facts(
        searchable=type_ in found.searchable,
        asked_for=type_ in connection.types,
        parameters=found.searches.get(type_, frozenset()),
        probe=probes.get(type_, {}).get("showed"),
        hint=_hints(connection).get(type_),
        override=overrides_of(connection).get(type_, ""),
    )


def _hints(connection: Connection) -> Mapping[str, Hint]:
    hints: Mapping[str, Hint] = getattr(mapping_named(connection.mapping), "strategy_hints", {})
    return hints


def _probes(follow: Follow, found: Capabilities, detail: Mapping[str, Any]) -> dict[str, Any]:
    """Type -> what a probe showed and when; asked again after a day, or when the server's software changed."""
    known: Mapping[str, Any] = detail.get("probes", {}) if detail.get("software") == found.software else {}
    kept: dict[str, Any] = {}
    for type_ in dict.fromkeys((*follow.connection.types, *follow.mapping.wanted)):
        before = known.get(type_)
        if before and follow.now() - parse_datetime(before["at"]) < PROBES_FOR:
            kept[type_] = before
        elif needs_probe(_facts(follow.connection, found, type_, {})):
            showed = probe_type(follow.client, type_)
            if showed is not None:
                kept[type_] = {"showed": showed.value, "at": instant(follow.now())}
    return kept
