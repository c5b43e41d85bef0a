"""The command line `fhir-tracker`: finds the command, reads the settings, and turns our errors into one line and an exit code.

Exit codes: 0 ok, 1 problem, 2 usage, 3 something could not be reached.
"""

from __future__ import annotations

import argparse
import difflib
import gc
import importlib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import NoReturn

from api.command_acts import NAME, running
from api.console import show_everything
from api.logs import set_up_logs
from fhir_tracker.config import load_settings
from fhir_tracker.errors import TrackerError, Unavailable, UsageError

COMMANDS = {
    "serve": "start the server",
    "worker": "follow EHRs and run the rules without serving",
    "demo": "start a simulated EHR and the tracker, and watch a day happen",
    "connection": "the EHR servers that are followed",
    "sync": "bring what the EHR servers hold up to date, once",
    "program": "check, publish and show care programs",
    "plan": "bring the work of one plan in step with its program",
    "rules": "say why an item is in a queue",
    "measures": "figures of the work, as of any moment, and repair of the queues",
    "jobs": "background work, and what of it failed for good",
    "evidence": "attempts with times and minutes of staff time, for a claim",
    "staff": "who may come in, who has which work, and who is away",
    "roles": "what each role may see and do",
    "break-glass": "who opened which restricted record, and why",
    "login-provider": "OpenID providers for staff outside an EHR",
    "client": "the systems that may use the FHIR API",
    "notifications": "mails and webhook calls that were not taken",
    "quarantine": "what could not be applied, and why",
    "outbox": "what is to be written to EHRs",
    "keys": "the keys with which EHRs know this tracker",
    "audit": "check, read, export and shorten the audit trail",
    "rebuild": "make search index, queues and sums of measures again from what is stored",
    "migrate": "bring an older database to this version",
    "doctor": "say what works and how to mend what does not",
    "version": "print the version",
}
"""Each command and what it is for; the module of that name in `api.commands` is imported for that command alone."""
OK, PROBLEM, USAGE, UNREACHABLE = 0, 1, 2, 3
_DESCRIPTION = """Care plan tracking on FHIR R4: owned, dated, escalating work, kept in step with the EHR.

Start with `fhir-tracker demo`."""
_EPILOG = """examples:
  fhir-tracker demo
  fhir-tracker serve --open --port 8080
  fhir-tracker connection add clinic --base-url https://ehr.example.org/fhir --poll 30s
  fhir-tracker sync clinic --once
  fhir-tracker rules explain Task/ID

exit codes: 0 ok, 1 problem, 2 usage, 3 something could not be reached
settings are FHIR_TRACKER_* variables: docs/settings.md"""
_INVALID_CHOICE = re.compile(r"(?P<where>.*)invalid choice: '(?P<given>[^']*)' \(choose from (?P<known>.*)\)")


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; no abbreviations, so that a new option never changes an old script."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        kwargs["allow_abbrev"] = False
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        """Print one line and leave with the usage exit code."""
        self.exit(USAGE, f"{self.prog}: {_plainer(message)} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code. Never shows a stack trace."""
    sys.excepthook = _without_trace
    show_everything(sys.stdout, sys.stderr)
    words = list(sys.argv[1:] if argv is None else argv)
    with _undisturbed(stays=argv is None):
        args = _parser(words).parse_args(words)
    try:
        settings = load_settings(os.environ, database=getattr(args, "database", None))
        set_up_logs(settings.log_level)
        with running(args):
            code: int = args.func(args, settings)
        sys.stdout.flush()
    except TrackerError as error:
        return _refused(error)
    except KeyboardInterrupt:
        return _say("stopped", PROBLEM)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PROBLEM
    return code


@contextmanager
def _undisturbed(*, stays: bool) -> Iterator[None]:
    """Import without the garbage collector, which finds nothing there and looks at everything again and again.

    Where what was imported `stays` until the process ends, it never looks at it.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if stays:
            gc.freeze()
        if was_on:
            gc.enable()


def _parser(words: Sequence[str]) -> Parser:
    """The branch of the command that was named; the names alone where none was, since importing all takes a second."""
    named = next((word for word in words if word in COMMANDS), None)
    parser = Parser(prog="fhir-tracker", description=_DESCRIPTION, epilog=_EPILOG)
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True, dest="command")
    if named:
        importlib.import_module(f"api.commands.{named.replace('-', '_')}").register(subparsers)
    else:
        for name, purpose in COMMANDS.items():
            subparsers.add_parser(name, help=purpose)
    for one in _all_parsers(parser):
        _add_common(one)
    return parser


def _all_parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in dict.fromkeys(action.choices.values()):
                yield from _all_parsers(one)


def _add_common(parser: argparse.ArgumentParser) -> None:
    known = parser._option_string_actions
    if "--database" not in known:
        parser.add_argument(
            "--database",
            metavar="URL",
            default=argparse.SUPPRESS,
            help="sqlite:///FILE or postgresql://USER@HOST/NAME (else FHIR_TRACKER_DATABASE, else a file of your own)",
        )
    is_leaf = not any(isinstance(action, argparse._SubParsersAction) for action in parser._actions)
    if is_leaf:
        parser.set_defaults(**{NAME: parser.prog.removeprefix("fhir-tracker ")})
    if is_leaf and "--json" not in known:
        parser.add_argument("--json", action="store_true", help=argparse.SUPPRESS)


def _refused(error: TrackerError) -> int:
    issues = [issue.message for issue in error.issues if issue.message != error.message]
    for line in (error.message, *issues[:50]):
        _say(line, PROBLEM)
    if isinstance(error, UsageError):
        return USAGE
    return UNREACHABLE if isinstance(error, Unavailable) else PROBLEM


def _say(line: str, code: int) -> int:
    print(f"fhir-tracker: {line}", file=sys.stderr)
    return code


def _plainer(message: str) -> str:
    match = _INVALID_CHOICE.fullmatch(message)
    if match is None:
        return message
    known = [word.strip("' ") for word in match["known"].split(",")]
    near = difflib.get_close_matches(match["given"], known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(known)}"
    return f"there is no {match['given']!r}: {hint}"


def _without_trace(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """The last words of a mistake of ours: where it happened, not what was being handled."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}" if trace else "unknown place"
    print(f"fhir-tracker: a mistake in the program ({kind.__name__} at {where}); please report it", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
