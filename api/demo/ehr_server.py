"""The simulated EHR's own process: sekmet-fhir on loopback, filled with the demo's patients, behind the frame of an EHR.

Started as `python -m api.demo.ehr_server`; one line of JSON on standard input says `port` (0: any free one), `data_dir`,
`now` and the `app` to launch; one line of JSON on standard output answers with the `port` once everything is loaded. Each
further line on standard input is the demo day as it stands, to be shown beside the charts. When standard input ends the
process ends, so it never outlives the demo, however that was stopped.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from sekmet.config import Settings  # type: ignore[import-untyped]
from sekmet.main import create_app  # type: ignore[import-untyped]

from api.demo.records import RESTRICTED, Records, load, source
from api.demo.simulator.app import smart_routes
from api.demo.simulator.bearer import BearerGuard
from api.demo.simulator.frame import EhrFrame
from api.demo.simulator.simulator import Simulator
from api.demo.simulator.world import Chart, Member, RegisteredApp, World
from fhir_tracker import clock
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import objects_at

TITLES = {
    "rn": "Nurse (RN)",
    "care-coordinator": "Care coordinator",
    "provider": "Provider",
    "front-desk": "Front desk",
    "clinic-admin": "Clinic admin",
    "auditor": "Auditor",
}
SECONDS_TO_CLOSE = 2.0
_RESTRICTED = " (restricted)"


def main() -> int:
    """Load, answer, serve until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    wanted = json.loads(sys.stdin.buffer.readline())
    listening = socket.create_server(("127.0.0.1", wanted["port"]))
    port = int(listening.getsockname()[1])
    records = load(datetime.fromisoformat(wanted["now"]))
    simulator = Simulator(world_of(records, wanted["app"]), origin=f"http://localhost:{port}")
    frame = EhrFrame(simulator)
    app = _loaded_app(simulator, port, Path(wanted["data_dir"]), records)
    app.router.routes[:0] = smart_routes(simulator, frame)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off"))
    threading.Thread(target=_follow_parent, args=(server, frame), daemon=True).start()
    sys.stdout.write(json.dumps({"port": port}) + "\n")
    sys.stdout.flush()
    server.run(sockets=[listening])
    return 0


def world_of(records: Records, app: Mapping[str, Any] | None) -> World:
    """The demo's people and patients as the EHR's staff and charts."""
    members = tuple(
        Member(id=one["id"], name=one["name"], title=TITLES[one["role"]], fhir_user=f"Practitioner/{one['id']}")
        for one in source()["people"]
    )
    charts = [_chart(one) for one in records.resources if one["resourceType"] == "Patient"]
    apps = () if app is None else (RegisteredApp(**{**app, "redirect_uris": tuple(app["redirect_uris"])}),)
    return World(members=members, charts=tuple(sorted(charts, key=lambda one: one.name)), apps=apps)


def _chart(patient: Resource) -> Chart:
    name = patient["name"][0]
    numbers = [
        str(one["value"])
        for one in objects_at(patient, "identifier")
        if "MR" in [coding.get("code") for coding in objects_at(one, "type", "coding")]
    ]
    return Chart(
        id=patient["id"],
        name=f"{name['family']}, {' '.join(name['given'])}{_RESTRICTED if patient['id'] == RESTRICTED else ''}",
        born=patient.get("birthDate", ""),
        sex=patient.get("gender", ""),
        number=numbers[0][:8] if numbers else "",
    )


def _loaded_app(simulator: Simulator, port: int, data_dir: Path, records: Records) -> FastAPI:
    settings = Settings(
        base_url=simulator.fhir_base,
        host="127.0.0.1",
        port=port,
        data_dir=str(data_dir),
        facility_name="Simulated clinic (synthetic patients)",
        software_name="Simulated EHR",
        simulator={"enabled": False},
        log_inbound=False,
    )
    app: FastAPI = create_app(settings)
    app.add_middleware(BearerGuard, simulator=simulator, path="/fhir")
    store = app.state.ctx.store
    with store.transaction():
        for resource in records.resources:
            store.update(resource)
    return app


def _follow_parent(server: uvicorn.Server, frame: EhrFrame) -> None:
    for line in sys.stdin.buffer:
        frame.tell(json.loads(line))
    server.should_exit = True
    clock.pause(SECONDS_TO_CLOSE)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
