"""The verdict of this project's check beside the verdict of HL7's validator, case by case."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from fhir_tracker.errors import TrackerError
from fhir_tracker.fhir.body import read_resource, write_json
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.json_types import Resource
from tests.agreement.mutations import Case, mutants
from tests.peers.validator.run import Said, Validator

Base = tuple[str, Resource]
"""Where a resource comes from, and the resource."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One case with what either checker found wrong in it: (location, message) each, empty when nothing."""

    case: Case
    ours: tuple[tuple[str, str], ...]
    theirs: tuple[tuple[str, str], ...]

    @property
    def agrees(self) -> bool:
        return bool(self.ours) == bool(self.theirs)


def compare(validator: Validator, bases: Sequence[Base], count: int, rng: random.Random) -> list[Pair]:
    """Both verdicts on each base, and on `count` mutants of each base that the validator finds right."""
    plain = [Case(text=write_json(resource), kind="as it is", base=name, where="") for name, resource in bases]
    found = pairs(validator, plain)
    right = [base for base, pair in zip(bases, found, strict=True) if not pair.theirs]
    return found + pairs(validator, [case for name, one in right for case in mutants(name, one, count, rng)])


def pairs(validator: Validator, cases: Sequence[Case]) -> list[Pair]:
    """Both verdicts on each case."""
    said = validator.judge([case.text for case in cases])
    return [
        Pair(case=case, ours=own_verdict(case.text), theirs=_wrong(found))
        for case, found in zip(cases, said, strict=True)
    ]


def own_verdict(text: str) -> tuple[tuple[str, str], ...]:
    """What the tracker refuses in a body: what its reader does, or else its check."""
    try:
        resource = read_resource(text.encode())
    except TrackerError as error:
        return (("", error.message),)
    wrong = [issue for issue in check(resource) if issue.severity in ("error", "fatal")]
    return tuple((issue.expression or "", issue.message) for issue in wrong)


def _wrong(found: Sequence[Said]) -> tuple[tuple[str, str], ...]:
    return tuple((one.location, one.message) for one in found if one.wrong)
