"""The verdict of this project's check beside the verdict of HL7's validator, case by case."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fhir_tracker.errors import TrackerError
from fhir_tracker.fhir.body import read_resource, write_json
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.profiles.conformance import check_profile
from fhir_tracker.fhir.profiles.tables import find_profile
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

    @property
    def same_place(self) -> bool:
        """Whether some place of ours is one of theirs, or holds it or is in it next to it."""
        ours = {_plain(place) for place, _ in self.ours}
        theirs = {_plain(place) for place, _ in self.theirs}
        return any(one == other or _holder(one) == other or one == _holder(other) for one in ours for other in theirs)


def compare(
    validator: Validator,
    bases: Sequence[Base],
    count: int,
    rng: random.Random,
    *,
    profiles: Mapping[str, str] | None = None,
    rough: bool = False,
) -> list[Pair]:
    """Both verdicts on each base, and on `count` mutants of each base that the validator finds right.

    `profiles` is resource type -> URL of the profile to judge by, beside R4 itself; `rough` adds people's mistakes.
    """
    plain = [
        Case(text=write_json(one), type=str(one["resourceType"]), kind="as it is", base=name, where="")
        for name, one in bases
    ]
    found = pairs(validator, plain, [_profile(one, profiles) for _, one in bases])
    right = [base for base, pair in zip(bases, found, strict=True) if not pair.theirs]
    cases = [
        (case, _profile(one, profiles)) for name, one in right for case in mutants(name, one, count, rng, rough=rough)
    ]
    return found + pairs(validator, [case for case, _ in cases], [url for _, url in cases])


def pairs(validator: Validator, cases: Sequence[Case], profiles: Sequence[str]) -> list[Pair]:
    """Both verdicts on each case, by R4 and by the profile in its place, if not ""."""
    texts = [f"{url}\t{case.text}" if url else case.text for case, url in zip(cases, profiles, strict=True)]
    said = validator.judge(texts)
    return [
        Pair(case=case, ours=own_verdict(case.text, url), theirs=_wrong(found))
        for case, url, found in zip(cases, profiles, said, strict=True)
    ]


def _profile(resource: Resource, profiles: Mapping[str, str] | None) -> str:
    return (profiles or {}).get(str(resource.get("resourceType")), "")


def own_verdict(text: str, profile: str = "") -> tuple[tuple[str, str], ...]:
    """What the tracker refuses in a body: what its reader does, or else its check and that of the profile."""
    try:
        resource = read_resource(text.encode())
    except TrackerError as error:
        return (("", error.message),)
    found = check(resource, warnings=True)
    if profile:
        known = find_profile(profile)
        assert known is not None
        found += check_profile(resource, known)
    wrong = [issue for issue in found if issue.severity in ("error", "fatal")]
    return tuple((issue.expression or "", issue.message) for issue in wrong)


def _wrong(found: Sequence[Said]) -> tuple[tuple[str, str], ...]:
    return tuple((one.location, one.message) for one in found if one.wrong)


def _plain(place: str) -> str:
    """A location without what only HL7's validator writes into it: comments, types of choices, urls of extensions."""
    return re.sub(r"/\*.*?\*/|\.ofType\(\w+\)|\[url='[^']*'\]", "", place)


def _holder(place: str) -> str:
    return place.rpartition(".")[0]
