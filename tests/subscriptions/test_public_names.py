from __future__ import annotations

import subscriptions


def test_the_public_names_are_these_and_no_others() -> None:
    assert sorted(subscriptions.__all__) == [
        "Capabilities",
        "EhrClient",
        "Limits",
        "SyncReport",
        "TypeReport",
        "client_of",
        "disarm",
        "due_connections",
        "limits_of",
        "next_due",
        "read_capabilities",
        "read_notification",
        "receive_notification",
        "retry_quarantined",
        "sync_connection",
        "sync_due",
        "sync_hints",
    ]
    assert all(hasattr(subscriptions, name) for name in subscriptions.__all__)
