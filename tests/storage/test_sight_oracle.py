"""Random scopes and roles over random records: every way to read gives what plain rules in Python say may be seen, and no more."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from fhir_tracker.errors import Forbidden
from fhir_tracker.fhir.query import parse_query, parse_system_query
from fhir_tracker.model.grants import grants_of
from fhir_tracker.model.policy import Policy
from fhir_tracker.model.sight import sight_of
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage import glass, history, referrers, resources, search, search_plan
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.glance import Glance, NeedsTransaction
from fhir_tracker.storage.history import Span
from fhir_tracker.storage.scope import SHARED
from tests.storage.samples import pairs, patient_of, put

Body = dict[str, Any]
CODES = "http://example.org/codes"
PEOPLE = ("ann", "bob", "cid")
TYPES = ("Patient", "Practitioner", "Organization", "Task", "CarePlan", "Observation", "Provenance")
UNHELD = ("status:not=draft", "authored-on=gt2020", "patient.name=ash", "nonsense=x", "_lastUpdated=gt2020", "name=ash")
"""Filters that nobody can be held to: a scope with one gives nothing."""
WITH_STATUS = ("Task", "CarePlan", "Observation")
HELD: dict[str, Callable[[Body, str], bool]] = {
    "status": lambda body, value: body["resourceType"] in WITH_STATUS and body.get("status") in value.split(","),
    "code": lambda body, value: body["resourceType"] in {"Task", "Observation"} and coded(body, value),
    "gender": lambda body, value: body["resourceType"] == "Patient" and body.get("gender") == value,
    "owner": lambda body, value: body["resourceType"] == "Task" and body.get("owner", {}).get("reference") == value,
    "_tag": lambda body, value: f"{CODES}|{tag(body)}" == value,
}
FILTERS = (
    "status=requested", "status=requested,active", "status=final", f"code={CODES}|a", "code=b", "gender=female",
    "owner=Practitioner/pr1", "_id=t1,o2,ann", f"_tag={CODES}|north", f"status=requested&code={CODES}|a",
)  # fmt: skip


def coded(body: Body, value: str) -> bool:
    system, bar, code = value.rpartition("|")
    one = body.get("code", {}).get("coding", [{}])[0]
    return one.get("code") == code and (not bar or one.get("system") == system)


def tag(body: Body) -> str:
    held: list[Body] = body.get("meta", {}).get("tag", [])
    return str(held[0]["code"]) if held else ""


def split(name: str) -> tuple[str, str]:
    type_, _, id_ = name.partition("/")
    return type_, id_


def ref(text: str) -> Body:
    return {"reference": text}


@dataclass
class Records:
    """Every version of every record as it was written, oldest first; None for a deletion."""

    chance: random.Random
    versions: dict[str, list[Body | None]] = field(default_factory=dict)
    restricted: set[str] = field(default_factory=set)

    def body(self, type_: str, id_: str) -> Body:
        chance = self.chance
        made: Body = {"resourceType": type_, "id": id_}
        if chance.random() < 0.5:
            made["meta"] = {"tag": [{"system": CODES, "code": chance.choice(("north", "south"))}]}
        coding = {"coding": [{"system": CODES, "code": chance.choice("ab")}]}
        someone = ref(f"Patient/{chance.choice(PEOPLE)}")
        match type_:
            case "Patient":
                made |= {
                    "gender": chance.choice(("female", "male")),
                    "name": [{"family": chance.choice(("Ash", "Birch"))}],
                }
            case "Practitioner":
                made["name"] = [{"family": chance.choice(("Reed", "Rush"))}]
            case "Task":
                made |= {"status": chance.choice(("requested", "completed")), "intent": "order", "code": coding}
                made |= {"owner": ref(chance.choice(("Practitioner/pr1", "Practitioner/pr2")))}
                made |= {"for": someone} if chance.random() < 0.9 else {}
                made |= {"partOf": [ref(f"Task/t{chance.randrange(9)}")]} if chance.random() < 0.5 else {}
            case "CarePlan":
                made |= {"status": chance.choice(("active", "revoked")), "intent": "plan", "subject": someone}
            case "Observation":
                made |= {"status": chance.choice(("final", "amended")), "code": coding, "subject": someone}
            case "Provenance":
                made |= {"recorded": "2026-01-01T00:00:00Z", "target": [ref(f"Task/t{chance.randrange(9)}")]}
                made |= {"agent": [{"who": ref("Practitioner/pr1")}]}
        return made

    def write(self, database: Database) -> None:
        named = [("Patient", one) for one in PEOPLE]
        named += [("Practitioner", "pr1"), ("Practitioner", "pr2"), ("Organization", "org")]
        for type_, letter, many in (
            ("Task", "t", 9),
            ("CarePlan", "c", 3),
            ("Observation", "o", 6),
            ("Provenance", "v", 3),
        ):
            named += [(type_, f"{letter}{number}") for number in range(many)]
        with database.begin() as tx:
            for type_, id_ in named:
                self._put(tx, type_, self.body(type_, id_))
            for type_, id_ in self.chance.sample(named, 9):
                self._put(tx, type_, self.body(type_, id_))
            for type_, id_ in self.chance.sample([one for one in named if one[0] != "Patient"], 3):
                self._put(tx, type_, None, id_)
            self.restricted = {f"{type_}/{id_}" for type_, id_ in self.chance.sample(named, 4)}
            for name in self.restricted:
                glass.set_restricted(tx, name, restricted=True)

    def _put(self, tx: Tx, type_: str, body: Body | None, id_: str = "") -> None:
        past = self.versions.setdefault(f"{type_}/{body['id'] if body else id_}", [])
        if body is None:
            last = next(one for one in reversed(past) if one is not None)
            put(tx, last, len(past) + 1, op="delete", patient=None)
        else:
            put(tx, body, len(past) + 1)
        past.append(body)

    def now(self, name: str) -> Body | None:
        return self.versions[name][-1]

    def is_shut(self, name: str, owner: str | None) -> bool:
        """Whether a role without `restricted: yes` sees nothing of it."""
        return name in self.restricted or f"Patient/{owner}" in self.restricted

    def owner(self, name: str) -> str | None:
        """Whose it is; what was deleted stays whose it was."""
        last = next(one for one in reversed(self.versions[name]) if one is not None)
        return patient_of(last)


@dataclass(frozen=True)
class Asker:
    """A token and a role, judged by plain rules."""

    scopes: tuple[str, ...] | None
    policy: tuple[str, ...] | None
    patient: str | None
    lock: str | None
    records: Records

    @property
    def viewer(self) -> Viewer:
        grants = None if self.scopes is None else grants_of(self.scopes)
        policy = None if self.policy is None else Policy(grants=grants_of(self.policy))
        return Viewer(who="Device/asker", patient=self.lock, sight=sight_of(grants, policy, self.patient))

    def may(self, right: str, type_: str) -> bool:
        """Whether the right is given on some of a type, with filters that can be held to or not."""
        return self.viewer.sight.may(right, type_)

    def sees(self, right: str, name: str) -> bool:
        """Whether the record may be had by the right, as it is now."""
        if self.lock is not None and not self._is_with(self.lock, name):
            return False
        if self.policy is not None and self.records.is_shut(name, self.records.owner(name)):
            return False
        return all(
            some is None or any(self._gives(one, right, name) for one in some) for some in (self.scopes, self.policy)
        )

    def sees_version(self, right: str, name: str, version: int) -> bool:
        """A past version must have been of the same compartment; of what a filter judges, only the present one is known."""
        if not self.sees(right, name):
            return False
        past = self.records.versions[name]
        body = past[version - 1]
        owner = self.records.owner(name) if body is None else patient_of(body)
        is_present = version == len(past)

        def is_with(patient: str) -> bool:
            return owner == patient or (owner is None and name.partition("/")[0] in SHARED)

        def gives(text: str) -> bool:
            if not self._names(text, right, name):
                return False
            return (not text.startswith("patient") or is_with(self.patient or "")) and (is_present or "?" not in text)

        if self.lock is not None and not is_with(self.lock):
            return False
        if self.policy is not None and self.records.is_shut(name, owner):
            return False
        return all(some is None or any(map(gives, some)) for some in (self.scopes, self.policy))

    def _names(self, text: str, right: str, name: str) -> bool:
        level, _, rest = text.partition("/")
        type_, _, tail = rest.partition(".")
        letters = {"read": "rs", "write": "cud", "*": "cruds"}.get(tail, tail.partition("?")[0])
        return (
            right in letters
            and type_ in {"*", name.partition("/")[0]}
            and (level != "patient" or self.patient is not None)
        )

    def _gives(self, text: str, right: str, name: str) -> bool:
        if not self._names(text, right, name):
            return False
        if text.startswith("patient") and not self._is_with(self.patient or "", name):
            return False
        _, asks, query = text.partition("?")
        body = self.records.now(name)
        wanted = [one.partition("=") for one in query.split("&")] if asks else []
        ids = name.partition("/")[2]
        return all(
            ids in value.split(",") if key == "_id" else body is not None and key in HELD and HELD[key](body, value)
            for key, _, value in wanted
        )

    def _is_with(self, patient: str, name: str) -> bool:
        owner = self.records.owner(name)
        return owner == patient or (owner is None and name.partition("/")[0] in SHARED)


def some_scopes(chance: random.Random, levels: Iterable[str]) -> tuple[str, ...]:
    found = []
    for _ in range(chance.randint(1, 4)):
        type_ = chance.choice((*TYPES, "Task", "Task", "*"))
        rights = chance.choice(("rs", "rs", "r", "s", "cruds", "cud", "read", "*", "write"))
        tail = ""
        if rights not in {"read", "*", "write"} and chance.random() < 0.5:
            tail = "?" + chance.choice((*FILTERS, *FILTERS, *UNHELD))
        found.append(f"{chance.choice(tuple(levels))}/{type_}.{rights}{tail}")
    return tuple(found)


def some_asker(chance: random.Random, records: Records) -> Asker:
    patient = chance.choice((None, *PEOPLE))
    return Asker(
        scopes=some_scopes(chance, ("patient", "user", "system")) if chance.random() < 0.8 else None,
        policy=some_scopes(chance, ("user",)) if chance.random() < 0.5 else None,
        patient=patient,
        lock=patient if chance.random() < 0.2 else None,
        records=records,
    )


def searched(tx: Tx, viewer: Viewer, type_: str, text: str) -> search.SearchPage:
    query = (
        parse_query(type_, pairs(text), strict=True, own_base="http://here/fhir")
        if type_
        else parse_system_query(pairs(text), strict=True, own_base="http://here/fhir")
    )
    return search.search(tx, viewer, query)


def names(page: search.SearchPage) -> set[str]:
    return {one.ref for one in page.shown}


def check_reads(tx: Tx, asker: Asker, records: Records) -> None:
    viewer = asker.viewer
    seen = {name for name in records.versions if asker.sees("r", name)}
    assert {name for name in records.versions if resources.find(tx, viewer, *name.split("/"))} == seen
    assert set(resources.find_many(tx, viewer, records.versions)) == seen
    alive = {name for name in seen if records.now(name) is not None}
    assert {one.ref for one in resources.scan(tx, viewer, [])} == alive
    assert {one.ref for one in resources.scan(tx, viewer, ["Task", "Patient"])} == {
        name for name in alive if name.partition("/")[0] in {"Task", "Patient"}
    }
    for right in "cruds":
        expected = {name for name in records.versions if asker.sees(right, name)}
        assert resources.reached(tx, viewer, right, records.versions) == expected, right
    for name, told in referrers.referrers(tx, viewer, ["Task/t1", "Practitioner/pr1"]).items():
        everybody = referrers.referrers(tx, Asker(None, None, None, None, records).viewer, [name])[name]
        assert told.seen == tuple(one for one in everybody.seen if one in seen)


def check_histories(tx: Tx, asker: Asker, records: Records) -> None:
    viewer = asker.viewer
    versions = {(name, number) for name, past in records.versions.items() for number in range(1, len(past) + 1)}

    def seen(right: str, *starts: str) -> set[tuple[str, int]]:
        return {one for one in versions if one[0].startswith(starts) and asker.sees_version(right, *one)}

    def told(span: Span) -> set[tuple[str, int]]:
        page = history.page(tx, viewer, span, count=500)
        assert page.total == len(page.versions)
        return {(f"{one.type}/{one.id}", one.version) for one in page.versions}

    assert told(Span()) == seen("s", "")
    assert told(Span(type="Task")) == seen("s", "Task/")
    for name in records.versions:
        type_, id_ = name.split("/")
        own = {one for one in seen("r", name) if one[0] == name}
        assert told(Span(type=type_, id=id_)) == own
        found = {
            (name, number)
            for number in range(1, len(records.versions[name]) + 1)
            if resources.find_version(tx, viewer, type_, id_, number)
        }
        assert found == own


def check_searches(tx: Tx, glance: Callable[[], Glance], asker: Asker, records: Records) -> None:
    viewer = asker.viewer
    alive = {name: body for name, body in records.versions.items() if body[-1] is not None}
    seen = {name for name in alive if asker.sees("s", name)}

    def right(type_: str) -> set[str]:
        return {name for name in seen if name.startswith(f"{type_}/")}

    for type_ in TYPES:
        if not asker.may("s", type_):
            with pytest.raises(Forbidden):
                searched(tx, viewer, type_, "")
            with pytest.raises(Forbidden):
                searched(tx, viewer, "", f"_type={type_}")
            continue
        page = searched(tx, viewer, type_, "_total=accurate")
        assert (names(page), page.total) == (right(type_), len(right(type_)))
        assert searched(tx, viewer, type_, "_summary=count").total == len(right(type_))
        assert names(searched(tx, viewer, type_, "_sort=_id")) == right(type_)
        assert names(searched(tx, viewer, "", f"_type={type_}")) == right(type_)
    if any(asker.may("s", type_) for type_ in TYPES):
        assert names(searched(tx, viewer, "", "")) == seen
    if asker.may("s", "Task"):
        wanted = {name for name in right("Task") if HELD["status"](records.now(name) or {}, "requested")}
        assert names(searched(tx, viewer, "Task", "status=requested")) == wanted
        assert names(searched(tx, viewer, "Task", "status=requested&_sort=-_lastUpdated")) == wanted
        for text, expected in (("status=requested", wanted), ("", right("Task")), ("_id=t1,t2", None)):
            try:
                page = searched(glance(), viewer, "Task", text)
            except NeedsTransaction:
                continue
            few = {name for name in right("Task") if name in {"Task/t1", "Task/t2"}}
            assert names(page) == (few if expected is None else expected)
        check_links(tx, asker, records, right)
        check_included(tx, asker, records)


def check_links(tx: Tx, asker: Asker, records: Records, right: Callable[[str], set[str]]) -> None:
    viewer = asker.viewer

    def now(name: str) -> Body:
        return records.now(name) or {}

    def leads(name: str, member: str, targets: set[str]) -> bool:
        held = now(name).get(member)
        given = held if isinstance(held, list) else [held or {}]
        return any(one.get("reference") in targets for one in given)

    called = {name for name in right("Practitioner") if now(name)["name"][0]["family"] == "Reed"}
    asked = {name for name in right("Task") if now(name)["status"] == "requested"}
    cases = [
        ("Task", "owner:Practitioner.name=reed", "Practitioner", {one for one in right("Task") if leads(one, "owner", called)}),
        ("Task", "part-of:Task.status=requested", "Task", {one for one in right("Task") if leads(one, "partOf", asked)}),
        ("Patient", "_has:Task:patient:status=requested", "Task",
         {one for one in right("Patient") if any(leads(task, "for", {one}) for task in asked)}),
    ]  # fmt: skip
    for type_, text, along, expected in cases:
        if not asker.may("s", type_) or not asker.may("s", along):
            with pytest.raises(Forbidden):
                searched(tx, viewer, type_, text)
        else:
            assert names(searched(tx, viewer, type_, text)) == expected, text


def check_included(tx: Tx, asker: Asker, records: Records) -> None:
    viewer = asker.viewer
    forward = "_include=*&_include:iterate=*"
    backward = "_revinclude=*&_revinclude:iterate=*"
    for text, ok in ((forward, "r"), (backward, "s"), (f"{forward}&{backward}", "rs")):
        page = searched(tx, viewer, "Task", text)
        for one in page.included:
            assert any(asker.sees(right, one.ref) for right in ok), (one.ref, text)
    direct = {one.ref for one in searched(tx, viewer, "Task", "_include=Task:owner").included}
    tasks = [records.now(one) or {} for one in records.versions if one.startswith("Task/") and asker.sees("s", one)]
    named = {task["owner"]["reference"] for task in tasks if task}
    assert direct == {one for one in named if asker.sees("r", one) and records.now(one) is not None}
    back = {one.ref for one in searched(tx, viewer, "Task", "_revinclude=Provenance:target").included}
    about = {f"Task/{task['id']}" for task in tasks if task}
    told = {
        one for one in records.versions if one.startswith("Provenance/") and asker.sees("s", one) and records.now(one)
    }
    assert back == {one for one in told if any(to["reference"] in about for to in (records.now(one) or {})["target"])}


@pytest.mark.requirement(83, 84, 86, 89)
@pytest.mark.security("S41", "S42", "S43", "S44", "A3", "A4", "M2")
@pytest.mark.parametrize(("seed", "few"), [(0, search_plan.FEW), (1, 0)], ids=["listed", "walked"])
def test_every_way_to_read_gives_what_may_be_seen_and_no_more(
    database: Database, monkeypatch: pytest.MonkeyPatch, seed: int, few: int
) -> None:
    monkeypatch.setattr(search_plan, "FEW", few)
    chance = random.Random(seed)
    records = Records(chance)
    records.write(database)
    for _ in range(20):
        asker = some_asker(chance, records)
        with database.read() as tx, database.drivers.take() as driver:
            check_reads(tx, asker, records)
            check_histories(tx, asker, records)
            check_searches(tx, lambda: Glance(driver, database.dialect), asker, records)
            glance = Glance(driver, database.dialect)
            glance.fetch((asker.viewer, *split(name)) for name in records.versions)
            held = {name for name in records.versions if resources.find(glance, asker.viewer, *name.split("/"))}
            assert held == {name for name in records.versions if asker.sees("r", name)}


@pytest.mark.security("S50", "A4")
def test_a_group_of_readers_shares_statements_and_not_what_they_see(database: Database) -> None:
    records = Records(random.Random(5))
    records.write(database)
    askers = [some_asker(records.chance, records) for _ in range(12)]
    with database.drivers.take() as driver:
        glance = Glance(driver, database.dialect)
        glance.fetch((one.viewer, *split(name)) for one in askers for name in records.versions)
        for one in askers:
            held = {name for name in records.versions if resources.find(glance, one.viewer, *name.split("/"))}
            assert held == {name for name in records.versions if one.sees("r", name)}


@pytest.mark.requirement(84)
@pytest.mark.parametrize("text", UNHELD)
def test_a_scope_that_nobody_can_be_held_to_gives_nothing(database: Database, text: str) -> None:
    records = Records(random.Random(7))
    records.write(database)
    asker = Asker((f"system/*.rs?{text}", f"system/Task.r?status=requested&{text}"), None, None, None, records)
    with database.read() as tx:
        assert resources.find_many(tx, asker.viewer, records.versions) == {}
        assert searched(tx, asker.viewer, "Task", "_total=accurate").total == 0
