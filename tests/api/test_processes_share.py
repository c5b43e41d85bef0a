"""What one of several processes has written, the others know at the next request; what all write at once is kept once."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage import audit, changes
from fhir_tracker.storage.changes import Change
from fhir_tracker.storage.database import Database
from tests.conformance.server import Tracker, running_tracker
from tests.peers.postgres.server import Postgres
from tests.support.processes import JSON, Answer, ask, connect, serving, wait_for

RING = Path(__file__).parents[1] / "conformance" / "ring.yaml"
SYSTEM = "https://example.org/test-numbers"
VIEWER = worker_viewer("test")
CONNECTIONS = 16
CREATES = 25
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARNING|ERROR) \S+ .+")


@pytest.fixture(scope="module")
def tracker(postgres: Postgres, prepared_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracker]:
    """Two processes without a worker, so that nobody else writes."""
    url = postgres.url(postgres.create(template=prepared_name))
    folder = tmp_path_factory.mktemp("share")
    with running_tracker(url, folder, "--open", "--processes", "2", "--no-worker") as one:
        wait_for(one, 2)
        yield one


@pytest.fixture
def database(tracker: Tracker) -> Iterator[Database]:
    """The database that the processes share."""
    one = Database.open(tracker.database)
    yield one
    one.close()


class Pair:
    """Two processes: `writes` asks the one, `reads` the other; `turned` the other way round."""

    def __init__(self, tracker: Tracker, writer: int, reader: int) -> None:
        self.tracker, self.writer, self.reader = tracker, writer, reader

    @property
    def turned(self) -> Pair:
        """The same two with their parts changed."""
        return Pair(self.tracker, self.reader, self.writer)

    def writes(self, method: str, path: str, body: dict[str, object] | None = None, **headers: str) -> Answer:
        """A request to the one; header names with _ for -."""
        return self._ask(self.writer, method, path, body, headers)

    def reads(self, path: str, **headers: str) -> Answer:
        """A GET at the other."""
        return self._ask(self.reader, "GET", path, None, headers)

    def _ask(self, pid: int, method: str, path: str, body: dict[str, object] | None, headers: dict[str, str]) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return ask(self.tracker, pid, method, f"/fhir/{path}", body, named)


@pytest.fixture(params=["there", "back"])
def pair(tracker: Tracker, request: pytest.FixtureRequest) -> Pair:
    """The two processes, each once as the writer."""
    one = Pair(tracker, *serving(tracker))
    return one if request.param == "there" else one.turned


def patient(number: str) -> dict[str, object]:
    """A Patient that nobody is."""
    named = [{"system": SYSTEM, "value": number}]
    return {"resourceType": "Patient", "identifier": named, "name": [{"family": "Synthetic"}]}


def test_a_create_is_read_found_and_in_the_history_elsewhere(pair: Pair) -> None:
    number = uuid4().hex
    before = pair.reads("Patient?_summary=count").body["total"]
    assert pair.reads(f"Patient?identifier={SYSTEM}|{number}").body["total"] == 0
    made = pair.writes("POST", "Patient", patient(number))
    id_ = made.body["id"]
    assert pair.reads(f"Patient/{id_}").text == made.text
    assert pair.reads(f"Patient/{id_}/_history/1").text == made.text
    assert pair.reads(f"Patient?identifier={SYSTEM}|{number}").body["entry"][0]["resource"] == made.body
    assert pair.reads(f"Patient?name=synth&_sort=_id&identifier={SYSTEM}|{number}").body["total"] == 1
    assert pair.reads(f"Patient/{id_}/_history").body["total"] == 1
    assert pair.reads("Patient?_summary=count").body["total"] == before + 1
    assert pair.reads("_history?_count=1").body["entry"][0]["resource"]["id"] == id_


def test_updates_deletes_and_their_conditions_hold_everywhere(pair: Pair) -> None:
    id_ = uuid4().hex
    body: dict[str, object] = {**patient(id_), "id": id_}
    first = pair.writes("PUT", f"Patient/{id_}", body)
    assert pair.reads(f"Patient/{id_}", If_None_Match=first.headers["etag"]).status == 304
    second = pair.writes("PUT", f"Patient/{id_}", body | {"active": True}, If_Match=first.headers["etag"])
    assert second.status == 200
    seen = pair.reads(f"Patient/{id_}", If_None_Match=first.headers["etag"])
    assert (seen.status, seen.headers["etag"], seen.text) == (200, second.headers["etag"], second.text)
    late = pair.turned.writes("PUT", f"Patient/{id_}", body, If_Match=first.headers["etag"])
    assert late.status == 412
    assert pair.writes("DELETE", f"Patient/{id_}").status == 204
    assert pair.reads(f"Patient/{id_}").status == 410
    assert pair.reads(f"Patient?_id={id_}").body["total"] == 0


def test_what_exists_is_not_created_again_by_another_process(pair: Pair) -> None:
    number = uuid4().hex
    condition = f"identifier={SYSTEM}|{number}"
    made = pair.writes("POST", "Patient", patient(number), If_None_Exist=condition)
    again = pair.turned.writes("POST", "Patient", patient(number), If_None_Exist=condition)
    assert (made.status, again.status) == (201, 200)
    assert again.headers["location"] == made.headers["location"]
    assert pair.turned.writes("PUT", f"Patient?{condition}", patient(number) | {"active": True}).status == 200
    assert pair.reads(f"Patient/{made.body['id']}").body["meta"]["versionId"] in ("1", "2")
    assert pair.writes("GET", f"Patient/{made.body['id']}").body["active"] is True


def test_pages_begun_at_one_process_go_on_at_another(pair: Pair) -> None:
    code = uuid4().hex
    for number in range(5):
        basic: dict[str, object] = {
            "resourceType": "Basic",
            "code": {"text": f"{number}", "coding": [{"system": SYSTEM, "code": code}]},
        }
        assert pair.writes("POST", "Basic", basic).status == 201
    for query in (f"Basic?code={code}&_count=2", f"Basic?code={code}&_count=2&_sort=_lastUpdated", "_history?_count=2"):
        met: list[str] = []
        page = pair.writes("GET", query).body
        for _ in range(3):
            met += [one["resource"]["id"] for one in page["entry"]]
            further = next((one["url"] for one in page["link"] if one["relation"] == "next"), "")
            if not further:
                break
            parts = urlsplit(further)
            page = pair.reads(f"{parts.path.removeprefix('/fhir/')}?{parts.query}").body
        assert len(met) >= 5
        assert len(set(met)) == len(met)


def test_a_definition_written_at_one_process_is_applied_at_another(pair: Pair) -> None:
    id_ = uuid4().hex
    plan: dict[str, object] = {"resourceType": "PlanDefinition", "id": id_, "status": "active"}
    someone = pair.writes("POST", "Patient", patient(id_)).body["id"]
    for titles in (["Call"], ["Call", "Visit"], ["Call", "Visit", "Letter"]):
        plan["action"] = [{"title": title} for title in titles]
        assert pair.writes("PUT", f"PlanDefinition/{id_}", plan).status in (200, 201)
        applied = pair.reads(f"PlanDefinition/{id_}/$apply?subject=Patient/{someone}")
        assert applied.status == 200, applied.text
        assert all(title in applied.text for title in titles)


def test_a_program_published_meanwhile_is_known_to_every_process(tracker: Tracker, tmp_path: Path) -> None:
    text = RING.read_text().replace("program: ring", "program: shared-ring")
    first, second = serving(tracker)
    someone = ask(tracker, first, "POST", "/fhir/Patient", patient("ring")).body["id"]
    for version in (1, 2, 3):
        file = tmp_path / "ring.yaml"
        file.write_text(text.replace("title: First call", f"title: Call number {version}"))
        command = [Path(sys.executable).parent / "fhir-tracker", "program", "publish", file]
        subprocess.run(
            [*map(str, command), "--database", tracker.database], check=True, capture_output=True, timeout=120
        )
        for pid in (first, second):
            place = "/fhir/PlanDefinition/shared-ring"
            states = [ask(tracker, pid, "GET", f"{place}-{one}").body["status"] for one in range(1, version + 1)]
            assert states == ["retired"] * (version - 1) + ["active"]
            applied = ask(tracker, pid, "GET", f"{place}-{version}/$apply?subject=Patient/{someone}")
            assert f"Call number {version}" in applied.text


def test_a_visit_of_the_pages_may_change_process_between_pages(tracker: Tracker) -> None:
    first, second = serving(tracker)
    seen = ask(tracker, first, "GET", "/help/keys")
    cookie = seen.headers["set-cookie"].split(";")[0]
    token = re.search('name="csrf" value="([^"]+)"', seen.text)
    again = ask(tracker, second, "GET", "/help/keys", headers={"Cookie": cookie})
    assert token is not None
    assert f'value="{token[1]}"' in again.text


def together(
    tracker: Tracker, count: int, work: Callable[[int, http.client.HTTPConnection], list[Answer]]
) -> list[list[Answer]]:
    """Run `work` on so many connections at once, half of them to each process."""
    pids: Sequence[int] = serving(tracker)
    with ExitStack() as undo:
        connections = []
        for number in range(count):
            connection = connect(tracker, pids[number % 2])
            undo.callback(connection.close)
            connections.append(connection)
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(work, range(count), connections))


def talk(connection: http.client.HTTPConnection, method: str, path: str, body: object, **headers: str) -> Answer:
    """One request on a connection that stays open."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, json.dumps(body), {**JSON, **named})
    answer = connection.getresponse()
    told = {name.lower(): value for name, value in answer.getheaders()}
    return Answer(status=answer.status, headers=told, text=answer.read().decode())


def test_ids_made_in_one_process_are_not_made_in_another(tracker: Tracker) -> None:
    answers = [ask(tracker, pid, "POST", "/fhir/Patient", patient("x")) for pid in serving(tracker) * 10]
    assert len({one.body["id"] for one in answers}) == len(answers)
    assert len({one.headers["x-request-id"] for one in answers}) == len(answers)


class Reader:
    """Reads the change log while others write it, as a consumer does."""

    def __init__(self, database: Database) -> None:
        self.name = f"test-{uuid4().hex}"
        self.seen: list[Change] = []
        self._database = database
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)
        with database.begin() as tx:
            changes.start_at_head(tx, self.name)
        self._thread.start()

    def _run(self) -> None:
        while True:
            is_last = self._done.is_set()
            with self._database.begin() as tx:
                found = changes.read_since(tx, VIEWER, self.name, 50)
                if found:
                    changes.advance(tx, self.name, found[-1])
            self.seen += found
            if is_last and not found:
                return

    def end(self) -> list[Change]:
        """What it has read once there is no more."""
        self._done.set()
        self._thread.join(300)
        assert not self._thread.is_alive()
        return self.seen


def test_creates_from_many_connections_are_each_kept_once(tracker: Tracker, database: Database) -> None:
    run = uuid4().hex[:8]

    def create(number: int, connection: http.client.HTTPConnection) -> list[Answer]:
        names = [f"{run}-{number}-{one}" for one in range(CREATES)]
        return [talk(connection, "POST", "/fhir/Patient", patient(f"of-{name}"), X_Request_Id=name) for name in names]

    reader = Reader(database)
    try:
        answers = [one for some in together(tracker, CONNECTIONS, create) for one in some]
    finally:
        seen = [one for one in reader.end() if one.type == "Patient"]
    assert {one.status for one in answers} == {201}
    made = {one.body["id"] for one in answers}
    assert len(made) == CONNECTIONS * CREATES
    assert Counter(one.id for one in seen) == dict.fromkeys(made, 1)
    assert len({one.k for one in seen}) == len({one.seq for one in seen}) == len(made)
    assert [(one.txid, one.seq) for one in seen] == sorted((one.txid, one.seq) for one in seen)
    with database.read() as tx:
        rows = audit.list(tx, VIEWER, limit=100_000)
    told = Counter((row.request_id, row.ref) for row in rows if row.request_id.startswith(run))
    assert told == {(one.headers["x-request-id"], f"Patient/{one.body['id']}"): 1 for one in answers}
    for pid in serving(tracker):
        total = ask(tracker, pid, "GET", f"/fhir/Patient?_summary=count&_id={','.join(sorted(made)[:50])}").body
        assert total["total"] == 50
    whole, _, _ = tracker.log.read_text().rpartition("\n")
    lines = whole.split("Health", 1)[-1].splitlines()[1:]
    assert [one for one in lines if not LINE.fullmatch(one)] == []


def test_of_writers_who_know_the_same_version_one_wins_whichever_process_they_ask(
    tracker: Tracker, database: Database
) -> None:
    id_ = uuid4().hex
    ask(tracker, serving(tracker)[0], "PUT", f"/fhir/Patient/{id_}", {**patient(id_), "id": id_})
    rounds = 12

    def rewrite(number: int, connection: http.client.HTTPConnection) -> list[Answer]:
        found = []
        for version in range(1, rounds + 1):
            start.wait(120)
            body = {**patient(id_), "id": id_, "name": [{"family": f"Synthetic-{version}-{number}"}]}
            found.append(talk(connection, "PUT", f"/fhir/Patient/{id_}", body, If_Match=f'W/"{version}"'))
        return found

    start = threading.Barrier(8)
    reader = Reader(database)
    try:
        answers = together(tracker, 8, rewrite)
    finally:
        seen = [one.version for one in reader.end() if one.id == id_]
    for number in range(rounds):
        assert Counter(one[number].status for one in answers) == {200: 1, 412: 7}
    assert sorted(seen) == list(range(2, rounds + 2))
    kept = ask(tracker, serving(tracker)[1], "GET", f"/fhir/Patient/{id_}/_history?_count=50").body["entry"]
    assert [one["resource"]["meta"]["versionId"] for one in kept] == [str(one) for one in range(rounds + 1, 0, -1)]


def test_writers_who_name_no_version_all_succeed_one_after_the_other(tracker: Tracker) -> None:
    id_ = uuid4().hex

    def rewrite(number: int, connection: http.client.HTTPConnection) -> list[Answer]:
        bodies = [{**patient(f"{id_}-{number}-{one}"), "id": id_} for one in range(6)]
        return [talk(connection, "PUT", f"/fhir/Patient/{id_}", body) for body in bodies]

    answers = [one for some in together(tracker, 8, rewrite) for one in some]
    assert Counter(one.status for one in answers) == {200: 47, 201: 1}
    assert Counter(one.headers["etag"] for one in answers) == {f'W/"{one}"': 1 for one in range(1, 49)}
