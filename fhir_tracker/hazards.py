"""What is unsafe in the settings of a server with real patients: said before it starts, unless a person has allowed it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from fhir_tracker import failpoints
from fhir_tracker.config import Settings
from fhir_tracker.errors import UsageError
from fhir_tracker.loopback import is_loopback, leads_here

_ENCRYPTED = frozenset({"require", "verify-ca", "verify-full"})
_SAMPLES = re.compile(r"change[-_ ]?(?:me|this)|default|placeholder|password|insecure|your[-_ ]", re.IGNORECASE)
_FEWEST_DIFFERENT = 8


@dataclass(frozen=True, kw_only=True)
class Hazard:
    """One unsafe thing: the `word` that allows it in FHIR_TRACKER_INSECURE ("" for what only warns), and what mends it."""

    word: str
    detail: str
    fix: str


def hazards(settings: Settings) -> list[Hazard]:
    """All that is unsafe, whether a person has allowed it or not."""
    return [*_secret_key(settings), *_public_url(settings), *_database(settings), *_redis(settings), *_others(settings)]


def check_safe(settings: Settings, *words: str) -> None:
    """UsageError for the first hazard that FHIR_TRACKER_INSECURE does not allow; only those of `words`, when given."""
    for one in hazards(settings):
        if one.word and one.word not in settings.insecure and (not words or one.word in words):
            raise UsageError(
                f"This is not safe with data of real patients: {one.detail}. To mend it: {one.fix}; or allow it with "
                f"FHIR_TRACKER_INSECURE={one.word}."
            )


def _secret_key(settings: Settings) -> Iterator[Hazard]:
    key = settings.secret_key
    if key and (len(set(key)) < _FEWEST_DIFFERENT or _SAMPLES.search(key)):
        fix = "set it to the output of: python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"
        yield Hazard(word="secret-key", detail="FHIR_TRACKER_SECRET_KEY can be guessed", fix=fix)


def _public_url(settings: Settings) -> Iterator[Hazard]:
    parts = urlsplit(settings.public_url)
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        detail = "the public address is http, so logins and patient data travel unencrypted"
        yield Hazard(
            word="http", detail=detail, fix="use an https address, and TLS: --tls-cert and --tls-key, or a proxy"
        )


def _database(settings: Settings) -> Iterator[Hazard]:
    parts = urlsplit(settings.database)
    if settings.database_file is not None:
        if not settings.disk_encrypted:
            detail = "nobody has said that the disk with the SQLite database and its backups is encrypted"
            yield Hazard(word="", detail=detail, fix="encrypt it, then set FHIR_TRACKER_DISK_ENCRYPTED=yes")
        return
    asked = parse_qs(parts.query)
    hosts = [part.rpartition("@")[2] for part in parts.netloc.split(",")] if parts.netloc else []
    named = [_host(one) for one in hosts] + [one for value in asked.get("host", []) for one in value.split(",")]
    is_away = any(one and not one.startswith("/") and not is_loopback(one) for one in named)
    if is_away and asked.get("sslmode", [""])[-1] not in _ENCRYPTED:
        detail = "the connection to PostgreSQL on another machine may be unencrypted"
        yield Hazard(word="postgresql", detail=detail, fix="add ?sslmode=verify-full to its address")


def _redis(settings: Settings) -> Iterator[Hazard]:
    parts = urlsplit(settings.redis_url)
    if parts.scheme == "redis" and not is_loopback(parts.hostname):
        yield Hazard(word="redis", detail="the connection to Redis is unencrypted", fix="use a rediss:// address")


def _others(settings: Settings) -> Iterator[Hazard]:
    if failpoints.is_set():
        detail = f"{failpoints.VARIABLE} ends processes on purpose, for tests"
        yield Hazard(word="failpoint", detail=detail, fix="unset it")
    if any(one.startswith("http:") and not leads_here(one) for one in settings.cors_origins):
        detail = "an origin of FHIR_TRACKER_CORS_ORIGINS is http"
        yield Hazard(word="http", detail=detail, fix="name https origins")


def _host(text: str) -> str:
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0]
