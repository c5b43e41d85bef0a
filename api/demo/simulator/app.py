"""The whole of a simulated EHR as routes, and as a server of its own in a thread."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute

from api.demo.simulator.about_tokens import about_token_routes
from api.demo.simulator.authorize import Authorize
from api.demo.simulator.discovery import discovery_routes
from api.demo.simulator.frame import EhrFrame
from api.demo.simulator.records import Records
from api.demo.simulator.simulator import Simulator
from api.demo.simulator.token import token_routes
from fhir_tracker.fhir.json_types import Resource

SECONDS_TO_CLOSE = 30.0


@dataclass(frozen=True, kw_only=True)
class SimulatedEhr:
    """A running simulated EHR with its few records."""

    simulator: Simulator
    records: Records
    frame: EhrFrame


def smart_routes(simulator: Simulator, frame: EhrFrame) -> list[BaseRoute]:
    """Everything but the FHIR API."""
    return [
        *discovery_routes(simulator),
        *Authorize(simulator).routes(),
        *token_routes(simulator),
        *about_token_routes(simulator),
        *frame.routes(),
    ]


@contextmanager
def running(
    make: Callable[[str], Simulator], resources: Sequence[Resource] = (), *, host: str = "localhost"
) -> Iterator[SimulatedEhr]:
    """Serve what `make` builds for an origin (`http://localhost:PORT`) on loopback until the block ends."""
    listening = socket.create_server(("127.0.0.1", 0))
    simulator = make(f"http://{host}:{listening.getsockname()[1]}")
    frame, records = EhrFrame(simulator), Records(simulator, resources)
    app = Starlette(routes=[*smart_routes(simulator, frame), *records.routes()])
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="simulated-ehr", daemon=True)
    thread.start()
    try:
        yield SimulatedEhr(simulator=simulator, records=records, frame=frame)
    finally:
        server.should_exit = True
        thread.join(SECONDS_TO_CLOSE)
        listening.close()
