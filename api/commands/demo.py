"""`fhir-tracker demo`: a simulated EHR, a tracker that follows it, and two minutes in which things happen."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from api.demo.board import Happening
from api.demo.stage import Stage, set_up
from fhir_tracker.config import Settings

CHECK_SECONDS = 240.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
MARKS = {"seen": "[green]seen[/]", "missed": "[red]MISSED[/]", "waiting": "[red]MISSED[/]"}


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "demo",
        description="Starts a simulated EHR with synthetic patients and a tracker that follows it and opens inside it. "
        "Everything listens on this machine only, lives in a temporary folder and is gone when it ends.",
        epilog="Examples:\n  fhir-tracker demo\n  fhir-tracker demo --port 9000\n  fhir-tracker demo --check",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=None, help="the tracker's port; without it 8765 or any free one")
    parser.add_argument("--check", action="store_true", help="run the day alone; exit 0 only if each reaction was seen")
    parser.add_argument("--pace", type=float, default=1.0, help=argparse.SUPPRESS)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Run the demo until it is stopped, or with --check until the day is over; 0, or 1 when something was not seen."""
    console = Console(highlight=False, soft_wrap=True)
    with (
        _stopping() as stop,
        tempfile.TemporaryDirectory(prefix="fhir-tracker-demo-", ignore_cleanup_errors=True) as folder,
    ):
        console.print("[bold yellow]DEMO with synthetic patients. Not for real patient data.[/]")
        if getattr(args, "database", None):
            console.print("The demo keeps a database of its own; --database is left alone.")
        console.print("Starting the simulated EHR and the tracker ...")
        with set_up(Path(folder), settings, port=args.port, pace=args.pace, stop=stop) as stage:
            _say_addresses(console, stage)
            return _check(console, stage, stop) if args.check else _show(console, stage, stop)


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """An event that the usual signals set; what handled them before does so again afterwards."""
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say_addresses(console: Console, stage: Stage) -> None:
    console.print()
    console.print(f"  Simulated EHR: open this, be somebody, launch the tracker   [bold]{stage.address}[/]")
    console.print(f"  Tracker: log in from outside the EHR                        {stage.tracker}/login")
    console.print(f"  Tracker: FHIR API                                           {stage.tracker}/fhir/metadata")
    console.print(f"  Simulated EHR: FHIR API                                     {stage.ehr.base_url}/metadata")
    console.print()
    sys.stdout.flush()


def _show(console: Console, stage: Stage, stop: threading.Event) -> int:
    console.print("The day begins when the tracker has read the EHR, and takes two minutes. Ctrl-C ends the demo.")
    _play(console, stage, stop, None)
    stop.wait()
    console.print("Stopping.")
    return 0


def _check(console: Console, stage: Stage, stop: threading.Event) -> int:
    _play(console, stage, stop, CHECK_SECONDS)
    table = Table("In the EHR", "Expected of the tracker", "", "After", title="Demo day", title_justify="left")
    for one in stage.board.happenings():
        for row in _rows(one):
            table.add_row(*row)
    console.print(table)
    if stage.board.all_seen:
        console.print("Every expected reaction was seen.")
        return 0
    console.print("[red]Not every expected reaction was seen.[/]")
    return 1


def _play(console: Console, stage: Stage, stop: threading.Event, limit: float | None) -> None:
    """Run the day in a thread, telling of each step and reaction as it comes; returns when it is over or stopped."""
    day = threading.Thread(target=stage.director.run, name="demo-day", daemon=True)
    timer = threading.Timer(limit or 0, stop.set)
    timer.daemon = True
    if limit is not None:
        timer.start()
    day.start()
    told: set[str] = set()
    while day.is_alive() and not stop.is_set():
        day.join(0.3)
        _tell(console, stage, told)
    timer.cancel()


def _tell(console: Console, stage: Stage, told: set[str]) -> None:
    for one in stage.board.happenings():
        for at, line in _lines(one):
            if line not in told:
                told.add(line)
                console.print(escape(f"{at.astimezone():%H:%M:%S}  {line}"))


def _lines(one: Happening) -> Iterator[tuple[datetime, str]]:
    if one.at is None:
        return
    yield one.at, f"EHR      {one.title} ({one.patient}): {one.call or one.detail}"
    for sight in one.sights:
        if sight.state == "seen" and sight.after is not None:
            yield one.at + timedelta(seconds=sight.after), f"tracker  {sight.title}: {sight.detail}"


def _rows(one: Happening) -> Iterator[tuple[str, str, str, str]]:
    first = escape(f"{one.title}: {one.detail}" if one.state == "failed" else one.title)
    for sight in one.sights:
        yield first, escape(sight.title), MARKS[sight.state], f"{sight.after:.1f} s" if sight.after is not None else ""
        first = ""
