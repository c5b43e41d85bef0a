"""How the texts of settings are read; each raises ValueError with what would be right."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
INSECURE = frozenset({"secret-key", "http", "postgresql", "redis", "failpoint"})
"""What can be allowed although it is not safe."""
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(ms|s|m|h|d)?")
_SIZE = re.compile(r"([0-9]{1,9})([kKmM]?)[bB]?")


def duration(text: str) -> timedelta:
    """`500ms`, `30s`, `2m`, `1.5h`, `7d`; a bare number is seconds. Raises ValueError for anything else, 0 included."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError("use a number and a unit, such as 30s, 5m or 2h")
    value = timedelta(seconds=float(match[1]) * _UNITS[match[2] or "s"])
    if not value:
        raise ValueError("must be more than 0")
    return value


def retention(text: str) -> timedelta:
    """As `duration`, also a number of years such as `6y`, and never less than 30 days. Raises ValueError for anything else."""
    years = re.fullmatch(r"([0-9]{1,3})y", text.strip())
    value = timedelta(days=-(-int(years[1]) * 36525 // 100)) if years else duration(text)
    if value < timedelta(days=30):
        raise ValueError("must be at least 30d")
    return value


def file(text: str) -> Path | None:
    """A path, None for ""."""
    if "\0" in text:
        raise ValueError("use the name of a file")
    return Path(text) if text else None


def process_count(text: str) -> int:
    """`auto`, which is 0, or a number from 1 to 64. Raises ValueError for anything else."""
    if text.lower() == "auto":
        return 0
    if not re.fullmatch("[0-9]{1,2}", text) or not 1 <= int(text) <= 64:
        raise ValueError("use auto, or a number from 1 to 64")
    return int(text)


def token_lifetime(text: str) -> timedelta:
    """A duration from a second to an hour. Raises ValueError for anything else."""
    value = duration(text)
    if not timedelta(seconds=1) <= value <= timedelta(hours=1):
        raise ValueError("use at least 1s and at most 1h")
    return value


def rate(text: str) -> int:
    """A number of requests."""
    return 0 if text.lower() == "off" else count(text)


def share(text: str) -> float:
    """A share from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError("use a share from 0 (off) to 1")
    return value


def count(text: str) -> int:
    """A whole number."""
    if not re.fullmatch("[0-9]{1,9}", text):
        raise ValueError("use a whole number")
    return int(text)


def positive(text: str) -> int:
    """A whole number of at least 1."""
    value = count(text)
    if not value:
        raise ValueError("must be at least 1")
    return value


def size(text: str) -> int:
    """A number of bytes."""
    match = _SIZE.fullmatch(text)
    if match is None or not int(match[1]):
        raise ValueError("use bytes, or a number with k or M, such as 5M")
    return int(match[1]) * {"": 1, "k": 1000, "m": 1_000_000}[match[2].lower()]


def switch(text: str) -> bool:
    """Yes or no."""
    known = {"yes": True, "true": True, "on": True, "1": True, "no": False, "false": False, "off": False, "0": False}
    if text.lower() not in known:
        raise ValueError("use yes or no")
    return known[text.lower()]


def log_level(text: str) -> str:
    """A level of logging."""
    if text.upper() not in LOG_LEVELS:
        raise ValueError("use one of " + ", ".join(LOG_LEVELS))
    return text.upper()


def address(text: str) -> str:
    """An http(s) address without a slash at its end; "" is none."""
    if not text:
        return ""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError("use an address such as https://tracker.example.org, without query or user")
    return text.rstrip("/")


def database(text: str) -> str:
    """The address of a database."""
    if text and not re.match(r"sqlite:///.|postgres(ql)?://", text):
        raise ValueError("use sqlite:///FILE or postgresql://USER@HOST/NAME")
    return text


def redis(text: str) -> str:
    """The address of a Redis."""
    if text and not re.match(r"rediss?://.|unix://.", text):
        raise ValueError("use redis://HOST:6379/0")
    return text


def secret(text: str) -> str:
    """A secret of 32 characters or more; "" is none."""
    if text and len(text) < 32:
        raise ValueError("use at least 32 characters")
    return text


def insecure(text: str) -> frozenset[str]:
    """What is allowed although it is not safe."""
    found = frozenset(filter(None, (one.strip() for one in text.split(","))))
    if found - INSECURE:
        raise ValueError("use words of " + ", ".join(sorted(INSECURE)))
    return found
