"""Carries data in from and out to FHIR servers."""

from __future__ import annotations

from subscriptions.arming import endpoint_of
from subscriptions.backend_auth import TokenAuthorizer, authorizer_of
from subscriptions.capabilities import Capabilities, read_capabilities
from subscriptions.client import EhrClient, Limits
from subscriptions.deliver import DeliveryReport, deliver_due
from subscriptions.following import TypeReport
from subscriptions.hints import sync_hints
from subscriptions.inbox import receive_notification
from subscriptions.introspecting import introspect
from subscriptions.key_sets import KeySets, fetch_key_set
from subscriptions.leaving import follow_otherwise, leave
from subscriptions.notifications import read_notification
from subscriptions.opened import note_opened, refresh_patient
from subscriptions.retrying import retry_quarantined
from subscriptions.sync import (
    SyncReport,
    client_of,
    due_connections,
    keys_of,
    limits_of,
    next_due,
    sync_connection,
    sync_due,
)
from subscriptions.tending import tend_sessions
from subscriptions.user_tokens import SessionTokens
from subscriptions.write_back import WriteReport, ask_at_once, write_back_due, write_back_to

__all__ = [
    "Capabilities",
    "DeliveryReport",
    "EhrClient",
    "KeySets",
    "Limits",
    "SessionTokens",
    "SyncReport",
    "TokenAuthorizer",
    "TypeReport",
    "WriteReport",
    "ask_at_once",
    "authorizer_of",
    "client_of",
    "deliver_due",
    "due_connections",
    "endpoint_of",
    "fetch_key_set",
    "follow_otherwise",
    "introspect",
    "keys_of",
    "leave",
    "limits_of",
    "next_due",
    "note_opened",
    "read_capabilities",
    "read_notification",
    "receive_notification",
    "refresh_patient",
    "retry_quarantined",
    "sync_connection",
    "sync_due",
    "sync_hints",
    "tend_sessions",
    "write_back_due",
    "write_back_to",
]
