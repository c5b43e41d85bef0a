"""A tracker that is told of changes: its syncs, its work between them, and notifications that reach it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

from fhir_tracker.storage import inbox, remote_subscriptions
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.inbox import Waiting
from fhir_tracker.storage.remote_subscriptions import RemoteSubscription
from subscriptions import EhrClient, Limits, SyncReport, receive_notification, sync_connection
from subscriptions.hints import work_off
from subscriptions.notifications import BARE, Event, Hint, Notification
from subscriptions.sync import following
from tests.subscriptions.fake_ehr import BASE, FakeEhr
from tests.subscriptions.tracker import Tracker

PUBLIC_URL = "https://tracker.example"
HOOK = f"{PUBLIC_URL}/hooks/clinic"


class Listener(Tracker):
    """One connection to `ehr`, subscribed to its Patients."""

    def __init__(self, database: Database, ehr: FakeEhr, subscribe: str = "auto", public_url: str = PUBLIC_URL) -> None:
        super().__init__(database, ehr)
        self.connection = replace(self.connection, subscribe=subscribe)
        self.public_url = public_url

    def client(self) -> EhrClient:
        limits = Limits(max_bytes=2_000_000, tries=1)
        return EhrClient(BASE, limits=limits, pause=self.waits.append, jitter=lambda: 0.5)

    def sync_with(self, client: EhrClient) -> SyncReport:
        """One sync that subscribes too."""
        return sync_connection(
            self.database, self.connection, client=client, now=lambda: self.now, public_url=self.public_url
        )

    def pass_time(self, seconds: float) -> None:
        """On both clocks."""
        self.now += timedelta(seconds=seconds)
        self.ehr.pass_time(seconds)

    def work(self) -> list[str]:
        """What the worker does between polls; the requests it made, without the base address."""
        before = len(self.ehr.requests)
        with (
            self.client() as client,
            following(self.database, self.connection, client=client, now=lambda: self.now, hook=HOOK) as follow,
        ):
            work_off(follow)
        return [one.removeprefix(f"{BASE}/") for one in self.ehr.requests[before:]]

    def held_subscription(self) -> RemoteSubscription:
        with self.database.read() as tx:
            (found,) = remote_subscriptions.of_connection(tx, "clinic")
        return found

    def hear(self, *hints: Hint, told: Notification | None = None) -> None:
        """A notification reaches us."""
        notification = told or (Notification(kind="event", hints=hints) if hints else BARE)
        with self.database.begin() as tx:
            receive_notification(tx, self.held_subscription().id, notification, self.now)

    def hear_event(self, number: int, id_: str) -> None:
        """A numbered event about a Patient."""
        event = Event(number=number, mark=f"m{number}", hints=(patient(id_),))
        self.hear(told=Notification(kind="event", events=(event,), since=number))

    def body(self, id_: str) -> dict[str, Any]:
        """A Patient as it is held here."""
        found = self.find(id_)
        assert found is not None
        return dict(json.loads(found.body))

    def is_deleted(self, id_: str) -> bool:
        found = self.find(id_)
        return found is not None and found.deleted

    def waiting(self) -> list[Waiting]:
        """All that is to be read, now or later."""
        with self.database.read() as tx:
            return inbox.due(tx, "clinic", self.now + timedelta(days=30), 1000)


def patient(id_: str, version: str = "", *, gone: bool = False) -> Hint:
    return Hint(type="Patient", remote_id=id_, version=version, gone=gone)
