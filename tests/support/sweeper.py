"""A worker process for fault tests: enrols and sweeps at a moment it is given, until nothing is due. It may be killed."""

from __future__ import annotations

import sys
from contextlib import closing
from datetime import datetime

from fhir_tracker import enrolment, programs, sweep
from fhir_tracker.brake import Limit
from fhir_tracker.errors import Busy
from fhir_tracker.storage.database import Database

LIMITS = sweep.Limits(batch=7, brake=Limit(share=0, floor=0))


def work(database: Database, now: datetime) -> None:
    """Enrol in small pieces, then sweep until nothing is due."""
    with database.read() as tx:
        active = programs.active_programs(tx)
    for program in active:
        more = True
        while more:
            with database.begin() as tx:
                more = enrolment.consume(tx, program, now, limit=9).more
    while sweep.sweep(database, now, LIMITS).items:
        pass


def main(url: str, moment: str) -> int:
    """Say `ready`, work, say `done`; a busy database is tried again."""
    with closing(Database.open(url)) as database:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            try:
                work(database, datetime.fromisoformat(moment))
                break
            except Busy:
                continue
    sys.stdout.write("done\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], sys.argv[2]))
