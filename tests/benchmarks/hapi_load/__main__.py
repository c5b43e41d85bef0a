"""A clinic of 2,000 patients at a real HAPI: loaded, followed while it is written, the tracker killed twice, then compared.

python -m tests.benchmarks.hapi_load [--patients 2000] [--changes 600] [--database sqlite|postgresql] [--seed 1]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx

from fhir_tracker import clock, connections
from fhir_tracker.fhir.body import read_json
from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.identity import content_hash
from fhir_tracker.storage import resources
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.schema import prepare
from tests.benchmarks.sync_pages.pages import PAGE, START, made_up
from tests.conformance.server import SECRET, Tracker, running_tracker
from tests.peers.hapi.server import Hapi
from tests.peers.postgres.server import running_postgres
from tests.peers.process import free_port

KEY = "clinic"
EACH = {"Patient": 1, "CarePlan": 1, "Encounter": 1, "Appointment": 1, "Task": 2}
POLL = 10
PATIENCE = 900.0


class Clinic:
    """HAPI, and the tracker's database that follows it, reachable for HAPI at one port."""

    def __init__(self, hapi: Hapi, database: Database, http: httpx.Client) -> None:
        self.hapi = hapi
        self.database = database
        self.http = http
        self.port = free_port()

    def tell(self, what: str, how: str) -> None:
        """One line of the table, at once."""
        sys.stdout.write(f"| {what} | {how} |\n")
        sys.stdout.flush()

    def held(self) -> int:
        """How many of its resources are here."""
        with self.database.read() as tx:
            return sum(len(resources.ids_of(tx, KEY, type_)) for type_ in EACH)

    def there(self) -> dict[str, dict[str, tuple[str, int]]]:
        """Type -> id -> content hash and version, of all that HAPI holds."""
        found: dict[str, dict[str, tuple[str, int]]] = {}
        for type_ in EACH:
            url: str | None = f"{type_}?_count=500&_sort=_id"
            found[type_] = {}
            while url:
                page: Any = read_json(self.http.get(url).raise_for_status().content)
                for one in (entry["resource"] for entry in page.get("entry", ())):
                    found[type_][one["id"]] = (content_hash(one), int(one["meta"]["versionId"]))
                url = next((link["url"] for link in page["link"] if link["relation"] == "next"), None)
        return found

    def differences(self) -> list[str]:
        """What is missing here, too much, of another content, or of more versions than HAPI has."""
        found = []
        for type_, there in self.there().items():
            with self.database.read() as tx:
                here = set(resources.ids_of(tx, KEY, type_))
                known = resources.known(tx, KEY, type_, there)
            found += [f"{type_}/{id_} is on one side only" for id_ in here ^ set(there)]
            for id_ in here & set(there):
                hash_, version = there[id_]
                if known[id_].content_hash != hash_:
                    found.append(f"{type_}/{id_} differs")
                if known[id_].version > version:
                    found.append(f"{type_}/{id_} was written {known[id_].version} times for {version} versions")
        return found


def fill(clinic: Clinic, rounds: int) -> int:
    """Put the patients and all of theirs into HAPI; how many resources."""
    count = 0
    for round_ in range(rounds):
        for type_, pages in EACH.items():
            for page in range(pages):
                first = (round_ * pages + page) * PAGE
                made = [made_up(type_, number, round_, instant(START)) for number in range(first, first + PAGE)]
                _put(clinic, made)
                count += len(made)
    return count


def _put(clinic: Clinic, made: list[dict[str, Any]]) -> None:
    entries = [
        {
            "resource": {name: value for name, value in one.items() if name != "meta"},
            "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"},
        }
        for one in made
    ]
    clinic.http.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": entries}).raise_for_status()


class Writer(threading.Thread):
    """Somebody at work in the EHR: updates, new Tasks and deletions, by seeded chance; `halfway` is set in the middle."""

    def __init__(self, clinic: Clinic, rounds: int, changes: int, seed: int) -> None:
        super().__init__()
        self.halfway = threading.Event()
        self.counts = {"updated": 0, "made": 0, "deleted": 0}
        self.error: BaseException | None = None
        self._clinic, self._rounds, self._changes = clinic, rounds, changes
        self._chance = random.Random(seed)

    def run(self) -> None:
        try:
            for number in range(self._changes):
                self._change(number)
                if number >= self._changes // 2:
                    self.halfway.set()
        except BaseException as error:
            self.error = error
            self.halfway.set()
            raise

    def _change(self, number: int) -> None:
        http, round_ = self._clinic.http, self._chance.randrange(self._rounds)
        act = self._chance.choices(("updated", "made", "deleted"), (7, 2, 1))[0]
        if act == "made":
            made = made_up("Task", 10_000_000 + number, round_, instant(START))
            http.put(f"Task/{made['id']}", json=made).raise_for_status()
        elif act == "deleted":
            id_ = made_up("Task", round_ * 2 * PAGE + self._chance.randrange(2 * PAGE), round_, instant(START))["id"]
            http.delete(f"Task/{id_}").raise_for_status()
        else:
            type_ = self._chance.choice([one for one in EACH if one != "Task"])
            one = made_up(type_, round_ * PAGE + self._chance.randrange(PAGE), round_, instant(START))
            told = [{"system": "urn:synthetic:change", "value": str(number)}]
            http.put(f"{type_}/{one['id']}", json=one | {"identifier": told}).raise_for_status()
        self.counts[act] += 1


def run(clinic: Clinic, url: str, folder: Path, asked: argparse.Namespace) -> None:
    """Fill, load, follow, compare, and say so."""
    rounds = asked.patients // PAGE
    begun = time.monotonic()
    count = fill(clinic, rounds)
    clinic.tell(f"HAPI {clinic.hapi.version} filled", f"{count:,} resources in {time.monotonic() - begun:.0f} s")
    with clinic.database.begin() as tx:
        types = list(EACH)
        connections.add(
            tx,
            KEY,
            clinic.hapi.base_url,
            now=clock.now(),
            mapping="hapi",
            types=types,
            subscribe="auto",
            poll_seconds=POLL,
        )
    _load(clinic, url, folder, count)
    _follow(clinic, url, folder, rounds, asked)
    _reconcile(clinic, url)


def _load(clinic: Clinic, url: str, folder: Path, count: int) -> None:
    begun = time.monotonic()
    with serving(clinic, url, folder) as tracker:
        wait_for(lambda: clinic.held() > count // 3, "a third is loaded")
        tracker.process.kill()
    clinic.tell("tracker killed (kill -9) while loading", f"{clinic.held():,} resources here")
    with serving(clinic, url, folder):
        wait_for(lambda: clinic.held() >= count, "all is loaded")
        took = time.monotonic() - begun
        wait_for(lambda: _is_followed(clinic), "a whole pull")
    clinic.tell("loaded", f"{clinic.held():,} resources after {took:.0f} s, both starts included")


def _follow(clinic: Clinic, url: str, folder: Path, rounds: int, asked: argparse.Namespace) -> None:
    writer = Writer(clinic, rounds, asked.changes, asked.seed)
    with serving(clinic, url, folder) as tracker:
        writer.start()
        writer.halfway.wait()
        tracker.process.kill()
    clinic.tell("tracker killed (kill -9) while following", f"after {sum(writer.counts.values())} changes")
    with serving(clinic, url, folder):
        writer.join()
        assert writer.error is None
        done = ", ".join(f"{number} {what}" for what, number in writer.counts.items())
        clinic.tell("written at HAPI meanwhile", done)
        begun = time.monotonic()
        wait_for(lambda: not clinic.differences(), "both sides are equal", clinic.differences)
        clinic.tell("both sides equal", f"{time.monotonic() - begun:.0f} s after the last change")


def _reconcile(clinic: Clinic, url: str) -> None:
    program = Path(sys.executable).parent / "fhir-tracker"
    words: list[str | Path] = [program, "sync", KEY, "--once", "--reconcile", "--json", "--database", url]
    done = subprocess.run(
        words, env=_environment(), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
    told: Any = json.loads(done.stdout)
    reports = told if isinstance(told, list) else told.get("connections", [told])
    types = [one for report in reports for one in report["types"]]
    missed = {one["type"]: one["missedEvents"] for one in types}
    clinic.tell(
        "sync --once --reconcile: missed events", ", ".join(f"{name} {number}" for name, number in missed.items())
    )
    assert set(missed) == set(EACH)
    assert set(missed.values()) == {0}
    assert all(one["quarantined"] == 0 for one in types)
    left = clinic.differences()
    assert not left, left[:5]
    total = sum(len(some) for some in clinic.there().values())
    clinic.tell("id sets, content hashes and numbers of versions", f"{total:,} resources compared, no difference")


def _is_followed(clinic: Clinic) -> bool:
    with clinic.database.read() as tx:
        return connections.get(tx, KEY).last_success_at is not None


def _environment() -> dict[str, str]:
    return {**os.environ, "FHIR_TRACKER_SECRET_KEY": SECRET}


@contextmanager
def serving(clinic: Clinic, url: str, folder: Path) -> Iterator[Tracker]:
    """The tracker as its operator starts it, reachable for HAPI."""
    words = ("--open", "--port", str(clinic.port), "--public-url", f"http://127.0.0.1:{clinic.port}")
    with running_tracker(url, folder, *words, env={"FHIR_TRACKER_LOG_LEVEL": "INFO"}) as tracker:
        yield tracker


def wait_for(what: Callable[[], object], name: str, more: Callable[[], list[str]] = list) -> None:
    """Until it is so; AssertionError when that takes too long."""
    ends = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < ends, f"never: {name} {more()[:5]}"
        time.sleep(1)


def main() -> None:
    """One run, printed as a table."""
    parser = argparse.ArgumentParser(prog="hapi_load")
    parser.add_argument("--patients", type=int, default=2_000)
    parser.add_argument("--changes", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="postgresql")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    with ExitStack() as undo:
        folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="hapi-load-")))
        server = undo.enter_context(running_postgres()) if asked.database == "postgresql" else None
        url = server.url(server.create()) if server else f"sqlite:///{folder / 'tracker.db'}"
        database = undo.enter_context(closing(Database.open(url)))
        prepare(database)
        hapi = Hapi(folder)
        undo.callback(hapi.stop)
        headers = {"cache-control": "no-cache"}
        http = undo.enter_context(
            httpx.Client(base_url=f"{hapi.base_url}/", timeout=300, trust_env=False, headers=headers)
        )
        clinic = Clinic(hapi, database, http)
        machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, {asked.database}, seed {asked.seed}"
        sys.stdout.write(f"{machine}, load {os.getloadavg()[0]:.1f}\n\n| {asked.patients:,} patients | |\n|---|---|\n")
        sys.stdout.flush()
        run(clinic, url, folder, asked)


if __name__ == "__main__":
    main()
