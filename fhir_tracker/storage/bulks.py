"""The tables whose rows are added in bulk, each with the order of a row's values."""

from __future__ import annotations

from sqlalchemy import Table

from fhir_tracker.storage.buffer import Bulk
from fhir_tracker.storage.running_tables import audit
from fhir_tracker.storage.tables import change, ix, ixd, ixn, ixs, remote_body, resource, resource_version
from fhir_tracker.storage.work_tables import event, notification, patient_summary, transition, work_item


def _columns(table: Table, *left_out: str) -> tuple[str, ...]:
    return tuple(column.name for column in table.c if column.name not in left_out)


_REMOTE = frozenset({"connection", "remote_id", "remote_version", "content_hash"})
_PLANNED = frozenset({"plan", "program", "program_version", "owner", "assigned_since", "focus", "next_action_at"})
_LATER = frozenset(
    {
        "hold_until",
        "hold_event",
        "escalation_reason",
        "last_attempt_at",
        "last_attempt_outcome",
        "site",
        "starts_at",
        "claim_token",
        "claimed_until",
    }
)
RESOURCE = Bulk(resource, _columns(resource), seldom=_REMOTE)
VERSION = Bulk(resource_version, _columns(resource_version, "body"))
REMOTE = Bulk(remote_body, _columns(remote_body))
CHANGE = Bulk(
    change, _columns(change, "seq", "txid"), given=(("txid", "(SELECT pg_current_xact_id()::text::bigint)", 0),)
)
IX = Bulk(ix, ("h", "k"), sorted_=True)
IXD = Bulk(ixd, ("h", "lo", "k", "hi"), sorted_=True)
IXS = Bulk(ixs, ("h", "v", "k", "exact"), sorted_=True)
IXN = Bulk(ixn, ("h", "lo", "k", "hi"), sorted_=True)
AUDIT = Bulk(audit, _columns(audit, "seq"), seldom=frozenset({"version", "patients", "query"}), is_watched=True)
ITEM = Bulk(work_item, _columns(work_item), seldom=_PLANNED | _LATER)
TRANSITION = Bulk(
    transition, _columns(transition), seldom=frozenset({"before", "reason", "note", "rule", "reason_code"})
)
SUMMARY = Bulk(patient_summary, _columns(patient_summary))
EVENT = Bulk(event, _columns(event))
NOTIFICATION = Bulk(notification, _columns(notification))
