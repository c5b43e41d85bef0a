"""Sets the demo up in a folder of its own: the EHR's process with its frame, and the tracker with its worker, let in by it."""

from __future__ import annotations

import logging
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.audit_keeper import AuditKeeper
from api.context import Access, AppContext
from api.demo import morning
from api.demo.board import Board
from api.demo.day import DAY
from api.demo.director import Director, board_of
from api.demo.ehr import Ehr, FhirApi, start_ehr
from api.demo.people import CONNECTION, people
from api.demo.records import load
from api.demo.simulator.world import ClientType, RegisteredApp
from api.demo.system import DemoSystem
from api.demo.telling import Teller
from api.demo.visitor import ChartReader
from api.logs import set_up_logs
from api.serve import listen
from api.worker import Worker, start_embedded
from fhir_tracker import accounts, clients, clock, connections, issuers, publishing, roles
from fhir_tracker.config import Settings
from fhir_tracker.errors import Conflict, UsageError
from fhir_tracker.issuers import Terms
from fhir_tracker.model.author import Author
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.sealing import audit_key
from fhir_tracker.signing_keys import Keyring
from fhir_tracker.storage.clients import Client
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.schema import prepare
from subscriptions import sync_due

HOST = "127.0.0.1"
USUAL_PORT = 8765
APP_ID = "care-plan-tracker"
APP_KIND: ClientType = "confidential-asymmetric"
INTENTS = {"work-queue": "queue", "operations": "operations"}
POLL_SECONDS = 2
SECONDS_TO_CLOSE = 20.0
SECONDS_TO_FINISH = 20.0
TYPES = (
    "Patient",
    "Practitioner",
    "PractitionerRole",
    "Encounter",
    "Condition",
    "CareTeam",
    "CarePlan",
    "Appointment",
    "DocumentReference",
    "Observation",
)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A running demo. `address` is the EHR as its staff sees it, `tracker` the tracker's own, neither with a slash at its end."""

    address: str
    tracker: str
    ehr: Ehr
    board: Board
    director: Director


@contextmanager
def set_up(
    folder: Path, settings: Settings, *, port: int | None, pace: float, stop: threading.Event
) -> Iterator[Stage]:
    """Start everything, give it to the caller, and leave nothing running; `port` None takes the usual one or any free.

    Raises Conflict when the port asked for is taken, Unavailable when the EHR does not come up.
    """
    with ExitStack() as undo:
        listening = undo.enter_context(_listening(port))
        tracker = f"http://{HOST}:{listening.getsockname()[1]}"
        own = _own_settings(settings, folder, tracker)
        set_up_logs(own.log_level)
        now = clock.now()
        ehr = start_ehr(0, folder / "ehr", now, registered_at(tracker))
        undo.callback(ehr.stop)
        database = Database.open(own.database)
        database.seal_rows(lambda: audit_key(own.secret_key))
        undo.callback(database.close)
        prepare(database)
        system = DemoSystem(tracker, clock.now)
        fill(database, ehr, own, system.client(), now)
        following = _Following(database, own)
        director = _director(ehr, system, tracker, now, pace, stop, following)
        Keyring(database=database, secret_key=own.secret_key).ensure(now)
        undo.callback(AuditKeeper(database, own).start().stop)
        undo.callback(_serving(create_app(_context(database, own, now)), listening))
        undo.callback(following.stop)
        undo.callback(_hush, ehr)
        undo.callback(_telling(director, ehr))
        yield Stage(address=f"{ehr.origin}/ehr", tracker=tracker, ehr=ehr, board=director.board, director=director)


def _context(database: Database, settings: Settings, now: datetime) -> AppContext:
    return AppContext(
        database=database,
        settings=settings,
        access=Access.LOCKED,
        public_url=settings.public_url,
        secret_key=settings.secret_key,
        started_at=now,
        worker=True,
    )


def _telling(director: Director, ehr: Ehr) -> Callable[[], None]:
    """Keep the EHR's frame told from a thread until the answered function is called."""
    teller = Teller(board=director.board, ehr=director.ehr, since=clock.now())
    over = threading.Event()
    threading.Thread(target=teller.follow, args=(ehr.tell, over), name="demo-telling", daemon=True).start()
    return over.set


def _hush(ehr: Ehr) -> None:
    """Take the EHR away first: a pull under way then ends at once, and what fails from here on is no news."""
    logging.disable(logging.CRITICAL)
    ehr.stop()


def _listening(port: int | None) -> socket.socket:
    if port is not None:
        return listen(HOST, port)
    try:
        return listen(HOST, USUAL_PORT)
    except Conflict:
        return listen(HOST, 0)


def _own_settings(settings: Settings, folder: Path, tracker: str) -> Settings:
    """The demo never touches the person's own database, address or key."""
    return replace(
        settings,
        database=f"sqlite:///{folder / 'tracker.db'}",
        secret_key=secrets.token_urlsafe(32),
        public_url=tracker,
        redis_url="",
        audit_anchor=None,
        require_if_match=False,
        log_level="WARNING",
        mass_escalation_limit=0.0,
        sweep_interval=timedelta(seconds=1),
        rule_period=timedelta(hours=1),
        poll_overlap=timedelta(seconds=10),
    )


def fill(database: Database, ehr: Ehr, settings: Settings, client: Client, now: datetime) -> None:
    """Publish the starter programs and the demo's, connect to the EHR, and let its staff and the demo's system in."""
    author = Author(viewer=worker_viewer("demo"), origin="cli", at=now)
    with database.begin() as tx:
        publishing.publish_starters(tx, author)
        for entry in sorted(files("api.demo").joinpath("programs").iterdir(), key=lambda entry: entry.name):
            publishing.publish(tx, entry.read_text(encoding="utf-8"), author)
        asks = {"auth": "private_key_jwt", "client_id": APP_ID, "scopes": "system/*.rs"}
        connections.add(tx, CONNECTION, ehr.base_url, now=now, poll_seconds=POLL_SECONDS, types=TYPES, options=asks)
        terms = Terms(
            url=ehr.base_url,
            client_id=APP_ID,
            client_type=APP_KIND,
            label="the simulated EHR",
            frame_ancestors=(ehr.origin,),
            intents=INTENTS,
        )
        issuers.of_connection(tx, CONNECTION, terms, settings.secret_key, now)
        for one in people():
            accounts.add(
                tx,
                one.name,
                (one.role,),
                known=roles.built_in(),
                now=now,
                connection=CONNECTION,
                fhir_user=f"Practitioner/{one.remote_id}",
            )
        clients.add(tx, client)


def registered_at(tracker: str) -> RegisteredApp:
    """The tracker as the EHR registers it: it signs for itself with the keys on its own page of keys."""
    return RegisteredApp(
        client_id=APP_ID,
        name="Care plan tracker",
        launch_url=f"{tracker}/launch",
        redirect_uris=(f"{tracker}/callback",),
        kind=APP_KIND,
        jwks_url=f"{tracker}/.well-known/jwks.json",
    )


class _Following:
    """The tracker's worker. Its first pull is done before any rule runs, so that no rule judges half a record."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._guard = threading.Lock()
        self._loading = threading.Lock()
        self._worker: Worker | None = None
        self._is_over = False

    def start(self) -> None:
        """Pull everything once, let the staff have worked on it, then follow; nothing once `stop` was called."""
        with self._loading:
            for step in (self._pull, self._enrol, self._work):
                if not self._is_over:
                    step()
        with self._guard:
            if not self._is_over:
                self._worker = start_embedded(self._database, self._settings)

    def stop(self) -> None:
        """End the worker, or keep it from starting. What it has in hand is waited for a moment, not to its end."""
        with self._guard:
            self._is_over = True
            if self._worker is not None:
                self._worker.stop(SECONDS_TO_FINISH)
        if self._loading.acquire(timeout=SECONDS_TO_FINISH):
            self._loading.release()

    def _pull(self) -> None:
        sync_due(self._database, self._settings, clock.now)

    def _enrol(self) -> None:
        morning.enrol_all(self._database, clock.now())

    def _work(self) -> None:
        morning.work_the_morning(self._database, clock.now())


def _director(
    ehr: Ehr,
    system: DemoSystem,
    tracker: str,
    now: datetime,
    pace: float,
    stop: threading.Event,
    following: _Following,
) -> Director:
    if pace <= 0:
        raise UsageError("--pace has to be more than 0.")
    records = load(now)
    return Director(
        steps=DAY,
        board=board_of(DAY, records.names(), records.cast),
        ehr=FhirApi(base_url=ehr.base_url),
        tracker=system.api(),
        reader=ChartReader(ehr.origin, tracker, people()[0].remote_id, APP_ID),
        cast=records.cast,
        stop=stop,
        load=following.start,
        pace=pace,
    )


def _serving(app: FastAPI, listening: socket.socket) -> Callable[[], None]:
    """Serve from a thread until the answered function is called, which waits for the end."""
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="demo-tracker", daemon=True)
    thread.start()

    def stop() -> None:
        server.should_exit = True
        thread.join(SECONDS_TO_CLOSE)

    return stop
