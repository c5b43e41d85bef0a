"""Seeded chance composes the faults for some minutes: a real server, its database, a line and an EHR that all go wrong.

`make soak` runs this: `python -m tests.faults.soak --seed N --minutes M --database sqlite|postgresql`. Each round lets some
things happen and go wrong, then heals all and waits until the tracker has caught up; then the invariants are checked.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import httpx

from fhir_tracker import clock, connections
from fhir_tracker.errors import TrackerError
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.schema import prepare
from tests.conformance.server import SECRET
from tests.faults.checker import CONNECTION, check, check_always
from tests.faults.ehr_process import EhrProcess
from tests.faults.proxy import FaultProxy, Toxics
from tests.peers.postgres.server import Postgres, running_postgres
from tests.peers.process import Process, answers, free_port

IDS = tuple(f"p{number}" for number in range(60))
CATCH_UP = 240.0
FAILPOINTS = (
    "page-read:3",
    "page-before-commit:2",
    "page-after-commit:2",
    "hook-before-insert:2",
    "hook-after-insert:2",
)
FHIR = {"content-type": "application/fhir+json"}
ANSWERS: tuple[dict[str, Any], ...] = (
    {"do": "status", "status": 500},
    {"do": "status", "status": 503, "headers": {"retry-after": "1"}},
    {"do": "status", "status": 429, "headers": {"retry-after": "2"}},
    {"do": "status", "status": 410, "match": "_getpages"},
    {"do": "truncate"},
    {"do": "hang", "seconds": 3},
    {"do": "bomb"},
    {"do": "body", "text": "<form>Sign in</form>", "headers": {"content-type": "text/html"}},
    {"do": "body", "text": '{"resourceType": "Bundle", "ent', "headers": FHIR},
    {"match": "Patient\\?", "next": "self"},
    {"match": "Patient\\?", "next": "http://127.0.0.1:9/fhir"},
)
LINES = (
    Toxics(down=True),
    Toxics(reset_peer=True),
    Toxics(limit_data=500),
    Toxics(latency=0.2),
    Toxics(slicer=7),
    Toxics(timeout=2),
)


class Soak:
    """One run from one seed."""

    def __init__(self, seed: int, folder: Path, server: Postgres | None, undo: ExitStack) -> None:
        self.chance = random.Random(seed)
        self.folder = folder
        self.server = server
        self.name = server.create() if server else ""
        self.url = server.url(self.name) if server else f"sqlite:///{folder / 'tracker.db'}"
        self.ehr = EhrProcess(folder)
        undo.callback(self.ehr.stop)
        self.ehr.act("switch", runs=True, page_size=7)
        self.proxy = undo.enter_context(FaultProxy(target=self.ehr.port))
        self.database = undo.enter_context(closing(Database.open(self.url)))
        prepare(self.database)
        base_url = f"http://127.0.0.1:{self.proxy.port}/fhir"
        with self.database.begin() as tx:
            connections.add(
                tx, CONNECTION, base_url, now=clock.now(), types=("Patient",), subscribe="rest-hook", poll_seconds=2
            )
        self.port = free_port()
        self.kills = 0
        self.failpoint = ""
        self.appears = 0.0
        self.tracker: Process | None = None
        undo.callback(self.end)
        self.start()

    def start(self, failpoint: str = "") -> None:
        """The server, which may meet a failpoint; not waited for then."""
        program = Path(sys.executable).parent / "fhir-tracker"
        words = ["--port", str(self.port), "--public-url", f"http://127.0.0.1:{self.port}", "--database", self.url]
        env = {
            "FHIR_TRACKER_SECRET_KEY": SECRET,
            "FHIR_TRACKER_REMOTE_TIMEOUT": "5s",
            "FHIR_TRACKER_REMOTE_BODY_LIMIT": "2M",
            "FHIR_TRACKER_FAILPOINT": failpoint,
        }
        log = self.folder / "tracker.log"
        self.failpoint = failpoint
        self.tracker = Process([program, "serve", "--open", *words], log=log, cwd=self.folder, env=env)
        if not failpoint:
            self.tracker.wait_until(answers(f"http://127.0.0.1:{self.port}/readyz"), seconds=60, what="fhir-tracker")

    def end(self, *, politely: bool = True) -> None:
        """The server ends, by SIGTERM or by kill -9."""
        if self.tracker is not None:
            self.tracker.stop() if politely else self.tracker.kill()
        self.tracker = None

    def round(self) -> list[str]:
        """Some acts and faults; what they were."""
        told = []
        acts: dict[Callable[[], object], int] = {
            self.write: 8,
            self.late: 3,
            self.delete: 2,
            self.tell: 6,
            self.spoil_answers: 4,
            self.spoil_line: 4,
            self.kill_tracker: 2,
            self.stop_tracker: 1,
            self.freeze_tracker: 1,
            self.kill_database: 1,
            self.lose_subscription: 1,
        }
        for _ in range(self.chance.randrange(3, 9)):
            act = self.chance.choices(list(acts), list(acts.values()))[0]
            told.append(act.__name__)
            act()
            time.sleep(self.chance.choice([0, 0.3, 1.5]))
        return told

    def write(self) -> None:
        self.ehr.write(*self.chance.sample(IDS, self.chance.randrange(1, 30)))

    def late(self) -> None:
        seconds = self.chance.uniform(1, 8)
        self.ehr.write(*self.chance.sample(IDS, 5), late=seconds)
        self.appears = max(self.appears, time.monotonic() + seconds)

    def delete(self) -> None:
        alive = sorted(key for key, one in self.ehr.truth().items() if one["text"])
        if alive:
            self.ehr.act("delete", type_="Patient", id_=self.chance.choice(alive).split("/")[1])

    def tell(self) -> None:
        """Notifications: some twice, in disorder, some never, some of old versions."""
        if not self.ehr.state()["subscriptions"]:
            return
        orders: list[dict[str, Any]] = []
        for key in self.chance.choices(sorted(self.ehr.truth()) or ["Patient/p0"], k=6):
            meta = {"versionId": str(self.chance.randrange(1, 4))}
            body = {"resourceType": "Patient", "id": key.split("/")[1], "meta": meta}
            orders.append({"method": "PUT", "path": f"/{key}", "body": body})
        self.ehr.act("notify", order=[*orders, {}, {"secret": False, "body": {}}])

    def spoil_answers(self) -> None:
        faults = [{**self.chance.choice(ANSWERS), "times": self.chance.randrange(1, 6)} for _ in range(3)]
        self.ehr.fault(*faults)

    def spoil_line(self) -> None:
        self.proxy.toxics = self.chance.choice(LINES)
        self.proxy.drop()

    def kill_tracker(self) -> None:
        """Now, or at a line that it has yet to reach."""
        self.kills += 1
        self.end(politely=False)
        self.start(self.chance.choice([*FAILPOINTS, ""]))

    def stop_tracker(self) -> None:
        self.end()
        self.start()

    def freeze_tracker(self) -> None:
        if self.tracker is not None:
            self.tracker.send(signal.SIGSTOP)
            time.sleep(self.chance.uniform(0.2, 3))
            self.tracker.send(signal.SIGCONT)

    def kill_database(self) -> None:
        if self.server is not None:
            self.server.kill()
            time.sleep(self.chance.uniform(0, 1))
            self.server.restart()

    def lose_subscription(self) -> None:
        if self.chance.random() < 0.5:
            self.ehr.act("forget_subscriptions")
        else:
            self.ehr.act("spoil_subscriptions", status=self.chance.choice(["error", "off"]))

    def heal(self) -> None:
        """Nothing goes wrong any more; the supervisor of a server would go on starting processes that die at a failpoint."""
        self.proxy.heal()
        self.ehr.fault()
        if self.failpoint or self.tracker is None or not self.tracker.running or self.chance.random() < 0.3:
            self.end(politely=False)
            self.start()

    def rest(self) -> float:
        """Wait until the invariants hold, of late commits too; the seconds that took. The moving ones hold all the while."""
        time.sleep(max(self.appears - time.monotonic(), 0.0))
        began = time.monotonic()
        log = self.folder / "tracker.log"
        while True:
            try:
                truth = self.ehr.truth()
                numbers = httpx.get(f"http://127.0.0.1:{self.port}/metrics", timeout=60, trust_env=False).text
                check(self.database, truth, now=clock.now(), texts=[numbers])
                break
            except (AssertionError, TrackerError, httpx.HTTPError) as error:
                if time.monotonic() - began > CATCH_UP:
                    raise
                if self.tracker is not None and not self.tracker.running:
                    self.start()
                if isinstance(error, AssertionError) and not str(error).startswith("I1"):
                    raise
                time.sleep(0.5)
        text = log.read_text(errors="replace")
        assert "Canary" not in text, "I9"
        return time.monotonic() - began


def say(line: str) -> None:
    """One line, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def run(seed: int, minutes: float, database: str) -> int:
    """Rounds until time is up; the number of them."""
    ends = time.monotonic() + 60 * minutes
    rounds = 0
    with ExitStack() as undo:
        folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        server = undo.enter_context(running_postgres()) if database == "postgresql" else None
        soak = Soak(seed, folder, server, undo)
        while time.monotonic() < ends:
            told = soak.round()
            with suppress(TrackerError):  # our own sessions were killed together with the database
                check_always(soak.database, soak.ehr.truth(), now=clock.now())
            soak.heal()
            try:
                took = soak.rest()
            except BaseException as error:
                error.add_note(f"seed {seed}, round {rounds}, {told}\n{(folder / 'tracker.log').read_text()[-3000:]}")
                raise
            rounds += 1
            say(f"round {rounds}: {', '.join(told)}; caught up in {took:.1f} s")
        say(f"seed {seed} on {database}: {rounds} rounds, {soak.kills} kills, all invariants held")
    return rounds


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Compose faults by seeded chance and check the invariants.")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="")
    given = parser.parse_args()
    say(f"seed {given.seed}")
    chosen = given.database or ("sqlite", "postgresql")[given.seed % 2]
    run(given.seed, given.minutes, chosen)
