"""The command line `fhir-tracker`: finds the command, reads the settings, and turns our errors into one line and an exit code.

Exit codes: 0 ok, 1 problem, 2 usage, 3 something could not be reached.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import NoReturn

from api.command_acts import NAME, running
from api.console import show_everything
from api.logs import set_up_logs
from fhir_tracker.config import load_settings
from fhir_tracker.errors import TrackerError, Unavailable, UsageError

COMMANDS = (
    "serve",
    "worker",
    "demo",
    "connection",
    "sync",
    "program",
    "plan",
    "rules",
    "measures",
    "jobs",
    "evidence",
    "staff",
    "roles",
    "break-glass",
    "login-provider",
    "client",
    "notifications",
    "quarantine",
    "outbox",
    "keys",
    "audit",
    "rebuild",
    "migrate",
    "doctor",
    "version",
)
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


def _parser(words: Sequence[str]) -> Parser:
    """The whole tree, or only the branch of the command that was named: importing all of it takes a second."""
    named = next((word for word in words if word in COMMANDS), None)
    parser = Parser(prog="fhir-tracker", description=_DESCRIPTION, epilog=_EPILOG)
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True, dest="command")
    for name in (named,) if named else COMMANDS:
        importlib.import_module(f"api.commands.{name.replace('-', '_')}").register(subparsers)
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
