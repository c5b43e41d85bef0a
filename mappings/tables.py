"""Code tables: what an EHR's own codes mean here, read from the vendor's file and from one of the practice's.

A file is TOML, or JSON of the same shape. `[status.Appointment]` gives for a code the FHIR code; `[reason]`, `[outreach]`,
`[channel]` and `[appointment-type]` have `codes` ("system|code" to a code) and `covers`, the beginnings of code systems of
which every code is to be known.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Final

from fhir_tracker.errors import UsageError
from fhir_tracker.fhir.definitions.registry import elements, value_set
from fhir_tracker.model.program import CANONICAL
from fhir_tracker.model.vocabulary import CHANNEL_SYSTEM, CHANNELS, OUTCOME_SYSTEM, OUTCOMES

CANCELLED_BECAUSE: Final = "http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason"
SERVICE_SYSTEM: Final = f"{CANONICAL}/CodeSystem/service"
SYSTEMS: Final = {
    "reason": CANCELLED_BECAUSE,
    "outreach": OUTCOME_SYSTEM,
    "channel": CHANNEL_SYSTEM,
    "appointment-type": SERVICE_SYSTEM,
}
"""The tables of codings, and the system of a target that names none."""
_CLOSED: Final[Mapping[str, Iterable[str]]] = {"outreach": OUTCOMES, "channel": CHANNELS}
"""The tables whose targets are the tracker's own codes and no others."""
STATUS_TYPES: Final = frozenset(
    "Appointment CarePlan Communication DocumentReference Encounter Flag Observation QuestionnaireResponse "
    "ServiceRequest Task".split()
)
"""The types whose `status` rules and queues go by."""
_LARGEST: Final = 1_000_000

Coding = tuple[str, str]
"""System and code; "" for no system."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Codings there to codings here; None where a code is known and adds nothing. `covers` are beginnings of systems."""

    codes: Mapping[Coding, Coding | None] = field(default_factory=dict)
    covers: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Tables:
    """`status` by type, the others by name."""

    status: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    codings: Mapping[str, Table] = field(default_factory=dict)


NOTHING: Final = Tables()


@cache
def shipped(name: str) -> Tables:
    """The table of `mappings/codes/<name>.toml`."""
    file = f"{name}.toml"
    return read_tables(files("mappings").joinpath("codes", file).read_bytes(), file)


def read_tables(raw: bytes, name: str) -> Tables:
    """The tables in the text of a file called `name`; UsageError says what is wrong in it, and in which line."""
    if len(raw) > _LARGEST:
        raise UsageError(f"The code table {name} is larger than 1 MB.")
    file = _File(name=name, lines=tuple(raw.decode("utf-8", "replace").splitlines()))
    told = _parsed(raw, file)
    unknown = sorted(set(told) - {"status", *SYSTEMS})
    if unknown:
        raise UsageError(f"{file.at(unknown[0])} has {unknown[0]!r}; there are status, {', '.join(SYSTEMS)}.")
    status = {type_: _statuses(type_, one, file) for type_, one in _object(told.get("status", {}), file).items()}
    codings = {kind: _table(kind, told[kind], file) for kind in SYSTEMS if kind in told}
    return Tables(status=MappingProxyType(status), codings=MappingProxyType(codings))


@cache
def status_codes(type_: str) -> frozenset[str]:
    """The codes that R4 has for the status of a type."""
    element = elements(type_).get("status")
    sets = value_set(element.codes) if element and element.codes else {}
    return frozenset(code for codes in sets.values() for code in codes)


@dataclass(frozen=True, kw_only=True)
class _File:
    """A file as its faults are told."""

    name: str
    lines: tuple[str, ...]

    def at(self, *words: str) -> str:
        """`The code table clinic.toml (line 3)`: the first line that has all the words, where there is one."""
        lines = (number for number, line in enumerate(self.lines, 1) if all(word in line for word in words))
        line = next(lines, None)
        return f"The code table {self.name}" + (f" (line {line})" if line and any(words) else "")


def _parsed(raw: bytes, file: _File) -> Mapping[str, Any]:
    try:
        text = raw.decode()
        return _object(json.loads(text) if file.name.endswith(".json") else tomllib.loads(text), file)
    except (ValueError, RecursionError) as error:
        is_place = isinstance(error, tomllib.TOMLDecodeError | json.JSONDecodeError)
        where = str(error)[:120] if is_place else "not its text"
        raise UsageError(f"The code table {file.name} cannot be read: {where}.") from None


def _statuses(type_: str, told: object, file: _File) -> Mapping[str, str]:
    if type_ not in STATUS_TYPES:
        raise UsageError(f"{file.at(type_)} has a status of {type_}; there are {', '.join(sorted(STATUS_TYPES))}.")
    rows = _object(told, file)
    for sent, code in rows.items():
        if not isinstance(code, str) or code not in status_codes(type_):
            place = file.at(sent, str(code))
            known = ", ".join(sorted(status_codes(type_)))
            raise UsageError(f"{place} gives {code!r}, which is no status of a {type_} in R4; there are {known}.")
    return MappingProxyType(dict(rows))


def _table(kind: str, told: object, file: _File) -> Table:
    parts = _object(told, file)
    covers = parts.get("covers", [])
    odd = sorted(set(parts) - {"codes", "covers"})
    if odd or not isinstance(covers, list) or not all(isinstance(one, str) and one for one in covers):
        place = file.at(odd[0] if odd else "covers")
        raise UsageError(f"{place}: {kind} has `codes`, and `covers` as a list of beginnings of systems.")
    rows = _object(parts.get("codes", {}), file)
    codes = {_coding(sent, ""): _target(kind, sent, here, file) for sent, here in rows.items()}
    return Table(codes=MappingProxyType(codes), covers=tuple(covers))


def _target(kind: str, sent: str, here: object, file: _File) -> Coding | None:
    if not isinstance(here, str):
        raise UsageError(f"{file.at(sent)}: a {kind} code leads to a text.")
    if not here:
        return None
    system, code = _coding(here, SYSTEMS[kind])
    own = _CLOSED.get(kind)
    if not code or (own is not None and (system != SYSTEMS[kind] or code not in own)):
        raise UsageError(f"{file.at(sent, here)} gives {here!r} as {kind}; there are {', '.join(own or ['codes'])}.")
    return system, code


def _coding(text: str, system: str) -> Coding:
    before, bar, code = text.rpartition("|")
    return (before, code) if bar else (system, code)


def _object(value: object, file: _File) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"The code table {file.name} has to be tables of texts.")
    return value
