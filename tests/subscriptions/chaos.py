"""An EHR that changes, errs and stalls by a seeded chance, a tracker that is killed by it, and what must hold after each."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import httpx

from fhir_tracker import connections, quarantine
from fhir_tracker.fhir.dates import instant, parse_datetime
from fhir_tracker.storage import cursors, resources
from fhir_tracker.storage.database import Database
from subscriptions import EhrClient, Limits, SyncReport, retry_quarantined, sync_connection
from tests.subscriptions.fake_ehr import BASE, JSON, FakeEhr
from tests.subscriptions.tracker import VIEWER

Key = tuple[str, str]
TYPES = ("Patient", "CarePlan")
IDS = [(type_, f"{type_[0].lower()}{number}") for type_ in TYPES for number in range(9)]
LATEST_COMMIT = 90.0
OUTCOME = {"resourceType": "OperationOutcome", "issue": [{"code": "not-found"}]}


class Killed(BaseException):
    """kill -9 at this very moment: nothing after it runs, not even the giving back of the lease."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What sort of server a run has: its clocks, its versions, its paging, how fine its stamps are."""

    skew: float
    jitter: float
    versions: str
    paging: str
    form: str

    @classmethod
    def drawn(cls, chance: random.Random) -> Kind:
        versions = chance.choice(["numbers", "numbers", "words", "none"])
        ordered = versions == "numbers"
        paging = chance.choice(["stored", "stored", "offset"])
        return cls(
            skew=chance.choice([0.0, 0.0, -600.0, -4.0, 4.0, 600.0]),
            jitter=3.0 if ordered else 0.0,
            versions=versions,
            paging=paging,
            form=chance.choice(["ms", "ms", "s", "minute"]) if ordered and paging == "stored" else "ms",
        )


@dataclass
class Row:
    """What is true of one resource of the EHR: `content` counts its contents, `visible` says since which event it shows."""

    content: int = 0
    version: int = 0
    text: str | None = None
    good: bool = True
    visible: int = 0
    stamp: datetime | None = None
    same: set[str] = field(default_factory=set)


class ChaosEhr(FakeEhr):
    """`step` does something to the record; `trouble` is the share of requests that go wrong."""

    def __init__(self, chance: random.Random, kind: Kind) -> None:
        super().__init__(page_size=chance.choice([3, 4, 7, 50] if kind.paging == "stored" else [2, 3]))
        self.chance = chance
        self.kind = kind
        self.skew = timedelta(seconds=kind.skew)
        self.rows: dict[Key, Row] = {key: Row() for key in IDS}
        self.pending: list[tuple[datetime, Key, str, str]] = []
        self.events = 0
        self.trouble = 0.0
        self.busy = False
        self.stale: dict[str, list[tuple[int, str]]] = {}
        self.served_stale: dict[str, int] = {}
        self.any_stale = False
        self.twists = [self._twist]

    def step(self) -> None:
        """One thing happens in the EHR: time passes, or a resource is written, touched, deleted or spoiled."""
        self.events += 1
        if self.chance.random() < 0.45:
            self.pass_time(self.chance.choice([0.001, 0.4, 1.0, 7.0, 60.0, 300.0]))
        if self.kind.paging == "offset":
            self.pass_time(0.002)  # a whole page of one stamp leaves nothing to hold on to but the count of rows
        self._let_appear()
        key = self.chance.choice(IDS)
        row = self.rows[key]
        if any(waiting == key for _, waiting, _, _ in self.pending):
            return
        act = self.chance.choices(
            ["write", "touch", "late", "delete", "spoil"], [10, 2, 2, 3, self.kind.paging == "stored"]
        )[0]
        if act == "delete":
            self._delete(key, row)
        elif act == "touch" and row.text is not None and row.good:
            self._write(key, row, row.content, late=False)
        else:
            self._write(key, row, row.content + 1, late=act == "late", good=act != "spoil")

    def settle(self) -> None:
        """All that was slow is visible, nothing goes wrong any more, and nothing spoilt is left that could be written."""
        self.trouble, self.busy = 0.0, False
        self.pass_time(LATEST_COMMIT)
        self.events += 1
        self._let_appear()
        assert not self.pending

    def _write(self, key: Key, row: Row, content: int, *, late: bool, good: bool = True) -> None:
        moment = self._moment(row)
        row.version += 1
        stamp = self._form(moment)
        body = {"resourceType": key[0], "id": key[1], "meta": self._meta(row, stamp) if good else "spoilt"}
        text = json.dumps(body | self._members(key, content), indent=self.chance.choice([None, 1]))
        row.same = row.same | {text} if content == row.content and row.good else {text}
        row.content, row.good, row.stamp = content, good, moment
        if late:
            seen = self.now + timedelta(seconds=self.chance.uniform(1, LATEST_COMMIT))
            self.pending.append((seen, key, text, stamp))
            return
        self._show(key, text, stamp)

    def _delete(self, key: Key, row: Row) -> None:
        if row.text is None:
            return
        row.stamp = self._moment(row)
        row.version += 1
        row.text, row.visible = None, self.events
        self.versions[key] = row.version - 1
        self.delete(*key)
        at, told = self.history[-1]
        told["response"]["lastModified"] = instant(row.stamp)
        if self.kind.versions != "numbers":
            del told["response"]["etag"]
        self.history[-1] = (max(at, row.stamp), told)

    def _show(self, key: Key, text: str, stamp: str) -> None:
        row = self.rows[key]
        row.text, row.visible = text, self.events
        self.versions[key] = row.version
        self.put_text(*key, text, stamp)

    def _let_appear(self) -> None:
        due = [one for one in self.pending if one[0] <= self.now]
        self.pending = [one for one in self.pending if one[0] > self.now]
        for _, key, text, stamp in due:
            self._show(key, text, stamp)

    def _moment(self, row: Row) -> datetime:
        """When a row is stamped: by one of several clocks, but by none twice or backwards where only stamps tell order."""
        moment = self.now + self.skew + timedelta(seconds=self.chance.uniform(-self.kind.jitter, self.kind.jitter))
        if self.kind.versions != "numbers" and row.stamp is not None and moment <= row.stamp:
            self.pass_time((row.stamp - moment).total_seconds() + 0.002)
            moment = self.now + self.skew
        return moment

    def _form(self, moment: datetime) -> str:
        forms = {"s": "%Y-%m-%dT%H:%M:%SZ", "minute": "%Y-%m-%dT%H:%MZ"}
        return moment.strftime(forms[self.kind.form]) if self.kind.form in forms else instant(moment)

    def _meta(self, row: Row, stamp: str) -> dict[str, str]:
        version = {"numbers": str(row.version), "words": f"v-{self.chance.getrandbits(40):x}"}.get(self.kind.versions)
        return {"lastUpdated": stamp} | ({"versionId": version} if version else {})

    def _members(self, key: Key, content: int) -> dict[str, object]:
        tag: dict[str, object] = {"identifier": [{"system": "urn:synthetic", "value": str(content)}]}
        if key[0] == "Patient":
            return tag
        return tag | {"status": "active", "intent": "plan", "subject": {"reference": f"Patient/p{content % 12}"}}

    def answer(self, request: httpx.Request) -> httpx.Response:
        if self.busy and self.chance.random() < 0.3:
            self.step()
        offset = int(request.url.params.get("_offset", 0))
        path = request.url.path
        if path.endswith("/_history"):
            return self._cut(super().answer(request), request, offset, "history")
        if self.kind.paging == "offset" and path.endswith(TYPES):
            whole, self.page_size = self.page_size, 10_000
            found = super().answer(request)
            self.page_size = whole
            return self._cut(found, request, offset, "searchset")
        return super().answer(request)

    def _cut(self, found: httpx.Response, request: httpx.Request, offset: int, kind: str) -> httpx.Response:
        """A page counted over what is there now, which is what makes such paging slippery."""
        entries = [json.dumps(one) for one in json.loads(found.text)["entry"]]
        if kind == "searchset":
            entries = [f'{{"resource": {self.texts[self._key(one)]}}}' for one in json.loads(found.text)["entry"]]
        end = offset + self.page_size
        more = (
            f"{BASE}{request.url.path.removeprefix('/fhir')}?"
            + request.url.copy_set_param("_offset", end).query.decode()
        )
        return self.bundle(entries[offset:end], following=more if end < len(entries) else None, kind=kind)

    @staticmethod
    def _key(entry: dict[str, dict[str, str]]) -> Key:
        return entry["resource"]["resourceType"], entry["resource"]["id"]

    def _twist(self, request: httpx.Request) -> httpx.Response | None:
        if self.chance.random() >= self.trouble:
            return self._remembered(request)
        paging = "_getpages" in request.url.params
        return self._wrong(request, self.chance.choice(["expire", *WRONG] if paging else [*WRONG, *["stale"] * 6]))

    def _remembered(self, request: httpx.Request) -> httpx.Response | None:
        type_ = request.url.path.rsplit("/", 1)[-1]
        if (
            type_ in TYPES
            and "_offset" not in request.url.params
            and self.kind.versions == "numbers"
            and self.kind.paging == "stored"
        ):
            found = self.answer(request)
            made = json.loads(found.text) | {"meta": {"lastUpdated": instant(self.now)}}
            kept = found.text.replace("{", f'{{"meta": {json.dumps(made["meta"])}, ', 1)
            self.stale[type_] = [*self.stale.get(type_, []), (self.events, kept)][-6:]
            return found
        return None

    def _wrong(self, request: httpx.Request, what: str) -> httpx.Response | None:
        type_ = request.url.path.rsplit("/", 1)[-1]
        if what == "expire":
            self.expire_pages()
            return self.json(OUTCOME, 410)
        if what == "stale":
            if type_ not in self.stale:
                return None
            self.any_stale = True
            since, kept = self.chance.choice(self.stale[type_])
            self.served_stale[type_] = min(since, self.served_stale.get(type_, since))
            return self.text(kept)
        if what in ("refused", "broken", "silent"):
            raise {"refused": httpx.ConnectError, "broken": httpx.ReadError, "silent": httpx.ReadTimeout}[what]("x")
        if what == "cut off":
            return self.text(self.answer(request).text[:-9])
        return WRONG[what]()


WRONG = {
    "slow down": lambda: httpx.Response(429, headers={"retry-after": "1"}),
    "slow down long": lambda: httpx.Response(429, headers={"retry-after": "900"}),
    "unavailable": lambda: httpx.Response(503),
    "error": lambda: httpx.Response(500, headers=JSON, text=json.dumps(OUTCOME)),
    "login": lambda: httpx.Response(200, headers={"content-type": "text/html"}, text="<form>Sign in</form>"),
    "nothing": lambda: httpx.Response(200, headers=JSON, text=""),
    "outcome": lambda: httpx.Response(200, headers=JSON, text=json.dumps(OUTCOME)),
    "refused": lambda: httpx.Response(502),
    "broken": lambda: httpx.Response(502),
    "silent": lambda: httpx.Response(504),
    "cut off": lambda: httpx.Response(502),
}


class Chaos:
    """One run: an EHR and a tracker from one seed, and the invariants between them."""

    def __init__(self, database: Database, seed: int) -> None:
        self.chance = random.Random(seed)
        self.kind = Kind.drawn(self.chance)
        self.ehr = ChaosEhr(self.chance, self.kind)
        self.database = database
        self.now = parse_datetime("2031-01-01T00:00:00Z")
        self.fuse: int | None = None
        self.kills = 0
        self.marks: dict[str, int] = {}
        with database.begin() as tx:
            self.connection = connections.add(tx, "clinic", BASE, now=self.now, types=TYPES)

    def clock(self) -> datetime:
        """Our clock, which is the failpoint too: it is read before, in and after every transaction of a sync."""
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse < 0:
                raise Killed
        return self.now

    def sync(self, *, fuse: int | None = None) -> SyncReport | None:
        """One sync by a process of its own; None when it was killed on the way."""
        self.now += timedelta(seconds=self.chance.choice([11.0, 30.0, 4000.0]))
        begun = self._begun()
        self.ehr.served_stale = {}
        self.fuse = fuse
        limits = Limits(max_bytes=2_000_000, tries=2)
        try:
            with EhrClient(BASE, limits=limits, pause=lambda _: None, jitter=lambda: 0.5) as client:
                report = sync_connection(self.database, self.connection, client=client, now=self.clock)
        except Killed:
            self.kills += 1
            report = None
        self.fuse = None
        self._check_marks(begun, report)
        return report

    def retry(self) -> None:
        """Somebody takes everything in quarantine in again."""
        with self.database.read() as tx:
            waiting = quarantine.waiting(tx, VIEWER)
        for one in waiting:
            retry_quarantined(self.database, one, lambda: self.now)

    def play(self, steps: int) -> None:
        """Changes, faults, kills and syncs by chance; after each sync what may be relied on is checked."""
        self.ehr.trouble, self.ehr.busy = self.chance.choice([0.0, 0.05, 0.2]), True
        for _ in range(steps):
            for _ in range(self.chance.randrange(12)):
                self.ehr.step()
            self.sync(fuse=self.chance.choice([None, None, self.chance.randrange(40)]))
            self.check_order()
            if self.chance.random() < 0.1:
                self.retry()

    def come_to_rest(self) -> None:
        """Quiet: the EHR stands still and answers; three whole syncs in a row, the last of which writes nothing."""
        self.ehr.settle()
        complete = 0
        for _ in range(30):
            report = self.sync()
            assert report is not None
            complete = complete + 1 if report.complete else 0
            self.ehr.pass_time(30)
            if complete == 3:
                break
        assert complete == 3
        assert report is not None
        assert sum(one.tally.applied + one.tally.deleted for one in report.types) == 0

    def check_order(self) -> None:
        """I2 and nothing twice: along our versions the contents of the EHR only go up."""
        for type_, id_ in IDS:
            with self.database.read() as tx:
                versions = resources.history(tx, VIEWER, type_, f"clinic-{id_}", count=1000)
            contents = [_content(one.body) for one in reversed(versions) if one.body is not None]
            assert contents == sorted(set(contents)), (type_, id_, contents)

    def check_equal(self) -> None:
        """I1 and the text to the letter: each latest version is here or in quarantine, each deleted one is not."""
        for key, row in self.ehr.rows.items():
            assert self.has(key, row), (key, row, self.held(key))
        with self.database.read() as tx:
            waiting = {(one.type, one.remote_id): one.body for one in quarantine.waiting(tx, VIEWER)}
        spoilt = {key: row.text for key, row in self.ehr.rows.items() if row.text is not None and not row.good}
        extra = {key for key in waiting if key not in spoilt}
        assert {key: waiting.get(key) for key in spoilt} == spoilt, (waiting, spoilt)
        assert not extra or self.ehr.any_stale, extra  # an old search may show again what was spoilt and mended since

    def has(self, key: Key, row: Row) -> bool:
        """Whether the tracker knows the latest of one resource."""
        text, alive = self.held(key)
        if row.text is None:
            return not alive
        if row.good:
            return alive and text in row.same
        with self.database.read() as tx:
            aside = [one for one in quarantine.waiting(tx, VIEWER) if (one.type, one.remote_id) == key]
        return [one.body for one in aside] == [row.text]

    def held(self, key: Key) -> tuple[str | None, bool]:
        """The EHR's text as kept here, and whether the resource is alive."""
        type_, id_ = key
        with self.database.read() as tx:
            stored = resources.find(tx, VIEWER, type_, f"clinic-{id_}")
            text = resources.remote_body(tx, VIEWER, type_, f"clinic-{id_}")
        return text, stored is not None and not stored.deleted

    def _begun(self) -> dict[str, datetime | None]:
        """Before a sync: the watermarks; a pass that begins now sees all that shows now."""
        marks: dict[str, datetime | None] = {}
        with self.database.read() as tx:
            for type_ in TYPES:
                cursor = cursors.find(tx, "clinic", type_)
                marks[type_] = cursor.watermark if cursor else None
                if cursor is None or cursor.next_url is None:
                    self.marks[type_] = self.ehr.events
        return marks

    def _check_marks(self, begun: dict[str, datetime | None], report: SyncReport | None) -> None:
        """I6: where a cursor moved on, nothing is missing that showed when its pass began."""
        done = {one.type for one in report.types if one.error is None} if report else set()
        with self.database.read() as tx:
            moved = {type_: cursors.find(tx, "clinic", type_) for type_ in TYPES}
        for type_, cursor in moved.items():
            if type_ not in done and (cursor is None or cursor.watermark == begun[type_]):
                continue
            mark = min(self.marks[type_], self.ehr.served_stale.get(type_, self.marks[type_]))
            for key, row in self.ehr.rows.items():
                settled = key[0] == type_ and row.visible <= mark and key not in [one[1] for one in self.ehr.pending]
                if settled and (row.text is not None or type_ in done):
                    assert self.has(key, row), (key, row, self.held(key), mark)


def _content(body: str) -> int:
    return int(json.loads(body)["identifier"][0]["value"])
