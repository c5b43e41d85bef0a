"""Working out each measure: what is asked of the store, and how its answer becomes rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta

from fhir_tracker.measures import expected, hygiene
from fhir_tracker.measures.definitions import MEASURES, NOT_CLINICAL, measure_named
from fhir_tracker.measures.report import Asked, Number, Report, Row, check_period, hours, percent, ranked
from fhir_tracker.storage import rollups, standing
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.flow_facts import Period
from fhir_tracker.storage.glance import NeedsTransaction, OneStatement
from fhir_tracker.storage.rollups import Sum
from fhir_tracker.storage.standing import Moment, Spread

TICK = timedelta(microseconds=1)


def report(tx: Tx, name: str, asked: Asked) -> Report:
    """The figures of a measure; raises NotFound for a name that is none, UsageError for a period that cannot be."""
    measure = measure_named(name)
    check_period(asked)
    rows = sorted(_FIGURES[name](tx, asked), key=lambda row: _order(row.keys))
    return Report(measure=measure, asked=asked, rows=tuple(rows))


def alone(database: Database, name: str, asked: Asked) -> Report:
    """As `report`, of one measure by itself: what one statement tells is read without a transaction."""
    try:
        with database.drivers.take() as driver:
            return report(OneStatement(driver, database.dialect), name, asked)
    except NeedsTransaction:
        with database.read() as tx:
            return report(tx, name, asked)


def all_reports(tx: Tx, asked: Asked) -> Iterator[Report]:
    """Every measure, in the order of the definitions."""
    return (report(tx, name, asked) for name in MEASURES)


def moment_of(asked: Asked) -> Moment:
    """The moment, as the store is asked for it."""
    return Moment(at=asked.moment, now=asked.as_of is None)


def period_of(asked: Asked) -> Period:
    """The period, of which nothing is later than what was known at the moment."""
    end = asked.end if asked.as_of is None else min(asked.end, asked.as_of + TICK)
    return Period(start=min(asked.start, end), end=end, as_of=asked.as_of)


def _aging(tx: Tx, asked: Asked) -> Iterable[Row]:
    return _spread(standing.aging(tx, asked.viewer, moment_of(asked), asked.program))


def _overdue(tx: Tx, asked: Asked) -> Iterable[Row]:
    return _spread(standing.overdue(tx, asked.viewer, moment_of(asked), asked.program))


def _holds(tx: Tx, asked: Asked) -> Iterable[Row]:
    return _spread(standing.holds(tx, asked.viewer, moment_of(asked), asked.program))


def _waiting(tx: Tx, asked: Asked) -> Iterable[Row]:
    return _spread(standing.waiting(tx, asked.viewer, moment_of(asked), asked.program))


def _holds_ended(tx: Tx, asked: Asked) -> Iterable[Row]:
    return _lengths(_sums(tx, asked, "held", "program", "a", "b"))


def _first_contact(tx: Tx, asked: Asked) -> Iterable[Row]:
    return _lengths(_sums(tx, asked, "contacted", "program", "a"))


def _escalations(tx: Tx, asked: Asked) -> Iterable[Row]:
    return _counts(_sums(tx, asked, "escalated", "program", "a", "b", "c"))


def _escalations_by_hour(tx: Tx, asked: Asked) -> Iterable[Row]:
    return _counts(_sums(tx, asked, "escalated", "program", "hour"))


def _interrupts(tx: Tx, asked: Asked) -> Iterable[Row]:
    found = _sums(tx, asked, "escalated", "program", "a", "c")
    return _counts(one for one in found if one.by[-1] not in NOT_CLINICAL)


def _outreach(tx: Tx, asked: Asked) -> Iterable[Row]:
    return _contacts(_sums(tx, asked, "tried", "program", "a", "b"))


def _outreach_by_hour(tx: Tx, asked: Asked) -> Iterable[Row]:
    return _contacts(_sums(tx, asked, "tried", "program", "hour", "b"))


def _throughput(tx: Tx, asked: Asked) -> Iterable[Row]:
    return _counts(_sums(tx, asked, "plans", "program", "a", "b", "c"))


def _closed(tx: Tx, asked: Asked) -> Iterable[Row]:
    return _counts(_sums(tx, asked, "closed", "program", "a", "b", "c"))


def _handoffs(tx: Tx, asked: Asked) -> Iterable[Row]:
    return _counts(_sums(tx, asked, "handed", "program", "a", "b"))


def _on_time(tx: Tx, asked: Asked) -> Iterable[Row]:
    for keys, some in _grouped(_sums(tx, asked, "timely", "program", "a", "b")).items():
        n = {one.by[-1]: one.n for one in some}
        done = n.get("on-time", 0) + n.get("late", 0)
        values: dict[str, Number] = {"completed": done, "on_time": n.get("on-time", 0)}
        values |= {"on_time_rate": percent(n.get("on-time", 0), done), "without_due": n.get("no-due", 0)}
        yield Row(keys=keys, values=values | {"mean_hours": _mean(some)})


def _reopened(tx: Tx, asked: Asked) -> Iterable[Row]:
    closed = {one.by: one.n for one in _sums(tx, asked, "closed", "program", "a")}
    again = {one.by: one.n for one in _sums(tx, asked, "reopened", "program", "a")}
    for keys in closed.keys() | again.keys():
        whole, part = closed.get(keys, 0), again.get(keys, 0)
        yield Row(keys=keys, values={"closed": whole, "reopened": part, "reopen_rate": percent(part, whole)})


def _documents(tx: Tx, asked: Asked) -> Iterable[Row]:
    rules = expected.expecting_rules(tx)
    if not rules:
        return
    period = period_of(asked)
    at_end = min(asked.moment, period.end)
    ended = moment_of(asked) if at_end == asked.moment else Moment(at=at_end, now=False)
    found = standing.first_firings(tx, asked.viewer, period.start, period.end, list(rules), asked.program)
    left = standing.unresolved(tx, asked.viewer, ended, list(rules), asked.program)
    near = expected.misfiled(tx, asked.viewer, ended, list(rules), asked.program)
    for rule in sorted(found.keys() | {(one.by[0], one.by[1]) for one in left}):
        spread = next((one for one in left if one.by == rule), None)
        values: dict[str, Number] = {
            "found": found.get(rule, 0),
            "open": spread.n if spread else 0,
            "misfiled": near[rule],
        }
        values |= _hours_of(spread) if spread else dict.fromkeys(("median_hours", "p90_hours", "longest_hours"))
        yield Row(keys=(rule[0], rules[rule], rule[1]), values=values)


def _hygiene(tx: Tx, asked: Asked) -> Iterable[Row]:
    found = hygiene.findings(tx, asked.viewer, moment_of(asked), asked.program)
    counted: dict[tuple[str, str, str], int] = defaultdict(int)
    for one in found:
        counted[one.kind, one.program, one.role] += 1
    return [Row(keys=keys, values={"count": n}) for keys, n in counted.items()]


def _sums(tx: Tx, asked: Asked, what: str, *by: str) -> list[Sum]:
    return rollups.sums(tx, asked.viewer, what, period_of(asked), by=by, program=asked.program, zones=asked.zones)


def _spread(found: Iterable[Spread]) -> Iterator[Row]:
    for one in found:
        values: dict[str, Number] = {"count": one.n, **one.counts}
        yield Row(keys=one.by, values=values | _hours_of(one))


def _hours_of(one: Spread) -> dict[str, Number]:
    return {"median_hours": hours(one.median), "p90_hours": hours(one.p90), "longest_hours": hours(one.oldest)}


def _counts(found: Iterable[Sum]) -> Iterator[Row]:
    return (Row(keys=one.by, values={"count": one.n}) for one in found)


def _lengths(found: Sequence[Sum]) -> Iterator[Row]:
    for keys, some in _grouped(found).items():
        values: dict[str, Number] = {"count": sum(one.n for one in some), "mean_hours": _mean(some)}
        yield Row(keys=keys, values=values | ranked([(int(one.by[-1]), one.n) for one in some]))


def _contacts(found: Sequence[Sum]) -> Iterator[Row]:
    for keys, some in _grouped(found).items():
        tries, contacts = sum(one.n for one in some), sum(one.n for one in some if one.by[-1] == "reached")
        yield Row(keys=keys, values={"attempts": tries, "contacts": contacts, "contact_rate": percent(contacts, tries)})


def _grouped(found: Iterable[Sum]) -> dict[tuple[str, ...], list[Sum]]:
    """By all of what was counted by but the last."""
    groups: dict[tuple[str, ...], list[Sum]] = defaultdict(list)
    for one in found:
        groups[one.by[:-1]].append(one)
    return groups


def _mean(some: Sequence[Sum]) -> float | None:
    n = sum(one.n for one in some)
    return hours(sum(one.seconds for one in some) / n) if n else None


def _order(keys: tuple[str, ...]) -> tuple[tuple[int, str], ...]:
    """Numbers by size."""
    return tuple((int(one) if one.isdigit() and len(one) < 9 else 0, one) for one in keys)


_FIGURES: Mapping[str, Callable[[Tx, Asked], Iterable[Row]]] = {
    "aging": _aging,
    "overdue": _overdue,
    "holds": _holds,
    "holds-ended": _holds_ended,
    "waiting-for-contact": _waiting,
    "first-contact": _first_contact,
    "escalations": _escalations,
    "escalations-by-hour": _escalations_by_hour,
    "clinical-interrupts": _interrupts,
    "outreach": _outreach,
    "outreach-by-hour": _outreach_by_hour,
    "throughput": _throughput,
    "closed-work": _closed,
    "on-time": _on_time,
    "handoffs": _handoffs,
    "reopened": _reopened,
    "missing-documents": _documents,
    "queue-hygiene": _hygiene,
}
