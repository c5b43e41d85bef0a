"""`fhir-tracker worker`: follows EHRs and runs the rules, in a process of its own."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import threading
from types import FrameType

from api.audit_keeper import AuditKeeper
from api.stores import open_store, set_up_store, with_secret_key
from api.worker import run_worker
from fhir_tracker.config import PREFIX, Settings
from fhir_tracker.hazards import check_safe


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "worker",
        description="Polls the connections that are due and sweeps the items whose time has come. Several may run. With "
        "FHIR_TRACKER_REDIS_URL it is a Celery worker with a beat (of several beats one gives hints at a time).",
        epilog="examples:\n  fhir-tracker worker\n  fhir-tracker worker --once\n  fhir-tracker worker --no-beat",
    )
    parser.add_argument(
        "--beat",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="with Redis: also give the hints that start what is due",
    )
    parser.add_argument("--once", action="store_true", help="do what is due now, then end")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Work until a signal, or once; the worker's exit code."""
    check_safe(settings, "postgresql", "redis")
    if settings.redis_url and not args.once:
        return _celery_worker(settings, beat=args.beat)
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop.set()

    with open_store(settings) as database:
        settings = with_secret_key(settings)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, on_signal)
        if not args.once:
            print("Working; Ctrl-C ends it.", file=sys.stderr)
        keeper = AuditKeeper(database, settings).start()
        try:
            return run_worker(database, settings, once=args.once, stop=stop)
        finally:
            keeper.stop()


def _celery_worker(settings: Settings, *, beat: bool) -> int:
    """Work as a Celery worker until a signal, which lets what is in progress finish; 0."""
    set_up_store(settings)
    os.environ[f"{PREFIX}DATABASE"] = settings.database
    run = importlib.import_module("api.queue").run_worker
    print("Working for the hints of Redis; Ctrl-C ends it.", file=sys.stderr)
    return int(run(settings.log_level, beat=beat))
