"""Leaving an EHR: nothing of ours stays there, whatever a sync was doing at that moment, or what stays is named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import httpx
import pytest

from fhir_tracker import connections, issuers
from fhir_tracker.errors import Busy, NotFound
from fhir_tracker.issuers import Terms
from fhir_tracker.storage import connections as stored
from fhir_tracker.storage import epochs, remote_subscriptions
from fhir_tracker.storage import issuers as stored_issuers
from fhir_tracker.storage import settings as states
from fhir_tracker.storage.database import Database, Tx
from subscriptions import follow_otherwise, leases, leave
from subscriptions.leaving import TRIES
from tests.subscriptions.fake_ehr import FakeEhr
from tests.subscriptions.listener import HOOK, Listener
from tests.subscriptions.subscribing import Subscriptions


class Leaver(Listener):
    """A tracker that stops following."""

    def leave(self, *, reached: bool = True, **more: Any) -> list[str]:
        with self.client() as client:
            given = client if reached else None
            return leave(self.database, self.connection, given, now=lambda: self.now, hook=HOOK, **more)

    def is_known(self) -> bool:
        with self.database.read() as tx:
            held = remote_subscriptions.of_connection(tx, "clinic")
            return stored.find(tx, "clinic") is not None or bool(held)


@pytest.fixture
def there(ehr: FakeEhr) -> Subscriptions:
    ehr.put("Patient", "a")
    return Subscriptions(ehr)


@pytest.fixture
def leaver(database: Database, ehr: FakeEhr, there: Subscriptions) -> Leaver:
    made = Leaver(database, ehr)
    made.sync()
    assert there.held
    return made


def test_ours_are_deleted_there_and_the_connection_is_forgotten(leaver: Leaver, there: Subscriptions) -> None:
    assert leaver.leave() == []
    assert there.held == {}
    assert not leaver.is_known()


@pytest.mark.parametrize("reached", [True, False])
def test_what_could_not_be_deleted_is_named(leaver: Leaver, ehr: FakeEhr, there: Subscriptions, reached: bool) -> None:
    ehr.twists.insert(0, lambda request: ehr.json({}, 403) if request.method == "DELETE" else None)
    assert leaver.leave(reached=reached) == ["Patient"]
    assert len(there.held) == 1
    assert not leaver.is_known()


def test_one_that_was_made_without_our_hearing_of_it_is_found_and_deleted(
    database: Database, ehr: FakeEhr, there: Subscriptions
) -> None:
    there.silent_create = True
    made = Leaver(database, ehr)
    made.sync()
    assert (len(there.held), made.held_subscription().remote_id) == (1, None)
    assert made.leave() == []
    assert there.held == {}


def test_a_renewal_under_way_is_waited_for(leaver: Leaver, there: Subscriptions) -> None:
    lease = leases.take(leaver.database, "clinic", leaver.now)
    waited: list[float] = []

    def pause(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            there.held["late"] = dict(there.only(), id="late")
            with leaver.database.begin() as tx:
                remote_subscriptions.change(tx, leaver.held_subscription().id, {"remote_id": "late"})
            leases.release(leaver.database, lease, leaver.now)

    assert leaver.leave(pause=pause) == []
    assert len(waited) == 3
    assert "late" not in there.held


@pytest.mark.parametrize("methods", [{"PUT"}, {"POST"}])
def test_a_sync_that_does_not_end_is_cut_off_and_undoes_what_it_was_just_making(
    leaver: Leaver, ehr: FakeEhr, there: Subscriptions, methods: set[str]
) -> None:
    there.only()["status"] = "error"
    left: list[list[str]] = []
    waited: list[float] = []

    def meanwhile(request: Any) -> None:
        if request.method in methods and not left:
            left.append([])
            left[0] = leaver.leave(pause=waited.append)

    ehr.twists.insert(0, meanwhile)
    leaver.pass_time(61)
    if methods == {"POST"}:
        ehr.twists.insert(0, lambda request: httpx.Response(405) if request.method == "PUT" else None)
    with pytest.raises(Busy):
        leaver.work()
    assert len(waited) == TRIES
    assert left == [[]]
    assert there.held == {}
    assert not leaver.is_known()


def test_a_worker_that_comes_late_to_a_connection_that_was_removed_does_nothing(
    leaver: Leaver, ehr: FakeEhr, there: Subscriptions
) -> None:
    leaver.leave()
    asked = len(ehr.requests)
    with pytest.raises(Busy, match="removed"):
        leaver.work()
    with pytest.raises(Busy, match="removed"):
        leaver.sync()
    with leaver.database.begin() as tx:
        connections.add(tx, "clinic", "https://other.example/fhir", now=leaver.now, moved=True)
    with pytest.raises(Busy, match="changed"):
        leaver.work()
    assert len(ehr.requests) == asked


def let_in(leaver: Leaver, key: str = "clinic", *, provider: bool = False) -> None:
    """Staff comes in by an issuer of that key, and somebody waits to be let in."""
    keep = issuers.of_provider if provider else issuers.of_connection
    with leaver.database.begin() as tx:
        keep(tx, key, Terms(url=f"https://{key}.example/auth", client_id="tracker"), "k" * 40, leaver.now)


def vouching(leaver: Leaver) -> list[str]:
    with leaver.database.read() as tx:
        return [one.key for one in stored_issuers.all(tx)]


@pytest.mark.security("S50")
def test_nobody_is_let_in_any_more_from_a_server_that_was_left_and_others_are(leaver: Leaver) -> None:
    let_in(leaver)
    let_in(leaver, "office", provider=True)
    with leaver.database.read() as tx:
        before = epochs.epoch(tx)
    leaver.leave()
    assert vouching(leaver) == ["office"]
    with leaver.database.read() as tx:
        assert epochs.epoch(tx) > before, "what is remembered of rights is old"


def test_a_login_provider_that_happens_to_have_the_key_stays(leaver: Leaver) -> None:
    let_in(leaver)
    with leaver.database.begin() as tx:
        one = stored_issuers.find(tx, "clinic")
        assert one is not None
        stored_issuers.save(tx, replace(one, kind=stored_issuers.PROVIDER))
    leaver.leave()
    assert vouching(leaver) == ["clinic"]


class NotWritten(Exception):
    """The trail's row could not be written."""


def refusing(tx: Tx, left: Sequence[str]) -> None:
    """A note after which nothing may be kept."""
    states.put(tx, "a-note", ",".join(left))
    raise NotWritten


@pytest.mark.security("S48")
def test_without_its_note_nothing_is_left_or_changed_and_it_can_be_tried_again(
    leaver: Leaver, there: Subscriptions
) -> None:
    let_in(leaver)
    with pytest.raises(NotWritten):
        leaver.leave(note=refusing)
    assert leaver.is_known()
    assert vouching(leaver) == ["clinic"]
    changed = replace(leaver.connection, poll_seconds=77)
    with leaver.client() as client, pytest.raises(NotWritten):
        follow_otherwise(
            leaver.database, leaver.connection, changed, client, now=lambda: leaver.now, hook=HOOK, note=refusing
        )
    with leaver.database.read() as tx:
        assert connections.get(tx, "clinic").poll_seconds != 77
        assert states.get(tx, "a-note") is None
    assert leaver.leave(note=lambda tx, left: states.put(tx, "a-note", f"left {len(left)}")) == []
    with leaver.database.read() as tx:
        assert states.get(tx, "a-note") == "left 0"
    assert (leaver.is_known(), vouching(leaver), there.held) == (False, [], {})


def test_a_connection_that_was_removed_meanwhile_is_not_changed_and_no_note_says_so(leaver: Leaver) -> None:
    noted: list[object] = []
    leaver.leave()
    changed = replace(leaver.connection, poll_seconds=77)
    with leaver.client() as client, pytest.raises(NotFound, match="no connection clinic"):
        follow_otherwise(
            leaver.database,
            leaver.connection,
            changed,
            client,
            now=lambda: leaver.now,
            hook=HOOK,
            note=lambda tx, left: noted.append(left),
        )
    assert (leaver.is_known(), noted) == (False, [])
