"""Is it alive, is it ready, how does it stand: for the machines that look after it; no patient data, no login."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response

from api.context import AppContext
from api.metrics import WORKER_HEARTBEAT, RequestNumbers
from fhir_tracker import clock
from fhir_tracker.errors import TrackerError
from fhir_tracker.storage import settings
from fhir_tracker.storage.schema import schema_state

SILENT_AFTER = timedelta(seconds=60)
PATIENCE_SECONDS = 5
"""How long the database may take to answer before the server is not ready: one that stands still never says no."""
ASKED_AT_ONCE = 2
REDIS_PORT = 6379
BROKER_SECONDS = 1.0
Check = Mapping[str, object]
_SILENT: Mapping[str, Check] = {"database": {"status": "fail", "reason": "no answer in time"}}


def health_routes(context: AppContext, numbers: RequestNumbers) -> APIRouter:
    """`/livez`, `/readyz` and `/metrics`."""
    router = APIRouter()

    limiter = anyio.CapacityLimiter(ASKED_AT_ONCE)

    async def livez() -> Response:
        return _json({"status": "ok"}, 200)

    async def readyz() -> Response:
        checks: Mapping[str, Check] = _SILENT
        with anyio.move_on_after(PATIENCE_SECONDS):
            checks = await anyio.to_thread.run_sync(
                readiness, context, clock.now(), abandon_on_cancel=True, limiter=limiter
            )
        found = {check["status"] for check in checks.values()}
        status = next((one for one in ("fail", "degraded") if one in found), "ok")
        return _json({"status": status, "checks": checks}, 503 if status == "fail" else 200)

    def metrics() -> Response:
        return Response(generate_latest(numbers.registry), media_type=CONTENT_TYPE_LATEST)

    for path, endpoint in (("/livez", livez), ("/readyz", readyz), ("/metrics", metrics)):
        router.add_api_route(path, endpoint, methods=["GET", "HEAD"], response_model=None)
    return router


def readiness(context: AppContext, now: datetime) -> dict[str, Check]:
    """Each check with `status` ok, warn, degraded or fail; a worker of another process only warns."""
    try:
        current, head = schema_state(context.database)
        with context.database.read() as tx:
            beat = settings.get(tx, WORKER_HEARTBEAT)
    except TrackerError as error:
        return {"database": {"status": "fail", "reason": type(error).__name__}}
    schema = {"status": "ok" if current == head else "fail", "current": current, "head": head}
    checks: dict[str, Check] = {"database": {"status": "ok"}, "schema": schema, "worker": _worker(context, beat, now)}
    if context.settings.redis_url:
        checks["broker"] = _broker(context.settings.redis_url)
    return checks


def _broker(url: str) -> Check:
    """Whether the broker listens; without it all work is done all the same, by whoever sweeps."""
    where = urlsplit(url)
    try:
        if where.hostname is not None:
            socket.create_connection((where.hostname, where.port or REDIS_PORT), timeout=BROKER_SECONDS).close()
    except OSError:
        return {"status": "degraded", "reason": "the broker is away: what is due is found later, and nothing is lost"}
    return {"status": "ok"}


def _worker(context: AppContext, beat: str | None, now: datetime) -> Check:
    limit = max(SILENT_AFTER, 3 * context.settings.sweep_interval)
    at = datetime.fromisoformat(beat) if beat else None
    age = round((now - at).total_seconds(), 1) if at else None
    if at is not None and now - at <= limit:
        return {"status": "ok", "ageSeconds": age}
    if context.worker and now - context.started_at > limit:
        return {"status": "fail", "ageSeconds": age, "reason": "the worker of this server is silent"}
    reason = "no worker has been heard of lately" if at else "no worker has been heard of yet"
    return {"status": "warn", "ageSeconds": age, "reason": reason}


def _json(value: Mapping[str, object], status: int) -> Response:
    return Response(json.dumps(value), status_code=status, media_type="application/json")
