"""When a practice has changed its code table: what is here and what waits for a code is read anew, once, before the next pull."""

from __future__ import annotations

from fhir_tracker import quarantine, records, unmapped
from fhir_tracker.model.author import Why
from fhir_tracker.storage import cursors, resources
from fhir_tracker.storage.database import Tx
from mappings import NO_TABLE
from subscriptions.abilities import state_cursor, state_of
from subscriptions.code_files import digest_of
from subscriptions.following import Follow

TYPES = ("Appointment", "Communication", "Task")
"""The types whose codings tables are about."""
MOVED_HERE = frozenset({"Task"})
"""The types whose status moves here: what the EHR sent last tells no more how they stand."""
CHUNK = 100
_WHY = Why(reason="The code table was changed")


def recode(follow: Follow) -> int:
    """Write anew what the connection's table now reads differently; how many. What was interrupted begins again."""
    now = digest_of(follow.connection)
    with follow.database.read() as tx:
        before = state_of(tx, follow.connection.key)
        if before.get("codes", "") == now:
            return 0
        types = sorted({*TYPES, *before.get("coded", ()), *follow.tables.status})
        refs = [
            f"{type_}/{id_}" for type_ in types for id_ in resources.ids_of(tx, follow.connection.key, type_).values()
        ]
    written = 0
    for start in range(0, len(refs), CHUNK):
        with follow.database.begin() as tx:
            follow.hold(tx)
            written += _chunk(tx, follow, refs[start : start + CHUNK])
    written += _take_waiting(follow)
    with follow.database.begin() as tx:
        follow.hold(tx)
        coded = {"codes": now, "coded": sorted(follow.tables.status)}
        cursors.save(tx, state_cursor(follow, {**state_of(tx, follow.connection.key), **coded}))
    return written


def _take_waiting(follow: Follow) -> int:
    """Take in what waits for a code; how many are applied now."""
    with follow.database.read() as tx:
        waiting = quarantine.waiting(tx, follow.author().viewer, follow.connection.key)
    coded = [one for one in waiting if one.reason.startswith(NO_TABLE)]
    return sum(quarantine.retry(follow.database, one, follow.translate, follow.author()) is None for one in coded)


def _chunk(tx: Tx, follow: Follow, refs: list[str]) -> int:
    author, written = follow.author(), 0
    for stored in resources.find_many(tx, author.viewer, refs).values():
        if stored.deleted:
            continue
        before = records.resource_of(stored)
        type_ = before["resourceType"]
        is_theirs = type_ not in MOVED_HERE and type_ not in follow.connection.options.get("write_back", ())
        fresh = follow.mapping.recoded(before, follow.source, status=is_theirs)
        if fresh != before:
            records.save(tx, fresh, author, if_match=stored.version, why=_WHY)
            unmapped.notice(tx, fresh, follow.connection.key, author)
            written += 1
    return written
