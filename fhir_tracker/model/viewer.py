"""Who is looking: every read of patient data takes a Viewer, from which storage builds the row scope."""

from __future__ import annotations

from dataclasses import dataclass

ROLES = ("rn", "care-coordinator", "provider", "front-desk", "clinic-admin")


@dataclass(frozen=True, kw_only=True)
class Viewer:
    """A person, client or worker: `who` is a reference or a name for logs, `patient` a local Patient id that locks the
    view.
    """

    who: str
    name: str = ""
    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    patient: str | None = None


ALL_SCOPES = frozenset({"system/*.cruds"})


_OPEN = Viewer(who="Device/open-mode", name="Open mode", roles=frozenset(ROLES), scopes=ALL_SCOPES)


def open_viewer() -> Viewer:
    """The viewer of `serve --open`: no authentication, every role; bound to loopback by the command line."""
    return _OPEN


def worker_viewer(name: str) -> Viewer:
    """A worker of the tracker itself, such as `rule-worker` or `sync`."""
    return Viewer(who=f"Device/{name}", name=name, roles=frozenset({"system"}), scopes=ALL_SCOPES)


RULE_WORKER = worker_viewer("rule-worker")
"""Who the rules act as."""
