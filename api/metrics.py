"""Numbers for Prometheus: requests by route template, and how the work and the following stand; never an id or a name."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from api.following_numbers import following_numbers
from api.tally import AWAY, BUCKETS, SLOWED, Row, Tally
from fhir_tracker import brake, clock
from fhir_tracker.errors import TrackerError
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage import firings, heartbeats, jobs, poisoned, settings
from fhir_tracker.storage.database import Database, Tx

WORKER_HEARTBEAT = "worker-heartbeat"
_VIEWER = worker_viewer("metrics")
_ENDS = (*(str(one) for one in BUCKETS), "+Inf")


class RequestNumbers(Collector):
    """What the processes of one server have answered; several servers in one process (as in tests) do not share it."""

    def __init__(self, database: Database, tally: Tally) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(self)
        self.registry.register(StoreNumbers(database))
        self.note = tally.note
        self._tally = tally

    def describe(self) -> list[Metric]:
        """Nothing ahead of time."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Requests by method, route and status, and how they spread over the processes."""
        totals: Counter[tuple[str, str, str]] = Counter()
        times: dict[tuple[str, str], list[Row]] = defaultdict(list)
        slowed: Counter[str] = Counter()
        for row in self._tally.rows():
            if row.method == SLOWED:
                slowed[row.route] += sum(row.buckets)
                continue
            totals[row.method, row.route, str(row.status)] += sum(row.buckets)
            times[row.method, row.route].append(row)
        limited = CounterMetricFamily("rate_limited", "Requests refused because too many came.", labels=["limit"])
        for limit, count in slowed.items():
            limited.add_metric([limit], count)
        answered = CounterMetricFamily("http_requests", "Requests answered.", labels=["method", "route", "status"])
        for kind, count in totals.items():
            answered.add_metric(kind, count)
        seconds = HistogramMetricFamily("http_request_seconds", "Seconds until the answer.", labels=["method", "route"])
        for place, rows in times.items():
            seconds.add_metric(place, _cumulated(rows), sum(row.seconds for row in rows))
        yield from (answered, seconds, limited, *self._processes())

    def _processes(self) -> Iterator[Metric]:
        held = GaugeMetricFamily("process_connections", "Connections that a process holds.", labels=["process"])
        answered = CounterMetricFamily("process_requests", "Requests that a process answered.", labels=["process"])
        for place in range(self._tally.processes):
            connections = self._tally.held(place)
            held.add_metric([str(place)], connections if connections < AWAY else 0)
            answered.add_metric([str(place)], self._tally.answered(place))
        yield from (held, answered)


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


def _cumulated(rows: Sequence[Row]) -> list[tuple[str, float]]:
    """Buckets as Prometheus wants them: each counts what the smaller ones do too."""
    counts = accumulate(sum(column) for column in zip(*(row.buckets for row in rows), strict=True))
    return list(zip(_ENDS, counts, strict=True))


def _families(tx: Tx, now: datetime) -> Iterator[Metric]:
    yield from following_numbers(tx, now)
    oldest = GaugeMetricFamily("job_oldest_seconds", "How long the oldest waiting job is due.", labels=["kind"])
    dead = GaugeMetricFamily("jobs_dead", "Jobs that failed for good.", labels=["kind"])
    for state in jobs.states(tx):
        oldest.add_metric([state.kind], max(0.0, _age(now, state.oldest_due)))
        dead.add_metric([state.kind], state.dead)
    yield from (oldest, dead)
    yield from _rules(tx)
    yield from _stopped(tx, now)
    beat = settings.get(tx, WORKER_HEARTBEAT)
    if beat:
        age = _age(now, datetime.fromisoformat(beat))
        yield GaugeMetricFamily("worker_heartbeat_age_seconds", "Since the worker last swept.", value=age)


def _stopped(tx: Tx, now: datetime) -> Iterator[Metric]:
    """What the rules do not do: items put off, brakes that are on, rules that nobody asks."""
    held = GaugeMetricFamily("poisoned_items", "Items that rules cannot work on.", labels=["program"])
    for program, count in poisoned.counts(tx).items():
        held.add_metric([program], count)
    braked = GaugeMetricFamily("mass_escalation_brake", "1 while escalations are held.", labels=["program"])
    for one in brake.all_engaged(tx):
        braked.add_metric([one.program or "*"], 1)
    asked = GaugeMetricFamily("rule_asked_seconds", "Since a rule was last asked.", labels=["program", "rule"])
    for beat in heartbeats.all(tx):
        asked.add_metric([beat.program, beat.rule], max(0.0, _age(now, beat.last_evaluated)))
    yield from (held, braked, asked)


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
