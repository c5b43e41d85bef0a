"""Every process and logger of a run is searched, by default, for what its own database tells of people (S53, L1).

- Each process that a test starts with a database runs at DEBUG. At its end, what it wrote to its output and log, and every row
  of that database outside of the store (jobs, trail, settings, cursors, sessions), is looked through; with a broker also every
  command that Redis was ever given.
- In the test's own process every record of every logger at DEBUG, as it would be written, the address of every request that
  the product sends, and every address that an answer leads on to, is looked through with the databases that the test has.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import httpx2
import pytest

from tests.peers.redis.server import written_to
from tests.support.log_sweep import books, found_in, leaks, told

ROOT = Path(__file__).parents[1]
SHOWING = {
    ("audit", "export"): "gives auditors the trail, with what was asked for",
    ("evidence",): "gives a reviewer the whole story of one patient's work",
    ("quarantine", "show"): "shows the clinic admin an EHR's own words",
    ("outbox", "show"): "shows the clinic admin what is to be written to the EHR",
}
"""Commands whose purpose is to show data of patients on standard output to who calls them, and why; nothing else may."""
QUIET = ("httpx", "httpcore", "sqlalchemy", "alembic", "asyncio", "celery", "kombu", "uvicorn", "urllib3")
"""Libraries that the product never lets say more than warnings."""
OF_TESTS = ("httpx2", "httpcore2")
"""The client that tests ask the product with, and not part of it: what it says of its requests is said by the test."""
MOST_RECORDS = 5_000
_ADDRESS = re.compile(r"(?:sqlite:///|postgresql://)\S+")
_PRODUCT = tuple(f"{ROOT}/{name}/" for name in ("api", "fhir_tracker", "subscriptions", "mappings"))
_plain_factory = logging.getLogRecordFactory()
_plain_popen = subprocess.Popen
_plain_send = {client: client.send for client in (httpx.Client, httpx2.Client)}


class Findings:
    """What was found since the last test, and how much was looked through in the run."""

    def __init__(self) -> None:
        self.leaked: list[str] = []
        self.records: list[logging.LogRecord] = []
        self.addresses: list[str] = []
        self.counts: Counter[str] = Counter()

    def search(self, what: str, text: str, database: str) -> None:
        """Look through what a process wrote."""
        self.counts["texts"] += 1
        self.leaked += [f"{what}: {one}" for one in leaks(text, database)] if text else []

    def search_books(self, database: str, broker: str) -> None:
        """Look through the rows that are not the store, and what a broker was given."""
        secrets = told(database)
        lines = list(books(database)) if secrets else []
        self.counts["rows"] += len(lines)
        self.leaked += [f"a row of {one}" for one in found_in(lines, secrets)]
        given = written_to(broker) if broker and secrets else []
        self.counts["commands of brokers"] += len(given)
        self.leaked += [f"Redis was given {one}" for one in found_in(given, secrets)]

    def search_records(self, databases: Iterable[str]) -> None:
        """Look through the records of the test that ends, and through the addresses that the product asked."""
        formatter = _formatter()
        lines = sorted({formatter.format(one).partition(" ")[2] for one in self.records} | set(self.addresses))
        self.counts["records"] += len(self.records)
        self.counts["addresses"] += len(self.addresses)
        for database in databases if lines else ():
            self.leaked += [f"a logger or address: {one}" for one in found_in(lines, told(database))]
        self.records.clear()
        self.addresses.clear()

    def take(self) -> list[str]:
        """What was found, once."""
        found, self.leaked = self.leaked, []
        return found


findings = Findings()


class Watched(_plain_popen):  # type: ignore[type-arg]
    """A process as any other, at DEBUG and searched at its end where it was given a database."""

    def __init__(self, args: Any, *more: Any, **named: Any) -> None:
        self.words = [str(one) for one in args] if isinstance(args, (list, tuple)) else [str(args)]
        given = named.get("env")
        self.settings: Mapping[str, str] = dict(os.environ if given is None else given)
        self.database = database_of(self.words, self.settings)
        self.output = getattr(named.get("stdout"), "name", None)
        self.is_searched = False
        if self.database:
            named["env"] = {"FHIR_TRACKER_LOG_LEVEL": "DEBUG", **self.settings}
        super().__init__(args, *more, **named)

    def wait(self, timeout: float | None = None) -> int:
        code = super().wait(timeout)
        self._search()
        return code

    def communicate(self, *given: Any, **named: Any) -> tuple[Any, Any]:
        out, errors = super().communicate(*given, **named)
        if self.database:
            search_answer(self.words, _text(out), _text(errors), self.database)
        return out, errors

    def _search(self) -> None:
        if not self.database or self.is_searched:
            return
        self.is_searched = True
        findings.counts["processes"] += 1
        if isinstance(self.output, str) and Path(self.output).exists() and not shows(self.words):
            findings.search(" ".join(self.words[:4]), Path(self.output).read_text(errors="replace"), self.database)
        findings.search_books(self.database, self.settings.get("FHIR_TRACKER_REDIS_URL", ""))


def search_answer(words: Sequence[str], out: str, errors: str, database: str) -> None:
    """Look through what a command said; its standard output unless showing data of patients is what it is for."""
    findings.search(f"errors of {' '.join(words[:4])}", errors, database)
    if not shows(words):
        findings.search(f"output of {' '.join(words[:4])}", out, database)


def database_of(words: Sequence[str], settings: Mapping[str, str]) -> str:
    """The database that a process was given by an argument, else by its settings; "" for none."""
    for one in words:
        if found := _ADDRESS.fullmatch(one.removeprefix("--database=")):
            return found[0]
    return settings.get("FHIR_TRACKER_DATABASE", "")


def shows(words: Sequence[str]) -> bool:
    """Whether this is a command that shows data of patients to who calls it."""
    return any(tuple(words[place : place + len(one)]) == one for one in SHOWING for place in (0, 1))


def _text(said: object) -> str:
    return said.decode(errors="replace") if isinstance(said, bytes) else said if isinstance(said, str) else ""


def _formatter() -> logging.Formatter:
    from api.logs import LineFormatter

    return LineFormatter()


def _record(*args: Any, **named: Any) -> logging.LogRecord:
    made = _plain_factory(*args, **named)
    if len(findings.records) < MOST_RECORDS:
        findings.records.append(made)
    return made


def _watching(plain: Callable[..., Any]) -> Callable[..., Any]:
    """How a client sends a request, with the addresses of request and answer taken down."""

    def send(self: Any, request: Any, **named: Any) -> Any:
        if _is_of_the_product():
            findings.addresses += [str(request.url), request.headers.get("referer", "")]
        answer = plain(self, request, **named)
        findings.addresses.append(answer.headers.get("location", ""))
        return answer

    return send


def _is_of_the_product() -> bool:
    """Whether the product itself, and not a test, sends the request that is sent now."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith((*_PRODUCT, f"{ROOT}/tests/")) and name != __file__:
            return name.startswith(_PRODUCT)
        frame = frame.f_back
    return False


def _all_levels() -> None:
    """Everything down to DEBUG, but what the product never lets be said."""
    logging.getLogger().setLevel(logging.DEBUG)
    for name in (*QUIET, *OF_TESTS):
        logging.getLogger(name).setLevel(logging.WARNING)


def databases_of(item: pytest.Item) -> Iterator[str]:
    """The databases among what a test was given."""
    given = getattr(item, "funcargs", {})
    for value in given.values():
        address = getattr(value, "database", value)
        if isinstance(address, str) and _ADDRESS.fullmatch(address):
            yield address
    folder = given.get("tmp_path")
    if isinstance(folder, Path):
        yield from (f"sqlite:///{one}" for one in folder.glob("*.db"))


def pytest_configure(config: pytest.Config) -> None:
    logging.setLogRecordFactory(_record)
    subprocess.Popen = Watched  # type: ignore[misc]
    for client, plain in _plain_send.items():
        setattr(client, "send", _watching(plain))  # noqa: B010


def pytest_unconfigure(config: pytest.Config) -> None:
    logging.setLogRecordFactory(_plain_factory)
    subprocess.Popen = _plain_popen  # type: ignore[misc]
    for client, plain in _plain_send.items():
        setattr(client, "send", plain)  # noqa: B010


def pytest_runtest_setup(item: pytest.Item) -> None:
    _all_levels()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """Before the databases of a test go away, and again when all that it started has ended."""
    findings.search_records(dict.fromkeys(databases_of(item)))
    yield
    if found := findings.take():
        pytest.fail(f"data of patients outside of the store: {found[:5]}", pytrace=False)


def pytest_sessionfinish(session: pytest.Session) -> None:
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["searched"] = dict(findings.counts)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    findings.counts.update(getattr(node, "workeroutput", {}).get("searched", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    told_of = ", ".join(f"{count} {name}" for name, count in sorted(findings.counts.items()))
    if told_of:
        terminalreporter.section("searched for names, dates of birth, identifiers and notes")
        terminalreporter.line(told_of)
