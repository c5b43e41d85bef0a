"""Every interaction of the API x every kind of caller x own, other and restricted patient, against rules stated anew by hand.

The cases are generated from the table of routes. What is expected is worked out below from plain tables, and shares no code
with the product: a role's rights and a token's scopes are both asked, then the patient, then the query of a grant.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from api.fhir.actions import Action
from api.fhir.exchange import FhirRequest
from api.fhir.failing import refusal
from api.fhir.routes import ROUTES, find_route
from fhir_tracker import publishing
from fhir_tracker.errors import TrackerError
from fhir_tracker.model.author import Author
from fhir_tracker.model.viewer import Viewer, open_viewer
from fhir_tracker.storage.database import Database, Tx
from tests.support.asking import JSON, NOW, Asker
from tests.support.contexts import context_of
from tests.support.matrix import PROGRAM, TYPES, WORLD, Body, Caller, callers, moved, whose

PARTS = 4
"""So that several processes share the work."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One request: the template it comes from, its address and body, and the resource that it is about."""

    template: str
    method: str
    interaction: str
    address: str
    type: str
    about: Body | None = None
    after: Body | None = None
    """What `about` would become, where that may be another's."""
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.method} {self.address}"


def cases() -> list[Case]:
    """Cases for every method of every route; a route that gives none fails the test of coverage."""
    return [
        case
        for route in ROUTES
        for method, action in route.actions.items()
        for case in _cases(route.name, method, action)
    ]


_PATCH = {"content-type": "application/json-patch+json"}


def _cases(template: str, method: str, action: Action) -> Iterator[Case]:
    def case(address: str, type_: str, **more: Any) -> Case:
        return Case(
            template=template, method=method, interaction=action.interaction, address=address, type=type_, **more
        )

    inner = template.removeprefix("/fhir/")
    if inner in ("", "_search", "_history", "metadata"):
        if method == "POST" and not inner:
            for one in WORLD.values():
                for asked in ("GET", "PATCH"):
                    yield case(inner, one["resourceType"], about=one, body=_batch(asked, one))
            return
        yield case(f"{inner}?_count=200" if inner != "metadata" else inner, "*")
        return
    if "{type}" not in inner:
        yield from _operations(case, inner, method)
        return
    for type_ in TYPES:
        if "{id}" in inner:
            for one in (one for one in WORLD.values() if one["resourceType"] == type_):
                yield from _instance_cases(case, inner, method, type_, one)
        else:
            yield from _type_cases(case, inner, method, type_)


def _batch(method: str, one: Body) -> Body:
    """A batch of one entry, which reads a resource, or changes it after a test that fails: what batches write would stay."""
    entry: Body = {"request": {"method": method, "url": f"{one['resourceType']}/{one['id']}"}}
    if method == "PATCH":
        data = base64.b64encode(json.dumps([{"op": "test", "path": "/language", "value": "zz"}]).encode()).decode()
        entry["resource"] = {"resourceType": "Binary", "contentType": _PATCH["content-type"], "data": data}
    return {"resourceType": "Bundle", "type": "batch", "entry": [entry]}


def _instance_cases(case: Any, inner: str, method: str, type_: str, one: Body) -> Iterator[Case]:
    address = inner.replace("{type}", type_).replace("{id}", one["id"]).replace("{version}", "1")
    if "{member}" in inner:
        if type_ == "Patient":
            for member in ("Task", "Observation", "*"):
                yield case(f"{address.replace('{member}', member)}?_count=200", member, about=one)
        return
    if method == "PUT":
        yield case(address, type_, about=one, body=one | {"language": "en"})
        for other in moved(one):
            yield case(address, type_, about=one, after=other, body=other)
    elif method == "PATCH":
        yield case(address, type_, about=one, body=[{"op": "add", "path": "/language", "value": "en"}], headers=_PATCH)
    else:
        yield case(address, type_, about=one, body=one if method == "POST" else None)


def _type_cases(case: Any, inner: str, method: str, type_: str) -> Iterator[Case]:
    address = inner.replace("{type}", type_)
    some = [one for one in WORLD.values() if one["resourceType"] == type_]
    if inner == "{type}/$validate":
        yield case(address, type_, body={key: value for key, value in some[0].items() if key != "id"})
    elif method == "POST" and inner == "{type}":
        for one in some:
            yield case(
                address, type_, about=one, body={key: value for key, value in one.items() if key not in ("id", "meta")}
            )
    elif method in ("PUT", "PATCH", "DELETE"):
        for one in (one for one in some if type_ == "Task"):
            add = [{"op": "add", "path": "/language", "value": "en"}]
            body: Any = {"PUT": one | {"language": "en"}, "PATCH": add}.get(method)
            headers = _PATCH if method == "PATCH" else {}
            query = f"{address}?identifier=http://example.org/t|{one['id']}"
            yield case(query, type_, about=one, body=body, headers=headers)
    else:
        yield case(f"{address}?_count=200", type_)


def _operations(case: Any, inner: str, method: str) -> Iterator[Case]:
    by_type = {one["resourceType"]: one for one in WORLD.values()}
    for one in WORLD.values():
        if inner.startswith(f"{one['resourceType']}/{{id}}/"):
            body: Body | None = {"resourceType": "Parameters"} if method == "POST" else None
            if inner.endswith("$break-glass"):
                said = {"name": "reason", "valueString": "A test of who may do this"}
                body = {"resourceType": "Parameters", "parameter": [said]}
            yield case(inner.replace("{id}", one["id"]), one["resourceType"], about=one, body=body)
        elif inner == "Task/$move" and one["resourceType"] == "Task":
            parts = [
                {"name": "task", "valueReference": {"reference": f"Task/{one['id']}"}},
                {"name": "priority", "valueCode": "routine"},
            ]
            yield case(inner, "Task", about=one, body={"resourceType": "Parameters", "parameter": parts})
    if not inner.startswith(tuple(f"{one}/{{id}}/" for one in by_type)) and inner != "Task/$move":
        subject = {"name": "subject", "valueString": "Patient/ann"}
        body = {"resourceType": "Parameters", "parameter": [subject]}
        yield case(inner.replace("{id}", "nothing"), inner.partition("/")[0], body=body if method == "POST" else None)


NEEDED = {
    "$apply": ("r {type}", "r Patient"),
    "$instantiate": ("r PlanDefinition", "c CarePlan", "c Task"),
    "$evaluate-measure": ("r Measure", "r MeasureReport"),
    "$move": ("u Task",),
    "$options": ("r {type}",),
    "$undo": ("u {type}",),
    "$outreach": ("r Task", "r Communication"),
    "$evidence": ("r Patient", "r Communication", "r ChargeItem"),
    "$break-glass": ("r Patient",),
}
LETTER = {"read": "r", "vread": "r", "history-instance": "r", "update": "u", "patch": "u", "delete": "d"}
ALLOWED, REFUSED, ABSENT, EITHER = "allowed", "refused", "absent", "refused or absent"
STATUS = {REFUSED: {403}, ABSENT: {404}, EITHER: {403, 404}}


def expected(caller: Caller, case: Case) -> str:
    """What has to become of a request."""
    if case.interaction in ("capabilities", "transaction"):
        return ALLOWED
    operation = case.template.rpartition("/")[2]
    if operation.startswith("$") and operation != "$validate":
        return _of_operation(caller, case, operation)
    if operation == "$validate":
        if not any(caller.may(letter, case.type) for letter in "rcu"):
            return REFUSED
        return _of_row(caller, "r", case.about) if case.about and case.method == "GET" else ALLOWED
    if case.interaction in ("search-system", "history-system"):
        return (
            ALLOWED if any(caller.may("s", one) for one in (*TYPES, "Measure", "Provenance", "ChargeItem")) else REFUSED
        )
    if case.interaction == "search-compartment":
        types = TYPES if case.type == "*" else (case.type,)
        return ALLOWED if any(caller.may("s", one) for one in types) else REFUSED
    if case.interaction in ("search-type", "history-type"):
        return ALLOWED if caller.may("s", case.type) else REFUSED
    if case.interaction == "create":
        return ALLOWED if case.about and caller.reaches("c", _unlabelled(case.about)) else REFUSED
    return _of_instance(caller, case)


def _unlabelled(resource: Body) -> Body:
    """As it is created: without labels, a Patient under an id of the server's."""
    made = {key: value for key, value in resource.items() if key != "meta"}
    return made | {"id": "new"} if resource["resourceType"] == "Patient" else made


def _of_instance(caller: Caller, case: Case) -> str:
    letter = LETTER[case.interaction]
    assert case.about is not None
    if not caller.may(letter, case.type) or (case.interaction == "patch" and not caller.may("r", case.type)):
        return REFUSED
    if "?" in case.address:
        if not caller.may("s", case.type):
            return REFUSED
        if not caller.reaches("s", case.about):
            return {"PUT": EITHER, "PATCH": ABSENT, "DELETE": ALLOWED}[case.method]
    if case.interaction == "patch" and not caller.reaches("r", case.about):
        return _of_row(caller, "r", case.about)
    want = _of_row(caller, letter, case.about)
    if want == ALLOWED and letter == "u":
        return _of_change(caller, case.about, case.after or case.about | {"language": "en"})
    return want


def _of_change(caller: Caller, before: Body, after: Body) -> str:
    """What becomes of a change of what is reached: it has to be reached afterwards, and only what is not fixed may change."""
    is_fixed = before["resourceType"] == "Task" and caller.fixes and before.get("language") != after.get("language")
    return REFUSED if is_fixed or not caller.reaches("u", after) else ALLOWED


def _of_row(caller: Caller, letter: str, about: Body | None) -> str:
    assert about is not None
    if caller.reaches(letter, about):
        return ALLOWED
    if letter != "r" and caller.reaches("r", about):
        return REFUSED
    might = caller.breaks_glass and (whose(about) == "vip" or (caller.is_bounded and whose(about) is not None))
    return EITHER if might else ABSENT


def _of_operation(caller: Caller, case: Case, operation: str) -> str:
    needed = [one.replace("{type}", case.type).split() for one in NEEDED[operation]]
    if not all(caller.may(letter, type_) for letter, type_ in needed):
        return REFUSED
    if operation == "$break-glass" and not caller.breaks_glass:
        return REFUSED
    if operation == "$move" or case.about is None:
        return ALLOWED
    if operation == "$break-glass":
        return ALLOWED if _is_opened_by(caller, case.about) or caller.reaches("r", case.about) else ABSENT
    return _of_row(caller, "u" if operation == "$undo" else "r", case.about)


def _is_opened_by(caller: Caller, about: Body) -> bool:
    return caller.viewer().patient is None and (whose(about) == "vip" or caller.is_bounded)


class World:
    """The store of the matrix, with everything in it, and who asks it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.context = context_of(database, started_at=NOW)
        with database.begin() as tx:
            for code in ("near", "far"):
                publishing.publish(tx, PROGRAM.format(code), Author(viewer=open_viewer(), origin="cli", at=NOW))
        Asker(database=database, viewer=open_viewer()).put(*WORLD.values())

    def ask(self, reading: Tx, viewer: Viewer, case: Case) -> tuple[int, bytes]:
        """Status and body; nothing of a write stays."""
        path, _, query = case.address.partition("?")
        parts = tuple(path.split("/")) if path else ()
        route, named = find_route(parts)
        assert route.name == case.template
        request = FhirRequest(
            context=self.context,
            method=case.method,
            path=parts,
            pairs=tuple(tuple(one.split("=", 1)) for one in query.split("&") if one),  # type: ignore[misc]
            headers={"content-type": JSON, **case.headers},
            body=b"" if case.body is None else json.dumps(case.body).encode(),
            viewer=viewer,
            request_id="r",
            now=NOW,
            type=named.get("type", ""),
            id=named.get("id", ""),
            version=named.get("version", ""),
        )
        action = route.actions[case.method]
        try:
            if action.own_transactions:
                response = action.own_transactions(request)
            elif not action.writes:
                response = action.handle(request, reading)
            else:
                with self.database.begin() as tx:
                    response = action.handle(request, tx)
                    raise _Undone(response.status, response.body)
        except _Undone as undone:
            return undone.status, undone.body
        except TrackerError as error:
            response = refusal(error)
        return response.status, response.body


class _Undone(Exception):
    def __init__(self, status: int, body: bytes) -> None:
        super().__init__()
        self.status, self.body = status, body


def refs_of(body: bytes) -> set[str]:
    """The resources of this world in a Bundle."""
    entries = json.loads(body).get("entry", [])
    held = [one["resource"] for one in entries if "resource" in one]
    return {ref for one in held if (ref := f"{one['resourceType']}/{one.get('id')}") in WORLD}


def wrong(caller: Caller, case: Case, status: int, body: bytes) -> str:
    """What is not as it has to be; "" where all is well."""
    if case.interaction == "transaction":
        return _wrong_of_entry(caller, case, json.loads(body)["entry"][0]["response"]["status"])
    want = expected(caller, case)
    if case.template.endswith("$move") and want == ALLOWED and case.about is not None:
        outcome = "skipped" if caller.reaches("u", case.about) else "failed"
        found = re.search(r'"outcome","valueCode":"(\w+)"', body.decode())
        return "" if status == 200 and found and found[1] == outcome else f"{status} {body[:200]!r}, expected {outcome}"
    if caller.hides and (b"Synthetic-" in body or b'"code":{"text"' in body):
        return f"{status}, a hidden element is shown"
    if want != ALLOWED:
        leak = b"Synthetic-" in body or b'"subject"' in body
        is_moved = case.after is not None and caller.reaches("u", case.about or {})
        fine = STATUS[want] | ({422} if is_moved else set())
        return "" if status in fine and not leak else f"{status}, expected {want}"
    if case.interaction in ("search-type", "history-type", "search-system", "search-compartment", "history-system"):
        seen = {ref for ref, one in WORLD.items() if _is_asked(case, one) and caller.reaches("s", one)}
        return "" if status == 200 and refs_of(body) == seen else f"{status}, {sorted(refs_of(body) ^ seen)[:4]}"
    if case.interaction in ("read", "vread", "history-instance"):
        return "" if status == 200 else f"{status}, expected 200"
    return f"{status}, expected that it is not refused" if status in (401, 403, 500) else ""


def _wrong_of_entry(caller: Caller, case: Case, told: str) -> str:
    assert case.about is not None
    letters = "r" if case.body["entry"][0]["request"]["method"] == "GET" else "ru"
    lacking = (one for one in letters if not caller.may(one, case.type) or not caller.reaches(one, case.about))
    letter = next(lacking, "")
    want = _of_row(caller, letter, case.about) if letter else ALLOWED
    if not all(caller.may(one, case.type) for one in letters):
        want = REFUSED
    fine = {ALLOWED: {200}} | STATUS if letters == "r" else {ALLOWED: {422}} | STATUS
    if letter == "u" and want == REFUSED and caller.may("u", case.type):
        fine[REFUSED] = {403, 422}
    return "" if int(told[:3]) in fine[want] else f"entry {told}, expected {want}"


def _is_asked(case: Case, one: Body) -> bool:
    if case.interaction == "search-compartment":
        assert case.about is not None
        is_member = case.type in ("*", one["resourceType"])
        return is_member and whose(one) == case.about["id"]
    return case.type in ("*", one["resourceType"])


def _run(built: World, caller: Caller, asked: list[Case]) -> tuple[list[str], Counter[str]]:
    problems: list[str] = []
    count: Counter[str] = Counter()
    viewer = caller.viewer()
    with built.database.read() as reading:
        answers = [(case, *built.ask(reading, viewer, case)) for case in asked]
    for case, status, body in answers:
        count[expected(caller, case)] += 1
        if told := wrong(caller, case, status, body):
            problems.append(f"{caller.name}: {case.name}: {told}")
    return problems, count


def test_every_method_of_every_route_has_cases() -> None:
    made = {(case.template, case.method) for case in cases()}
    assert {(route.name, method) for route in ROUTES for method in route.actions} - made == set()


@pytest.fixture
def sampled(database: Database) -> int:
    """One in so many of each caller's cases: fewer on PostgreSQL, where the same statements run. All with MATRIX=whole."""
    return 1 if os.environ.get("MATRIX") == "whole" else 4 if database.dialect == "sqlite" else 24


@pytest.mark.security("S40", "S41", "S42", "S44", "A3", "A4")
@pytest.mark.requirement(83, 84, 85, 86, 87, 89)
@pytest.mark.parametrize("part", range(PARTS))
def test_every_caller_gets_what_the_rules_say_and_nothing_more(
    database: Database, sampled: int, part: int, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("MATRIX_SEED", "1"))
    built, asked, some = World(database), cases(), callers(seed)[part::PARTS]
    problems: list[str] = []
    count: Counter[str] = Counter()
    for at, caller in enumerate(some):
        mine = [case for number, case in enumerate(asked) if (number + at + seed) % sampled == 0]
        found, of_caller = _run(built, caller, mine)
        problems += found
        count += of_caller
    size = f"seed {seed}, {len(some)} callers x {len(asked)} requests: {sum(count.values())} asked, {dict(sorted(count.items()))}"
    with capsys.disabled():
        print(f"\nmatrix {part + 1}/{PARTS} on {database.dialect}: {size}, {len(problems)} wrong")  # noqa: T201 - the size is the result
    assert problems == []
    assert min(count.values()) > 3
