"""Of what somebody may not see no page tells anything: queues, counts, searches, forms and their headers are alike without it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.context import Access
from fhir_tracker import accounts, clock, roles
from fhir_tracker.storage.database import Database
from tests.security.test_same_answers import Body, other_database, restricted
from tests.security.test_same_operations import ALL_HIDDEN, world
from tests.support.contexts import context_of
from tests.support.launched import Tab, launched
from tests.support.setting_up import know_north

__all__ = ["other_database"]
OWN_ROLES = """
roles:
  - role: plain
    title: Plain
    means: Sees all work but restricted patients
    may: ["*.cruds"]
    acts: [queue, patient, task, operations, programs, bulk, quarantine, outbox, connections]
  - role: elsewhere
    title: Elsewhere
    means: Works at another place
    may: [Patient.rs, Task.rus, CarePlan.rs, Flag.rs, Practitioner.rs]
    acts: [queue, patient, task, operations, bulk]
    locations: [Location/north]
"""
MADE_UP = re.compile(
    r'/l/[\w-]{16,}|data-left="\d+"|csrf"? ?(value)?="[0-9a-f]*"|<code>[0-9a-f]{16}</code>|find(=|%3D)[\w%.-]+|'
    r"\d{1,2}:\d\d(:\d\d(\.\d+)?)?|__Host-[\w-]+=[^;]*|\b\d+ (s|min) (ago|old)\b|just now"
)
"""What differs between two visits anyway: launches, tokens of forms, numbers of requests, sealed words and moments."""
PAGES = (
    "/", "/?tab=team", "/?tab=mine", "/?tab=unassigned", "/?tab=hold", "/?tab=escalated", "/?tab=done", "/?tab=all", "/?tab=all&role=every",
    "/?role=rn", "/?role=front-desk&tab=all", "/?tab=all&program=near", "/?tab=all&owner=Practitioner/doc", "/?tab=all&state=late",
    "/?tab=all&status=asked", "/?tab=all&flag=high-risk", "/?tab=all&q=bob", "/?tab=all&q=Synthetic-bob", "/?tab=all&rule=none",
    "/?tab=all&kind=escalation", "/?tab=all&state=due-today&program=none", "/pulse", "/pulse?tab=all", "/pulse?tab=all&role=every",
    "/operations", "/operations?program=near", "/operations?owner=Practitioner/doc", "/operations?role=rn", "/operations?site=none",
    "/programs", "/sync", "/outbox", "/quarantine", "/connections", "/setup", "/help/keys", "/audit", "/break-glass",
    "/patients/ann", "/patients/ann?plan=p-bob", "/patients/bob", "/patients/bob/access", "/patients/bob?stage=x",
    "/tasks/a1", "/tasks/a3", "/tasks/a1?do=reassign", "/tasks/a1?do=attempt", "/tasks/b1", "/tasks/n1-bob", "/tasks/n1-bob?do=note",
    "/tasks/b1?move=done", "/outbox/1", "/quarantine/1",
)  # fmt: skip
STEPS = (
    "claim",
    "release",
    "assign",
    "move",
    "attempt",
    "note",
    "acknowledge",
    "take-over",
    "send-back",
    "resolve",
    "undo",
)
TYPED = {"note": "A note", "reason": "A reason", "to": "prepared", "owner": "Practitioner/doc", "role": "rn", "version": "7",
         "outreach.channel": "phone", "outreach.outcome": "reached", "stage": "completed", "code": "unreachable"}  # fmt: skip
SEARCHED = ("bob", "Synthetic-bob", "BOB", "canary", "Synthetic")


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """Somebody at the pages; `hidden` is what they may not see."""

    role: str
    chart: str | None = None
    hidden: tuple[Body, ...] = ()


VISITORS = [
    *(
        Visitor(role=one, hidden=tuple(restricted(ALL_HIDDEN)))
        for one in ("plain", "front-desk", "clinic-admin", "auditor")
    ),
    Visitor(role="elsewhere", hidden=tuple(ALL_HIDDEN)),
    Visitor(role="plain", chart="ann", hidden=tuple(ALL_HIDDEN)),
]


def forms() -> Iterator[tuple[str, dict[str, str]]]:
    for id_ in ("b1", "n1-bob"):
        yield from ((f"/tasks/{id_}/{step}", TYPED) for step in STEPS)
        yield "/bulk", {f"pick-{id_}": "1", "do": "claim", "step": "claim", "pick-a2": "1", "version-a2": "99"}
    yield from ((f"/plans/p-bob/{step}", TYPED) for step in ("move", "undo"))
    for id_ in ("bob",):
        yield from (
            (f"/patients/{id_}/{step}", TYPED) for step in ("exceptions", "exceptions/unreachable/end", "break-glass")
        )
    yield from (("/find", {"q": one, "back": "/?tab=all"}) for one in SEARCHED)
    yield from ((f"/{kind}/1/retry", {}) for kind in ("outbox", "quarantine"))


def told(given: httpx.Response) -> tuple[int, list[tuple[str, str]], str]:
    """An answer without what is made up anew at each visit; with all its headers."""
    text = MADE_UP.sub("*", given.text)
    passing = {"content-length"} if text != given.text else set[str]()
    headers = [
        (name, MADE_UP.sub("*", value))
        for name, value in given.headers.items()
        if name not in passing | {"x-request-id"}
    ]
    return given.status_code, sorted(headers), text


@pytest.fixture
def ready_url(prepared_file: Path, tmp_path: Path) -> str:
    """The subject is the page; what it reads by is compared on both databases, too."""
    path = tmp_path / "tracker.db"
    path.write_bytes(prepared_file.read_bytes())
    return f"sqlite:///{path}"


def tab_of(stack: ExitStack, database: Database, visitor: Visitor, hidden: tuple[Body, ...], now: datetime) -> Tab:
    world(database, *hidden)
    know_north(database, now)
    with database.begin() as tx:
        roles.load(tx, OWN_ROLES, name="own.yaml", at=now, by="test")
        account, _ = accounts.add(
            tx,
            "Somebody",
            (visitor.role,),
            known=roles.defined(tx),
            now=now,
            connection="north",
            fhir_user="Practitioner/doc",
        )
    client = stack.enter_context(
        closing(TestClient(create_app(context_of(database, access=Access.LOCKED, started_at=now))))
    )
    return Tab(client, *launched(database, account, now, patient=visitor.chart))


def answers(tab: Tab) -> Iterator[tuple[str, httpx.Response]]:
    """Every page, every form, and where a search leads to, one after the other."""
    for page in PAGES:
        yield page, (first := tab.get(page))
        if tag := first.headers.get("etag"):
            yield f"{page} again", tab.get(page, {"If-None-Match": tag})
    for path, fields in forms():
        yield f"{path} {fields}", (given := tab.post(path, fields))
        if path == "/find" and given.status_code == 303:
            yield f"found {fields}", tab.get(given.headers["location"].removeprefix(tab.prefix))


def differing(one: Tab, other: Tab) -> list[str]:
    found = []
    for (name, with_it), (_, without) in zip(answers(one), answers(other), strict=True):
        mine, theirs = told(with_it), told(without)
        if mine != theirs:
            lines = [pair for pair in zip(mine[2].split(">"), theirs[2].split(">"), strict=False) if pair[0] != pair[1]]
            found.append(f"{name}: {mine[:2]} {theirs[:2]} {lines[:2]}"[:1500])
    return found


@pytest.mark.security("M3", "S41", "S42", "S43", "A3", "A4")
@pytest.mark.requirement(86, 89)
@pytest.mark.parametrize("visitor", VISITORS, ids=lambda one: f"{one.role}-{one.chart}")
def test_what_is_hidden_changes_no_page(database: Database, other_database: Database, visitor: Visitor) -> None:
    now = clock.now()
    with ExitStack() as stack:
        one, other = (
            tab_of(stack, each, visitor, hidden, now)
            for each, hidden in ((database, visitor.hidden), (other_database, ()))
        )
        found = differing(one, other)
    assert found == [], f"{len(found)}\n" + "\n".join(found[:20])


def test_the_pages_differ_for_who_sees_it(database: Database, other_database: Database) -> None:
    now, visitor = clock.now(), Visitor(role="plain")
    with ExitStack() as stack:
        one, other = (
            tab_of(stack, each, visitor, hidden, now)
            for each, hidden in ((database, tuple(ALL_HIDDEN)), (other_database, ()))
        )
        found = {line.partition(":")[0].partition("?")[0] for line in differing(one, other)}
    assert {"/", "/operations", "/pulse", "/patients/bob", "/tasks/b1", "/patients/bob/access"} - found == {
        "/patients/bob/access"
    }
