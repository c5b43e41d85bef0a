"""Logs: one line an event on standard error, `key=value`, without query strings, bodies or patient data."""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from fhir_tracker import clock

_PLAIN = re.compile(r"[A-Za-z0-9_./:{}@+,-]{1,200}")
_COLLECTED_SECONDS = 0.03
_PORTION = 4096
"""So much the system writes in one piece, whoever else writes to the same pipe."""
_SAMPLE = vars(logging.LogRecord("", logging.INFO, "", 0, "", None, None))
_TOO_TALKATIVE = ("httpx", "httpcore", "sqlalchemy", "alembic", "asyncio", "celery", "kombu", "uvicorn", "urllib3")


class LineFormatter(logging.Formatter):
    """`time level logger message key=value ...`; the keys come from `extra={"fields": {...}}`."""

    def __init__(self) -> None:
        super().__init__()
        self._second = (0, "")

    def format(self, record: logging.LogRecord) -> str:
        """One line without line breaks; a traceback is folded into the field `trace`."""
        parts = [self._moment(record.created), record.levelname, record.name, shown(record.getMessage())]
        fields: Mapping[str, object] = getattr(record, "fields", {})
        for name, value in fields.items():
            if type(value) is int or type(value) is float:
                parts.append(f"{name}={value}")
            elif value not in (None, ""):
                parts.append(f"{name}={shown(str(value))}")
        if record.exc_info and record.exc_info[2] is not None:
            parts.append(f"trace={shown(_trace(record))}")
        return " ".join(parts)

    def _moment(self, created: float) -> str:
        """The time to the millisecond; the text of a second is made once."""
        thousandths = int(created * 1000)
        second, text = self._second
        if thousandths // 1000 != second or not text:
            second = thousandths // 1000
            text = datetime.fromtimestamp(second, UTC).isoformat(timespec="seconds").removesuffix("+00:00")
            self._second = (second, text)
        return f"{text}.{thousandths % 1000:03}Z"


class StandardError(logging.Handler):
    """Writes to whatever standard error is at that moment; a line that can go nowhere stops no work.

    Each line at once, or after `start_collecting` those of a few hundredths of a second together, by a thread of its own:
    writing lets go of the interpreter, which would cost every request a turn. Warnings never wait.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[str] = deque()
        self._more = threading.Event()
        self._writing = threading.Lock()
        self._collects = False

    def start_collecting(self) -> None:
        """From now on write from a thread; what waits at the end of the process is written then."""
        self._collects = True
        threading.Thread(target=self._keep_writing, name="logs", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line and send it off, or put it to those that wait."""
        self._lines.append(f"{self.format(record)}\n")
        if not self._collects or record.levelno >= logging.WARNING:
            self.flush()
        elif not self._more.is_set():
            self._more.set()

    def flush(self) -> None:
        """Write what waits."""
        with self._writing:
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            try:
                for text in _portions(lines):
                    sys.stderr.write(text)
                    sys.stderr.flush()
            except (OSError, ValueError):
                return

    def _keep_writing(self) -> None:
        while self._more.wait():
            clock.pause(_COLLECTED_SECONDS)
            self._more.clear()
            self.flush()


def _portions(lines: Sequence[str]) -> Iterator[str]:
    """Whole lines together, as many as go in one piece, so that those of several processes never mix."""
    start = size = 0
    for number, line in enumerate(lines):
        if size + len(line) > _PORTION and number > start:
            yield "".join(lines[start:number])
            start, size = number, 0
        size += len(line)
    yield "".join(lines[start:])


def plain_record(name: str, message: str, fields: Mapping[str, object]) -> logging.LogRecord:
    """A record of level INFO without what no line of ours tells, such as the thread and the place in the source."""
    record = object.__new__(logging.LogRecord)
    record.__dict__ = _SAMPLE | {"name": name, "msg": message, "created": clock.now().timestamp(), "fields": fields}
    return record


def shown(text: str) -> str:
    """`text` as it may stand in a line: quoted and escaped unless it is one plain word."""
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


def collect_lines() -> None:
    """Have the lines of the root logger written together, for a process that serves many requests."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, StandardError):
            handler.start_collecting()


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
