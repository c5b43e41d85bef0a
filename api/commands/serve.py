"""`fhir-tracker serve`: the FHIR API, the pages and, unless told otherwise, the worker."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from dataclasses import replace

from api.app import create_app
from api.context import Access, AppContext
from api.serve import address_of, check_loopback, listen, run_server
from api.stores import open_store, secret_key
from api.worker import start_embedded
from fhir_tracker import clock
from fhir_tracker.config import Settings, load_settings
from fhir_tracker.errors import UsageError

_BANNER = """
  ****************************************************************
  *  OPEN MODE: no login. Everyone on this machine reads and     *
  *  writes everything. Never use it with data of real patients. *
  ****************************************************************
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "serve",
        help="start the server",
        description="Starts the FHIR API (/fhir), the pages (/) and the worker that follows EHRs and runs the rules.",
        epilog="examples:\n  fhir-tracker serve --open --port 8080\n  fhir-tracker serve --port 8080 --no-worker "
        "--database postgresql://tracker@127.0.0.1/tracker",
    )
    parser.add_argument("--port", type=_port, default=8080, help="the port to listen on; 0 takes a free one (8080)")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (127.0.0.1)")
    parser.add_argument("--public-url", metavar="URL", help="the address others use (else FHIR_TRACKER_PUBLIC_URL)")
    parser.add_argument("--open", action="store_true", help="no login, every type writable, this machine only")
    parser.add_argument("--no-worker", action="store_true", help="serve only; run `fhir-tracker worker` elsewhere")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Serve until a signal; 0."""
    if args.open:
        check_loopback(args.host)
    settings = replace(settings, public_url=_public_url(args.public_url) or settings.public_url)
    with ExitStack() as undo:
        listening = undo.enter_context(listen(args.host, args.port))
        address = address_of(args.host, listening)
        database = undo.enter_context(open_store(settings))
        context = AppContext(
            database=database,
            settings=settings,
            access=Access.OPEN if args.open else Access.LOCKED,
            public_url=settings.public_url or address,
            secret_key=secret_key(settings),
            started_at=clock.now(),
            worker=not args.no_worker,
        )
        app = create_app(context)
        if context.worker:
            undo.callback(start_embedded(database, settings).stop)
        _tell(context, address)
        run_server(app, listening)
    return 0


def _tell(context: AppContext, address: str) -> None:
    if context.access is Access.OPEN:
        print(_BANNER, file=sys.stderr)
    print(f"Pages      {address}/")
    print(f"FHIR API   {context.fhir_base}")
    print(f"Health     {address}/readyz")
    if context.access is Access.LOCKED:
        print("Nobody can log in yet: pages and data answer 401. See --open.")
    sys.stdout.flush()


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port (0 to 65535)")
    return int(text)


def _public_url(text: str | None) -> str:
    if text is None:
        return ""
    try:
        return load_settings({"FHIR_TRACKER_PUBLIC_URL": text}).public_url
    except UsageError as error:
        raise UsageError(error.message.replace("FHIR_TRACKER_PUBLIC_URL", "--public-url")) from None
