"""What is unsafe in the settings of a server with real patients: said before it starts, unless a person has allowed it."""

from __future__ import annotations

import os
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
_OF_LIBPQ = {"host": "PGHOST", "hostaddr": "PGHOSTADDR", "service": "PGSERVICE", "sslmode": "PGSSLMODE"}
"""What PostgreSQL's own library takes from the environment where the address does not say it."""
_ON = frozenset({"true", "1", "yes", "t", "y", "on"})


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


def check_heard(settings: Settings, *, is_local: bool, has_tls: bool) -> None:
    """UsageError for a server whose unencrypted port others reach, where no public address says that a proxy speaks TLS."""
    if not (is_local or has_tls or settings.public_url or "http" in settings.insecure):
        raise UsageError(
            "This is not safe with data of real patients: others reach this port, and what is said there is unencrypted. To mend "
            "it: give --tls-cert and --tls-key, or listen behind a proxy and set FHIR_TRACKER_PUBLIC_URL to its https address; or "
            "allow it with FHIR_TRACKER_INSECURE=http."
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
    asked = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    told = {name: asked.get(name) or os.environ.get(variable, "") for name, variable in _OF_LIBPQ.items()}
    named = [_host(one) for one in parts.netloc.rpartition("@")[2].split(",") + asked.get("host", "").split(",") if one]
    named = (named or told["host"].split(",")) + told["hostaddr"].split(",")
    is_away = any(one and not one.startswith("/") and not is_loopback(one) for one in named)
    encryption = asked.get("sslmode") if told["service"] else told["sslmode"]
    if (is_away or told["service"]) and encryption not in _ENCRYPTED:
        detail = "the connection to PostgreSQL on another machine may be unencrypted"
        yield Hazard(word="postgresql", detail=detail, fix="add ?sslmode=verify-full to its address")


def _redis(settings: Settings) -> Iterator[Hazard]:
    parts = urlsplit(settings.redis_url)
    asked = {name: values[-1].lower() for name, values in parse_qs(parts.query).items()}
    if parts.scheme == "redis" and not is_loopback(parts.hostname):
        yield Hazard(word="redis", detail="the connection to Redis is unencrypted", fix="use a rediss:// address")
    elif parts.scheme == "rediss" and (
        asked.get("ssl_cert_reqs", "").endswith("none") or asked.get("ssl_check_hostname", "true") not in _ON
    ):
        fix = "take ssl_cert_reqs and ssl_check_hostname out of its address, and name its authority with ssl_ca_certs"
        yield Hazard(word="redis", detail="nobody checks that it is Redis who answers", fix=fix)


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
    return text if text.count(":") > 1 else text.partition(":")[0]
