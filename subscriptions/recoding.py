"""When a practice has changed its code table: what is here already gets its codings anew, once, before the next pull."""

from __future__ import annotations

from fhir_tracker import records, unmapped
from fhir_tracker.model.author import Why
from fhir_tracker.storage import cursors, resources
from fhir_tracker.storage.database import Tx
from subscriptions.abilities import STATE, state_cursor
from subscriptions.code_files import digest_of
from subscriptions.following import Follow

TYPES = ("Appointment", "Communication", "Task")
"""The types whose codes tables are about; a status is only read anew with the next version that the EHR sends."""
CHUNK = 100
_WHY = Why(reason="The code table was changed")


def recode(follow: Follow) -> int:
    """Write anew what the connection's table now reads differently; how many. What was interrupted begins again."""
    now = digest_of(follow.connection)
    with follow.database.read() as tx:
        state = cursors.find(tx, follow.connection.key, STATE)
        if (state.detail if state else {}).get("codes", "") == now:
            return 0
        refs = [
            f"{type_}/{id_}" for type_ in TYPES for id_ in resources.ids_of(tx, follow.connection.key, type_).values()
        ]
    written = 0
    for start in range(0, len(refs), CHUNK):
        with follow.database.begin() as tx:
            follow.hold(tx)
            written += _chunk(tx, follow, refs[start : start + CHUNK])
    with follow.database.begin() as tx:
        follow.hold(tx)
        state = cursors.find(tx, follow.connection.key, STATE)
        cursors.save(tx, state_cursor(follow, {**(state.detail if state else {}), "codes": now}))
    return written


def _chunk(tx: Tx, follow: Follow, refs: list[str]) -> int:
    author, written = follow.author(), 0
    for stored in resources.find_many(tx, author.viewer, refs).values():
        if stored.deleted:
            continue
        before = records.resource_of(stored)
        fresh = follow.mapping.recoded(before, follow.source)
        if fresh != before:
            records.save(tx, fresh, author, if_match=stored.version, why=_WHY)
            unmapped.notice(tx, fresh, follow.connection.key, author)
            written += 1
    return written
