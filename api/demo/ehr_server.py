"""The simulated EHR's own process: sekmet-fhir on loopback, filled with the demo's patients, gone when its parent is.

Started as `python -m api.demo.ehr_server`; one line of JSON on standard input says `port` (0: any free one), `data_dir`
and `now`; one line of JSON on standard output answers with the `port` once everything is loaded. When standard input
ends the process ends, so it never outlives the demo, however that was stopped.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from datetime import datetime
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from sekmet.config import Settings  # type: ignore[import-untyped]
from sekmet.main import create_app  # type: ignore[import-untyped]

from api.demo.records import load
from fhir_tracker import clock

SECONDS_TO_CLOSE = 2.0


def main() -> int:
    """Load, answer, serve until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    wanted = json.loads(sys.stdin.buffer.readline())
    listening = socket.create_server(("127.0.0.1", wanted["port"]))
    port = int(listening.getsockname()[1])
    app = _loaded_app(port, Path(wanted["data_dir"]), datetime.fromisoformat(wanted["now"]))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off"))
    threading.Thread(target=_end_with_parent, args=(server,), daemon=True).start()
    sys.stdout.write(json.dumps({"port": port}) + "\n")
    sys.stdout.flush()
    server.run(sockets=[listening])
    return 0


def _loaded_app(port: int, data_dir: Path, now: datetime) -> FastAPI:
    settings = Settings(
        base_url=f"http://127.0.0.1:{port}/fhir",
        host="127.0.0.1",
        port=port,
        data_dir=str(data_dir),
        facility_name="Simulated clinic (synthetic patients)",
        software_name="Simulated EHR",
        simulator={"enabled": False},
        log_inbound=False,
    )
    app: FastAPI = create_app(settings)
    store = app.state.ctx.store
    with store.transaction():
        for resource in load(now).resources:
            store.update(resource)
    return app


def _end_with_parent(server: uvicorn.Server) -> None:
    while sys.stdin.buffer.read(1):
        pass
    server.should_exit = True
    clock.pause(SECONDS_TO_CLOSE)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
