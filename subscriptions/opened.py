"""A patient whose page a person opens is read at the EHR anew, where the server is asked about one patient at a time.

The page waits for nothing: it leaves a job, and the worker reads within seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from fhir_tracker.config import Settings
from fhir_tracker.errors import Busy, RemoteFailure, UsageError
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage import connections, jobs, resources, rosters
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.jobs import Lease
from mappings import mapping_named
from subscriptions.abilities import Abilities, abilities_of, choice_of, remembered, state_of
from subscriptions.client import EhrClient
from subscriptions.roster import pull_patient
from subscriptions.strategies import LAUNCH, OF_PATIENTS, ONE_BY_ONE, Choice
from subscriptions.sync import OVERLAP, SyncReport, client_of, failed_at_once, following, keys_of, limits_of

RECENT = timedelta(minutes=1)
"""Who was read so lately is not read again for a page."""
LEASE = timedelta(minutes=5)
AGAIN = timedelta(seconds=5)
MOST = 20
"""How many patients of one connection are read in a turn."""
_KIND = "opened:"


def note_opened(tx: Tx, viewer: Viewer, patient: str, now: datetime) -> bool:
    """Ask for a patient (an id here) whose page is opened to be read anew; False where that brings nothing."""
    stored = resources.find(tx, viewer, "Patient", patient)
    if stored is None or stored.deleted or not stored.connection or not stored.remote_id:
        return False
    connection = connections.find(tx, stored.connection)
    types = _types(connection, _known(tx, connection)) if connection is not None else {}
    if connection is None or not types:
        return False
    if rosters.was_read_since(tx, connection.key, types, stored.remote_id, now - RECENT):
        return False
    return jobs.enqueue(tx, _KIND + connection.key, stored.remote_id, {}, now)


def read_opened(database: Database, settings: Settings, now: Callable[[], datetime]) -> int:
    """Read the patients whose pages were opened; how many. One question to the database when there are none."""
    with database.read() as tx:
        kinds = [one.kind for one in jobs.states(tx) if one.kind.startswith(_KIND) and one.waiting + one.running]
        found = {kind: connections.find(tx, kind.removeprefix(_KIND)) for kind in kinds}
    return sum(_read_those_of(database, settings, now, kind, one) for kind, one in found.items())


def _read_those_of(
    database: Database, settings: Settings, now: Callable[[], datetime], kind: str, connection: Connection | None
) -> int:
    count = 0
    while count < MOST and (lease := _claimed(database, kind, now())) is not None:
        try:
            if connection is not None:
                keys = keys_of(database, settings)
                with client_of(connection, limits_of(settings), database=database, keys=keys, now=now) as client:
                    overlap = settings.poll_overlap
                    refresh_patient(database, connection, lease.key, client=client, now=now, overlap=overlap)
        except Busy:
            with database.begin() as tx:
                jobs.fail(tx, lease, "Busy", now() + AGAIN, now())
            return count
        except UsageError:
            connection = None
        count += 1
        with database.begin() as tx:
            jobs.complete(tx, lease, now())
    return count


def _claimed(database: Database, kind: str, now: datetime) -> Lease | None:
    with database.begin() as tx:
        return jobs.claim(tx, [kind], now, LEASE)


def refresh_patient(
    database: Database,
    connection: Connection,
    patient: str,
    *,
    client: EhrClient,
    now: Callable[[], datetime],
    overlap: timedelta = OVERLAP,
) -> SyncReport:
    """Read one patient (an id at the EHR) now, by every type that is followed one by one or only at launch.

    Server faults are in the SyncReport. Raises Busy while a sync of this connection runs, which then reads the patient too.
    """
    with following(database, connection, client=client, now=now, overlap=overlap) as follow:
        abilities = abilities_of(follow)
        if isinstance(abilities, RemoteFailure):
            return SyncReport(
                connection=connection.key, types=(failed_at_once("metadata", abilities),), error=abilities.message
            )
        follow = replace(follow, skew=abilities.skew, address=abilities.address)
        done = tuple(
            pull_patient(follow, type_, choice, patient) for type_, choice in _types(connection, abilities).items()
        )
        return SyncReport(
            connection=connection.key, types=done, error=next((one.error for one in done if one.error), None)
        )


def _known(tx: Tx, connection: Connection) -> Abilities:
    return remembered(state_of(tx, connection.key))


def _types(connection: Connection, abilities: Abilities) -> dict[str, Choice]:
    """What is read of one patient, and how."""
    wanted = connection.types or mapping_named(connection.mapping).wanted
    chosen = {type_: choice_of(connection, abilities, type_) for type_ in wanted}
    return {
        type_: choice
        for type_, choice in chosen.items()
        if choice.strategy in ONE_BY_ONE or (choice.strategy == LAUNCH and type_ in OF_PATIENTS)
    }
