"""Every page and every form of the staff x roles x own, other and restricted patient, against rules stated anew by hand.

Over HTTP, in sessions of people with these roles. Who may send a form sends it as of an older version, or without what it asks
for; who may not sends it whole: so nothing is ever to change, and that is looked at after each person.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text
from starlette.routing import Route
from starlette.testclient import TestClient

from api.app import create_app
from api.context import Access
from api.staff import launched_routes
from fhir_tracker import accounts, clock, roles
from fhir_tracker.storage.database import Database
from tests.security.test_matrix import World
from tests.support.contexts import context_of
from tests.support.launched import Tab, launched
from tests.support.matrix import DEFINED, OWN_ROLES, WORLD, Caller, whose
from tests.support.setting_up import know_north

CLINICAL = {"queue", "patient", "task", "bulk", "programs", "operations", "break-glass"}
WORK = {"queue", "patient", "task"}
ACTS: Mapping[str, set[str]] = {
    "rn": CLINICAL, "care-coordinator": CLINICAL, "provider": CLINICAL, "front-desk": WORK, "auditor": {"operations", "audit", "export"},
    "clinic-admin": WORK | {"bulk", "operations", "programs", "publish", "connections", "outbox", "quarantine", "export", "people",
                            "roles", "clients", "settings"},
    "nobody": set(), "clerk": WORK, "tcm-nurse": WORK | {"break-glass"}, "north-nurse": WORK, "trusted": WORK | {"quarantine"},
}  # fmt: skip
"""What each role may do besides resources, by hand from docs/roles.md and the file of own roles."""
ANYBODYS = {
    "/preferences",
    "/help/keys",
    "/open",
    "/session",
    "/style.css",
    "/stay",
    "/tickets",
    "/logout",
    "/{path:path}",
    "/",
}
OPENS: Mapping[str, str] = {
    "/pulse": "queue", "/find": "queue", "/bulk": "bulk", "/tasks/{id}": "task", "/plans/{id}": "task", "/patients/{id}/access": "audit",
    "/patients/{id}/break-glass": "break-glass", "/patients/{id}": "patient", "/audit": "audit", "/break-glass": "audit people",
    "/operations": "operations", "/programs": "programs", "/sync": "operations connections", "/connections": "connections",
    "/login-providers": "people", "/clients": "clients", "/roles": "roles", "/setup": "connections people roles clients",
    "/staff": "people", "/outbox": "outbox", "/quarantine": "quarantine",
}  # fmt: skip
"""How addresses begin -> the acts of which one is needed: the longest that fits counts."""
IDS = {
    "/tasks/": ("ann-desk", "ann-nurse", "bob-desk", "bob-nurse", "vip-desk", "nothing"),
    "/plans/": ("ann-careplan", "nothing"),
    "/patients/": ("ann", "bob", "vip", "nothing"),
}
TYPES = {"/tasks/": "Task", "/plans/": "CarePlan", "/patients/": "Patient"}
WHOLE = {
    "to": "prepared", "note": "A note of the matrix", "reason": "A reason of the matrix", "role": "provider", "owner": "Practitioner/doc",
    "outreach.channel": "phone", "outreach.outcome": "reached", "code": "unreachable", "stage": "completed", "key": "pages",
    "fhir_user": "Practitioner/new", "connection": "north", "name": "Somebody New", "id": "pages", "scopes": "system/*.rs",
    "jwks_url": "https://scheduler.example.org/jwks.json", "source": "roles: [{role: rn, may: ['*.cruds']}]",
    "base_url": "https://else.example.org/fhir", "issuer": "https://login.example.org", "client_id": "x", "roles": "clinic-admin",
    "role-clinic-admin": "1", "pick-ann-desk": "1", "do": "claim", "step": "claim",
}  # fmt: skip
"""One form for all: whatever a page asks for is somewhere in it."""
OLD = {"version": "99"}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A page or form: its address, and the resource of the world that it is about."""

    route: str
    method: str
    path: str
    about: str = ""

    @property
    def kind(self) -> str:
        return next((one for one in TYPES if self.route.startswith(one)), "")

    def needs(self) -> set[str]:
        """The acts of which one is needed; nothing where everybody may."""
        if self.route in ANYBODYS:
            return set()
        return set(OPENS[max((one for one in OPENS if self.route.startswith(one)), key=len)].split())


def asked(database: Database) -> list[Asked]:
    """Every page and form of a launch but the way out, about whomever there is."""
    found = []
    for route in launched_routes(context_of(database)):
        assert isinstance(route, Route)
        path = route.path.removeprefix("/l/{launch}")
        if not route.path.startswith("/l/") or path == "/logout":
            continue
        kind = next((one for one in IDS if path.startswith(one)), "")
        for id_ in IDS.get(kind, ("1",)):
            filled = path.replace("{id}", id_).replace("{code}", "unreachable")
            about = f"{TYPES[kind]}/{id_}" if kind else ""
            for method in sorted(set(route.methods or ()) - {"HEAD"}):
                found.append(
                    Asked(route=path, method=method, path=filled.replace("{path:path}", "no/page"), about=about)
                )
    return found


def callers() -> list[Caller]:
    several = [
        ("front-desk", "auditor"),
        ("tcm-nurse", "rn"),
        ("north-nurse", "tcm-nurse"),
        ("clerk", "front-desk"),
        ("clinic-admin", "rn"),
    ]
    in_chart = [Caller(roles=(role,), chart="ann") for role in ("rn", "front-desk", "clinic-admin", "north-nurse")]
    return [*(Caller(roles=(role,)) for role in ACTS), *in_chart, *(Caller(roles=some) for some in several)]


def expected(caller: Caller, one: Asked) -> set[int]:
    """The statuses that a refusal may have; none where it is not to be refused."""
    acts = set().union(*(ACTS[role] for role in caller.roles or ()))
    needs = one.needs()
    if needs and not needs & acts:
        return {403}
    if one.route == "/":
        return set() if acts else {403}
    if one.kind == "":
        return {404} if caller.chart and one.route not in ANYBODYS else set()
    return _of_row(caller, one)


def _of_row(caller: Caller, one: Asked) -> set[int]:
    body = WORLD.get(one.about)
    might = "break-glass" in set().union(*(ACTS[role] for role in caller.roles or ()))
    if one.route.endswith("/access"):
        return {404} if caller.chart and one.about != f"Patient/{caller.chart}" else set()
    if body is None or (caller.chart and whose(body) != caller.chart):
        return {404}
    if one.route.endswith("/break-glass"):
        return set() if caller.reaches("r", body) or whose(body) == "vip" or caller.is_bounded else {404}
    if not caller.reaches("r", body):
        return {403, 404} if might else {404}
    if one.method == "GET":
        return set()
    if one.route.startswith("/patients/"):
        flag = WORLD[f"Flag/{body['id']}-flag"]
        return set() if caller.reaches("c", flag) and caller.reaches("u", flag) else {403}
    if not caller.reaches("u", body):
        return {403}
    attempt = WORLD[f"Communication/{whose(body)}-communication"]
    return {403} if one.route.endswith("/attempt") and not caller.reaches("c", attempt) else set()


def kept(database: Database) -> dict[str, str]:
    """Of each table but the trail, sessions and what limits, a digest of all that is in it."""
    passing = re.compile("audit|launch|session|preference|guess|login|beat|lease|sqlite_|_fts|epoch")
    found = {}
    with database.read() as tx:
        names = [row[0] for row in tx.connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'"))]
        for name in sorted(one for one in names if not passing.search(one)):
            rows = tx.connection.execute(text(f'SELECT * FROM "{name}"'))
            found[name] = hashlib.sha256("\n".join(sorted(map(str, rows))).encode()).hexdigest()
    return found


@pytest.fixture
def ready_url(prepared_file: Path, tmp_path: Path) -> str:
    """The subject is what the pages let through; what they read by has its own tests on both databases."""
    path = tmp_path / "tracker.db"
    path.write_bytes(prepared_file.read_bytes())
    return f"sqlite:///{path}"


@pytest.fixture
def client(database: Database) -> Iterator[TestClient]:
    World(database)
    with database.begin() as tx:
        roles.load(tx, OWN_ROLES, name="own.yaml", at=clock.now(), by="test")
    know_north(database, clock.now())
    with closing(TestClient(create_app(context_of(database, access=Access.LOCKED)))) as opened:
        yield opened


def tab_of(client: TestClient, database: Database, number: int, caller: Caller, now: datetime) -> Tab:
    with database.begin() as tx:
        account, _ = accounts.add(
            tx,
            f"Matrix {number}",
            caller.roles or (),
            known=DEFINED,
            now=now,
            connection="north",
            fhir_user=f"Practitioner/m{number}",
        )
    return Tab(client, *launched(database, account, now, patient=caller.chart))


def ask(tab: Tab, one: Asked, want: set[int]) -> httpx.Response:
    path = one.path.replace("{key}", "north" if want else "nowhere")
    return tab.get(path) if one.method == "GET" else tab.post(path, WHOLE if want else OLD)


def wrong(caller: Caller, one: Asked, want: set[int], given: httpx.Response) -> str:
    """What is not as it has to be; "" where all is well."""
    if given.status_code >= 500:
        return f"{given.status_code}"
    if want:
        told = set(re.findall("Synthetic-[a-z]+", given.text)) - {f"Synthetic-{caller.chart}"}
        return "" if given.status_code in want and not told else f"{given.status_code} {told}, expected {sorted(want)}"
    if one.method == "GET" and "{" not in one.route.replace("{id}", "") and not one.path.endswith("/1"):
        return "" if given.status_code in (200, 303, 304) else f"{given.status_code}, expected that it opens"
    refused = (401, 403, 404) if one.kind else (401, 403)
    return f"{given.status_code}, expected that it is not refused" if given.status_code in refused else ""


@pytest.mark.security("S40", "S41", "A1", "A3", "A4")
@pytest.mark.requirement(89)
def test_every_page_and_form_answers_each_role_as_the_rules_say(
    client: TestClient, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    count: Counter[str] = Counter()
    problems: list[str] = []
    everything = asked(database)
    for number, caller in enumerate(callers()):
        tab = tab_of(client, database, number, caller, clock.now())
        before = kept(database)
        for one in everything:
            want = expected(caller, one)
            count["refused" if want else "opened"] += 1
            if told := wrong(caller, one, want, ask(tab, one, want)):
                problems.append(f"{caller.name}: {one.method} {one.path}: {told}")
        after = kept(database)
        problems += [f"{caller.name}: {name} was changed" for name in before if before[name] != after[name]]
    size = f"{len(callers())} people x {len(everything)} requests, {dict(count)}"
    with capsys.disabled():
        print(f"\nmatrix of pages: {size}, {len(problems)} wrong")  # noqa: T201 - the size is the result
    assert problems == [], f"{len(problems)}\n" + "\n".join(problems[:60])
    assert min(count.values()) > 400
