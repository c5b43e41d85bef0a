"""How the broker of the scale-out mode does: it carries hints only, so that whatever is wrong with it costs time and no work."""

from __future__ import annotations

from redis import Redis
from redis.exceptions import RedisError

from api.findings import Finding, ok, warn

_SECONDS = 3.0
WHAT = "broker"


def examine_broker(url: str) -> Finding:
    """Whether Redis at `url` answers and keeps what it holds over a restart."""
    try:
        with Redis.from_url(url, socket_timeout=_SECONDS, socket_connect_timeout=_SECONDS) as redis:
            redis.ping()
            told = redis.config_get("appendonly")
    except (RedisError, OSError) as error:
        name = type(error).__name__
        fix = "start Redis, or correct FHIR_TRACKER_REDIS_URL; until then workers find due work by themselves, later"
        return warn(WHAT, f"Redis does not answer ({name})", fix)
    kept = told.get("appendonly", told.get(b"appendonly", "")) if isinstance(told, dict) else ""
    if kept not in ("yes", b"yes"):
        fix = "redis-cli CONFIG SET appendonly yes, and in its configuration"
        return warn(WHAT, "Redis forgets its hints when it restarts, which costs time and no work", fix)
    return ok(WHAT, "Redis answers and keeps its data (append-only file)")
