"""Logs: one line an event on standard error, `key=value`, without query strings, bodies or patient data."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

_PLAIN = re.compile(r"[A-Za-z0-9_./:{}@+,-]{1,200}")
_TOO_TALKATIVE = ("httpx", "httpcore", "sqlalchemy", "alembic", "asyncio", "celery", "kombu", "uvicorn", "urllib3")


class LineFormatter(logging.Formatter):
    """`time level logger message key=value ...`; the keys come from `extra={"fields": {...}}`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line without line breaks; a traceback is folded into the field `trace`."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        parts = [moment, record.levelname, record.name, shown(record.getMessage())]
        fields: Mapping[str, object] = getattr(record, "fields", {})
        parts += [f"{name}={shown(str(value))}" for name, value in fields.items() if value not in (None, "")]
        if record.exc_info and record.exc_info[2] is not None:
            parts.append(f"trace={shown(_trace(record))}")
        return " ".join(parts)


class StandardError(logging.Handler):
    """Writes to whatever standard error is at that moment; a line that can go nowhere stops no work."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line and send it off."""
        line = self.format(record)
        try:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            return


def shown(text: str) -> str:
    """`text` as it may stand in a line: quoted and escaped unless it is one plain word."""
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


def set_up_logs(level: str) -> None:
    """Send our logs and those of the libraries to standard error, one line each; libraries never below WARNING."""
    handler = StandardError()
    handler.setFormatter(LineFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in _TOO_TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


def _trace(record: logging.LogRecord) -> str:
    """Where it happened and the kind of error; never its message, which may quote what was being handled."""
    if not record.exc_info or record.exc_info[0] is None:
        return ""
    places = []
    step = record.exc_info[2]
    while step is not None:
        code = step.tb_frame.f_code
        places.append(f"{code.co_filename.rsplit('/', 1)[-1]}:{step.tb_lineno}")
        step = step.tb_next
    return f"{record.exc_info[0].__name__} {' '.join(places[-8:])}"
