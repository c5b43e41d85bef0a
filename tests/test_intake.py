"""What becomes of one entry: a version, nothing, or a row in quarantine - and that this does not depend on its company."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fhir_tracker import intake, quarantine, records
from fhir_tracker.errors import Conflict
from fhir_tracker.fhir.body import MAX_BYTES
from fhir_tracker.intake import EntryRefused, Received, Tally, Unusable
from fhir_tracker.model.author import Author
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage import changes, resources, work_items
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.quarantine import Quarantined
from fhir_tracker.storage.resources import Stored, StoredVersion
from mappings import Source, mapping_named
from tests.support.clinic import MONDAY, RING, Clinic, encounter

NOW = datetime(2024, 5, 6, 12, 0, tzinfo=UTC)
VIEWER = worker_viewer("sync")
GENERIC = mapping_named("generic")


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Takes pages of one connection in, each in a transaction of its own, a minute apart."""

    database: Database
    key: str = "clinic"

    @property
    def source(self) -> Source:
        return Source(key=self.key, base_url=f"https://{self.key}.example/fhir")

    def author(self, at: datetime = NOW) -> Author:
        return Author(viewer=VIEWER, origin=f"ehr:{self.key}", at=at)

    def read(self, sent: object, type_: str = "Patient") -> Received | Unusable:
        text = sent if isinstance(sent, str) else json.dumps(sent)
        return intake.read_entry(text.encode(), type_, lambda resource: GENERIC.to_tracker(resource, self.source))

    def take(self, *sent: object, type_: str = "Patient", at: datetime = NOW) -> Tally:
        entries = [self.read(one, type_) for one in sent]
        with self.database.begin() as tx:
            return intake.take_page(tx, entries, self.key, self.author(at))

    def delete(self, id_: str, version: str | None = None, type_: str = "Patient") -> bool:
        with self.database.begin() as tx:
            return intake.take_deletion(tx, type_, id_, version, self.key, self.author())

    def find(self, id_: str, type_: str = "Patient") -> Stored | None:
        with self.database.read() as tx:
            return resources.find(tx, VIEWER, type_, f"{self.key}-{id_}")

    def versions(self, id_: str, type_: str = "Patient") -> list[StoredVersion]:
        with self.database.read() as tx:
            return resources.history(tx, VIEWER, type_, f"{self.key}-{id_}", count=100)

    def verbatim(self, id_: str) -> Any:
        with self.database.read() as tx:
            return json.loads(resources.remote_body(tx, VIEWER, "Patient", f"{self.key}-{id_}") or "null")

    def waiting(self) -> list[Quarantined]:
        with self.database.read() as tx:
            return quarantine.waiting(tx, VIEWER, self.key)


@pytest.fixture
def desk(database: Database) -> Desk:
    return Desk(database=database)


def patient(
    id_: str = "a", *, version: object = None, updated: str | None = None, gender: str = "other", **more: object
) -> dict[str, Any]:
    given = {"versionId": version, "lastUpdated": updated}
    meta = {name: value for name, value in given.items() if value is not None}
    return {"resourceType": "Patient", "id": id_, "gender": gender, **({"meta": meta} if meta else {}), **more}


def minute(number: int) -> str:
    return f"2024-05-06T12:{number:02}:00Z"


def one(**counts: int) -> Tally:
    return replace(Tally(fetched=1), **counts)


APPLIED, UNCHANGED, STALE = one(applied=1), one(unchanged=1), one(stale=1)

# What is held, what comes, and what is made of it.
SECOND = [
    ("the very same again", patient(version="1"), patient(version="1"), UNCHANGED),
    ("a new version of the same content", patient(version="1"), patient(version="2"), UNCHANGED),
    ("the same content without version", patient(), patient(), UNCHANGED),
    ("the same content, stamped later", patient(updated=minute(1)), patient(updated=minute(2)), UNCHANGED),
    ("a newer version", patient(version="1"), patient(version="2", gender="male"), APPLIED),
    ("a newer version with more digits", patient(version="9"), patient(version="10", gender="male"), APPLIED),
    ("an older version", patient(version="2"), patient(version="1", gender="male"), STALE),
    ("an older version with fewer digits", patient(version="10"), patient(version="9", gender="male"), STALE),
    ("version zero after one", patient(version="1"), patient(version="0", gender="male"), STALE),
    ("one version with two contents", patient(version="2"), patient(version="2", gender="male"), APPLIED),
    ("versions as numbers", patient(version=2), patient(version=1, gender="male"), STALE),
    (
        "words for versions, stamped later",
        patient(version="x", updated=minute(1)),
        patient(version="a", updated=minute(2), gender="male"),
        APPLIED,
    ),
    (
        "words for versions, stamped earlier",
        patient(version="a", updated=minute(2)),
        patient(version="x", updated=minute(1), gender="male"),
        STALE,
    ),
    (
        "no versions, stamped earlier in another zone",
        patient(updated="2024-05-06T12:00:00Z"),
        patient(updated="2024-05-06T13:30:00+02:00", gender="male"),
        STALE,
    ),
    ("no versions, no stamps", patient(), patient(gender="male"), APPLIED),
    ("a stamp that cannot be read", patient(updated=minute(1)), patient(updated="soon", gender="male"), APPLIED),
    (
        "a stamp after one that could not be read",
        patient(updated="soon"),
        patient(updated=minute(1), gender="male"),
        APPLIED,
    ),
    ("a version too long for a number", patient(version="1" * 30), patient(version="2", gender="male"), APPLIED),
    ("digits of another script", patient(version="٢"), patient(version="1", gender="male"), APPLIED),
    (
        "numbers speak before stamps",
        patient(version="1", updated=minute(9)),
        patient(version="2", updated=minute(1), gender="male"),
        APPLIED,
    ),
]


@pytest.mark.parametrize(("held", "sent", "made"), [row[1:] for row in SECOND], ids=[row[0] for row in SECOND])
def test_what_comes_second_is_judged_by_version_then_stamp_then_content(
    desk: Desk, held: dict[str, Any], sent: dict[str, Any], made: Tally
) -> None:
    assert desk.take(held) == APPLIED
    assert desk.take(sent) == made
    winner = held if made == STALE else sent
    stored = desk.find("a")
    assert stored is not None
    assert json.loads(stored.body)["gender"] == winner["gender"]
    assert stored.version == (2 if made.applied else 1)
    assert desk.verbatim("a")["gender"] == winner["gender"]


@pytest.mark.parametrize(("held", "sent", "made"), [row[1:] for row in SECOND], ids=[row[0] for row in SECOND])
def test_one_page_with_both_is_judged_as_two_pages_are(
    desk: Desk, held: dict[str, Any], sent: dict[str, Any], made: Tally
) -> None:
    assert desk.take(held, sent) == APPLIED + made
    assert len(desk.versions("a")) == 1 + made.applied


def test_a_version_counted_on_without_a_change_still_makes_what_is_older_stale(desk: Desk) -> None:
    desk.take(patient(version="1"))
    assert desk.take(patient(version="3", updated=minute(3))) == UNCHANGED
    assert desk.take(patient(version="2", gender="male")) == STALE
    assert desk.take(patient(version="3")) == UNCHANGED
    stored = desk.find("a")
    assert stored is not None
    assert (stored.version, stored.remote_version) == (1, "3")
    assert desk.verbatim("a")["meta"]["versionId"] == "3"
    assert desk.take(patient(version="1")) == UNCHANGED
    assert desk.verbatim("a")["meta"]["versionId"] == "3"


def test_without_numbers_the_stamp_is_counted_on_too(desk: Desk) -> None:
    desk.take(patient(version="a", updated=minute(1)))
    assert desk.take(patient(version="c", updated=minute(3))) == UNCHANGED
    assert desk.take(patient(version="b", updated=minute(2), gender="male")) == STALE


CONTENT = [
    (
        "the order of members",
        '{"resourceType":"Patient","id":"a","active":true}',
        '{"active":true,"id":"a","resourceType":"Patient"}',
    ),
    ("white space", '{"resourceType":"Patient","id":"a"}', '{ "resourceType" : "Patient" ,\n"id":"a" }'),
    ("escapes", '{"resourceType":"Patient","id":"a","x":"é"}', '{"resourceType":"Patient","id":"a","x":"\\u00e9"}'),
    (
        "meta's own members",
        '{"resourceType":"Patient","id":"a","meta":{"versionId":"1"}}',
        '{"resourceType":"Patient","id":"a"}',
    ),
]


@pytest.mark.parametrize(("first", "second"), [row[1:] for row in CONTENT], ids=[row[0] for row in CONTENT])
def test_how_it_is_written_is_no_change(desk: Desk, first: str, second: str) -> None:
    desk.take(first)
    assert desk.take(second) == UNCHANGED


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ('"x":[1,2]', '"x":[2,1]'),
        ('"x":1.0', '"x":1.00'),
        ('"x":"a"', '"x":"a "'),
        ('"x":true', '"x":"true"'),
        ('"meta":{"tag":[{"code":"a"}]}', '"meta":{"tag":[{"code":"b"}]}'),
        ('"_birthDate":{"id":"1"}', '"_birthDate":{"id":"2"}'),
    ],
)
def test_the_least_difference_in_content_is_a_change(desk: Desk, first: str, second: str) -> None:
    desk.take(f'{{"resourceType":"Patient","id":"a",{first}}}')
    assert desk.take(f'{{"resourceType":"Patient","id":"a",{second}}}') == APPLIED


UNUSABLE = [
    ("nothing", "", "", "JSON"),
    ("no object", "[]", "", "JSON object"),
    ("text", '"Patient"', "", "JSON object"),
    ("cut off", '{"resourceType":"Patient","id":"a"', "", "JSON"),
    ("no type", '{"id":"a"}', "", "resourceType"),
    ("type is no text", '{"resourceType":7,"id":"a"}', "", "resourceType"),
    ("unheard of type", '{"resourceType":"Pirate","id":"a"}', "", "not one of FHIR R4"),
    ("another type", '{"resourceType":"Task","id":"a"}', "a", "Task where Patient"),
    ("no id", '{"resourceType":"Patient"}', "", "no `id`"),
    ("null id", '{"resourceType":"Patient","id":null}', "", "no `id`"),
    ("empty id", '{"resourceType":"Patient","id":""}', "", "not a usable string"),
    ("number for id", '{"resourceType":"Patient","id":1}', "", "not a usable string"),
    ("list for id", '{"resourceType":"Patient","id":["a"]}', "", "not a usable string"),
    ("endless id", '{"resourceType":"Patient","id":"' + "x" * 256 + '"}', "", "not a usable string"),
    ("id with a new line", '{"resourceType":"Patient","id":"a\\nb"}', "", "not a usable string"),
    ("id with a slash", '{"resourceType":"Patient","id":"../a"}', "", "no FHIR id"),
    ("id with a query", '{"resourceType":"Patient","id":"a?b"}', "", "no FHIR id"),
    ("id with a space", '{"resourceType":"Patient","id":"a b"}', "", "no FHIR id"),
    ("meta is a list", '{"resourceType":"Patient","id":"a","meta":[]}', "a", "`meta` is not an object"),
    ("meta is null", '{"resourceType":"Patient","id":"a","meta":null}', "a", "`meta` is not an object"),
    ("version is an object", '{"resourceType":"Patient","id":"a","meta":{"versionId":{}}}', "a", "have to be strings"),
    ("stamp is a number", '{"resourceType":"Patient","id":"a","meta":{"lastUpdated":5}}', "a", "have to be strings"),
    ("one name twice", '{"resourceType":"Patient","id":"a","id":"b"}', "", "more than once"),
    ("half a character", '{"resourceType":"Patient","id":"a","x":"\\udc00"}', "", "surrogate"),
    ("NUL", '{"resourceType":"Patient","id":"a","x":"\\u0000"}', "", "U+0000"),
    ("too deep", '{"resourceType":"Patient","id":"a","x":' + "[" * 200 + "]" * 200 + "}", "", "nested deeper"),
    ("infinity", '{"resourceType":"Patient","id":"a","x":Infinity}', "", "not a JSON number"),
    ("a vast exponent", '{"resourceType":"Patient","id":"a","x":1E+999999}', "", "exponent"),
]


@pytest.mark.parametrize(("sent", "known_as", "said"), [row[1:] for row in UNUSABLE], ids=[row[0] for row in UNUSABLE])
def test_what_cannot_be_used_is_told_apart_and_keeps_its_text(desk: Desk, sent: str, known_as: str, said: str) -> None:
    entry = desk.read(sent)
    assert isinstance(entry, Unusable)
    assert said in entry.reason
    assert entry.body == sent.replace("\0", "\ufffd")
    assert entry.remote_id == known_as or (not known_as and entry.remote_id.startswith("?"))


@pytest.mark.parametrize(
    "raw", [b"\xff\xfe", b'{"resourceType":"Patient","id":"a","x":"\xc3"}', b"\0" * 9, b"[" * 99_999]
)
def test_bytes_that_are_no_text_never_raise(raw: bytes) -> None:
    entry = intake.read_entry(raw, "Patient", lambda resource: resource)
    assert isinstance(entry, Unusable)
    assert "\0" not in entry.body


def test_a_resource_over_the_limit_is_unusable(desk: Desk) -> None:
    entry = desk.read('{"resourceType":"Patient","id":"a","x":"' + "x" * MAX_BYTES + '"}')
    assert isinstance(entry, Unusable)


def test_one_bad_entry_costs_its_neighbours_nothing(desk: Desk) -> None:
    for text in (row[1] for row in UNUSABLE):
        desk.take(patient("left"), text, patient("right"))
    assert desk.find("left") is not None
    assert desk.find("right") is not None
    assert len(desk.waiting()) == len({row[1] for row in UNUSABLE if row[2] == ""}) + len(
        {row[3] for row in UNUSABLE if row[2]}
    )


def test_the_same_trouble_is_counted_with_its_latest_text_and_another_is_a_row_of_its_own(desk: Desk) -> None:
    for number in range(3):
        desk.take(
            '{"resourceType":"Patient","id":"a","meta":7' + " " * number + "}", at=NOW + timedelta(minutes=number)
        )
    desk.take('{"resourceType":"Patient","id":"a","meta":{"versionId":[]}}')
    first, second = desk.waiting()
    assert (first.times, second.times) == (3, 1)
    assert first.body.endswith("7  }")
    assert (first.first_seen_at, first.last_seen_at) == (NOW, NOW + timedelta(minutes=2))
    assert first.reason != second.reason


def test_a_usable_version_takes_all_its_trouble_out_and_nobody_elses(desk: Desk) -> None:
    desk.take('{"resourceType":"Patient","id":"a","meta":7}', '{"resourceType":"Patient","id":"b","meta":7}')
    desk.take('{"resourceType":"Patient","id":"a","meta":{"versionId":[]}}')
    before = [row.id for row in desk.waiting()]
    desk.take(patient("a"))
    assert [row.remote_id for row in desk.waiting()] == ["b"]
    with desk.database.read() as tx:
        after = [quarantine.get(tx, VIEWER, id_) for id_ in before]
    assert sorted((row.remote_id, row.resolution) for row in after if row.resolution) == [
        ("a", "A usable version was applied."),
        ("a", "A usable version was applied."),
    ]


def test_an_older_usable_version_does_not_hide_that_the_newer_one_waits(desk: Desk) -> None:
    desk.take(patient(version="5"))
    desk.take('{"resourceType":"Patient","id":"a","meta":7}')
    assert desk.take(patient(version="4", gender="male")) == STALE
    assert len(desk.waiting()) == 1


def retried(desk: Desk, row: Quarantined) -> str | None:
    return quarantine.retry(
        desk.database, row, lambda resource: GENERIC.to_tracker(resource, desk.source), desk.author(NOW)
    )


def waiting_text(desk: Desk, text: str) -> Quarantined:
    with desk.database.begin() as tx:
        intake.put_aside(tx, Unusable(type="Patient", remote_id="a", reason="was broken", body=text), "clinic", NOW)
    return desk.waiting()[-1]


def test_a_retry_applies_what_has_become_usable_and_only_once(desk: Desk) -> None:
    row = waiting_text(desk, json.dumps(patient(version="1")))
    assert retried(desk, row) is None
    assert desk.waiting() == []
    assert len(desk.versions("a")) == 1
    with desk.database.read() as tx:
        done = quarantine.get(tx, VIEWER, row.id)
    assert done.resolved_at == NOW
    assert retried(desk, done) is None
    assert len(desk.versions("a")) == 1


def test_a_retry_of_something_overtaken_is_resolved_and_changes_nothing(desk: Desk) -> None:
    row = waiting_text(desk, json.dumps(patient(version="1", gender="male")))
    with desk.database.begin() as tx:
        intake.take_page(tx, [], "clinic", desk.author())
    desk.take(patient("b"))
    entry = desk.read(patient(version="2"))
    assert isinstance(entry, Received)
    with desk.database.begin() as tx:
        records.save(
            tx,
            entry.resource,
            desk.author(),
            remote=records.Remote(
                connection="clinic", id="a", version="2", body=entry.body, content_hash=entry.content_hash
            ),
        )
    assert retried(desk, row) is None
    assert desk.verbatim("a")["gender"] == "other"
    with desk.database.read() as tx:
        assert quarantine.get(tx, VIEWER, row.id).resolution == "Overtaken by what came since."


def test_a_retry_that_finds_another_reason_says_that_one_from_then_on(desk: Desk) -> None:
    row = waiting_text(desk, '{"resourceType":"Patient","id":"a","meta":7}')
    assert retried(desk, row) == "`meta` is not an object."
    (now,) = desk.waiting()
    assert (now.reason, now.times) == ("`meta` is not an object.", 1)
    assert retried(desk, now) == now.reason
    assert [again.times for again in desk.waiting()] == [2]


def test_what_the_ehr_deleted_is_no_longer_waiting_to_be_applied(desk: Desk) -> None:
    waiting_text(desk, json.dumps(patient(version="1")))
    with desk.database.begin() as tx:
        intake.forget_waiting(tx, "Patient", "a", "clinic", NOW)
    assert desk.waiting() == []
    assert desk.find("a") is None


def test_an_entry_that_cannot_be_written_undoes_its_page_and_names_itself(desk: Desk) -> None:
    good, bad = desk.read(patient("a")), desk.read(patient("b"))
    assert isinstance(bad, Received)
    bad.resource["meta"] = "not an object, and past the reading"
    bad.resource["name"] = {1: object()}
    with pytest.raises(EntryRefused) as caught, desk.database.begin() as tx:
        intake.take_page(tx, [good, bad], "clinic", desk.author())
    assert caught.value.entry is bad
    assert desk.find("a") is None
    aside = intake.refused(bad, caught.value.reason)
    assert (aside.type, aside.remote_id, aside.body) == ("Patient", "b", bad.body)


DELETIONS = [
    ("newer by number", "5", "6", True),
    ("older by number", "5", "4", False),
    ("the version that is held", "5", "5", False),
    ("no version told", "5", None, True),
    ("no version held", None, "2", True),
    ("words", "b", "a", True),
]


@pytest.mark.parametrize(("held", "told", "gone"), [row[1:] for row in DELETIONS], ids=[row[0] for row in DELETIONS])
def test_a_deletion_is_applied_unless_it_is_the_older(
    desk: Desk, held: str | None, told: str | None, gone: bool
) -> None:
    desk.take(patient(version=held))
    assert desk.delete("a", told) is gone
    stored = desk.find("a")
    assert stored is not None
    assert stored.deleted is gone
    assert desk.delete("a", told) is False
    assert [one.op for one in desk.versions("a")] == (["delete", "create"] if gone else ["create"])


def test_a_deletion_of_the_unknown_is_nothing(desk: Desk) -> None:
    assert not desk.delete("nobody", "3")
    assert desk.find("nobody") is None


def test_nothing_older_than_the_deletion_itself_brings_it_back(desk: Desk) -> None:
    desk.take(patient(version="5"))
    assert desk.delete("a", "8")
    for version in ("5", "6", "7", "8"):
        assert desk.take(patient(version=version, gender="male")) == STALE
    stored = desk.find("a")
    assert stored is not None
    assert stored.deleted
    assert desk.take(patient(version="9")) == APPLIED
    assert [one.op for one in desk.versions("a")] == ["create", "delete", "create"]


def test_what_was_deleted_without_a_version_comes_back_only_by_something_newer(desk: Desk) -> None:
    held = patient(version="x", updated=minute(5))
    desk.take(held)
    desk.delete("a")
    assert desk.take(held) == STALE
    assert desk.take(patient(version="w", updated=minute(4))) == STALE
    assert desk.take(patient(version="y", updated=minute(6))) == APPLIED


def test_without_version_and_stamp_what_is_sent_is_alive(desk: Desk) -> None:
    desk.take(patient())
    desk.delete("a")
    assert desk.take(patient()) == APPLIED


def test_two_connections_with_the_same_remote_ids_never_mix(desk: Desk) -> None:
    other = Desk(database=desk.database, key="north")
    desk.take(patient("1", version="9"))
    assert other.take(patient("1", version="2", gender="male")) == APPLIED
    assert other.delete("1", "3")
    assert not other.delete("2", "3")
    mine, theirs = desk.find("1"), other.find("1")
    assert mine is not None
    assert theirs is not None
    assert (mine.id, mine.deleted, theirs.id, theirs.deleted) == ("clinic-1", False, "north-1", True)
    other.take('{"resourceType":"Patient","id":"1","meta":7}')
    desk.take(patient("1", version="10"))
    assert (len(desk.waiting()), len(other.waiting())) == (0, 1)


def test_an_id_that_already_means_something_else_is_refused_not_overwritten(desk: Desk) -> None:
    other = Desk(database=desk.database, key="clinic-b")
    desk.take(patient("b-1", name=[{"family": "Synthetic"}]))
    with pytest.raises(EntryRefused, match="from elsewhere"):
        other.take(patient("1", gender="male"))
    own = {"resourceType": "Patient", "id": "clinic-7", "gender": "unknown"}
    with desk.database.begin() as tx:
        records.save(tx, own, Author(viewer=VIEWER, origin="api", at=NOW))
    with pytest.raises(EntryRefused, match="from elsewhere"):
        desk.take(patient("7"))
    stored = desk.find("b-1")
    assert stored is not None
    assert (stored.version, stored.connection) == (1, "clinic")
    with desk.database.begin() as tx, pytest.raises(Conflict):
        records.save(
            tx,
            own,
            desk.author(),
            remote=records.Remote(connection="c", id="7", version=None, body="", content_hash=""),
        )


def test_a_change_says_that_it_came_from_the_ehr_and_when(desk: Desk) -> None:
    desk.take(patient(), at=NOW + timedelta(hours=1))
    (version,) = desk.versions("a")
    assert (version.origin, version.who, version.updated_at) == ("ehr:clinic", VIEWER.who, NOW + timedelta(hours=1))
    with desk.database.begin() as tx:
        (change,) = changes.read_since(tx, VIEWER, "test", 10)
    assert (change.type, change.id, change.op) == ("Patient", "clinic-a", "create")


def test_an_unchanged_page_writes_no_change_row(desk: Desk) -> None:
    page = [patient(f"p{number}", version="1") for number in range(20)]
    desk.take(*page)
    assert desk.take(*[one | {"meta": {"versionId": "2"}} for one in page]) == Tally(fetched=20, unchanged=20)
    with desk.database.begin() as tx:
        assert len(changes.read_since(tx, VIEWER, "test", 100)) == 20


def test_tallies_add_up_and_an_empty_page_is_nothing(desk: Desk) -> None:
    names = tuple(Tally.__dataclass_fields__)
    ones = Tally(**dict.fromkeys(names, 1))
    assert ones + ones == Tally(**dict.fromkeys(names, 2))
    assert desk.take() == Tally()


def test_a_mirrored_task_is_outside_work_that_no_rule_touches(database: Database) -> None:
    clinic, desk = Clinic(database), Desk(database=database)
    task = {
        "resourceType": "Task",
        "id": "t",
        "status": "requested",
        "intent": "order",
        "for": {"reference": "Patient/ann"},
        "instantiatesCanonical": clinic.program.canonical,
        "restriction": {"period": {"end": "2026-03-01T00:00:00Z"}},
    }
    desk.take(patient("ann"))
    desk.take(task, type_="Task")
    item = clinic.item("Task/clinic-t")
    assert (item.kind, item.program, item.next_action_at, item.patient) == ("outside", None, None, "clinic-ann")
    clinic.sweep(MONDAY)
    assert clinic.escalations("clinic-ann") == []
    desk.take(task | {"status": "completed"}, type_="Task")
    assert not clinic.item("Task/clinic-t").open


def test_a_mirrored_discharge_enrols_the_mirrored_patient_whatever_comes_first(database: Database) -> None:
    clinic, desk = Clinic(database), Desk(database=database)
    desk.take(encounter("ann", MONDAY, id_="stay"), type_="Encounter", at=MONDAY)
    desk.take(patient("ann"), at=MONDAY)
    clinic.enrol(MONDAY)
    clinic.enrol(MONDAY)
    assert [item.kind for item in clinic.items("clinic-ann")].count("plan") == 1
    assert clinic.task("clinic-ann", "first-call").due_at == MONDAY + timedelta(days=2)


@pytest.mark.parametrize("canonical", ["the program's", None])
def test_a_mirrored_care_plan_is_a_record_and_never_a_plan_of_ours(database: Database, canonical: str | None) -> None:
    clinic, desk = Clinic(database), Desk(database=database)
    plan = {"resourceType": "CarePlan", "id": "c", "status": "active", "intent": "plan"}
    about = {"subject": {"reference": "Patient/ann"}}
    named = {"instantiatesCanonical": [clinic.program.canonical]} if canonical else {}
    desk.take(patient("ann"))
    desk.take(plan | about | named, type_="CarePlan")
    stored = desk.find("c", "CarePlan")
    assert stored is not None
    assert stored.patient == "clinic-ann"
    with database.read() as tx:
        assert work_items.find(tx, VIEWER, "CarePlan/clinic-c") is None


def test_a_mirrored_flag_enrols_where_the_program_asks_for_one(database: Database) -> None:
    asked = RING.replace("{Encounter: {status: finished, class: IMP, within: 30 days}}", "{Flag: {status: active}}")
    text = asked.replace("after: discharge", "after: enrolment")
    clinic, desk = Clinic(database, text), Desk(database=database)
    flag = {"resourceType": "Flag", "id": "f", "code": {"text": "synthetic"}, "subject": {"reference": "Patient/ann"}}
    desk.take(flag | {"status": "inactive"}, type_="Flag", at=MONDAY)
    desk.take(patient("ann"), at=MONDAY)
    assert clinic.enrol(MONDAY) == 0
    desk.take(flag | {"status": "active"}, type_="Flag", at=MONDAY)
    assert (clinic.enrol(MONDAY), clinic.enrol(MONDAY)) == (1, 0)
    (opened,) = [item for item in clinic.items("clinic-ann") if item.kind == "plan"]
    assert opened.ref.startswith("CarePlan/")


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 2, 1)])
def test_the_order_in_which_types_come_leaves_the_same_records(database: Database, order: Sequence[int]) -> None:
    desk = Desk(database=database)
    parts: list[tuple[str, dict[str, Any]]] = [
        ("Patient", patient("ann")),
        ("Encounter", encounter("ann", MONDAY, id_="stay")),
        ("CarePlan", {"resourceType": "CarePlan", "id": "c", "status": "active", "intent": "plan",
                      "subject": {"reference": "Patient/ann"}, "encounter": {"reference": "Encounter/stay"}}),
    ]  # fmt: skip
    for index in order:
        desk.take(parts[index][1], type_=parts[index][0])
    plan = desk.find("c", "CarePlan")
    assert plan is not None
    body = json.loads(plan.body)
    assert (body["subject"]["reference"], body["encounter"]["reference"]) == (
        "Patient/clinic-ann",
        "Encounter/clinic-stay",
    )
    assert plan.patient == "clinic-ann"
