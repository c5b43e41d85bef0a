"""Numbers about the following of EHRs for Prometheus, by connection, type and state; never an id, a name or a reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from fhir_tracker.fhir.dates import parse_datetime
from fhir_tracker.fhir.definitions.registry import resource_types
from fhir_tracker.storage import budgets, connections, cursors, inbox, outbox, quarantine, remote_subscriptions
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.cursors import Cursor
from fhir_tracker.storage.database import Tx
from subscriptions.budget import allowance_of, standing
from subscriptions.bulk import EXPORT
from subscriptions.reconcile import cursor_name, missed_events

CONNECTION_STATES = ("new", "ok", "failing", "auth_failed")
CIRCUIT_STATES = ("closed", "half-open", "open")
SUBSCRIPTION_STATES = ("arming", "requested", "active", "lost", "refused")
_OF = ["connection"]
_OF_TYPE = ["connection", "type"]


def following_numbers(tx: Tx, now: datetime) -> Iterator[Metric]:
    """Every family about connections."""
    known = connections.all(tx)
    kept = {one.key: cursors.of_connection(tx, one.key) for one in known}
    yield from _connections(known, now)
    yield from _cursors(kept, now)
    yield from _missed(kept, now)
    yield from _waiting(tx, known, now)
    yield from _subscriptions(tx, known, now)
    yield from _budgets(tx, known, now)


def _connections(known: Sequence[Connection], now: datetime) -> Iterator[Metric]:
    age = GaugeMetricFamily("connection_age_seconds", "Since it was last followed with success.", labels=_OF)
    state = GaugeMetricFamily("connection_state", "1 for the state it is in.", labels=["connection", "state"])
    for one in known:
        age.add_metric([one.key], _age(now, one.last_success_at or one.created_at))
        _one_of(state, [one.key], one.state, CONNECTION_STATES)
    yield from (age, state)


def _cursors(kept: Mapping[str, Sequence[Cursor]], now: datetime) -> Iterator[Metric]:
    lag = GaugeMetricFamily("sync_lag_seconds", "Age of the newest datum seen.", labels=_OF_TYPE)
    moved = GaugeMetricFamily("cursor_age_seconds", "Since the cursor last moved.", labels=_OF_TYPE)
    whole = GaugeMetricFamily("sync_complete_age_seconds", "Since all changes of a type were here.", labels=_OF_TYPE)
    for key, found in kept.items():
        for cursor in found:
            if cursor.type not in resource_types() and cursor.type != EXPORT:
                continue
            labels = [key, cursor.type if cursor.type != EXPORT else "export"]
            if cursor.type != EXPORT:
                moved.add_metric(labels, _age(now, cursor.updated_at))
            if cursor.watermark:
                lag.add_metric(labels, _age(now, cursor.watermark))
            if told := _moment(cursor.detail, "completed_at"):
                whole.add_metric(labels, _age(now, told))
    yield from (lag, moved, whole)


def _missed(kept: Mapping[str, Sequence[Cursor]], now: datetime) -> Iterator[Metric]:
    missed = CounterMetricFamily("sync_missed_events", "Changes found only by comparing everything.", labels=_OF_TYPE)
    compared = GaugeMetricFamily("reconcile_age_seconds", "Since everything was last compared.", labels=_OF)
    for key, found in kept.items():
        for cursor in found:
            type_ = cursor.type.partition("/")[0]
            if cursor.type == cursor_name(type_) and type_ in resource_types():
                missed.add_metric([key, type_], missed_events(dict(cursor.detail)))
            if told := _moment(cursor.detail, "reconciled_at"):
                compared.add_metric([key], _age(now, told))
    yield from (missed, compared)


def _waiting(tx: Tx, known: Sequence[Connection], now: datetime) -> Iterator[Metric]:
    aside = GaugeMetricFamily("quarantine_size", "Resources that wait in quarantine.", labels=_OF)
    for key, count in ({one.key: 0 for one in known} | quarantine.open_counts(tx)).items():
        aside.add_metric([key], count)
    told = GaugeMetricFamily("inbox_size", "Resources told of and not yet read.", labels=_OF)
    rows = GaugeMetricFamily("outbox_size", "Resources to be written there.", labels=["connection", "state"])
    oldest = GaugeMetricFamily("outbox_oldest_seconds", "How long the oldest of them waits.", labels=_OF)
    for one in known:
        told.add_metric([one.key], inbox.waiting(tx, one.key))
        counts = outbox.counts(tx, one.key)
        for state in outbox.STATES[:-1]:
            rows.add_metric([one.key, state], counts.get(state, 0))
        since = outbox.oldest_waiting(tx, one.key)
        oldest.add_metric([one.key], _age(now, since) if since else 0.0)
    yield from (aside, told, rows, oldest)


def _subscriptions(tx: Tx, known: Sequence[Connection], now: datetime) -> Iterator[Metric]:
    labels = ["connection", "type", "state"]
    state = GaugeMetricFamily("subscription_state", "1 for the state that our Subscription there is in.", labels=labels)
    heard = GaugeMetricFamily("subscription_heard_age_seconds", "Since it last told of anything.", labels=_OF_TYPE)
    gaps = CounterMetricFamily("subscription_gaps", "Gaps in its event numbers.", labels=_OF_TYPE)
    resets = CounterMetricFamily("subscription_resets", "Times its event numbers began anew.", labels=_OF_TYPE)
    untold = GaugeMetricFamily(
        "subscription_untold", "Changes found by polls since it last told of any.", labels=_OF_TYPE
    )
    for one in known:
        for held in remote_subscriptions.of_connection(tx, one.key):
            _one_of(state, [one.key, held.type], held.status, SUBSCRIPTION_STATES)
            if held.heard_at:
                heard.add_metric([one.key, held.type], _age(now, held.heard_at))
            gaps.add_metric([one.key, held.type], held.gaps)
            resets.add_metric([one.key, held.type], held.resets)
            untold.add_metric([one.key, held.type], held.untold)
    yield from (state, heard, gaps, resets, untold)


def _budgets(tx: Tx, known: Sequence[Connection], now: datetime) -> Iterator[Metric]:
    circuit = GaugeMetricFamily("circuit_state", "1 for the state of its circuit.", labels=["connection", "state"])
    waits = CounterMetricFamily("budget_waits", "Requests that had to wait for the budget.", labels=_OF)
    seconds = CounterMetricFamily("budget_wait_seconds", "Seconds for which requests waited.", labels=_OF)
    for one in known:
        state = budgets.find(tx, one.key)
        _one_of(circuit, [one.key], standing(state, allowance_of(one), now).circuit, CIRCUIT_STATES)
        waits.add_metric([one.key], int(state.get("waits", 0)))
        seconds.add_metric([one.key], float(state.get("waited", 0.0)))
    yield from (circuit, waits, seconds)


def _one_of(family: GaugeMetricFamily, labels: Sequence[str], held: str, states: Sequence[str]) -> None:
    for state in states:
        family.add_metric([*labels, state], float(state == held))


def _moment(detail: Mapping[str, Any], name: str) -> datetime | None:
    return parse_datetime(detail[name]) if detail.get(name) else None


def _age(now: datetime, moment: datetime) -> float:
    return max(0.0, (now - moment).total_seconds())
