"""The check of bodies and HL7's validator come to the same verdict, on good resources and on changed ones.

https://hl7.org/fhir/R4/validation.html
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agreement.comparing import Base, Pair, compare
from tests.agreement.corpus import FIXTURES, JUDGED, OWNED, read_corpus, sample
from tests.agreement.reasons import REASONS, disagreements, owned_only, share, table
from tests.fhir.made import full, least
from tests.peers.validator.run import VERSION, running_validator

pytestmark = pytest.mark.peer
SEED = 20261122
LEAST_SHARE = 0.99
US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-"
PROFILED = ("CarePlan", "CareTeam", "Goal", "Patient")
DOCUMENT = Path(__file__).parents[2] / "docs" / "validation.md"


@pytest.fixture(scope="module")
def by_r4(peer_versions: dict[str, str]) -> list[Pair]:
    """Both verdicts by R4 alone."""
    rng = random.Random(SEED)
    corpus = read_corpus((FIXTURES / "r4-examples", FIXTURES / "us-core" / "examples", FIXTURES / "synthea"))
    bases: list[Base] = [*made(), *sample(corpus, 6, rng)]
    peer_versions["HL7 validator (HAPI)"] = VERSION
    with running_validator(threads=2) as validator:
        return compare(validator, bases, 12, rng)


@pytest.fixture(scope="module")
def by_us_core() -> list[Pair]:
    """Both verdicts by R4 and the US Core profile of the type."""
    rng = random.Random(SEED)
    corpus = read_corpus((FIXTURES / "us-core" / "examples", FIXTURES / "synthea"), only=frozenset(PROFILED))
    bases: list[Base] = list(sample(corpus, 7, rng))
    profiles = {type_: f"{US_CORE}{type_.lower()}" for type_ in PROFILED}
    with running_validator(threads=2, profiles=FIXTURES / "us-core" / "definitions") as validator:
        return compare(validator, bases, 14, rng, profiles=profiles)


def made() -> Iterator[Base]:
    for type_ in JUDGED:
        yield f"least {type_}", least(type_)
        yield f"full {type_}", full(type_, 1)


def show(pairs: list[Pair], capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        sys.stdout.write(f"\n{table(pairs)}\n")


def unexplained(pairs: list[Pair]) -> list[str]:
    found = [one.pair for one in disagreements(pairs) if one.reason is None]
    return [f"{one.case.base} {one.case.kind} {one.case.where}: {one.ours[:1]} {one.theirs[:1]}" for one in found]


def test_the_verdicts_by_r4_agree_and_what_differs_has_a_reason(
    by_r4: list[Pair], capsys: pytest.CaptureFixture[str]
) -> None:
    show(by_r4, capsys)
    owned = owned_only(by_r4)
    assert {pair.case.type for pair in owned} == set(OWNED)
    assert len(owned) > 400
    assert share(owned) >= LEAST_SHARE
    assert unexplained(by_r4) == []


def test_the_cases_are_good_and_bad_ones_alike(by_r4: list[Pair]) -> None:
    refused = sum(bool(pair.theirs) for pair in by_r4) / len(by_r4)
    assert 0.3 < refused < 0.9


def test_the_verdicts_by_us_core_agree_and_what_differs_has_a_reason(
    by_us_core: list[Pair], capsys: pytest.CaptureFixture[str]
) -> None:
    show(by_us_core, capsys)
    assert len(by_us_core) > 150
    assert share(by_us_core) >= LEAST_SHARE
    assert unexplained(by_us_core) == []


def test_the_page_on_validation_tells_every_reason() -> None:
    text = " ".join(DOCUMENT.read_text().split())
    assert [one.what for one in REASONS if one.why not in text] == []
