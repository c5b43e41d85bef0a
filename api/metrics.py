"""Numbers for Prometheus: requests by route template, and how the work and the following stand; never an id or a name."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fhir_tracker import clock
from fhir_tracker.errors import TrackerError
from fhir_tracker.fhir.definitions.registry import resource_types
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage import connections, cursors, firings, heartbeats, jobs, quarantine, settings
from fhir_tracker.storage.database import Database, Tx

WORKER_HEARTBEAT = "worker-heartbeat"
_VIEWER = worker_viewer("metrics")
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class RequestNumbers:
    """The counters of one server; several servers in one process (as in tests) do not share them."""

    def __init__(self, database: Database) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route")
        self._total = Counter("http_requests", "Requests answered.", (*labels, "status"), registry=self.registry)
        self._seconds = Histogram(
            "http_request_seconds", "Seconds until the answer.", labels, registry=self.registry, buckets=_BUCKETS
        )
        self.registry.register(StoreNumbers(database))
        self._met: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def note(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        met = self._met.get((method, route, status))
        if met is None:
            met = (self._total.labels(method, route, str(status)), self._seconds.labels(method, route))
            self._met[method, route, status] = met
        met[0].inc()
        met[1].observe(seconds)


class StoreNumbers(Collector):
    """What the database says at the moment it is asked; without a database only that it is down."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def describe(self) -> list[Metric]:
        """Nothing ahead of time, so that a start does not need the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every family, read in one transaction."""
        try:
            with self._database.read() as tx:
                found = list(_families(tx, clock.now()))
        except TrackerError:
            found = []
        yield GaugeMetricFamily("database_up", "1 when the database answers.", value=1.0 if found else 0.0)
        yield from found


def _families(tx: Tx, now: datetime) -> Iterator[Metric]:
    yield from _following(tx, now)
    yield GaugeMetricFamily("quarantine_size", "Resources that wait in quarantine.", value=quarantine.open_count(tx))
    oldest = GaugeMetricFamily("job_oldest_seconds", "How long the oldest waiting job is due.", labels=["kind"])
    for state in jobs.states(tx):
        oldest.add_metric([state.kind], max(0.0, _age(now, state.oldest_due)))
    yield oldest
    yield from _rules(tx)
    beat = settings.get(tx, WORKER_HEARTBEAT)
    if beat:
        age = _age(now, datetime.fromisoformat(beat))
        yield GaugeMetricFamily("worker_heartbeat_age_seconds", "Since the worker last swept.", value=age)


def _following(tx: Tx, now: datetime) -> Iterator[Metric]:
    lag = GaugeMetricFamily("sync_lag_seconds", "Age of the newest datum seen.", labels=["connection", "type"])
    age = GaugeMetricFamily("cursor_age_seconds", "Since the cursor last moved.", labels=["connection", "type"])
    for connection in connections.all(tx):
        kept = cursors.of_connection(tx, connection.key)
        for cursor in (one for one in kept if one.type in resource_types()):
            labels = [connection.key, cursor.type]
            age.add_metric(labels, _age(now, cursor.updated_at))
            if cursor.watermark:
                lag.add_metric(labels, max(0.0, _age(now, cursor.watermark)))
    yield from (lag, age)


def _rules(tx: Tx) -> Iterator[Metric]:
    levels = CounterMetricFamily("escalations", "Ladder levels that fired.", labels=["program", "rule", "level"])
    for one in firings.levels(tx, _VIEWER):
        levels.add_metric([one.program, one.rule, str(one.level)], one.count)
    fired = CounterMetricFamily("rule_effects", "Effects applied, escalations among them.", labels=["program", "rule"])
    failed = CounterMetricFamily("rule_failures", "Evaluations that failed.", labels=["program", "rule"])
    matched = CounterMetricFamily("rule_matches", "Evaluations that held.", labels=["program", "rule"])
    for beat in heartbeats.all(tx):
        labels = [beat.program, beat.rule]
        fired.add_metric(labels, beat.fired)
        failed.add_metric(labels, beat.failed)
        matched.add_metric(labels, beat.matched)
    yield from (levels, fired, failed, matched)


def _age(now: datetime, moment: datetime | None) -> float:
    return (now - moment).total_seconds() if moment else 0.0
