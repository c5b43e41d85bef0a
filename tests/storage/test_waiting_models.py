"""What waits to be read, to be looked at by a person, or to be sent, against the same kept in plain lists."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest

from fhir_tracker.storage import dispatches, inbox, notifications, quarantine
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.dispatches import Dispatch, Untold
from fhir_tracker.storage.inbox import Waiting
from tests.storage.samples import NOW, VIEWER, locked

MINUTE = timedelta(minutes=1)
LEASE = 5 * MINUTE
EHRS = ("ehr", "o'ther")
IDS = ("a", "b", "")
STEPS = 60


@dataclass
class Hint:
    """One row of the inbox; `times` tells readers of it apart who read before it was told once more."""

    version: str
    gone: bool
    received_at: datetime
    due_at: datetime
    order: int
    times: int = 1
    tries: int = 0
    misses: int = 0


class Inbox:
    """The inbox and its model."""

    def __init__(self, database: Database, seed: int) -> None:
        self.database, self.chance, self.now = database, random.Random(seed), NOW
        self.rows: dict[tuple[str, str], Hint] = {}
        self.read: list[Waiting] = []
        self.made = 0

    def step(self) -> None:
        self.now += self.chance.randint(0, 3) * MINUTE
        with self.database.begin() as tx:
            self.chance.choice((self.put, self.put, self.put, self.take, self.done, self.postpone))(tx)

    def put(self, tx: Tx) -> None:
        place = self.chance.choice(EHRS), self.chance.choice(IDS)
        version, gone = self.chance.choice(("1", "2", "")), self.chance.random() < 0.3
        due_at = self.now + self.chance.choice((-1, 0, 4)) * MINUTE
        told = {"type_": "Task", "version": version, "gone": gone, "at": self.now, "due_at": due_at}
        inbox.put(tx, connection=place[0], remote_id=place[1], **told)  # type: ignore[arg-type]
        self.made += 1
        before = self.rows.get(place)
        if before is None:
            self.rows[place] = Hint(version, gone, self.now, due_at, self.made)
            return
        before.version = version if before.version == version else ""
        before.gone, before.times = before.gone or gone, before.times + 1
        before.due_at, before.misses = (due_at if before.misses else before.due_at), 0

    def take(self, tx: Tx) -> None:
        self.read = inbox.due(tx, self.chance.choice(EHRS), self.now, self.chance.randint(1, 3))

    def done(self, tx: Tx) -> None:
        inbox.done(tx, self.read)
        for one in self.read:
            row = self.rows.get((one.connection, one.remote_id))
            if row is not None and row.times == one.times and row.received_at == one.received_at:
                del self.rows[one.connection, one.remote_id]
        self.read = []

    def postpone(self, tx: Tx) -> None:
        for one in self.read[:1]:
            due_at, tries, misses = self.now + 2 * MINUTE, one.tries + 1, self.chance.randint(0, 2)
            inbox.postpone(tx, one, due_at, tries=tries, misses=misses)
            row = self.rows.get((one.connection, one.remote_id))
            if row is not None and row.received_at == one.received_at:
                row.due_at, row.tries, row.misses = due_at, tries, misses

    def check(self) -> None:
        with self.database.read() as tx:
            for ehr in EHRS:
                mine = {id_: row for (key, id_), row in self.rows.items() if key == ehr}
                due = sorted((row.due_at, row.order, id_) for id_, row in mine.items() if row.due_at <= self.now)
                found = inbox.due(tx, ehr, self.now, 99)
                assert [one.remote_id for one in found] == [id_ for _, _, id_ in due]
                for one in found:
                    row = mine[one.remote_id]
                    assert (one.version, one.gone, one.received_at, one.due_at, one.times, one.tries, one.misses) == (
                        row.version, row.gone, row.received_at, row.due_at, row.times, row.tries, row.misses,
                    )  # fmt: skip
                assert inbox.waiting(tx, ehr) == len(mine)
                assert [inbox.room(tx, ehr, most) for most in (0, 1, 2, 9)] == [
                    max(0, most - len(mine)) for most in (0, 1, 2, 9)
                ]
            assert inbox.due_connections(tx, self.now) == {
                ehr for (ehr, _), row in self.rows.items() if row.due_at <= self.now
            }


@dataclass
class Kept:
    """One row of the quarantine."""

    place: tuple[str, str, str]
    body: str
    first: datetime
    last: datetime
    order: int
    times: int = 1
    resolved: datetime | None = None
    resolution: str | None = None

    @property
    def waits(self) -> bool:
        return self.resolved is None and self.resolution is None


class Quarantine:
    """The quarantine and its model."""

    def __init__(self, database: Database, seed: int) -> None:
        self.database, self.chance, self.now = database, random.Random(seed), NOW
        self.rows: list[Kept] = []
        self.ids: dict[int, Kept] = {}

    def step(self) -> None:
        self.now += self.chance.randint(0, 3) * MINUTE
        with self.database.begin() as tx:
            self.chance.choice((self.put, self.put, self.put, self.resolve, self.discard, self.resolve_all))(tx)
            self._learn(tx)

    def _learn(self, tx: Tx) -> None:
        """The ids of what is new, in the order in which it was kept."""
        new = sorted(one.id for one in quarantine.list(tx, VIEWER, limit=999) if one.id not in self.ids)
        unknown = [row for row in self.rows if row not in self.ids.values()]
        self.ids |= dict(zip(new, unknown, strict=True))

    def put(self, tx: Tx) -> None:
        place = self.chance.choice(EHRS), self.chance.choice(("a", "b")), self.chance.choice(("r1", "r2"))
        body = self.chance.choice(("{}", '{"a":1}'))
        told = {"type_": "Task", "detail": "d", "body": body, "at": self.now}
        quarantine.put(tx, connection=place[0], remote_id=place[1], reason=place[2], **told)  # type: ignore[arg-type]
        open_ = next((row for row in self.rows if row.place == place and row.resolved is None), None)
        if open_ is None:
            self.rows.append(Kept(place, body, self.now, self.now, len(self.rows)))
            return
        open_.resolution = open_.resolution if open_.body == body else None
        open_.body, open_.last, open_.times = body, self.now, open_.times + 1

    def resolve(self, tx: Tx) -> None:
        id_ = self.chance.choice([*self.ids, 10**9])
        row = self.ids.get(id_)
        can = row is not None and row.resolved is None
        assert quarantine.resolve(tx, id_, "by hand", self.now) == can
        if row is not None and can:
            row.resolved, row.resolution = self.now, "by hand"

    def discard(self, tx: Tx) -> None:
        id_ = self.chance.choice([*self.ids, 10**9])
        row = self.ids.get(id_)
        can = row is not None and row.waits
        assert quarantine.discard(tx, id_, "not wanted") == can
        if row is not None and can:
            row.resolution = "not wanted"

    def resolve_all(self, tx: Tx) -> None:
        ehr, id_ = self.chance.choice(EHRS), self.chance.choice(("a", "b"))
        some = [row for row in self.rows if row.place[:2] == (ehr, id_) and row.resolved is None]
        told = {"type_": "Task", "resolution": "applied", "at": self.now}
        assert quarantine.resolve_all(tx, connection=ehr, remote_id=id_, **told) == len(some)  # type: ignore[arg-type]
        for row in some:
            row.resolved, row.resolution = self.now, "applied"

    def check(self) -> None:
        waiting = [row for row in self.rows if row.waits]
        with self.database.read() as tx:
            found = quarantine.list(tx, VIEWER)
            assert [self.ids[one.id] for one in found] == waiting
            for id_, row in self.ids.items():
                one = quarantine.find(tx, VIEWER, id_)
                assert one is not None
                assert quarantine.find(tx, locked("ann"), id_) is None
                assert (one.connection, one.remote_id, one.reason) == row.place
                assert (one.body, one.first_seen_at, one.last_seen_at, one.times) == (
                    row.body, row.first, row.last, row.times,
                )  # fmt: skip
                assert (one.resolved_at, one.resolution) == (row.resolved, row.resolution)
            assert quarantine.list(tx, locked("ann")) == []
            counts = {ehr: sum(row.place[0] == ehr for row in waiting) for ehr in EHRS}
            assert quarantine.open_counts(tx) == {ehr: count for ehr, count in counts.items() if count}
            assert [quarantine.open_count(tx, ehr) for ehr in EHRS] == list(counts.values())
            assert quarantine.open_count(tx) == len(waiting)
            if found:
                assert quarantine.list(tx, VIEWER, after=found[0].id, limit=1) == found[1:2]


@dataclass(kw_only=True)
class Post:
    """Dispatches and the notifications they are made of, and the model of both."""

    database: Database
    chance: random.Random
    now: datetime = NOW
    told: dict[int, tuple[str, str | None, str | None, str]] = field(default_factory=dict)
    made: dict[int, Dispatch] = field(default_factory=dict)
    held: list[Dispatch] = field(default_factory=list)

    def step(self) -> None:
        self.now += self.chance.randint(0, 3) * MINUTE
        steps = (self.tell, self.tell, self.gather, self.gather, self.claim, self.claim, self.end, self.end, self.again)
        with self.database.begin() as tx:
            self.chance.choice((*steps, self.forget))(tx)

    def tell(self, tx: Tx) -> None:
        role, person = self.chance.choice((("rn", None), ("provider", None), (None, "Practitioner/a")))
        channel = self.chance.choice(("email", "webhook", "in-app"))
        whom = {"to_role": role, "to_person": person, "channel": channel}
        id_ = notifications.add(tx, **whom, subject="Task/a", patient="ann", text="x", at=self.now)  # type: ignore[arg-type]
        self.told[id_] = (channel, role, person, "new" if channel == "in-app" else "waiting")

    def gather(self, tx: Tx) -> None:
        known = dispatches.untold(tx)
        waiting = {whom[:3] for whom in self.told.values() if whom[3] == "waiting"}
        assert {(one.channel, one.role, one.person) for one in known} == waiting
        for one in known[:1]:
            mine = [id_ for id_, whom in self.told.items() if whom == (one.channel, one.role, one.person, "waiting")]
            limit = self.chance.randint(1, 3)
            ids = dispatches.gather(tx, one, limit)
            assert ids == tuple(str(id_) for id_ in sorted(mine)[:limit])
            for id_ in ids:
                self.told[int(id_)] = (one.channel, one.role, one.person, "told")
            reason = self.chance.choice((None, None, "no address"))
            made = dispatches.add(tx, one, ids, address="a@example.org", at=self.now, reason=reason)
            found = dispatches.find(tx, made)
            assert found is not None
            assert found.state == ("unsupported" if reason else "waiting")
            self.made[made] = found

    def claim(self, tx: Tx) -> None:
        channel = self.chance.choice(("email", "webhook"))
        free = [
            (one.due_at, one.id)
            for one in self.made.values()
            if one.state == "waiting" and one.channel == channel and one.due_at <= self.now
            and (one.lease_until is None or one.lease_until < self.now)
        ]  # fmt: skip
        found = dispatches.claim(tx, channel, self.now, LEASE)
        assert (found.id if found else None) == (min(free)[1] if free else None)
        if found:
            before = self.made[found.id]
            lease = {"token": before.token + 1, "attempts": before.attempts + 1, "lease_until": self.now + LEASE}
            self.made[found.id] = replace(before, **lease)  # type: ignore[arg-type]
            assert found == self.made[found.id]
            self.held.append(found)

    def end(self, tx: Tx) -> None:
        if not self.held:
            return
        one = self.held.pop(self.chance.randrange(len(self.held)))
        now = self.made.get(one.id)
        holds = now is not None and now.state == "waiting" and now.token == one.token
        how = self.chance.choice(("sent", "again", "dead"))
        retry_at = self.now + 2 * MINUTE if how == "again" else None
        if how == "sent":
            assert dispatches.sent(tx, one, self.now) == holds
        else:
            assert dispatches.failed(tx, one, "refused", retry_at, self.now) == holds
        if now is None or not holds:
            return
        ended = replace(now, lease_until=None, reason=None if how == "sent" else "refused")
        if how == "again":
            self.made[one.id] = replace(ended, due_at=self.now + 2 * MINUTE)
        else:
            self.made[one.id] = replace(ended, state="sent" if how == "sent" else "dead", ended_at=self.now)

    def again(self, tx: Tx) -> None:
        left = [one for one in self.made.values() if one.state != "sent"]
        if not left:
            return
        one = self.chance.choice(left)
        dispatches.again(tx, one, self.now)
        if one.state == "unsupported":
            del self.made[one.id]
            for id_ in map(int, one.notifications):
                self.told[id_] = (*self.told[id_][:3], "waiting")
        else:
            anew = {"state": "waiting", "due_at": self.now, "attempts": 0, "ended_at": None, "lease_until": None}
            self.made[one.id] = replace(one, **anew)  # type: ignore[arg-type]

    def forget(self, tx: Tx) -> None:
        before = self.now - 10 * MINUTE
        old = [one.id for one in self.made.values() if one.state == "sent" and one.ended_at and one.ended_at < before]
        assert dispatches.forget_sent(tx, before) == len(old)
        for id_ in old:
            del self.made[id_]

    def check(self) -> None:
        with self.database.read() as tx:
            left = [one for _, one in sorted(self.made.items()) if one.state != "sent"]
            assert dispatches.left(tx, limit=999) == left
            for state in dispatches.STATES:
                expected = [one for _, one in sorted(self.made.items()) if one.state == state]
                assert dispatches.left(tx, (state,), limit=999) == expected
            assert dispatches.counts(tx) == {
                state: count for state in dispatches.STATES if (count := sum(one.state == state for one in left))
            }
            assert dispatches.next_due(tx) == min((one.due_at for one in left if one.state == "waiting"), default=None)
            for one in left[:3]:
                subjects = dispatches.subjects(tx, one.notifications)
                assert [str(each.notification) for each in subjects] == sorted(one.notifications, key=int)
            unread = sum(whom[0] == "in-app" and whom[1] == "rn" for whom in self.told.values())
            assert notifications.unread_count(tx, VIEWER, ["rn"]) == unread
            assert notifications.unread_count(tx, locked("bob"), ["rn"]) == 0


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("kind", ["inbox", "quarantine", "post"])
def test_what_waits_is_what_plain_lists_say(database: Database, kind: str, seed: int) -> None:
    walk: Inbox | Quarantine | Post
    if kind == "inbox":
        walk = Inbox(database, seed)
    elif kind == "quarantine":
        walk = Quarantine(database, seed)
    else:
        walk = Post(database=database, chance=random.Random(seed))
    for number in range(STEPS):
        walk.step()
        if number % 4 == 3:
            walk.check()


def test_nothing_is_gathered_for_somebody_of_whom_only_the_role_is_the_same(database: Database) -> None:
    with database.begin() as tx:
        notifications.add(
            tx, to_role="rn", to_person="Practitioner/a", channel="email", subject="s", patient=None, text="", at=NOW
        )
        for role, person in (("rn", None), (None, "Practitioner/a"), (None, None), ("", "Practitioner/a")):
            assert dispatches.gather(tx, Untold(channel="email", role=role, person=person, oldest=NOW)) == ()
        assert len(dispatches.gather(tx, Untold(channel="email", role="rn", person="Practitioner/a", oldest=NOW))) == 1
