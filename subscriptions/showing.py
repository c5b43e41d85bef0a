"""How one connection is followed, type by type, for the command line and the pages: which way, why, how late, what is odd."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fhir_tracker.fhir.dates import instant, parse_datetime
from fhir_tracker.storage import absences, budgets, cursors, rosters
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.cursors import Cursor
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.rosters import Standing as RosterStanding
from mappings import mapping_named
from subscriptions.abilities import STATE, Abilities, choice_of, remembered, state_of
from subscriptions.budget import Standing, allowance_of, standing
from subscriptions.bulk import EXPORT
from subscriptions.quirks import quirks_in
from subscriptions.reconcile import cursor_name, missed_events
from subscriptions.strategies import BULK, LAUNCH, NONE, ONE_BY_ONE, Choice


@dataclass(frozen=True, kw_only=True)
class Way:
    """One type: `lag_seconds` is how old its last complete read is, `last_success` when that was; by our clock."""

    type: str
    choice: Choice
    lag_seconds: float | None
    last_success: datetime | None
    quirks: tuple[str, ...]
    missed: int
    absent: int
    roster: RosterStanding | None

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        roster = self.roster
        return {
            "type": self.type,
            "strategy": self.choice.strategy,
            "why": self.choice.why,
            "query": self.choice.query or None,
            "lagSeconds": self.lag_seconds,
            "lastSuccess": instant(self.last_success) if self.last_success else None,
            "quirks": list(self.quirks),
            "missedEvents": self.missed,
            "notReturned": self.absent,
            "roster": None
            if roster is None
            else {"members": roster.members, "due": roster.due, "failing": roster.failing, "neverRead": roster.never},
        }


@dataclass(frozen=True, kw_only=True)
class Server:
    """What a server said it is and can do, at `asked_at`; `ahead_seconds` is how far its clock is ahead of ours."""

    software: str
    fhir_version: str
    searchable: tuple[str, ...]
    history: tuple[str, ...]
    exports: tuple[str, ...]
    ahead_seconds: float
    asked_at: datetime


def server_of(tx: Tx, connection: Connection) -> Server | None:
    """What is remembered of the server; None before it was asked, or when it does not tell."""
    told = state_of(tx, connection.key)
    if not told.get("capabilities_at"):
        return None
    return Server(
        software=told.get("software", ""),
        fhir_version=told.get("fhir_version", ""),
        searchable=tuple(told.get("searchable", ())),
        history=tuple(told.get("history", ())),
        exports=tuple(told.get("exports", ())),
        ahead_seconds=float(told.get("skew", 0.0)),
        asked_at=parse_datetime(told["capabilities_at"]),
    )


def ways_of(tx: Tx, connection: Connection, now: datetime) -> tuple[Way, ...]:
    """Every type that is or could be followed, in the order it is; nothing is asked of the server."""
    held = {one.type: one for one in cursors.of_connection(tx, connection.key)}
    abilities = remembered(held[STATE].detail if STATE in held else {})
    wanted = connection.types or mapping_named(connection.mapping).wanted
    return tuple(_way(tx, connection, abilities, held, type_, now) for type_ in wanted)


def completions_of(tx: Tx, connection: Connection) -> tuple[tuple[str, str, datetime | None], ...]:
    """(type, strategy, when it was last read to the end) of every followed type; one query."""
    held = {one.type: one for one in cursors.of_connection(tx, connection.key)}
    abilities = remembered(held[STATE].detail if STATE in held else {})
    wanted = connection.types or mapping_named(connection.mapping).wanted
    chosen = ((type_, choice_of(connection, abilities, type_).strategy) for type_ in wanted)
    return tuple(
        (type_, strategy, _completed(held, type_, strategy))
        for type_, strategy in chosen
        if strategy not in (NONE, LAUNCH)
    )


def budget_of(tx: Tx, connection: Connection, now: datetime) -> Standing:
    """What the server still bears."""
    return standing(budgets.find(tx, connection.key), allowance_of(connection), now)


def reconciled_at(tx: Tx, connection: Connection) -> datetime | None:
    """When everything was last compared as a whole."""
    told = state_of(tx, connection.key).get("reconciled_at")
    return parse_datetime(told) if told else None


def _way(
    tx: Tx, connection: Connection, abilities: Abilities, held: dict[str, Cursor], type_: str, now: datetime
) -> Way:
    choice = choice_of(connection, abilities, type_)
    completed = None if choice.strategy in (NONE, LAUNCH) else _completed(held, type_, choice.strategy)
    found = held.get(cursor_name(type_))
    one_by_one = choice.strategy in ONE_BY_ONE
    return Way(
        type=type_,
        choice=choice,
        lag_seconds=None if completed is None else max((now - completed).total_seconds(), 0.0),
        last_success=completed,
        quirks=quirks_in(held[type_].detail) if type_ in held else (),
        missed=missed_events(dict(found.detail)) if found else 0,
        absent=absences.count(tx, connection.key, type_),
        roster=rosters.standing(tx, connection.key, type_, now) if one_by_one else None,
    )


def _completed(held: Mapping[str, Cursor], type_: str, strategy: str) -> datetime | None:
    source = held.get(EXPORT if strategy == BULK else type_)
    told = source.detail.get("completed_at") if source else None
    return parse_datetime(told) if told else None
