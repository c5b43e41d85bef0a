"""A year of a practice with six programs: lived through, checked against an oracle, and measured.

python -m tests.benchmarks.simulated_year [--patients 50000] [--days 365] [--database sqlite|postgresql] [--seed 1]
    [--sample 40] [--step 60] [--programs FOLDER] [--minutes 25]
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path

from fhir_tracker.rules.starters import starter_programs
from tests.benchmarks.simulated_year import invariants, oracle, telling
from tests.benchmarks.simulated_year.people import START
from tests.benchmarks.simulated_year.year import Year
from tests.benchmarks.stores import fresh_database


def main() -> None:
    """Live, check, and print the table."""
    parser = argparse.ArgumentParser(prog="simulated_year")
    parser.add_argument("--patients", type=int, default=50_000)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="postgresql")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--step", type=int, default=60, help="minutes between two rounds of the worker")
    parser.add_argument("--programs", type=Path, help="a folder of program files, instead of those that are shipped")
    parser.add_argument("--sample", type=int, default=40, help="items that the oracle looks at every minute")
    parser.add_argument(
        "--minutes", type=float, help="end the year with the day after so many minutes, and check what was lived"
    )
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    with fresh_database(asked.database, "simulated-year") as database:
        step = timedelta(minutes=asked.step)
        year = Year(
            database=database,
            seed=asked.seed,
            patients=asked.patients,
            programs=_programs(asked.programs),
            step=step,
            days=asked.days,
        )
        begun = time.perf_counter()
        for number, day in enumerate(year.run(), start=1):
            if number % 30 == 0 or number == asked.days:
                done = f"{day:%Y-%m-%d}, {time.perf_counter() - begun:,.0f} s, {year.counts['work: task']:,} tasks"
                print(done, file=sys.stderr, flush=True)
            if asked.minutes and time.perf_counter() - begun > asked.minutes * 60:
                asked.days = number
                break
        took, spent = time.perf_counter() - begun, time.process_time()
        begun = time.perf_counter()
        items = oracle.sample(database, asked.seed, asked.sample)
        verdicts = oracle.watch(database, items, START + timedelta(days=asked.days), 2 * step)
        looked = time.perf_counter() - begun
        end = START + timedelta(days=asked.days)
        told = [*telling.measures(database, end), *telling.changed_rule(database, end, 2000)]
        wrong = invariants.broken(database, START + timedelta(days=asked.days), step)
    print(f"{asked.patients:,} patients, {asked.days} days, {asked.database}, seed {asked.seed}: {took:,.0f} s")
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}")
    print(f"CPU seconds: {spent:,.0f} for the year, {time.process_time():,.0f} in all, PostgreSQL {_children():,.0f}")
    years = asked.patients * asked.days / 365
    print("| | in all | a patient and year |\n|---|---|---|")
    for name, number in sorted((year.counts + year.staff.counts).items()):
        print(f"| {name} | {number:,} | {number / years:,.2f} |")
    print("\n| part | wall |\n|---|---|")
    for name, seconds in sorted(year.seconds.items()):
        print(f"| {name} | {seconds:,.1f} s |")
    print(
        f"The oracle looked at {verdicts.items} items in {verdicts.minutes:,} minutes ({looked:,.0f} s): {verdicts.fired} "
        f"fired, {len(verdicts.missed)} missed, {len(verdicts.unwanted)} unwanted"
    )
    print("\n".join(told))
    print(f"Invariants: {len(wrong)} broken" if wrong else "Invariants: all hold")
    complaints = (*verdicts.missed, *verdicts.unwanted, *wrong)
    for line in complaints[:100]:
        print(f"  {line}")
    sys.exit(1 if complaints else 0)


def _children() -> float:
    """What the database server used, its start included, in seconds; it has ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _programs(folder: Path | None) -> list[str]:
    if folder is None:
        return [text for _, text in sorted(starter_programs().items())]
    return [one.read_text() for one in sorted(folder.glob("*.yaml"))]


if __name__ == "__main__":
    main()
