"""`fhir-tracker serve`: the FHIR API, the pages and, unless told otherwise, the worker."""

from __future__ import annotations

import argparse
import logging
import socket
import ssl
import sys
from contextlib import ExitStack
from dataclasses import replace

from api.app import create_app
from api.audit_keeper import AuditKeeper
from api.context import Access, AppContext
from api.processes import Place, how_many, spread
from api.serve import address_of, check_loopback, is_local, listen, run_server, tls_of
from api.stores import open_store, set_up_store, with_secret_key
from api.worker import start_embedded
from fhir_tracker import clock
from fhir_tracker.config import Settings, load_settings
from fhir_tracker.errors import UsageError
from fhir_tracker.hazards import check_heard, check_safe, hazards
from fhir_tracker.setting_texts import process_count

log = logging.getLogger(__name__)
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
        description="Starts the FHIR API (/fhir), the pages (/) and the worker that follows EHRs and runs the rules.",
        epilog="examples:\n  fhir-tracker serve --open --port 8080\n  fhir-tracker serve --port 8080 --no-worker "
        "--database postgresql://tracker@127.0.0.1/tracker",
    )
    parser.add_argument("--port", type=_port, default=8080, help="the port to listen on; 0 takes a free one (8080)")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (127.0.0.1)")
    parser.add_argument("--public-url", metavar="URL", help="the address others use (else FHIR_TRACKER_PUBLIC_URL)")
    parser.add_argument("--tls-cert", metavar="FILE", help="serve https with this certificate chain (PEM)")
    parser.add_argument("--tls-key", metavar="FILE", help="the key of --tls-cert (PEM, without a password)")
    parser.add_argument("--open", action="store_true", help="no login, every type writable, this machine only")
    parser.add_argument("--no-worker", action="store_true", help="serve only; run `fhir-tracker worker` elsewhere")
    parser.add_argument(
        "--processes",
        type=_processes,
        metavar="N",
        help="processes that share the port; auto: one a core, at most 4, on PostgreSQL, one on SQLite "
        "(else FHIR_TRACKER_PROCESSES)",
    )
    parser.set_defaults(func=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Serve until a signal; 0."""
    settings = replace(settings, public_url=_public_url(args.public_url) or settings.public_url)
    if args.open:
        check_loopback(args.host)
    else:
        check_safe(settings)
        check_heard(settings, is_local=is_local(args.host), has_tls=bool(args.tls_cert))
    processes, tls = how_many(args.processes, settings), tls_of(args.tls_cert, args.tls_key)
    with listen(args.host, args.port) as listening:
        address = address_of(args.host, listening, "https" if tls else "http")
        set_up_store(settings)
        access = Access.OPEN if args.open else Access.LOCKED
        settings, now = with_secret_key(settings), clock.now()
        _tell(access, address, settings.public_url or address)
        if access is Access.LOCKED:
            warn(settings)
        place = spread(processes, listening, settings.process_timeout.total_seconds())
        if place is None:
            return 0
        with open_store(settings, prepared=False) as database:
            context = AppContext(
                database=database,
                settings=settings,
                access=access,
                public_url=settings.public_url or address,
                secret_key=settings.secret_key,
                started_at=now,
                worker=not args.no_worker,
                tally=place.tally,
            )
            _serve(context, listening, place, tls)
    return 0


def _serve(context: AppContext, listening: socket.socket, place: Place, tls: ssl.SSLContext | None) -> None:
    with ExitStack() as undo:
        app = create_app(context)
        if place.has_worker:
            undo.callback(AuditKeeper(context.database, context.settings).start().stop)
        if context.worker and place.has_worker:
            undo.callback(start_embedded(context.database, context.settings).stop)
        run_server(app, listening, place, context.settings.send_timeout.total_seconds(), tls)


def warn(settings: Settings) -> None:
    """What is not safe and yet allowed, each time a server starts."""
    for one in hazards(settings):
        log.warning("not safe with data of real patients", extra={"fields": {"what": one.detail, "to_mend": one.fix}})


def _tell(access: Access, address: str, public_url: str) -> None:
    if access is Access.OPEN:
        print(_BANNER, file=sys.stderr)
    print(f"Pages      {address}/")
    print(f"FHIR API   {public_url}/fhir")
    print(f"Health     {address}/readyz")
    if access is Access.LOCKED:
        print(
            "Staff comes in from its EHR (see: fhir-tracker connection smart), systems by tokens (see: fhir-tracker client add)."
        )
    sys.stdout.flush()


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port (0 to 65535)")
    return int(text)


def _processes(text: str) -> int:
    try:
        return process_count(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of processes: {error}") from None


def _public_url(text: str | None) -> str:
    if text is None:
        return ""
    try:
        return load_settings({"FHIR_TRACKER_PUBLIC_URL": text}).public_url
    except UsageError as error:
        raise UsageError(error.message.replace("FHIR_TRACKER_PUBLIC_URL", "--public-url")) from None
