"""A test on one resource in plain words."""

from __future__ import annotations

from typing import Final

from fhir_tracker.model.program import Match
from fhir_tracker.model.values import ValueTest
from fhir_tracker.rules.words import listed

_SAID: Final = {"at_least": "at least", "above": "above", "at_most": "at most", "below": "below"}


def describe_match(match: Match) -> str:
    """A test on one resource: `Encounter finished with code IMP within 30 days`."""
    words = [
        f"at least {match.count} different" if match.count > 1 else "",
        match.type,
        listed(match.status, "or"),
        listed(match.outcomes, "or"),
        f"with code {describe_codes(match.codes)}" if match.codes else "",
        describe_value(match.value) if match.value else "",
        f"within {match.within}" if match.within else "",
    ]
    return " ".join(word for word in words if word)


def describe_codes(codes: tuple[str, ...]) -> str:
    """The first of some codes, without their systems."""
    bare = [code.rpartition("|")[2] for code in codes]
    return listed(bare[:4], "or") + (f" or {len(bare) - 4} more" if len(bare) > 4 else "")


def describe_value(test: ValueTest) -> str:
    """What a value is asked to be: `whose 8480-6 is above 150 mm[Hg]`."""
    wanted = [f"{_SAID[name]} {bound}" for name, bound in test.bounds]
    if test.codes:
        wanted.append(describe_codes(test.codes))
    if test.interpretation:
        wanted.append(f"interpreted as {describe_codes(test.interpretation)}")
    return f"whose {describe_codes(test.component) or 'value'} is {listed(wanted)}"
