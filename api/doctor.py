"""What `fhir-tracker doctor` looks at: each finding says how it stands, why, and the command that mends it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta

from api.broker import examine_broker
from api.connection_doctor import examine_connection
from api.findings import Finding, fail, ok, warn
from api.metrics import WORKER_HEARTBEAT
from api.stores import key_file, open_store, secret_key
from fhir_tracker import brake, clock, program_integrity
from fhir_tracker.config import Settings
from fhir_tracker.errors import TrackerError
from fhir_tracker.hazards import hazards
from fhir_tracker.signing_keys import Keyring
from fhir_tracker.storage import connections, dispatches, jobs, programs, quarantine
from fhir_tracker.storage import settings as states
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.schema import schema_state

SILENT_AFTER = timedelta(minutes=2)
GIGABYTE = 10**9
LEAST_FREE = GIGABYTE // 20
FEW_FREE = GIGABYTE // 2
_WAL = b"\x02\x02"


def examine(settings: Settings) -> list[Finding]:
    """Every finding, in the order in which to mend them; a database that cannot be used ends the list."""
    found = [ok("settings", f"log level {settings.log_level}, body limit {settings.body_limit} bytes")]
    found.append(_secret(settings))
    found += _safety(settings)
    try:
        with open_store(settings, prepared=False) as database:
            found.append(ok("database", f"{database.dialect} answers"))
            found += _inside(settings, database)
    except TrackerError as error:
        fix = "start the database server, or name another with --database"
        found.append(Finding(status="FAIL", what="database", detail=error.message, fix=fix))
    return found


def _inside(settings: Settings, database: Database) -> Iterator[Finding]:
    current, _ = schema_state(database)
    try:
        with open_store(settings):
            made = current or "set up just now"
            yield ok("schema", f"version {made}")
    except TrackerError as error:
        fix = "copy the database, then fhir-tracker migrate"
        yield Finding(status="FAIL", what="schema", detail=error.message, fix=fix)
        return
    now = clock.now()
    yield _journal(settings, database)
    yield from _disk(settings)
    if settings.redis_url:
        yield examine_broker(settings.redis_url)
    yield _programs(database)
    yield _worker(database, now)
    yield from _waiting(database)
    with database.read() as tx:
        followed = connections.all(tx)
    if not followed:
        fix = "fhir-tracker connection add KEY --base-url URL"
        yield Finding(status="WARN", what="connections", detail="no EHR is followed", fix=fix)
    keys = Keyring(database=database, secret_key=secret_key(settings))
    for connection in followed:
        yield from examine_connection(settings, database, connection, keys, now)


def _secret(settings: Settings) -> Finding:
    try:
        secret_key(settings)
    except TrackerError as error:
        return Finding(status="FAIL", what="secret key", detail=error.message, fix="set FHIR_TRACKER_SECRET_KEY")
    if settings.secret_key:
        return ok("secret key", "from the settings")
    if settings.database_file is None:
        fix = "set FHIR_TRACKER_SECRET_KEY, the same for every process"
        return Finding(status="WARN", what="secret key", detail="made on this machine, unknown to others", fix=fix)
    return ok("secret key", f"kept in {key_file(settings).name}, readable by its owner only")


def _safety(settings: Settings) -> Iterator[Finding]:
    """What is unsafe with data of real patients; what a person has allowed is still told."""
    found = hazards(settings)
    if not found:
        yield ok("safety", "secret key, addresses and connections are as they should be")
    for one in found:
        is_allowed = not one.word or one.word in settings.insecure
        told = f"{one.detail}{' (allowed)' if one.word and is_allowed else ''}"
        yield warn("safety", told, one.fix) if is_allowed else fail("safety", told, one.fix)


def _journal(settings: Settings, database: Database) -> Finding:
    file = settings.database_file
    if file is None:
        return ok("durability", f"{database.dialect} keeps its own log")
    with file.open("rb") as stream:
        header = stream.read(20)
    if header[18:20] == _WAL:
        return ok("durability", "SQLite writes ahead (WAL) and syncs each commit")
    return Finding(
        status="WARN",
        what="durability",
        detail="SQLite does not write ahead; the file system may not support it",
        fix="move the database to a local disk",
    )


def _disk(settings: Settings) -> Iterator[Finding]:
    if settings.database_file is None:
        return
    free = shutil.disk_usage(settings.database_file.parent).free
    text = f"{free / GIGABYTE:.1f} GB free where the database is"
    if free < LEAST_FREE:
        yield fail("disk", text, "make room: with a full disk nothing can be taken in")
    elif free < FEW_FREE:
        yield warn("disk", text, "make room soon, or move the database: FHIR_TRACKER_DATABASE")
    else:
        yield ok("disk", text)


def _programs(database: Database) -> Finding:
    with database.read() as tx:
        active = programs.all(tx)
        changed = program_integrity.changed(tx)
    if changed:
        named = ", ".join(f"{one.code} {one.version}" for one in changed)
        told = f"changed in the database, not by publishing: {named}; nothing runs by them"
        return fail("programs", told, "put the published text back, or: fhir-tracker program publish FILE")
    if not active:
        fix = "fhir-tracker program publish FILE"
        return Finding(status="WARN", what="programs", detail="none is active: no rule runs", fix=fix)
    return ok("programs", ", ".join(f"{one.code} {one.version}" for one in active))


def _worker(database: Database, now: datetime) -> Finding:
    with database.read() as tx:
        beat = states.get(tx, WORKER_HEARTBEAT)
    fix = "fhir-tracker worker (or serve without --no-worker)"
    if beat is None:
        return Finding(status="WARN", what="worker", detail="none has ever run here", fix=fix)
    age = now - datetime.fromisoformat(beat)
    if age > SILENT_AFTER:
        return Finding(status="WARN", what="worker", detail=f"silent for {age.total_seconds():.0f} s", fix=fix)
    return ok("worker", f"swept {max(age.total_seconds(), 0.0):.0f} s ago")


def _waiting(database: Database) -> Iterator[Finding]:
    with database.read() as tx:
        held = quarantine.open_count(tx)
        dead = sum(state.dead for state in jobs.states(tx))
        engaged = brake.engaged(tx)
        untold = dispatches.counts(tx)
    if held:
        fix = "fhir-tracker quarantine list, then fhir-tracker quarantine retry"
        yield Finding(status="WARN", what="quarantine", detail=f"{held} resources could not be applied", fix=fix)
    else:
        yield ok("quarantine", "empty")
    if dead:
        fix = "fhir-tracker jobs list, then fhir-tracker jobs retry"
        yield Finding(status="WARN", what="jobs", detail=f"{dead} gave up", fix=fix)
    for state, words in (("dead", "were refused for good"), ("unsupported", "have no address to go to")):
        if count := untold.get(state, 0):
            fix = "fhir-tracker notifications list, then fhir-tracker notifications retry"
            yield warn("notifications", f"{count} mails or webhook calls {words}", fix)
    if engaged:
        detail = f"the brake holds back {engaged.escalations} escalations since {engaged.since}"
        fix = "check clock and calendars, then fhir-tracker rules release"
        yield Finding(status="FAIL", what="escalations", detail=detail, fix=fix)
