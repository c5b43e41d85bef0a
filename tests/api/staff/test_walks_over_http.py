"""Random programs, random people, random moves: page and API say the same, and no state comes about that the program has not.

Whoever refuses first, the other refuses in the same words; what one takes is written down as a step of the program.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from api.app import create_app
from api.context import Access, AppContext
from fhir_tracker import bulk_moves, clock, enrolment, staff_sessions
from fhir_tracker.bulk_moves import Wanted
from fhir_tracker.config import load_settings
from fhir_tracker.fhir.checks import check
from fhir_tracker.model.author import Author
from fhir_tracker.model.moves import MoveRequest
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.model.work import WorkItem
from fhir_tracker.storage.database import Database
from tests.api.conftest import BASE
from tests.api.staff.conftest import Answer, Colleague, Reader
from tests.support.clinic import COORDINATOR, Clinic
from tests.support.launched import Tab, launched, person
from tests.support.program_files import program_files

ENDS = {"hold.until": "2099-01-05T10:00:00-05:00"}
FIELDS = {"note": "A note", "reason": "A reason", "owner": "", "due": "2099-01-05T10:00:00-05:00", **ENDS}
PARAMETERS = {"note": "note", "reason": "reason", "due": "due", "hold.until": "holdUntil"}
STEPS = 10
ROLES = ("rn", "care-coordinator", "provider")
"""Who opens tasks of every team."""


class Walk:
    """One clinic under one program, walked by people who logged in or by the one of an open server."""

    def __init__(self, database: Database, client: TestClient, program: str, seed: int, access: Access) -> None:
        self.dice, self.client, self.reader, self.access = random.Random(seed), client, Reader(client), access
        self.clinic = Clinic(database, program, clock.now() - timedelta(days=2))
        self.clinic.patient("ann")
        with self.clinic.acting(clock.now() - timedelta(hours=1), COORDINATOR) as (tx, by):
            self.plan = enrolment.by_hand(tx, self.clinic.program, "ann", by).ref
        self.staff = [self._member(role) for role in ROLES if access is Access.LOCKED]
        self.at = self.staff[0][0] if self.staff else self.reader
        self.refused = self.taken = 0
        self.child()

    def child(self) -> None:
        """A piece of work outside the program that is part of work of it."""
        whole = self.dice.choice(self.tasks())
        body = {
            "resourceType": "Task",
            "id": "part",
            "status": "requested",
            "intent": "order",
            "for": {"reference": "Patient/ann"},
            "partOf": [{"reference": whole.ref}],
        }
        self.clinic.put(body, clock.now())

    def tasks(self) -> list[WorkItem]:
        return [one for one in self.clinic.items("ann") if one.kind == "task" and one.program]

    def step(self) -> None:
        item = self.dice.choice(self.tasks())
        known = [one.code for one in self.clinic.program.statuses if one.code != item.status]
        others = [one for one in ("entered-in-error", "nonsense") if one != item.status]
        to = self.dice.choice([*known, *known, *known, *others])
        given = {name: text for name, text in FIELDS.items() if text and self.dice.random() < 0.6}
        before = self.clinic.resource(item.ref)
        page, said = self.by_page, self.by_api
        who = self.choose()
        first, second = (page, said) if self.dice.random() < 0.5 else (said, page)
        words = first(item, to, given, who)
        if words is None:
            self.taken += 1
            self.check_step(item, to)
            return
        self.refused += 1
        assert self.clinic.resource(item.ref) == before, "what was refused changed something"
        again = second(item, to, given, who)
        assert again is not None, (
            f"one way refused to move {item.status} to {to} and the other did it: {words[0][:900]}"
        )
        api, shown = (words, again) if first is said else (again, words)
        missing = [one for one in api if " ".join(one.split()) not in " ".join(shown)]
        assert missing == [], "the page does not say what the API says"

    def choose(self) -> Viewer | None:
        """Who takes the next step; None for the one of an open server."""
        if not self.staff:
            return None
        self.at, viewer = self.dice.choice(self.staff)
        return viewer

    def _member(self, role: str) -> tuple[Reader, Viewer]:
        database = self.clinic.database
        account = person(database, role.replace("-", ""), role, now=clock.now())
        tab = Tab(self.client, *launched(database, account, clock.now()))
        with database.read() as tx:
            viewer = staff_sessions.person_of(tx, tab.session)
        return Colleague(tab), viewer

    def by_page(self, item: WorkItem, to: str, given: dict[str, str], who: Viewer | None) -> list[str] | None:
        """None when it was done, else what the page says."""
        fields = {name: text[:16] if name in ("due", "hold.until") else text for name, text in given.items()}
        path = f"/tasks/{item.ref.partition('/')[2]}/move"
        answer: Answer = self.at.send(path, {"to": to, **fields})
        assert answer.status in (303, 422), answer.text[:300]
        return None if answer.status == 303 else [answer.words]

    def by_api(self, item: WorkItem, to: str, given: dict[str, str], who: Viewer | None) -> list[str] | None:
        """None when it was done, else the sentences of the outcome: over HTTP, or for one person by what answers there."""
        if who is not None:
            by = Author(viewer=who, origin="api", at=clock.now())
            step = bulk_moves.moving(MoveRequest(to=to, fields=given))
            (result,) = bulk_moves.each(self.clinic.database, [Wanted(ref=item.ref)], step, by)
            return None if result.outcome == "done" else [one.message for one in result.issues]
        rows = [{"name": "task", "valueString": item.ref}, {"name": "to", "valueString": to}]
        rows += [{"name": PARAMETERS[name], "valueString": text} for name, text in given.items()]
        answer = self.client.post("/fhir/Task/$move", json={"resourceType": "Parameters", "parameter": rows})
        assert answer.status_code == 200, answer.text
        parts: dict[str, Any] = {part["name"]: part for part in answer.json()["parameter"][0]["part"]}
        if parts["outcome"]["valueCode"] == "done":
            return None
        return [one["details"]["text"] for one in parts["details"]["resource"]["issue"]]

    def check_step(self, item: WorkItem, to: str) -> None:
        """The step is one of the program's, and what is written of it says so."""
        ways = {(source, move.to) for move in self.clinic.program.moves for source in move.sources}
        assert (item.status, to) in ways or to == "entered-in-error", f"{item.status} became {to}"
        assert self.clinic.item(item.ref).status == to
        self.check()

    def check(self) -> None:
        for item in self.clinic.items("ann"):
            if item.kind == "outside":
                continue
            body = self.clinic.resource(item.ref)
            assert not [one for one in check(body) if one.severity in ("error", "fatal")]
            assert body["status"] == item.fhir_status
            rows = [one for one in self.clinic.log(item.ref) if one.what in ("status", "stage")]
            assert rows[-1].after == item.status, "the log does not replay to where the work stands"
            assert all(later.before == one.after for one, later in pairwise(rows))
            own = self.clinic.program.status(item.status) if item.kind == "task" and item.program else None
            if own is not None:
                assert (own.fhir, own.clock) == (item.fhir_status, item.clock)

    def end(self) -> None:
        """The plan is withdrawn: nothing of it stays open."""
        answer = self.at.send(
            f"/plans/{self.plan.partition('/')[2]}/move",
            {
                "to": "withdrawn",
                "reason": "Moved away",
                "version": self.clinic.resource(self.plan)["meta"]["versionId"],
            },
        )
        assert answer.status == 303, answer.words[:300]
        assert self.clinic.item(self.plan).fhir_status == "revoked"
        assert [one.ref for one in self.clinic.items("ann") if one.open and one.plan == self.plan] == []
        self.check()


@contextmanager
def opened(prepared_file: Path, path: Path, access: Access) -> Iterator[tuple[Database, TestClient]]:
    """A server over a copy of an empty database."""
    path.write_bytes(prepared_file.read_bytes())
    with closing(Database.open(f"sqlite:///{path}")) as database:
        context = AppContext(
            database=database,
            settings=load_settings({"HOME": "/nowhere"}),
            access=access,
            public_url=BASE,
            secret_key="k" * 40,
            started_at=clock.now(),
            worker=False,
        )
        with closing(TestClient(create_app(context), base_url=BASE)) as client:
            yield database, client
    path.unlink()


@pytest.mark.requirement(124)
@pytest.mark.parametrize("access", list(Access))
@given(program=program_files(), seed=st.integers(0, 10_000))
@settings(max_examples=3, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
def test_page_and_api_give_the_same_verdict_and_no_illegal_state_comes_about(
    prepared_file: Path, tmp_path_factory: pytest.TempPathFactory, access: Access, program: str, seed: int
) -> None:
    path = tmp_path_factory.mktemp("walk") / "tracker.db"
    with opened(prepared_file, path, access) as (database, client):
        walk = Walk(database, client, program, seed, access)
        for _ in range(STEPS):
            walk.step()
        walk.check()
        walk.end()
        assert walk.taken + walk.refused == STEPS
