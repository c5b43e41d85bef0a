from __future__ import annotations

import subscriptions


def test_the_public_names_are_these_and_no_others() -> None:
    assert sorted(subscriptions.__all__) == [
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
    assert all(hasattr(subscriptions, name) for name in subscriptions.__all__)
