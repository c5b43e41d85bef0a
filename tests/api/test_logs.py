"""One line an event, whatever is in it, and never what was being handled.

Also the small readers of the edge: request ids, host names and routes.
"""

from __future__ import annotations

import io
import json
import logging
import re
import subprocess
import sys
import time
from datetime import datetime
from types import TracebackType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.edge import by_name, request_id, route_of
from api.logs import LineFormatter, StandardError, collect_lines, plain_record, set_up_logs, shown
from api.serve import address_of, listen
from fhir_tracker.errors import Conflict, UsageError

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARNING|ERROR) \S+ .+")
FIELDS = st.dictionaries(st.sampled_from(["route", "status", "ms", "request"]), st.text(max_size=40), max_size=4)


def line(message: str, fields: dict[str, object] | None = None, error: BaseException | None = None) -> str:
    told: tuple[type[BaseException], BaseException, TracebackType | None] | None = None
    if error is not None:
        told = (type(error), error, error.__traceback__)
    record = logging.LogRecord("api.edge", logging.INFO, "", 0, message, None, told)
    record.fields = fields or {}
    return LineFormatter().format(record)


@given(st.text(max_size=60), FIELDS)
def test_any_message_and_fields_are_one_line(message: str, fields: dict[str, object]) -> None:
    written = line(message, fields)
    assert len(written.splitlines()) <= 1
    assert LINE.fullmatch(written)
    assert written.isascii()


@given(st.text(max_size=60), FIELDS)
def test_a_plain_record_is_told_as_any_other(message: str, fields: dict[str, object]) -> None:
    written = LineFormatter().format(plain_record("api.edge", message.replace("%", ""), fields))
    moment, _, rest = written.partition(" ")
    assert LINE.fullmatch(written)
    assert rest == line(message.replace("%", ""), fields).partition(" ")[2]
    assert abs(datetime.fromisoformat(moment).timestamp() - time.time()) < 60


@given(st.text(max_size=60))
def test_a_value_can_be_read_back(text: str) -> None:
    written = shown(text)
    assert (json.loads(written) if written.startswith('"') else written) == text


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("plain", "plain"),
        ("/fhir/{type}/{id}", "/fhir/{type}/{id}"),
        ("a b", '"a b"'),
        ("a=b", '"a=b"'),
        ('"', '"\\""'),
        ("", '""'),
        ("x" * 201, json.dumps("x" * 201)),
        ("\x1b[31m", '"\\u001b[31m"'),
    ],
)
def test_how_a_value_is_written(text: str, written: str) -> None:
    assert shown(text) == written


def test_empty_fields_are_left_out_and_zero_is_not() -> None:
    assert line("m", {"a": None, "b": "", "c": 0, "d": False}).endswith(" m c=0 d=False")


def fails(deep: int) -> None:
    if deep:
        fails(deep - 1)
    raise ValueError("Secretname 1990-01-01")


@pytest.mark.security("L1")
@pytest.mark.parametrize("deep", [0, 3, 30])
def test_a_trace_says_where_and_which_kind_and_never_the_message(deep: int) -> None:
    with pytest.raises(ValueError, match="Secretname") as caught:
        fails(deep)
    written = line("request failed", {}, caught.value)
    assert "ValueError" in written
    assert "test_logs.py:" in written
    assert "Secretname" not in written
    assert "1990" not in written
    assert len(written) < 500


@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARNING", "ERROR"])
def test_libraries_never_say_more_than_warnings(level: str, capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handlers, before = list(root.handlers), root.level
    try:
        set_up_logs(level)
        assert root.level == getattr(logging, level)
        for name in ("httpx", "sqlalchemy", "uvicorn", "celery"):
            logging.getLogger(name).info("GET http://ehr.example/Patient?name=Secret")
        logging.getLogger("api.edge").error("mine")
        said = capsys.readouterr().err
        assert "Secret" not in said
        assert said.rstrip().endswith("ERROR api.edge mine")
    finally:
        root.handlers[:] = handlers
        root.setLevel(before)
    assert sys.stderr is not None


@pytest.mark.requirement(15)
@pytest.mark.parametrize("given_", ["a", "A-1.b_c", "x" * 64, "0", "550e8400-e29b-41d4-a716-446655440000"])
def test_a_harmless_request_id_is_kept(given_: str) -> None:
    assert request_id(given_) == given_


@given(st.binary(max_size=80))
def test_any_other_is_replaced_by_a_fresh_one(raw: bytes) -> None:
    found = request_id(raw.decode("latin-1"))
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", found)
    assert found == raw.decode("latin-1") or re.fullmatch("[0-9a-f]{16}", found)
    assert request_id("") != request_id("")


def test_the_first_header_of_a_name_counts_whatever_its_case() -> None:
    headers = [(b"Host", b"one"), (b"host", b"two"), (b"X", b"\xe9")]
    assert by_name(headers) == {"host": "one", "x": "é"}


@pytest.mark.parametrize(
    ("scope", "route"),
    [({}, "other"), ({"fhir_tracker.route": "/fhir/{type}"}, "/fhir/{type}"), ({"route": 5}, "other"), ({"path": "/p/secret"}, "other")],
)  # fmt: skip
def test_a_route_is_a_template_or_other(scope: dict[str, object], route: str) -> None:
    assert route_of(scope) == route


@pytest.mark.parametrize(
    ("host", "shown_as"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("localhost", "localhost"),
        ("ehr.example.org", "ehr.example.org"),
        ("::", "[::1]"),
        ("0:0:0:0:0:0:0:0", "[::1]"),
        ("::1", "[::1]"),
        ("2001:db8::7", "[2001:db8::7]"),
        ("fe80::1%eth0", "[fe80::1%eth0]"),
    ],
)
def test_the_address_of_a_listening_socket_is_one_to_call(host: str, shown_as: str) -> None:
    with listen("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        assert address_of(host, listening) == f"http://{shown_as}:{port}"
        with pytest.raises(Conflict, match=f"port {port}"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "999.1.1.1", "a b", "\ud800", "x" * 300])
def test_a_host_that_is_no_address_is_a_mistake_of_usage(host: str) -> None:
    with pytest.raises(UsageError, match="--host"):
        listen(host, 0)


def test_a_log_line_goes_to_the_standard_error_of_the_moment_and_never_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = logging.getLogger().handlers[:]
    first, second = io.StringIO(), io.StringIO()
    try:
        monkeypatch.setattr(sys, "stderr", first)
        set_up_logs("INFO")
        first.close()
        logging.getLogger("api.test").info("nowhere")
        monkeypatch.setattr(sys, "stderr", second)
        logging.getLogger("api.test").info("heard")
    finally:
        logging.getLogger().handlers[:] = before
    assert second.getvalue().count("\n") == 1
    assert "heard" in second.getvalue()


def test_collected_lines_come_complete_in_order_and_warnings_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = io.StringIO()
    monkeypatch.setattr(sys, "stderr", heard)
    handler = StandardError()
    handler.setFormatter(LineFormatter())

    def tell(text: str, level: int = logging.INFO) -> None:
        handler.handle(logging.LogRecord("api.edge", level, "", 0, text, None, None))

    tell("at once")
    assert "at once" in heard.getvalue()
    handler.start_collecting()
    for number in range(500):
        tell(f"n{number}")
    tell("last", logging.WARNING)
    assert heard.getvalue().endswith("WARNING api.edge last\n")
    tell("later")
    deadline = time.monotonic() + 60
    while "later\n" not in heard.getvalue():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert [one.split(" ")[-1] for one in heard.getvalue().splitlines()[1:]] == [
        *(f"n{number}" for number in range(500)),
        "last",
        "later",
    ]


def test_a_line_that_waits_is_written_at_the_end_of_the_process() -> None:
    program = (
        "import logging; from api.logs import collect_lines, plain_record, set_up_logs; set_up_logs('INFO'); collect_lines();"
        "logging.getLogger('api.edge').info('the last one')"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stderr.count('"the last one"') == 1


def test_only_our_own_handlers_are_told_to_collect() -> None:
    root = logging.getLogger()
    other = logging.NullHandler()
    root.addHandler(other)
    try:
        collect_lines()
    finally:
        root.removeHandler(other)
