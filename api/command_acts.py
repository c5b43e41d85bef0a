"""What the trail says of the command that runs: written when it opens the store, before it does anything with it.

The store itself is imported then, since `--help` and `version` would wait for it.
"""

from __future__ import annotations

import argparse
import getpass
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from fhir_tracker.config import SETTINGS

if TYPE_CHECKING:
    from fhir_tracker.model.viewer import Viewer
    from fhir_tracker.storage.database import Database

KIND = "command"
WHO = "Device/command-line"
NAME = "told_as"
"""Where a parsed command line keeps the words of its command."""
_MOST = 200
_SECRET = ("secret", "password", "token", "passphrase")
_NOT_TOLD = frozenset({"func", "command", "database", "json", NAME})
START = "start"
UNTOLD = frozenset(
    {
        *(
            "connection list",
            "connection show",
            "connection test",
            "program validate",
            "program diff",
            "program history",
        ),
        *("program list", "program show", "measures list", "measures show", "measures report"),
        *(
            "staff list",
            "staff show",
            "staff absences",
            "login-provider list",
            "client list",
            "roles show",
            "roles check",
        ),
        *("keys list", "audit verify", "demo", "doctor", "version"),
    }
)
"""Commands that change nothing and show nothing of patients."""
READING = frozenset(
    {
        *("rules explain", "rules replay", "program dry-run", "measures findings", "evidence", "notifications list"),
        *("quarantine list", "quarantine show", "outbox list", "outbox show", "jobs list", "break-glass list"),
    }
)
"""Commands that show something of patients, and change nothing."""
_ACTIONS = {
    **dict.fromkeys(READING, "read"),
    **dict.fromkeys(("serve", "worker"), START),
    "audit show": "read",
    "audit export": "export",
    "audit prune": "prune-begun",
    "sync": "sync",
}


def action_of(name: str) -> str | None:
    """What the trail calls a command; None for those it does not tell of. What is not named changes something."""
    return None if name in UNTOLD else _ACTIONS.get(name, "configure")


@dataclass
class CommandAct:
    """One command: its words (`connection add`), what it does (`configure`, `read` or another action), what it was given."""

    name: str
    action: str
    arguments: Mapping[str, object] = field(default_factory=dict)
    is_written: bool = False


RUNNING: ContextVar[CommandAct | None] = ContextVar("RUNNING", default=None)
"""The command that runs and is told of; None where there is none, as in tests that open a store themselves."""


@contextmanager
def running(args: argparse.Namespace) -> Iterator[None]:
    """Let the store know which command runs, for as long as it does."""
    name = str(getattr(args, NAME, ""))
    action = action_of(name)
    told = told_arguments(args)
    if action == START:
        told["settings"] = told_settings(os.environ)
    act = CommandAct(name=name, action=action, arguments=told) if action else None
    token = RUNNING.set(act)
    try:
        yield
    finally:
        RUNNING.reset(token)


def command_viewer() -> Viewer:
    """Whoever runs a command: the account of the operating system, which is all that is known of them."""
    from fhir_tracker.model.viewer import Viewer

    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = "unknown account"
    return Viewer(who=WHO, name=name, purpose="")


def told_arguments(args: argparse.Namespace) -> dict[str, object]:
    """What a command was given, without secrets and without what says nothing."""
    found: dict[str, object] = {}
    for name, value in sorted(vars(args).items()):
        if name in _NOT_TOLD or value in (None, False, [], ""):
            continue
        is_secret = any(word in name for word in _SECRET) and not name.endswith("_file")
        found[name] = "..." if is_secret else _told(value)
    return found


def told_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """The settings that were set, those that are secret without their value."""
    given = {one.variable: "..." if one.secret else environ.get(one.variable, "") for one in SETTINGS}
    return {name: value[:_MOST] for name, value in given.items() if name in environ}


def _told(value: object) -> object:
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_told(one) for one in value[:50]]
    return str(value)[:_MOST].encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def note_begun(database: Database, now: datetime) -> None:
    """The row of the command that runs, durable before it goes on; once for each."""
    act = RUNNING.get()
    if act is not None and not act.is_written:
        _note(database, act, now, "success", {})
        act.is_written = True


def note_shown(database: Database, now: datetime, patients: Iterable[str | None]) -> None:
    """Rows that name the patients of whom the command that runs is about to show something."""
    from fhir_tracker.storage.audit_work import MOST_PATIENTS

    act = RUNNING.get()
    named = list(dict.fromkeys(one for one in patients if one))
    if act is not None:
        for start in range(0, len(named), MOST_PATIENTS):
            _note(database, act, now, "success", {"shown": len(named)}, named[start : start + MOST_PATIENTS])


def note_work(database: Database, now: datetime, refs: Iterable[str]) -> None:
    """As `note_shown`, of the patients whose these (`Type/id`) are."""
    from fhir_tracker.model.viewer import worker_viewer
    from fhir_tracker.storage import resources

    with database.read() as tx:
        patients = resources.patients_of(tx, worker_viewer("command-line"), refs)
    note_shown(database, now, patients)


def note_failed(database: Database, now: datetime, error: str) -> None:
    """A second row where the command failed after all; `error` names its kind."""
    act = RUNNING.get()
    if act is not None and act.is_written:
        _note(database, act, now, "error", {"error": error})


def _note(
    database: Database,
    act: CommandAct,
    now: datetime,
    outcome: str,
    more: Mapping[str, object],
    patients: Sequence[str] = (),
) -> None:
    from fhir_tracker.storage import audit

    detail = {"arguments": act.arguments, **more} if act.arguments else dict(more)
    with database.begin() as tx:
        audit.add(
            tx,
            at=now,
            viewer=command_viewer(),
            action=act.action,
            ref=f"command/{act.name}",
            patient=_patient(act.arguments),
            outcome=outcome,
            kind=KIND,
            detail=detail,
            patients=patients,
        )


def _patient(arguments: Mapping[str, object]) -> str | None:
    """The patient whom the command names."""
    for name, value in arguments.items():
        if isinstance(value, str) and (name == "patient" or value.startswith("Patient/")):
            return value.removeprefix("Patient/")[:64]
    return None
