"""The roles of this practice: those shipped with the product, and over them the ones of its own files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import TypeVar

from fhir_tracker.errors import Fault, Incorrect, NotFound
from fhir_tracker.model.policy import Policy, policy_of
from fhir_tracker.rules.role_file import read_roles
from fhir_tracker.rules.source import suggestion
from fhir_tracker.storage import epochs, role_files
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.role_files import RoleFile

Roles = Mapping[str, Policy]
K = TypeVar("K")
V = TypeVar("V")
_PUBLISHING = frozenset({"people", "roles"})


@cache
def shipped() -> str:
    """The file of the roles that come with the product."""
    return files("fhir_tracker").joinpath("starter_roles", "practice.yaml").read_text()


@cache
def built_in() -> Roles:
    """The six roles that come with the product."""
    return MappingProxyType(dict(read_roles(shipped())))


def defined(tx: Tx) -> Roles:
    """Every role there is now: a role of a file goes before the one of an earlier file, and before one of the product."""
    return _defined(tx, role_files.digests(tx))


def policy_for(tx: Tx, held: Iterable[str]) -> Policy:
    """What somebody with these roles may see and do now; unknown roles give nothing."""
    files_known = role_files.digests(tx)
    key = (frozenset(held), files_known)
    if (found := _POLICIES.get(key)) is None:
        found = policy_of(key[0], _defined(tx, files_known))
        _POLICIES.keep(key, found)
    return found


def required(tx: Tx, role: str) -> Policy:
    """What one role may see and do; raises NotFound for one there is not."""
    known = defined(tx)
    if role not in known:
        raise NotFound(f"There is no role {role!r}{suggestion(role, known)}.")
    return known[role]


def load(tx: Tx, source: str, *, name: str, at: datetime, by: str, reason: str | None = None) -> tuple[RoleFile, Roles]:
    """Let the roles of a file count from now on, in the place of those of the same name; the file, and its roles.

    Raises Incorrect for a file with problems, and for one after which nobody could change roles or people any more.
    """
    found = read_roles(source, name=name)
    after = {**defined(tx), **found}
    missing = sorted(_PUBLISHING - frozenset(act for policy in after.values() for act in policy.acts))
    if missing:
        raise Incorrect(f"{name}: no role would have the act {' or '.join(missing)} any more.")
    kept = role_files.add(tx, source, at=at, by=by, reason=reason)
    epochs.bump(tx)
    return kept, found


class _Kept(dict[K, V]):
    """What was worked out from files that never change, by their digests; begun anew when it gets large."""

    def keep(self, key: K, value: V) -> None:
        if len(self) >= _MOST_KEPT:
            self.clear()
        self[key] = value


_MOST_KEPT = 500
_ROLES: _Kept[tuple[str, ...], Roles] = _Kept()
_POLICIES: _Kept[tuple[frozenset[str], tuple[str, ...]], Policy] = _Kept()


def _defined(tx: Tx, digests: tuple[str, ...]) -> Roles:
    if not digests:
        return built_in()
    if (found := _ROLES.get(digests)) is None:
        together = dict(built_in())
        for one in role_files.all(tx):
            together |= _read(one)
        found = MappingProxyType(together)
        _ROLES.keep(digests, found)
    return found


def _read(one: RoleFile) -> Roles:
    """Nobody is let in by guesswork: a file that this release cannot read stops everybody, with its number."""
    try:
        return read_roles(one.source, is_kept=True)
    except Incorrect as error:
        message = f"Role file {one.number} cannot be read by this release: {error.issues[0].message}"
        raise Fault(f"{message}.") from None
