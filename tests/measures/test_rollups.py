"""Sums by the hour: every program's own clock, times at the ends of the calendar, spans of any length, and what is corrected."""

from __future__ import annotations

import random
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.engine import Connection

from fhir_tracker.errors import UsageError
from fhir_tracker.fhir.dates import instant
from fhir_tracker.measures import asking, figures
from fhir_tracker.measures.definitions import MEASURES
from fhir_tracker.measures.report import Asked, Row
from fhir_tracker.model.sight import EVERYTHING
from fhir_tracker.model.viewer import Viewer, worker_viewer
from fhir_tracker.storage import programs, rollups, work_items
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.flow_facts import Period
from fhir_tracker.storage.glance import NeedsTransaction, OneStatement
from fhir_tracker.storage.measure_tables import figure_hour, stale_hour
from fhir_tracker.storage.rollups import Sum, Zones
from tests.support.clinic import MONDAY, RING, SYSTEM, Clinic

HOUR = timedelta(hours=1)
YEARS = timedelta(days=36_525)
LONG_AGO = datetime(1800, 1, 1, tzinfo=UTC)
FAR = datetime(2300, 1, 1, tzinfo=UTC)
HOURLY = [name for name, one in MEASURES.items() if any(key.name == "hour" for key in one.keys)]


def tried(clinic: Clinic, sent: str, at: datetime, id_: str = "", about: str = "") -> None:
    """An attempt that some system says was made at `sent`, and that became known at `at`."""
    body = {
        "resourceType": "Communication",
        "id": id_ or f"c-{len(clinic.stored('Communication'))}",
        "status": "completed",
    }
    what = about or clinic.task("ann", "first-call").ref
    named = {"about": [{"reference": what}], "subject": {"reference": "Patient/ann"}, "sent": sent}
    clinic.put(body | named, at)


def sums(clinic: Clinic, period: Period, *by: str, what: str = "tried", zones: Zones | None = None) -> list[Sum]:
    with clinic.database.read() as tx:
        return rollups.sums(tx, SYSTEM, what, period, by=by, zones=zones or Zones())


def counted(clinic: Clinic, *by: str, start: datetime = LONG_AGO, end: datetime = FAR) -> dict[tuple[str, ...], int]:
    return {one.by: one.n for one in sums(clinic, Period(start=start, end=end), *by)}


AT_THE_ENDS = ("1969-12-31T22:30:00Z", "1969-12-31T23:59:59.999Z", "1970-01-01T00:00:00Z", "1955-06-01T10:15:00Z")


def test_what_was_done_before_1970_is_in_its_own_hour_whether_counted_or_added_up(clinic: Clinic) -> None:
    for number, sent in enumerate(AT_THE_ENDS):
        tried(clinic, sent, MONDAY + number * HOUR)
    live = counted(clinic)
    spans = [(LONG_AGO, FAR), (datetime(1969, 12, 31, 22, tzinfo=UTC), datetime(1969, 12, 31, 23, tzinfo=UTC))]
    before = [counted(clinic, start=start, end=end) for start, end in spans]
    for days in (1, 2, 3):
        rollups.fold(clinic.database, MONDAY + timedelta(days=days))
    assert live == counted(clinic) == {(): 4}
    assert [counted(clinic, start=start, end=end) for start, end in spans] == before
    assert before[1] == {(): 1}
    with clinic.database.read() as tx:
        hours = sorted(row["hour"] for row in tx.rows(select(figure_hour.c.hour).where(figure_hour.c.what == "tried")))
    assert hours[:4] == sorted(rollups.hour_of(datetime.fromisoformat(sent)) for sent in AT_THE_ENDS)


def test_an_attempt_before_1970_that_is_corrected_leaves_the_sums_right(clinic: Clinic) -> None:
    tried(clinic, "1969-12-31T21:30:00Z", MONDAY, "odd")
    tried(clinic, "1969-12-31T22:30:00Z", MONDAY, "kept")
    rollups.fold(clinic.database, MONDAY + timedelta(days=1))
    for day, sent in enumerate(("1969-12-31T22:10:00Z", "1969-12-31T21:50:00Z", "1969-12-31T23:10:00Z"), 2):
        tried(clinic, sent, MONDAY + timedelta(days=day), "odd")
        rollups.fold(clinic.database, MONDAY + timedelta(days=day, hours=2))
        assert counted(clinic) == {(): 2}
        hour = datetime.fromisoformat(sent).replace(minute=0)
        assert counted(clinic, start=hour, end=hour + HOUR)[()] >= 1


@pytest.mark.parametrize("sent", ["0001-01-02T00:00:00Z", "0001-01-01T00:00:00Z", "9998-12-31T23:00:00Z"])
def test_one_attempt_at_the_end_of_the_calendar_does_not_keep_the_worker_busy(clinic: Clinic, sent: str) -> None:
    tried(clinic, sent, MONDAY)
    tried(clinic, instant(MONDAY), MONDAY + HOUR)
    steps = 0
    while rollups.fold(clinic.database, MONDAY + timedelta(days=1 + steps)):
        steps += 1
        if steps == 3:
            break
    assert counted(clinic, start=MONDAY - HOUR, end=MONDAY + HOUR) == {(): 1}
    with clinic.database.begin() as tx:
        kept = tx.rows(select(figure_hour).order_by(*figure_hour.c))
        rollups.rebuild(tx)
        assert tx.rows(select(figure_hour).order_by(*figure_hour.c)) == kept


def test_folding_goes_over_years_in_which_nothing_happened_in_one_step(clinic: Clinic) -> None:
    tried(clinic, "1970-03-01T00:00:00Z", MONDAY)
    seen = list[str]()
    with clinic.database._writer.connect() as one:
        engine = one.engine
    event.listen(engine, "before_cursor_execute", lambda _c, _cur, sql, *_: seen.append(sql))
    rollups.fold(clinic.database, MONDAY + timedelta(days=1))
    assert sum("DELETE FROM figure_hour" in one for one in seen) <= 4


def test_hours_of_the_day_are_told_of_a_century_and_refused_of_more_and_all_else_is_told_of_all_time(
    clinic: Clinic,
) -> None:
    tried(clinic, instant(MONDAY), MONDAY)
    century = Asked(viewer=SYSTEM, now=MONDAY, start=MONDAY + HOUR - YEARS, end=MONDAY + HOUR)
    whole = Asked(viewer=SYSTEM, now=MONDAY, start=datetime(2, 1, 1, tzinfo=UTC), end=datetime(9998, 1, 1, tzinfo=UTC))
    with clinic.database.read() as tx:
        for name in set(MEASURES) - set(HOURLY):
            figures.report(tx, name, whole)
        for name in HOURLY:
            figures.report(tx, name, century)
            for start in (century.start - HOUR, LONG_AGO, whole.start):
                longer = Asked(viewer=SYSTEM, now=MONDAY, start=start, end=century.end)
                with pytest.raises(UsageError, match="at most 100 years"):
                    figures.report(tx, name, longer)


@pytest.mark.parametrize(
    ("zone", "folded"), [(zone, folded) for zone in ("Asia/Kolkata", "Pacific/Apia") for folded in (0, 1)]
)
def test_each_program_has_its_own_clock(database: Database, zone: str, folded: int) -> None:
    clinic = Clinic(database, RING.replace("America/New_York", zone))
    clinic.patient("ann")
    clinic.discharge("ann", MONDAY)
    plain = {"resourceType": "Task", "id": "plain", "status": "requested", "intent": "order"}
    clinic.put(plain | {"for": {"reference": "Patient/ann"}}, MONDAY)
    moments = [datetime(2026, 3, 9, 14, 20, tzinfo=UTC), datetime(2025, 9, 28, 3, 5, tzinfo=UTC)]
    for at in moments:
        tried(clinic, instant(at), MONDAY)
        tried(clinic, instant(at), MONDAY, about="Task/plain")
    if folded:
        rollups.fold(database, MONDAY + timedelta(days=1))
    zones = Zones(usual="America/New_York", own={"ring": zone, "tcm": "Europe/Berlin"})
    found = sums(clinic, Period(start=MONDAY - 400 * 24 * HOUR, end=MONDAY + HOUR), "program", "hour", zones=zones)

    def told(at: datetime, name: str) -> str:
        return str(at.replace(minute=0).astimezone(ZoneInfo(name)).hour)

    wanted = [("ring", told(at, zone)) for at in moments] + [("", told(at, "America/New_York")) for at in moments]
    assert sorted((one.by, one.n) for one in found) == sorted((keys, wanted.count(keys)) for keys in set(wanted))


def test_the_clocks_of_a_moment_are_those_of_the_versions_in_use_then(database: Database) -> None:
    clinic = Clinic(database)
    second = RING.replace("program: ring", "program: alpha").replace("America/New_York", "America/Denver")
    with database.read() as tx:
        assert asking.zones_at(tx, MONDAY - HOUR) == Zones()
        assert asking.zones_at(tx, MONDAY) == Zones(usual="America/New_York", own={"ring": "America/New_York"})
    clinic.publish(second, MONDAY + HOUR)
    clinic.publish(RING.replace("America/New_York", "Europe/Berlin"), MONDAY + 2 * HOUR)
    with database.read() as tx:
        both = asking.zones_at(tx, MONDAY + HOUR)
        now = asking.zones_at(tx, MONDAY + 3 * HOUR)
    assert (both.usual, both.of("ring"), both.of("alpha")) == ("America/Denver", "America/New_York", "America/Denver")
    assert (now.usual, now.of("ring"), now.of(None), now.of("gone")) == (
        "America/Denver", "Europe/Berlin", "America/Denver", "America/Denver",
    )  # fmt: skip
    with database.begin() as tx:
        assert programs.withdraw(tx, "ring", MONDAY) == 0


def test_a_program_s_own_days_are_asked_for_and_as_of_a_moment_its_clock_of_then(database: Database) -> None:
    clinic = Clinic(database)
    clinic.patient("ann")
    clinic.discharge("ann", MONDAY)
    tried(clinic, instant(MONDAY), MONDAY + HOUR)
    clinic.publish(RING.replace("America/New_York", "Asia/Tokyo"), MONDAY + 5 * HOUR)
    later = MONDAY + timedelta(days=1)

    def hours(as_of: str | None) -> set[str]:
        with database.read() as tx:
            question = asking.asked(tx, SYSTEM, asking.Wanted(as_of=as_of, program="ring"), later)
            return {row.keys[1] for row in figures.report(tx, "outreach-by-hour", question).rows}

    assert hours(instant(MONDAY + 2 * HOUR)) == {"10"}
    assert hours(None) == {"23"}
    with database.read() as tx:
        tokyo = asking.asked(tx, SYSTEM, asking.Wanted(start="2026-03-09", end="2026-03-09", program="ring"), later)
    assert (tokyo.start, tokyo.end - tokyo.start) == (datetime(2026, 3, 8, 15, tzinfo=UTC), timedelta(days=1))


def by_hand(moments: list[datetime], start: datetime, end: datetime, zone: str) -> dict[tuple[str, ...], int]:
    inside = [one for one in moments if start <= one < end]
    hours = [str(one.replace(minute=0, second=0, microsecond=0).astimezone(ZoneInfo(zone)).hour) for one in inside]
    return {(hour,): hours.count(hour) for hour in set(hours)}


@pytest.mark.parametrize("seed", range(3))
def test_any_span_is_what_is_counted_by_hand_however_much_is_added_up(database: Database, seed: int) -> None:
    chance, zone = random.Random(seed), ("America/New_York", "Australia/Lord_Howe", "Asia/Kolkata")[seed]
    clinic = Clinic(database, RING.replace("America/New_York", zone))
    clinic.patient("ann")
    clinic.discharge("ann", MONDAY - timedelta(days=30))
    now, moments = MONDAY, dict[str, datetime]()
    for step in range(24):
        at = MONDAY - timedelta(minutes=chance.randrange(60 * 24 * 20))
        name = f"c{chance.randrange(12)}"
        tried(clinic, instant(at), now, name)
        moments[name] = at
        now += timedelta(minutes=chance.choice([1, 50, 300]))
        if chance.random() < 0.3:
            rollups.fold(database, now)
        if step % 4 == 3:
            start = MONDAY - timedelta(minutes=chance.randrange(60 * 24 * 20))
            end = chance.choice(
                [start, start + HOUR, start.replace(minute=0) + HOUR * 30, now + HOUR, start + HOUR * 100]
            )
            found = sums(clinic, Period(start=start, end=end), "hour", zones=Zones(usual="UTC", own={"ring": zone}))
            assert {one.by: one.n for one in found} == by_hand(list(moments.values()), start, end, zone)


@pytest.mark.parametrize("aligned", [False, True])
def test_a_measure_by_itself_is_what_it_is_in_a_transaction(clinic: Clinic, aligned: bool) -> None:
    for number in range(5):
        tried(clinic, instant(MONDAY + number * HOUR), MONDAY + (number + 1) * HOUR)
    clinic.sweep(MONDAY + timedelta(days=4))
    now = MONDAY + timedelta(days=5, minutes=0 if aligned else 7)
    asked = Asked(viewer=SYSTEM, now=now, start=MONDAY - HOUR, end=now, zones=Zones(usual="America/New_York"))
    locked = Asked(
        viewer=Viewer(who="Patient/bob", patient="bob", sight=EVERYTHING), now=now, start=asked.start, end=now
    )
    then = Asked(viewer=SYSTEM, now=now, start=asked.start, end=now, as_of=MONDAY + 3 * HOUR)
    one = Asked(viewer=SYSTEM, now=now, start=asked.start, end=now, program="ring")
    other = Asked(viewer=SYSTEM, now=now, start=asked.start, end=now, program="it's")

    def told() -> list[tuple[str, tuple[Row, ...]]]:
        asking_for = [(name, each) for each in (asked, locked, then, one, other) for name in MEASURES]
        found = [(name, figures.alone(clinic.database, name, each).rows) for name, each in asking_for]
        with clinic.database.read() as tx:
            assert found == [(name, figures.report(tx, name, each).rows) for name, each in asking_for]
        return found

    before = told()
    rollups.fold(clinic.database, now)
    assert told() == before
    tried(clinic, instant(MONDAY + 2 * HOUR), now, "c-1")
    with clinic.database.read() as tx:
        assert tx.rows(select(stale_hour))
    after = told()
    rollups.fold(clinic.database, now + HOUR)
    assert told() == after


def test_a_glance_is_of_one_statement(clinic: Clinic) -> None:
    now = MONDAY + HOUR
    asked = Asked(viewer=SYSTEM, now=now, start=MONDAY, end=now)
    rollups.fold(clinic.database, now + HOUR)
    with clinic.database.drivers.take() as driver:
        tx = OneStatement(driver, clinic.database.dialect)
        assert figures.report(tx, "throughput", asked).rows
        with pytest.raises(NeedsTransaction):
            figures.report(tx, "aging", asked)
        with pytest.raises(NeedsTransaction):
            figures.report(OneStatement(driver, clinic.database.dialect), "reopened", asked)


class Seen(list[tuple[str, object]]):
    """Every statement of one database, with its values."""

    def note(self, _connection: Connection, _cursor: object, sql: str, values: object, *_: object) -> None:
        self.append((sql, values))


@pytest.mark.parametrize(
    ("of", "index"),
    [("sweep", "ix_work_item_next"), ("aging", "ix_work_item_status"), ("overdue", "ix_work_item_late")],
)
def test_sqlite_finds_open_work_by_the_index_that_was_made_for_it(
    prepared_file: Path, tmp_path: Path, of: str, index: str
) -> None:
    path = tmp_path / "tracker.db"
    shutil.copyfile(prepared_file, path)
    database, seen = Database.open(f"sqlite:///{path}"), Seen()
    try:
        with database.begin() as tx:
            event.listen(tx.connection.engine, "before_cursor_execute", seen.note)
            if of == "sweep":
                work_items.claim_due(tx, MONDAY, 10, HOUR)
            else:
                asked = Asked(viewer=worker_viewer("test"), now=MONDAY, start=MONDAY - HOUR, end=MONDAY)
                figures.report(tx, of, asked)
            (asking_for,) = [one for one in seen if "FROM work_item" in one[0]]
            plan = tx.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {asking_for[0]}", asking_for[1])  # type: ignore[arg-type]
            steps = [row[3] for row in plan if "work_item" in row[3]]
        assert [index in one for one in steps] == [True], steps
        assert of == "sweep" or "COVERING" in steps[0]
    finally:
        database.close()


def test_the_indexes_of_open_work_say_open_as_the_statements_do(database: Database) -> None:
    with database.read() as tx:
        if tx.dialect == "sqlite":
            found = (
                tx.connection.execute(text("SELECT sql FROM sqlite_master WHERE sql LIKE '%WHERE open%'"))
                .scalars()
                .all()
            )
            assert [one for one in found if "WHERE open = 1" not in one] == []
        else:
            named = "SELECT indexdef FROM pg_indexes WHERE tablename = 'work_item' AND indexdef LIKE '%WHERE%open%'"
            found = tx.connection.execute(text(named)).scalars().all()
    assert len(found) >= 6
